"""The state machine: everything that can happen to the ledger, in any order, and what must hold after every step."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import redis
from hypothesis import currently_in_test_context, event
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from world import (
    ABOVE,
    CONSUMERS,
    DEAREST,
    DOCUMENT,
    LIMITS,
    SHORTEST_LIFE,
    WORST_REQUEST,
    Feed,
    Hooked,
    World,
    day,
    month,
)

from budget_controller import config as configuration
from budget_controller import run
from budget_controller.errors import ClockError, Superseded
from budget_controller.store import Store

PICO = 10**12


class CrashError(Exception):
    """The controller's process dies."""


def note(what: str) -> None:
    """Hypothesis counts it, when it is Hypothesis that chooses the steps."""
    if currently_in_test_context():
        event(what)


class HookedStore(Store):
    """The real store, with something happening before one of its calls."""

    hook: Hooked | None = None

    def _call(self, work: Any, *args: Any, **options: Any) -> Any:
        if self.hook is not None:
            self.hook()
        return super()._call(work, *args, **options)


tokens = st.integers(0, 250)
consumers = st.sampled_from(CONSUMERS)


class Ledger(RuleBasedStateMachine):
    """Set ``port`` before running."""

    port = 0
    phantoms: list[tuple[int, int]] = []  # noqa: RUF012 - (asked, phantom) per example, gathered over all

    @initialize()
    def begin(self) -> None:
        self.redis = redis.Redis(port=self.port, db=1)
        self.redis.flushdb()
        self.config = configuration.parse(json.dumps(DOCUMENT))
        self.world = World(self.redis)
        self.world.scrape()
        self.clean = False
        self._tick()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self._settled()
            self.phantoms.append((self.world.asked, self.world.phantom))
            self.redis.close()

    # -- traffic ---------------------------------------------------------------------------------------------------

    @rule(who=consumers, model=st.sampled_from(["m1", "m1", "m1", "m2-2026-08-06", "mystery"]), reported=st.tuples(*[tokens] * 4),
          ends=st.booleans(), hangs_up=st.integers(0, 9).map(lambda n: n == 9))  # fmt: skip
    def request(self, who: str, model: str, reported: tuple[int, ...], ends: bool, hangs_up: bool) -> None:
        if who not in {"atlas.alice", "atlas.bob"} and model.startswith("m2"):
            model = "m1"
        if len(self.world.flying(who)) >= 2:
            return
        used = (0, 0, 0, 0, reported[0], reported[3]) if hangs_up else (*reported, 0, 0)
        if self.world.ask(who, model, used, hold=False):
            self.clean = False
            if ends:
                self.world.finish(self.world.requests[-1])

    @rule(who=consumers, times=st.integers(2, 40))
    def many_requests(self, who: str, times: int) -> None:
        for _ in range(times):
            if not self.world.ask(who, "m1", (100, 0, 0, 150, 0, 0), hold=False):
                break
            self.world.finish(self.world.requests[-1])
        self.clean = False

    @rule(who=consumers, reported=st.tuples(*[tokens] * 4), ends=st.booleans())
    def held_request(self, who: str, reported: tuple[int, ...], ends: bool) -> None:
        """A gateway that pre-debits: a run happens while the hold stands."""
        if len(self.world.flying(who)) < 2 and self.world.ask(who, "m1", (*reported, 0, 0), hold=True):
            self._tick()
            if ends:
                self.world.finish(self.world.requests[-1])
                self.clean = False

    @precondition(lambda self: any(not r.finished for r in self.world.requests))
    @rule(data=st.data())
    def answer_ends(self, data: st.DataObject) -> None:
        self.world.finish(data.draw(st.sampled_from([r for r in self.world.requests if not r.finished])))
        self.clean = False

    # -- time and failures -----------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 5, 15, 60, 200, 700, 2000, 90_000]))
    def time_passes(self, seconds: int) -> None:
        self.world.wait(seconds)
        self.clean = False

    @rule(after=st.sampled_from([1, 15]))
    def scraped(self, after: int) -> None:
        self.world.wait(after)
        self.world.scrape()
        self.clean = False

    @rule(scraped_before=st.booleans(), after=st.sampled_from([1, 20, 400]))
    def gateway_restarts(self, scraped_before: bool, after: int) -> None:
        # A life this short that is scraped looks like the one after it: test_a_life_too_short_to_be_seen.
        self.world.wait(max(0, self.world.born + SHORTEST_LIFE - self.world.now))
        self.restart(scraped_before, after)

    @rule(after=st.sampled_from([1, 20, 400]))
    def machine_restarts(self, after: int) -> None:
        """The gateway and who scrapes it: nobody notes that the old counters ended."""
        self.world.wait(max(1, self.world.born + SHORTEST_LIFE - self.world.now))
        self.world.scrape()
        self.world.scraper_knows = False
        self.restart(scraped_before=False, after=after)

    def restart(self, scraped_before: bool, after: int) -> None:
        if scraped_before:
            self.world.wait(1)
            self.world.scrape()
        self.world.wait(1)
        self.world.restart_gateway()
        self.world.wait(after)
        self.world.scrape()
        self.clean = False

    @rule()
    def redis_fails_over(self) -> None:
        self.world.fail_over()
        self.clean = False

    @rule(sure=st.integers(0, 3))
    def redis_is_flushed(self, sure: int) -> None:
        if sure == 0:
            self.world.flush()
            self.clean = False

    # -- the controller --------------------------------------------------------------------------------------------

    @rule(skew=st.sampled_from([0, 0, -250, 250]))
    def controller_runs(self, skew: int) -> None:
        self._tick(skew)

    @rule(skew=st.sampled_from([-100_000, -400, 400, 3_000_000]))
    def clock_jumps(self, skew: int) -> None:
        before = self.world.dump()
        try:
            self._tick(skew)
        except ClockError:
            assert self.world.dump() == before
        else:
            raise AssertionError("a wrong clock was believed")

    @rule(call=st.integers(1, 40))
    def controller_crashes(self, call: int) -> None:
        def die() -> None:
            raise CrashError

        try:
            self._tick(hook=Hooked(call, die))
        except CrashError:
            self.clean = False

    @rule(call=st.integers(1, 40), later=st.booleans())
    def two_controllers(self, call: int, later: bool) -> None:
        def other() -> None:
            if later:
                self.world.wait(1)
            self._tick()

        try:
            self._tick(hook=Hooked(call, other))
        except Superseded:
            note("superseded")
        self.clean = False

    @rule(call=st.integers(1, 40), who=consumers, times=st.integers(1, 3))
    def traffic_during_a_run(self, call: int, who: str, times: int) -> None:
        def traffic() -> None:
            for _ in range(times):
                if self.world.ask(who, "m1", (0, 0, 0, 200, 0, 0), hold=False):
                    self.world.finish(self.world.requests[-1])

        self._tick(hook=Hooked(call, traffic))
        self.clean = False

    @rule(call=st.integers(1, 40))
    def fail_over_during_a_run(self, call: int) -> None:
        try:
            self._tick(hook=Hooked(call, self.world.fail_over))
        except Superseded:
            note("superseded by a fail-over")
        self.clean = False

    def _tick(self, skew: int = 0, hook: Hooked | None = None) -> None:
        store = HookedStore(self.redis, "chat_quota:")
        store.hook = hook
        run.tick(self.config, store, Feed(self.world), self.world.now + skew)
        self.clean = True

    # -- what must hold --------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_overspent(self) -> None:
        if not hasattr(self, "world"):
            return
        for scope, limit in LIMITS.items():
            spent = self.world.spent(scope, self.world.now)
            assert spent <= limit + self.world.bound(scope), f"{scope}: {float(spent)} of {float(limit)}"

    @invariant()
    def no_lease_is_lost_or_given_twice(self) -> None:
        """After a run in quiet: pools add up to their members, leases to what money is left."""
        if not hasattr(self, "world") or not self.clean:
            return
        pools: dict[str, int] = {}
        waits: dict[str, int] = {}
        names = [f"budget:{kind}:{who}" for who in CONSUMERS for kind in ("page", "left")]
        stored = dict(zip(names, self.redis.mget(names), strict=True))
        balances = self._balances()
        for who in CONSUMERS:
            page = json.loads(stored[f"budget:page:{who}"] or b"null")
            left, balance = int(stored[f"budget:left:{who}"] or 0), balances[who]
            assert left == balance
            waiting = sum(lot[1] for lot in page[5]) + page[11]
            for scope in ABOVE[who]:
                pools[scope] = pools.get(scope, 0) + max(0, balance) + waiting
                waits[scope] = waits.get(scope, 0) + waiting
            own = LIMITS.get(f"user:{who}")
            if own is not None:
                assert max(0, balance) * DEAREST <= max(0, own - self._booked_by(who, page) - waiting * DEAREST)
        for scope, reserved in pools.items():
            pool = self.redis.hgetall(f"budget:pool:{scope}")
            assert reserved == sum(int(v) for k, v in pool.items() if k.startswith(b"r:")), scope
            if scope in LIMITS:
                spent = Fraction(int(pool.get(b"s:" + self._month(), 0)), PICO)
                leases, waiting = (reserved - waits[scope]) * DEAREST, waits[scope] * DEAREST
                assert leases <= max(0, LIMITS[scope] - spent - waiting), scope

    def _balances(self) -> dict[str, int]:
        found = self.redis.mget([f"chat_quota:{who}" for who in CONSUMERS])
        return {who: int(value or 0) for who, value in zip(CONSUMERS, found, strict=True)}

    @invariant()
    def who_can_pay_is_let_in(self) -> None:
        if not hasattr(self, "world") or not self.clean or self._uncertain():
            return
        balances = self._balances()
        for who in CONSUMERS:
            if self.world.money(who) >= WORST_REQUEST * DEAREST:
                assert balances[who] > 0, f"{who} could pay {float(self.world.money(who))} USD"

    def _uncertain(self) -> bool:
        """Debits of which the truth has no counter are booked at the dearest price: the model's money is not the
        ledger's then."""
        return any(r.lost or (r.finished and not r.debited and r.reported) for r in self.world.requests) or bool(
            self.world.muddied
        )

    def _month(self) -> bytes:
        return month(self._cursor()).encode()

    def _cursor(self) -> int:
        cursor: int = json.loads(self.redis.get("budget:head") or b"{}")["cursor"]
        return cursor

    def _booked_by(self, who: str, page: list[Any]) -> Fraction:
        key = day(self._cursor()) if f"user:{who}" == "user:comet.eve" else month(self._cursor())
        return Fraction(page[8].get(key, 0), PICO)

    def settle(self) -> None:
        """Let every answer end, every counter be scraped and every debit without a counter be given up."""
        world = self.world
        for request in [r for r in world.requests if not r.finished]:
            world.finish(request)
        for _ in range(3):
            world.wait(15)
            world.scrape()
            self._tick()
            world.wait(1200)
        world.scrape()
        self._tick()

    def _settled(self) -> None:
        """Once the counters have settled, what is booked is what was used, to the last digit, in every period."""
        self.settle()
        world = self.world
        for who in CONSUMERS:
            mine = [r for r in world.requests if r.consumer == who and r.finished]
            if who in world.muddied or self._mixed(mine):
                continue
            page = json.loads(self.redis.get(f"budget:page:{who}") or b"null")
            lost = sum((r.reported * DEAREST for r in mine if r.lost and r.debited), Fraction(0))
            periods = {month(r.scraped) for r in mine if r.scraped} | {day(r.scraped) for r in mine if r.scraped}
            if lost:
                months = {key: amount for key, amount in page[8].items() if len(key) == 7}
                true = sum((r.cost for r in mine if not r.lost), Fraction(0))
                assert Fraction(sum(months.values()), PICO) == true + lost, who
                continue
            for period in periods:
                within = month if len(period) == 7 else day
                true = sum((r.cost for r in mine if r.scraped and within(r.scraped) == period), Fraction(0))
                if period in page[8] or period >= month(world.now):
                    assert Fraction(page[8].get(period, 0), PICO) == true, (who, period)
        self.sums_agree()

    def _mixed(self, mine: list[Any]) -> bool:
        """Tokens counted and never debited beside tokens debited and never counted explain each other."""
        return any(r.lost for r in mine) and any(r.reported and not r.debited for r in mine)

    def sums_agree(self) -> None:
        for scope in {s for above in ABOVE.values() for s in above}:
            stored = self.redis.hgetall(f"budget:pool:{scope}")
            members = [
                json.loads(self.redis.get(f"budget:page:{w}") or b"null") for w in CONSUMERS if scope in ABOVE[w]
            ]
            last = month(self._cursor() - 86_400 * int(day(self._cursor())[-2:]))
            for period in (self._month().decode(), last):
                booked = sum(page[8].get(period, 0) for page in members)
                assert int(stored.get(f"s:{period}".encode(), 0)) == booked, (scope, period)
