"""Is the configuration sane? What parsing cannot refuse, but a person should know."""

from __future__ import annotations

from . import periods, standing
from .config import Config
from .money import usd


def check(config: Config, now: int) -> tuple[list[str], list[str]]:
    """(errors, warnings) as sentences that say where."""
    errors: list[str] = []
    warnings: list[str] = []
    found = standing.standings(config, now)
    for one in found.values():
        group = one.group
        for model in group.models:
            if config.book.find(model, now) is None:
                errors.append(f"group {group.id}: model {model} has no price now: nothing can be leased for it")
        if not group.models:
            errors.append(f"group {group.id}: has no models, so no lease can be valued")
        if not one.pools and any(group.budget_of(user) is None for user in group.users):
            errors.append(f"group {group.id}: some members have no budget at any level and are refused")
        request = config.worst_request_tokens * one.worst
        for scope in group.scopes:
            if scope.budget and standing.available(scope.budget, now) < request:
                warnings.append(
                    f"{scope.id}: {usd(standing.available(scope.budget, now))} USD do not pay for one worst-case request"  # noqa: E501
                    f" of {group.id} ({usd(request)} USD)"
                )
    spent: dict[str, int] = {}
    for name, crowded in standing.contended(found, now, spent).items():
        if crowded and any(scope.id == name for g in config.groups for scope in g.scopes):
            warnings.append(f"{name}: its members' budgets add up to more than it has; they share it by need")
    for price in config.book.prices:
        if price.valid_until is not None and price.valid_until < now:
            warnings.append(f"price of {price.model}: ended {periods.stamp(price.valid_until, config.zone)}")
        if price.tiers[0].rates[1] > price.tiers[0].rates[0]:
            warnings.append(f"price of {price.model}: a cached token costs more than a fresh one")
    return sorted(set(errors)), sorted(set(warnings))
