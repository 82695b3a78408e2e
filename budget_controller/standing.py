"""What the configuration means at one moment: limits in force, worst prices, who may be let in. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from . import periods
from .config import Budget, Config, Group, Scope
from .ledger import Path

#: A lease may live this long before it is valued again, so prices that begin within it count as well.
HORIZON = 86_400


@dataclass(frozen=True, slots=True)
class Standing:
    """One group at one moment. ``worst`` is pico-dollars for the dearest token a member may use."""

    group: Group
    path: Path
    worst: int
    priced: bool
    pools: tuple[str, ...]
    fingerprint: str
    caps: int | None

    def allowed(self, user: str) -> bool:
        """Whether a member may hold a lease: priced models, some budget, no kill switch."""
        budgeted = bool(self.pools) or self.group.budget_of(user) is not None
        return self.priced and budgeted and not self.group.is_blocked(user)


def standings(config: Config, at: int) -> dict[str, Standing]:
    """Every group's standing, by group id."""
    found = {}
    site_worst = config.book.worst((p.model for p in config.book.prices), at, at + HORIZON) or 1
    for group in config.groups:
        worst = config.book.worst(group.models, at, at + HORIZON)
        org = group.scopes[2].id.removeprefix("org:")
        found[group.id] = Standing(
            group=group,
            path=Path(org, group.project, group.name),
            worst=worst or site_worst,
            priced=worst is not None,
            pools=tuple(scope.id for scope in group.scopes if scope.budget),
            fingerprint=_fingerprint(group, worst, at),
            caps=_caps(group, at),
        )
    return found


def unknown_rates(config: Config, found: Mapping[str, Standing], at: int) -> dict[str, int]:
    """What a token of a model without a price costs: the worst price of its project; key "" for strangers'."""
    rates: dict[str, int] = {}
    for standing in found.values():
        project = standing.group.project
        rates[project] = max(rates.get(project, 0), standing.worst)
    rates[""] = (
        max(rates.values(), default=0)
        or config.book.worst((p.model for p in config.book.prices), at, at + HORIZON)
        or 1
    )
    return rates


def available(budget: Budget, at: int) -> int:
    """What leases and spend together may come to in the period."""
    return budget.limit_at(at) - budget.margin


def contended(found: Mapping[str, Standing], at: int, spent: Mapping[str, int]) -> dict[str, bool]:
    """For each pool, whether its members' own budgets add up to more than it can pay."""
    caps: dict[str, int | None] = {}
    mixed: set[str] = set()
    result: dict[str, bool] = {}
    for level in range(3):
        done: set[str] = set()
        for standing in found.values():
            scopes = standing.group.scopes
            scope = scopes[level]
            below = standing.caps if level == 0 else caps[scopes[level - 1].id]
            child = _member_period(standing.group) if level == 0 else _period(scopes[level - 1])
            inner = "" if level == 0 else scopes[level - 1].id
            if inner in done:
                continue
            if inner:
                done.add(inner)
            if child != _period(scope) or inner in mixed:
                mixed.add(scope.id)
            known = caps.get(scope.id, 0)
            caps[scope.id] = None if known is None or below is None else known + below
        for standing in found.values():
            scope = standing.group.scopes[level]
            if scope.id in result or scope.budget is None:
                continue
            limit, sum_ = available(scope.budget, at), caps[scope.id]
            room = limit - spent.get(scope.id, 0) if scope.id in mixed else limit
            result[scope.id] = sum_ is None or sum_ > room
            caps[scope.id] = limit if sum_ is None else min(limit, sum_)
    return result


def _caps(group: Group, at: int) -> int | None:
    """What all members together may spend by their own budgets; None when one has none."""
    special = [user.budget for user in group.users.values() if user and user.budget]
    total = sum(available(budget, at) for budget in special)
    plain = len(group.users) - len(special)
    if plain and group.member_budget is None:
        return None
    return total + (plain * available(group.member_budget, at) if group.member_budget else 0)


def _period(scope: Scope) -> str | None:
    return f"{scope.budget.period}@{scope.budget.zone}" if scope.budget else None


def _member_period(group: Group) -> str | None:
    kinds = {f"{u.budget.period}@{u.budget.zone}" for u in group.users.values() if u and u.budget}
    if group.member_budget:
        kinds.add(f"{group.member_budget.period}@{group.member_budget.zone}")
    return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else None


def _fingerprint(group: Group, worst: int | None, at: int) -> str:
    """Changes when every member's lease must be looked at: limits, raises, periods, prices, blocks, members."""
    digest = hashlib.blake2b(digest_size=12)

    def put(*values: object) -> None:
        digest.update(repr(values).encode())

    put(worst, group.blocked, group.id, _budget_print(group.member_budget, at))
    for scope in group.scopes:
        put(scope.id, _budget_print(scope.budget, at))
    digest.update("\n".join(group.users).encode())
    for name, user in group.users.items():
        if user:
            put(name, user.blocked, _budget_print(user.budget, at))
    return digest.hexdigest()


def _budget_print(budget: Budget | None, at: int) -> tuple[object, ...] | None:
    if budget is None:
        return None
    return (budget.limit_at(at), budget.margin, periods.key(at, budget.period, budget.zone), budget.zone)
