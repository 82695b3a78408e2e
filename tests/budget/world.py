"""An independent model of what surrounds the ledger: a gateway, its counters, a metrics API, Redis that can fail over.

Written without the package's arithmetic: prices are fractions of dollars, periods come from datetime, the truth is the
list of requests. Only the plain data types that the interface speaks are imported.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import redis

ZONE = ZoneInfo("Asia/Bangkok")
#: Ten minutes before December in Bangkok.
BEGIN = int(datetime(2026, 11, 30, 23, 50, tzinfo=ZONE).timestamp())
WORST_REQUEST = 1000
#: Envoy renews its uptime every 5 s, so two starts less than this apart cannot be told from one: docs/budget.md.
SHORTEST_LIFE = 11
#: Debits that no counter has shown for so long are booked as unattributed.
GIVEN_UP = 900
KINDS = 6
GATEWAY = (("instance", "gw"),)

#: USD per token: input, cache read, cache write, output, estimated input, estimated output
TARIFF = {
    "m1": tuple(Fraction(x) / 10**6 for x in ("2.5", "0.25", "3.125", "10", "2.5", "10")),
    "m2": tuple(Fraction(x) / 10**6 for x in ("0.15", "0.075", "0.15", "0.6", "0.15", "0.6")),
}
DEAREST = Fraction(10) / 10**6

CONSUMERS = ("atlas.alice", "atlas.bob", "atlas.carol", "atlas.dave", "comet.eve")
ABOVE = {
    "atlas.alice": ("group:atlas/dev", "project:atlas", "org:acme"),
    "atlas.bob": ("group:atlas/dev", "project:atlas", "org:acme"),
    "atlas.carol": ("group:atlas/ops", "project:atlas", "org:acme"),
    "atlas.dave": ("group:atlas/ops", "project:atlas", "org:acme"),
    "comet.eve": ("group:comet/all", "project:comet", "org:globex"),
}
#: What each level may spend, USD per calendar month (eve's own: per day). One worst request costs 0.01 USD.
LIMITS = {
    "org:acme": Fraction("0.5"),
    "group:atlas/ops": Fraction("0.12"),
    "user:atlas.alice": Fraction("0.2"),
    "user:atlas.bob": Fraction("0.2"),
    "user:comet.eve": Fraction("0.08"),
}
DAILY = {"user:comet.eve"}

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "site": "test",
    "zone": "Asia/Bangkok",
    "worst_request_tokens": WORST_REQUEST,
    "orgs": {"acme": {"budget": {"usd": "0.5"}}, "globex": {}},
    "projects": {
        "atlas": {
            "org": "acme",
            "groups": {
                "dev": {"models": ["m1", "m2"], "member_budget": {"usd": "0.2"}, "users": ["alice", "bob"]},
                "ops": {"models": ["m1"], "budget": {"usd": "0.12"}, "users": ["carol", "dave"]},
            },
        },
        "comet": {
            "org": "globex",
            "groups": {
                "all": {"models": ["m1"], "users": {"eve": {"budget": {"usd": "0.08", "period": "day"}}}},
            },
        },
    },
    "prices": [
        {"model": "m1", "input": "2.5", "cache_read": "0.25", "cache_write": "3.125", "output": "10"},
        {"model": "m2*", "pattern": True, "input": "0.15", "cache_read": "0.075", "output": "0.6"},
    ],
}


def month(at: int) -> str:
    return f"{datetime.fromtimestamp(at, ZONE):%Y-%m}"


def day(at: int) -> str:
    return f"{datetime.fromtimestamp(at, ZONE):%Y-%m-%d}"


@dataclass
class Request:
    """One request that was let in. ``tokens`` in the order of the counters; estimated ones are never debited."""

    consumer: str
    model: str
    tokens: tuple[int, ...]
    held: int = 0
    life: int = 0
    debited: bool = False
    finished: bool = False
    scraped: int | None = None
    lost: bool = False
    stamp: int = 0
    forgotten: bool = False  # its debit went with a flush: only a counter can tell of it now

    @property
    def cost(self) -> Fraction:
        tariff = TARIFF.get(self.model.split("-")[0])
        return sum((n * (tariff[i] if tariff else DEAREST) for i, n in enumerate(self.tokens)), Fraction(0))

    @property
    def reported(self) -> int:
        return sum(self.tokens[:4])


#: Consumer, model, route -> when the counters were read, and what they were
Shown = dict[tuple[str, str, str], tuple[int, tuple[int, ...]]]


@dataclass
class Scrape:
    """``shown``: what the metrics API has from here on."""

    at: int
    uptime: int
    shown: Shown


@dataclass
class World:
    """Gateway, metrics API and Redis, moved by the test."""

    redis: redis.Redis
    now: int = BEGIN
    born: int = BEGIN - 5000
    life: int = 0
    counters: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    scrapes: list[Scrape] = field(default_factory=list)
    scraper_knows: bool = True
    requests: list[Request] = field(default_factory=list)
    replica: dict[bytes, bytes] = field(default_factory=dict)
    muddied: set[str] = field(default_factory=set)
    lost_debits: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    busiest: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    asked: int = 0
    phantom: int = 0
    clock_error: int = 0

    # -- the gateway -----------------------------------------------------------------------------------------------

    def balance(self, consumer: str) -> int:
        return int(self.redis.get(f"chat_quota:{consumer}") or 0)

    def ask(self, consumer: str, model: str, tokens: tuple[int, ...], *, hold: bool) -> bool:
        """A request arrives: let in when the balance is above zero, as ai-quota does."""
        self.asked += 1
        if self.balance(consumer) <= 0:
            if self.money(consumer) >= WORST_REQUEST * DEAREST:
                self.phantom += 1
            return False
        request = Request(consumer, model, tokens, life=self.life, held=WORST_REQUEST if hold else 0)
        if hold:
            self._hold(consumer, WORST_REQUEST)
        self.requests.append(request)
        self.busiest[consumer] = max(self.busiest[consumer], len(self.flying(consumer)))
        return True

    def flying(self, consumer: str) -> list[Request]:
        return [r for r in self.requests if r.consumer == consumer and not r.finished]

    def finish(self, request: Request) -> None:
        """The answer ends: counted at once, debited what the provider reported (not what was estimated)."""
        request.finished, request.stamp = True, self.now
        if request.held:
            self._hold(request.consumer, -request.held)
        if request.reported:
            # After a flush, and before the next run, there is no balance to compare the debit with.
            request.debited = bool(self.redis.exists(f"budget:left:{request.consumer}"))
            request.forgotten = not request.debited
            self.redis.decrby(f"chat_quota:{request.consumer}", request.reported)
            if request.forgotten:
                self.lost_debits[request.consumer] += request.reported
        if request.life != self.life:
            request.lost = True  # its gateway is gone, and what it counted with it
            if request.forgotten:
                self.muddied.add(request.consumer)
            return
        series = (request.consumer, request.model, f"route-{request.reported % 2}")
        row = self.counters.setdefault(series, [0] * KINDS)
        for kind, tokens in enumerate(request.tokens):
            row[kind] += tokens

    def restart_gateway(self) -> None:
        """What was not scraped is gone, what was under way ends without an answer."""
        for request in [r for r in self.requests if not r.finished]:
            if request.held:
                self._hold(request.consumer, -request.held)
            self.requests.remove(request)
        for request in self.requests:
            if request.scraped is None and not request.lost:
                request.lost = True
                if request.forgotten:  # neither a debit nor a counter is left: nobody can know (see ``rebuild``)
                    self.muddied.add(request.consumer)
        self.counters = {}
        self.born, self.life = self.now, self.life + 1

    def _hold(self, consumer: str, tokens: int) -> None:
        with self.redis.pipeline() as pipe:
            pipe.decrby(f"chat_quota:{consumer}", tokens)
            pipe.incrby(f"chat_hold:{consumer}", tokens)
            pipe.execute()

    # -- time and failures -----------------------------------------------------------------------------------------

    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.replica = self.dump()

    def fail_over(self) -> None:
        """A replica that lacks this second's writes takes over."""
        for request in self.requests:
            if request.debited and request.stamp == self.now and request.finished:
                self.lost_debits[request.consumer] += request.reported
                request.debited = False
        for request in [r for r in self.requests if not r.finished and r.held]:
            self.muddied.add(request.consumer)
        self._restore(self.replica)

    def flush(self) -> None:
        self.redis.flushdb()
        for request in self.requests:
            if not request.finished and request.held:
                request.held = 0
            request.forgotten = request.finished
            if request.debited and request.scraped is None:
                self.lost_debits[request.consumer] += request.reported
                request.debited = False
            if request.lost:
                self.muddied.add(request.consumer)
        self.replica = {}

    def dump(self) -> dict[bytes, bytes]:
        keys = self.redis.keys("*")
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.dump(key)
        return dict(zip(keys, pipe.execute(), strict=True))

    def _restore(self, dump: dict[bytes, bytes]) -> None:
        pipe = self.redis.pipeline()
        pipe.flushdb()
        for key, value in dump.items():
            pipe.restore(key, 0, value)
        pipe.execute()

    # -- the metrics API -------------------------------------------------------------------------------------------

    def scrape(self) -> None:
        if self.scrapes and self.scrapes[-1].at == self.now:
            self.now += 1
        self.scrapes.append(Scrape(self.now, self.now - self.born, {**self._not_ended(), **self._counted()}))
        self.scraper_knows = True
        for request in self.requests:
            if request.finished and not request.lost and request.scraped is None and request.life == self.life:
                request.scraped = self.now

    def _counted(self) -> Shown:
        return {series: (self.now, tuple(row)) for series, row in self.counters.items()}

    def _not_ended(self) -> Shown:
        """Who scrapes notes the end of series that the scrape before had, when it knows of that one."""
        last = self.scrapes[-1] if self.scrapes else Scrape(0, 0, {})
        return {series: (at, row) for series, (at, row) in last.shown.items() if at < last.at or not self.scraper_knows}

    def clock(self) -> int:
        return self.now

    def uptimes(self, after: int, until: int) -> dict[Any, list[tuple[int, int]]]:
        seen = [(s.at * 1000, s.uptime) for s in self.scrapes if after < s.at <= until]
        return {GATEWAY: seen} if seen else {}

    def sums(self, at: int, kind: int, born: int = 0) -> dict[tuple[str, str], int]:
        """By consumer and model, as of ``at``; ``born``: nothing older, in milliseconds."""
        found: dict[tuple[str, str], int] = defaultdict(int)
        index = bisect.bisect_right(self.scrapes, at, key=lambda s: s.at) - 1
        for (consumer, model, _), (moment, row) in self.scrapes[index].shown.items() if index >= 0 else ():
            if at - moment < 300 and moment * 1000 >= born:
                found[consumer, model] += row[kind]
        return found

    def totals(self, _at: int) -> dict[tuple[str, str], tuple[int, int]]:
        return {}

    # -- the truth -------------------------------------------------------------------------------------------------

    def spent(self, scope: str, at: int) -> Fraction:
        """What the scope's consumers truly used in the period of ``at``; what nobody scraped yet counts as now."""
        within = day if scope in DAILY else month
        total = Fraction(0)
        for request in self.requests:
            if request.finished and scope in scopes_of(request.consumer):
                when = request.scraped if request.scraped is not None else request.stamp if request.lost else self.now
                if within(when) == within(at):
                    total += request.cost
        return total

    def waiting(self, scope: str) -> Fraction:
        """Debited and not scraped, at the dearest price: money that is rightly kept back."""
        return sum(
            (r.reported * DEAREST for r in self.requests if r.finished and r.debited and r.scraped is None
             and scope in scopes_of(r.consumer)),
            Fraction(0),
        )  # fmt: skip

    def money(self, consumer: str) -> Fraction:
        """What the tightest budget above the consumer still has, by the truth."""
        return min(
            LIMITS[s] - self.spent(s, self.now) - self.waiting(s) - self.flying_cost(s)
            for s in scopes_of(consumer)
            if s in LIMITS
        )

    def flying_cost(self, scope: str) -> Fraction:
        flying = (r for r in self.requests if not r.finished and scope in scopes_of(r.consumer))
        return sum((max(r.held, 0) * DEAREST for r in flying), Fraction(0))

    def bound(self, scope: str) -> Fraction:
        """The documented bound: what was in flight at once, what a fail-over, a flush or a hang-up keeps from the balance,
        and what a period is told of too late.
        """
        total = Fraction(0)
        for consumer in CONSUMERS:
            if scope in scopes_of(consumer):
                total += self.busiest[consumer] * WORST_REQUEST * DEAREST
                total += self.lost_debits[consumer] * DEAREST
        for r in self.requests:
            if r.finished and scope in scopes_of(r.consumer):
                undebited = r.tokens[4] + r.tokens[5]
                total += undebited * DEAREST
                total += r.cost if self._late(r, day if scope in DAILY else month) else 0
        return total

    def _late(self, request: Request, period: Callable[[int], str]) -> bool:
        """First scraped in another period than it was used in, and after its debit was given up."""
        seen = self.now if request.scraped is None else request.scraped
        return not request.lost and seen - request.stamp >= GIVEN_UP and period(seen) != period(request.stamp)


def scopes_of(consumer: str) -> tuple[str, ...]:
    return (f"user:{consumer}", *ABOVE[consumer])


class Hooked:
    """Counts calls to Redis and runs something in between: a crash, another controller, traffic."""

    def __init__(self, at_call: int, action: Callable[[], None]) -> None:
        self.left = at_call
        self.action = action

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.action()


class Feed:
    """The world's metrics API behind the controller's interface."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.clock = world.clock
        self.uptimes = world.uptimes
        self.totals = world.totals

    def disconnect(self) -> None:
        """It has no connections."""

    def counters(
        self, meter: int, at: int, since: int | None, shard: Any, born: dict[Any, int]
    ) -> Iterator[tuple[Any, str, str, int]]:
        before = self.world.sums(since, meter) if since is not None else {}
        for (consumer, model), value in self.world.sums(at, meter, born.get(GATEWAY, 0)).items():
            if (consumer.partition(".")[0] in shard.projects) != shard.others and before.get(
                (consumer, model)
            ) != value:
                yield GATEWAY, consumer, model, value
