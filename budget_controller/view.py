"""The ledger as people look at it: one line per org, project, group and user, with everything a report shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from . import ledger, periods
from .config import Budget, Config
from .ledger import Page
from .run import reserved_value
from .store import CHUNK, Head, Store


@dataclass(slots=True)
class Line:
    """One level's standing in its current period. Amounts are pico-dollars, times seconds; None means no budget.

    ``leased`` is in balances, ``waiting`` is debited or held and not booked yet, both at the worst price. ``above``: a
    user's group, project and org.
    """

    kind: str
    name: str
    period: str
    zone: str
    began: int
    resets: int
    limit: int | None
    margin: int = 0
    spent: int = 0
    leased: int = 0
    waiting: int = 0
    unattributed: int = 0
    forecast: int = 0
    blocked: bool = False
    above: tuple[str, ...] = ()
    models: dict[str, int] = field(default_factory=dict)
    days: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int | None:
        """What is neither spent nor waiting; leases count as left, since they can be taken back."""
        return None if self.limit is None else self.limit - self.spent - self.waiting

    @property
    def scope(self) -> str:
        """``kind:name``."""
        return f"{self.kind}:{self.name}"


@dataclass(frozen=True, slots=True)
class View:
    """The whole ledger at ``at``; ``head`` is its own account of the last run."""

    at: int
    site: str
    head: Head
    lines: tuple[Line, ...]

    def of(self, kind: str) -> list[Line]:
        """Lines of one kind, most spent first."""
        return sorted((line for line in self.lines if line.kind == kind), key=lambda line: (-line.spent, line.name))

    def models(self) -> dict[str, int]:
        """Spend of the month by model, over all orgs."""
        found: dict[str, int] = {}
        for line in self.of("org"):
            for model, amount in line.models.items():
                found[model] = found.get(model, 0) + amount
        return dict(sorted(found.items(), key=lambda item: -item[1]))


def look(
    config: Config, store: Store, head: Head, now: int, progress: Callable[[str, int, int], None] = lambda *_: None
) -> View:
    """Read the whole ledger: every pool, and every consumer's page in chunks."""
    lines = {scope.id: _line(scope.id, scope.budget, scope.zone, now, config) for scope in config.scopes().values()}
    for name, sums in store.pools(lines).items():
        _fill_pool(lines[name], sums, now)
    blocked = {scope.id: True for group in config.groups if group.blocked for scope in group.scopes[:1]}
    for name in blocked:
        lines[name].blocked = True
    users: list[Line] = []
    members = list(config.consumers())
    for start in range(0, len(members), CHUNK):
        part = members[start : start + CHUNK]
        for row, (name, group) in zip(store.rows([name for name, _ in part]), part, strict=True):
            user = name.partition(".")[2]
            budget = group.budget_of(user)
            page = Page.load(row.page) if row.page is not None else Page(ledger.Path("", "", ""))
            line = _line(f"user:{name}", budget, budget.zone if budget else group.zone, now, config)
            line.blocked = group.is_blocked(user)
            line.above = (group.name, group.project, group.scopes[2].id.removeprefix("org:"))
            _fill_user(line, page, row.balance or 0, now)
            users.append(line)
            for scope in group.scopes:
                lines[scope.id].waiting += line.waiting
                lines[scope.id].leased -= line.waiting
        progress("consumers", min(len(members), start + CHUNK), len(members))
    return View(now, config.site, head, (*lines.values(), *users))


def _line(scope: str, budget: Budget | None, zone: str, now: int, config: Config) -> Line:
    kind, _, name = scope.partition(":")
    period = budget.period if budget else "month"
    zone = zone or config.zone
    return Line(
        kind=kind,
        name=name,
        period=period,
        zone=zone,
        began=periods.start(now, period, zone),
        resets=periods.end(now, period, zone),
        limit=budget.limit_at(now) if budget else None,
        margin=budget.margin if budget else 0,
    )


def _fill_pool(line: Line, sums: dict[str, int], now: int) -> None:
    month = periods.key(now, "month", line.zone)
    line.spent = sums.get(f"s:{periods.key(now, line.period, line.zone)}", 0)
    line.leased = reserved_value(sums)
    prefix = f"m:{month}:"
    line.models = {name[len(prefix) :]: amount for name, amount in sums.items() if name.startswith(prefix) and amount}
    line.days = {name[2:]: amount for name, amount in sums.items() if name.startswith("s:") and len(name) == 12}
    line.unattributed = line.models.get(ledger.UNATTRIBUTED, 0)
    line.forecast = _forecast(line, now)


def _fill_user(line: Line, page: Page, balance: int, now: int) -> None:
    month = periods.key(now, "month", line.zone)
    line.spent = ledger.spent(page, now, line.period, line.zone)
    line.leased = max(0, balance) * page.worst
    line.waiting = page.reserved(0) * page.worst
    line.models = {model: amount for model, amount in page.models.get(month, {}).items() if amount}
    line.days = {key: amount for key, amount in page.booked.items() if len(key) == 10 and "W" not in key}
    line.unattributed = line.models.get(ledger.UNATTRIBUTED, 0)
    line.forecast = _forecast(line, now)


def _forecast(line: Line, now: int) -> int:
    """Spend at the period's end if it goes on as it did; at least an hour is taken to have passed."""
    return line.spent * (line.resets - line.began) // max(3600, now - line.began)
