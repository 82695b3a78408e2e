"""One tick: book what was used since the last one, take back what is not needed, lease anew.

The tick is a chain of small atomic writes, each leaving a ledger that adds up: a page, the balance it goes with and
the pools' sums change together. Counters are booked by their values, never by "since last run", and a page knows up
to when it is booked, so a tick that is killed, doubled, late or lost in a fail-over is simply continued by the next.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from . import allocation, gateways, ledger, periods, standing
from .config import Budget, Config
from .errors import ClockError
from .gateways import OVERLAP, Usage
from .ledger import Booking, Page, Path
from .sources import Shard, Source, shared_out
from .standing import Standing, available
from .store import CHUNK, Batch, Head, Move, Row, Store

#: A clock further off than this from the metrics API's is wrong.
MAX_SKEW = 300
SHARD_CONSUMERS = 5_000
#: Balances moved without any counter are looked for among this many consumers per tick, in turn.
SCAN = 10_000

#: So long a model without a price is shown after its last use.
UNPRICED_SHOWN = 86_400

Progress = Callable[[str, int, int], None]
_T = TypeVar("_T")


@dataclass(slots=True)
class Summary:
    """What a tick did; tokens unless said otherwise. ``unpriced``: tokens by model without a price."""

    at: int
    active: int = 0
    booked: int = 0
    debited: int = 0
    counted: int = 0
    undebited: int = 0
    credited: int = 0
    granted: int = 0
    taken: int = 0
    restarts: int = 0
    unpriced: dict[str, int] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)
    witnesses: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    alerts: dict[str, dict[str, object]] = field(default_factory=dict)


def ledger_time(source: Source, now: int) -> int:
    """The ledger's clock is the one that stamps the samples: the metrics API's. This machine's only has to agree:
    raises ClockError when they are more than MAX_SKEW apart.
    """
    theirs = source.clock()
    if abs(theirs - now) > MAX_SKEW:
        raise ClockError(
            f"this clock says {now}, the metrics API's {theirs}: more than {MAX_SKEW} s apart, the period is in doubt"
        )
    return theirs


def tick(config: Config, store: Store, source: Source, now: int, progress: Progress = lambda *_: None) -> Summary:
    """Bring the ledger and the balances up to now (seconds). A missing ledger is rebuilt first."""
    at = ledger_time(source, now)
    head = store.open_ledger()
    if head is None or head.rebuilding:
        head = rebuild(config, store, source, at, progress)
    return _Tick(config, store, source, head, max(at, head.cursor), progress).run()


def rebuild(  # noqa: PLR0913, PLR0917
    config: Config, store: Store, source: Source, now: int, progress: Progress = lambda *_: None, hop: int = 21_600
) -> Head:
    """Write the ledger anew from the counters of all current periods. Balances are not touched, leases are void.

    What only Redis knew cannot come back: debits that never reached a counter, and thereby ``(unattributed)``.
    """
    begin = min(periods.start(now, "month", zone) for zone in config.zones()) - 7 * 86_400
    head = Head(cursor=begin)
    store.start_over(head)
    work = _Tick(config, store, source, head, begin, progress)
    work.baseline()
    hops = [*range(begin + hop, now, hop), now]
    for number, until in enumerate(hops):
        work.at = until
        work.count_only()
        head.cursor = until
        store.commit(Batch(head=head))
        progress("rebuild", number + 1, len(hops))
    head.rebuilding = False
    store.commit(Batch(head=head))
    return head


class _Tick:
    """The state of one tick."""

    def __init__(self, config: Config, store: Store, source: Source, head: Head, at: int, progress: Progress) -> None:  # noqa: PLR0913, PLR0917
        self.config, self.store, self.source, self.head, self.at = config, store, source, head, at
        self.progress = progress
        self.standings = standing.standings(config, at)
        self.group_of: dict[str, dict[str, Standing]] = {}
        for found in self.standings.values():
            users = self.group_of.setdefault(found.group.project, {})
            users.update(dict.fromkeys(found.group.users, found))
        self.rates = standing.unknown_rates(config, self.standings, at)
        self.scopes = config.scopes()
        self.summary = Summary(at)
        self.wants: list[allocation.Want] = []
        self.paths: list[Path] = []
        self.gateways = gateways.Gateways(head, source)
        self.sums: dict[str, dict[str, int]] = {}
        self.looked: set[str] = set()

    # -- the order of things -------------------------------------------------------------------------------------

    def run(self) -> Summary:
        changed = self._changed_groups()
        extra = self._members(changed) | self.store.open_consumers() | set(self._scan())
        self._count_until_now(extra)
        self.sums = self.store.pools(self.scopes)
        self._sweep()
        self._allocate()
        self.summary.witnesses = dict(self.source.totals(self.at))
        self._finish(changed)
        return self.summary

    def count_only(self) -> None:
        """Book counters up to ``at``, as a rebuild does: no balances, no leases. Time without any metrics is skipped."""  # noqa: E501
        steps, restarted = self._steps()
        if not self.head.processes and not self.source.totals(self.at):
            return
        before = self.head.cursor
        for step in steps:
            self._count(step, before, restarted, None)
            before = step

    def baseline(self) -> None:
        """Remember where the counters stood at ``at``; nothing of it is booked."""
        self._steps()
        for shard in self._shards():
            usage = self.gateways.read(shard, self.at, None)
            for names in _chunks(list(usage)):
                batch = Batch()
                for row in self.store.rows(names):
                    page = Page(self._path(row.consumer, None), at=self.at)
                    page.seen = {key: [max(0, v) for v in values] for key, values in usage[row.consumer].items()}
                    batch.pages.append((row.consumer, page.dump(), None))
                self.store.commit(batch)

    def _count_until_now(self, extra: set[str]) -> None:
        steps, restarted = self._steps()
        before = self.head.cursor
        for step in steps[:-1]:
            extra |= self._count(step, before, restarted, None)
            before = step
        self._count(steps[-1], before, restarted, extra)

    # -- reading -------------------------------------------------------------------------------------------------

    def _steps(self) -> tuple[list[int], list[int]]:
        steps = self.gateways.steps(self.at, self.config.zones())
        if self.gateways.unsaved:
            self.gateways.unsaved = False
            self.store.commit(Batch(head=self.head))
        return steps

    def _shards(self) -> Iterator[Shard]:
        part: list[str] = []
        size = 0
        for project in self.config.projects:
            members = len(self.group_of.get(project, ()))
            if part and size + members > SHARD_CONSUMERS:
                yield Shard(frozenset(part))
                part, size = [], 0
            part.append(project)
            size += members
        if part:
            yield Shard(frozenset(part))
        yield Shard(frozenset(self.config.projects), others=True)

    # -- booking -------------------------------------------------------------------------------------------------

    def _count(self, step: int, before: int, restarted: Sequence[int], extra: set[str] | None) -> set[str]:
        """Book the counters as of ``step``; with ``extra``, the last step, also balances and what time brings.

        Returns the consumers that counted: their leases are looked at in the end, also when their series are gone then.
        """
        counted: set[str] = set()
        since: int | None = before - OVERLAP
        if any(before - OVERLAP < moment <= step for moment in restarted):
            since = None  # a counter that restarted may show the same number again: read all of them
        shards = list(self._shards())
        others = dict(zip(shards, shared_out(extra or (), shards), strict=True))

        def stored(shard: Shard, usage: Usage) -> list[Row]:
            return self.store.rows([*usage, *sorted(name for name in others[shard] if name not in usage)])

        for usage, rows in self.gateways.read_each(shards, step, since, stored):
            counted.update(usage)
            self._commit_each(self._booked(rows, usage, step, final=extra is not None))
        return counted

    def _commit_each(self, batches: Iterable[Batch]) -> None:
        """Commit one batch after the other, each while the next is made."""
        writing: Future[list[int]] | None = None
        with ThreadPoolExecutor(1) as writer:
            for batch in batches:
                if writing:
                    writing.result()
                writing = writer.submit(self.store.commit, batch)
        if writing:
            writing.result()

    def _booked(
        self, rows: Sequence[Row], usage: Mapping[str, Mapping[str, list[int]]], step: int, *, final: bool
    ) -> Iterator[Batch]:
        for number, part in enumerate(_chunks(rows)):
            yield self._book(part, usage, step, final=final)
            self.progress("consumers", number * CHUNK, len(rows))

    def _book(
        self, rows: Sequence[Row], usage: Mapping[str, Mapping[str, list[int]]], step: int, *, final: bool
    ) -> Batch:
        batch = Batch()
        spent: dict[tuple[Path, int, str], int] = {}
        reserved: dict[tuple[Path, int], int] = {}
        find, limit = self.config.book.find, self.config.unattributed_after
        for row in rows:
            name = row.consumer
            page = Page.load(row.page) if row.page is not None else None
            path = self._path(name, page)
            page = page or Page(path)
            found = self._standing(name)
            zone = self._zone(name, found)
            left = row.left or 0
            _shift(reserved, page, -page.reserved(left))
            booking = Booking()
            if final:
                ledger.debit(page, row.left, row.balance, row.held, step, booking)
                left = row.balance or 0
            ledger.count(page, usage.get(name, {}), step, find, self._unknown_rate(path), zone, booking)
            if self.head.rebuilding:  # the debits of what is counted now went with the old ledger
                page.surplus.clear()
            if found is not None or not page.worst:
                page.worst = found.worst if found else self._unknown_rate(path)
            page.path = path
            if final:
                ledger.settle(page, step, limit, zone, booking)
                self._want(name, page, found, left)
                # A credit is set right by this run's allocation, or by the next one's should this run die before.
                looked_at_again = batch.members if page.open or booking.credited else batch.leavers
                looked_at_again.append(("budget:open", name))
            _shift(reserved, page, page.reserved(left))
            batch.pages.append((name, page.dump(), left if final else None))
            for entry in booking.entries:
                key = (path, entry.at, entry.model)
                spent[key] = spent.get(key, 0) + entry.amount
            self._note(name, booking, found)
        for (path, worst), tokens in reserved.items():
            for scope in path.scopes():
                batch.add(scope, f"r:{worst}", tokens)
        self._post(batch, spent)
        if self.gateways.unsaved:  # new process ids are stored with the first pages that use them
            batch.head, self.gateways.unsaved = self.head, False
        return batch

    def _post(self, batch: Batch, spent: Mapping[tuple[Path, int, str], int]) -> None:
        for (path, at, model), amount in spent.items():
            self.summary.booked += amount
            for scope in path.scopes():
                known = self.scopes.get(scope)
                month, week, day = periods.keys(at, known.zone if known else self.config.zone)
                for key in (month, week, day):
                    batch.add(scope, f"s:{key}", amount)
                batch.add(scope, f"m:{month}:{model}", amount)

    def _want(self, name: str, page: Page, found: Standing | None, balance: int) -> None:
        self.looked.add(name)
        user = name.partition(".")[2]
        budget = found.group.budget_of(user) if found else None
        own, waiting = None, page.reserved(0)
        if budget:
            own = available(budget, self.at) - ledger.spent(page, self.at, budget.period, budget.zone)
            own -= waiting * page.worst
        self.wants.append(
            allocation.Want(
                consumer=name,
                balance=balance,
                worst=page.worst,
                own=own,
                waiting=waiting,
                need=page.need,
                pools=found.pools if found else (),
                allowed=found is not None and found.allowed(user),
            )
        )
        self.paths.append(page.path)
        if budget and budget.alerts:
            self._alert(f"user:{name}", budget, ledger.spent(page, self.at, budget.period, budget.zone))

    # -- leasing -------------------------------------------------------------------------------------------------

    def _pools(self) -> dict[str, allocation.Pool]:
        spent = {}
        found: dict[str, allocation.Pool] = {}
        for scope in self.scopes.values():
            if scope.budget:
                sums = self.sums[scope.id]
                spent[scope.id] = sums.get(f"s:{periods.key(self.at, scope.budget.period, scope.budget.zone)}", 0)
                free = available(scope.budget, self.at) - spent[scope.id] - reserved_value(sums)
                found[scope.id] = allocation.Pool(free, 0, reserved_value(sums))
        crowded = standing.contended(self.standings, self.at, spent)
        for one in self.standings.values():
            for name in one.pools:
                found[name].members += len(one.group.users)
                found[name].contended = crowded[name]
        for want in self.wants:
            for name in want.pools:
                found[name].idle -= (want.usable + want.waiting) * want.worst
        for pool in found.values():
            pool.idle = max(0, pool.idle)
        return found

    def _sweep(self) -> None:
        """Look at the idle members of pools that must be shared out again."""
        pools = self._pools()
        names = allocation.sweeps(self.wants, pools) | {name for name in self.head.dry if self._recovered(name, pools)}
        extra = {
            f"{one.group.project}.{user}"
            for one in self.standings.values()
            if names.intersection(one.pools)
            for user in one.group.users
        } - self.looked
        self._commit_each(self._book(self.store.rows(part), {}, self.at, final=True) for part in _chunks(sorted(extra)))
        if extra:
            self.sums = self.store.pools(self.scopes)

    def _recovered(self, name: str, pools: Mapping[str, allocation.Pool]) -> bool:
        """Whether a pool that ran dry can pay for a request again."""
        if name not in pools:
            return False
        request = self.config.worst_request_tokens * min(
            one.worst for one in self.standings.values() if name in one.pools
        )
        return pools[name].free >= request and 2 * pools[name].free > pools[name].idle

    def _allocate(self) -> None:
        pools = self._pools()
        goals = allocation.targets(self.wants, pools, self.config.worst_request_tokens)
        back = allocation.takes(self.wants, goals, pools)
        moves = [(index, -tokens, 0) for index, tokens in enumerate(back) if tokens]
        for part in _chunks(moves):
            for (index, _, _), moved in zip(part, self.store.commit(self._moving(part)), strict=True):
                want = self.wants[index]
                self.summary.taken -= moved
                want.balance += moved
                for name in want.pools:
                    pools[name].free -= moved * want.worst
        given = allocation.grants(self.wants, goals, pools)
        moves = [
            (index, tokens + max(0, -self.wants[index].balance), tokens) for index, tokens in enumerate(given) if tokens
        ]
        self._commit_each(self._moving(part) for part in _chunks(moves))
        self.summary.granted += sum(given)
        self.head.dry = sorted(
            {
                name
                for want, goal, tokens in zip(self.wants, goals, given, strict=True)
                if want.allowed
                and not want.usable
                and tokens < max(goal, 1)
                and (want.own is None or want.own >= want.worst)
                for name in want.pools
            }
        )

    def _moving(self, moves: Sequence[tuple[int, int, int]]) -> Batch:
        """What carries out (want, delta, usable)."""
        batch = Batch()
        targets: dict[tuple[str, tuple[str, str, str]], int] = {}
        for index, delta, usable in moves:
            want = self.wants[index]
            target = (f"r:{want.worst}", self.paths[index].scopes())
            number = targets.setdefault(target, len(targets))
            batch.moves.append(Move(want.consumer, delta, usable, number))
        batch.targets = list(targets)
        return batch

    # -- the end -------------------------------------------------------------------------------------------------

    def _finish(self, changed: set[str]) -> None:
        self.sums = self.store.pools(self.scopes)
        for scope in self.scopes.values():
            if scope.budget:
                key = periods.key(self.at, scope.budget.period, scope.budget.zone)
                self._alert(scope.id, scope.budget, self.sums[scope.id].get(f"s:{key}", 0))
        batch = Batch()
        for group in changed:
            found = self.standings.get(group)
            names = {f"{found.group.project}.{user}" for user in found.group.users} if found else set()
            stored = self.store.members(group)
            batch.fields.append(("budget:prints", group, found.fingerprint if found else ""))
            key = f"budget:members:{group}"
            for part in _chunks(sorted(names - stored)):
                self.store.commit(Batch(members=[(key, name) for name in part]))
            for part in _chunks(sorted(stored - names)):
                self.store.commit(Batch(leavers=[(key, name) for name in part]))
        self.summary.active, self.summary.restarts = len(self.wants), self.gateways.restarts
        self.head.cursor = self.at
        self._remember_unpriced()
        self.head.last = {
            "at": self.at,
            "active": self.summary.active,
            "booked": self.summary.booked,
            "undebited": self.summary.undebited,
            "credited": self.summary.credited,
            "unpriced": sorted(self.summary.unpriced),
            "strangers": sorted(self.summary.strangers)[:100],
            "witnesses": [[*key, *value] for key, value in sorted(self.summary.witnesses.items())],
        }
        batch.head = self.head
        batch.alerts = [(name, json.dumps(document)) for name, document in self.summary.alerts.items()]
        self.store.commit(batch)

    def _remember_unpriced(self) -> None:
        """For a day, or until it has a price: a scrape of our metrics may come after several runs."""
        known = self.head.unpriced
        for model, tokens in self.summary.unpriced.items():
            known[model] = [self.at, tokens + known.get(model, (0, 0))[1]]
        for model, (seen, _) in list(known.items()):
            if seen < self.at - UNPRICED_SHOWN or self.config.book.find(model, self.at):
                del known[model]

    def _alert(self, scope: str, budget: Budget, spent: int) -> None:
        limit = budget.limit_at(self.at)
        for percent in budget.alerts:
            if spent * 100 >= limit * percent:
                key = periods.key(self.at, budget.period, budget.zone)
                self.summary.alerts[f"{scope}|{key}|{percent}"] = {
                    "scope": scope,
                    "period": key,
                    "percent": percent,
                    "spent": spent,
                    "limit": limit,
                    "at": self.at,
                    "delivered": None,
                }

    # -- looking up ----------------------------------------------------------------------------------------------

    def _standing(self, consumer: str) -> Standing | None:
        project, _, user = consumer.partition(".")
        return self.group_of.get(project, {}).get(user)

    def _path(self, consumer: str, page: Page | None) -> Path:
        """Where the consumer belongs: by the configuration, else where it last did, else by its name alone."""
        found = self._standing(consumer)
        if found is not None:
            return found.path
        if page is not None:
            return page.path
        project = consumer.partition(".")[0]
        for group in self.config.groups:
            if group.project == project:
                return Path(group.scopes[2].id.removeprefix("org:"), project, "")
        return Path("", "", "")

    def _zone(self, consumer: str, found: Standing | None) -> str:
        if found is None:
            return self.config.zone
        budget = found.group.budget_of(consumer.partition(".")[2])
        return budget.zone if budget else found.group.zone

    def _unknown_rate(self, path: Path) -> int:
        return self.rates.get(path.project, self.rates[""])

    def _changed_groups(self) -> set[str]:
        stored = self.store.prints()
        now = {name: found.fingerprint for name, found in self.standings.items()}
        return {name for name in stored.keys() | now.keys() if stored.get(name, "") != now.get(name, "")}

    def _members(self, groups: Iterable[str]) -> set[str]:
        names: set[str] = set()
        for name in groups:
            found = self.standings.get(name)
            names |= self.store.members(name)
            if found:
                names |= {f"{found.group.project}.{user}" for user in found.group.users}
        return names

    def _scan(self) -> list[str]:
        """Consumers, from the slice that is due, whose balance moved: nothing else may tell that they were active."""
        every = [f"{project}.{user}" for project, users in self.group_of.items() for user in users]
        size = max(SCAN, len(every) // 60)
        begin = self.head.scan if self.head.scan < len(every) else 0
        self.head.scan = begin + size
        return self.store.moved(every[begin : begin + size])

    def _note(self, name: str, booking: Booking, found: Standing | None) -> None:
        summary = self.summary
        summary.debited += booking.debited
        summary.counted += booking.counted
        summary.undebited += booking.undebited
        summary.credited += booking.credited
        for model, tokens in booking.unpriced.items():
            summary.unpriced[model] = summary.unpriced.get(model, 0) + tokens
        if found is None and booking.entries:
            summary.strangers.add(name)


def reserved_value(sums: Mapping[str, int]) -> int:
    """Pico-dollars that a pool's fields say are reserved."""
    return sum(int(name[2:]) * tokens for name, tokens in sums.items() if name.startswith("r:"))


def _shift(reserved: dict[tuple[Path, int], int], page: Page, tokens: int) -> None:
    if tokens:
        key = (page.path, page.worst)
        reserved[key] = reserved.get(key, 0) + tokens


def _chunks(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(items), CHUNK):
        yield items[start : start + CHUNK]
