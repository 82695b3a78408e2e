"""Quotas from budgets, until the budget controller leases them: this is the one place that makes them up.

A consumer starts with floor(tightest budget above it in USD / dearest price per token among the models its group may
use). Spent quota is not given back: a balance that is there is left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ..spec import Budget, Price, Project, Site
from ..spec.model import PriceTier

UNLIMITED = 10**12
"""Tokens of a consumer with no budget above it."""

_MILLION = Decimal(1_000_000)
_PREFIX = "chat_quota:"


def seeds(site: Site, now: datetime) -> Mapping[str, int]:
    """Tokens each consumer starts with."""
    found = {}
    for project in site.projects:
        for identity in project.identities():
            group = project.groups[identity.group]
            org = site.gateway.orgs[project.org]
            budgets = (group.user(identity.user).budget, group.budget, project.budget, org.budget)
            dollars = [_amount(budget, project, now) for budget in budgets if budget]
            dearest = max(_rates(site, _models(project, group.models)))
            found[identity.consumer] = int(min(dollars) * _MILLION / dearest) if dollars and dearest else UNLIMITED
    return found


def _amount(budget: Budget, project: Project, now: datetime) -> Decimal:
    raised = budget.raised
    if raised and now.astimezone(ZoneInfo(project.timezone)).date() <= raised.until:
        return raised.usd
    return budget.usd


def _models(project: Project, aliases: Iterable[str]) -> Iterator[str]:
    for name in aliases:
        alias = project.models[name]
        for target in (*alias.targets, *((alias.fallback,) if alias.fallback else ())):
            yield target.model


def _rates(site: Site, models: Iterable[str]) -> Iterator[Decimal]:
    """USD per 1,000,000 tokens, every rate of every price that may hold for these models."""
    for model in models:
        for price in site.prices:
            if price.covers(model):
                yield from _all_rates(price)


def _all_rates(price: Price) -> Iterator[Decimal]:
    tiers: tuple[Price | PriceTier, ...] = (price, *price.tiers)
    for rates in tiers:
        for rate in (rates.input, rates.output, rates.cache_read, rates.cache_write):
            if rate is not None:
                yield rate


def give(client: Any, wanted: Mapping[str, int], *, dry: bool) -> dict[str, int]:
    """Set balances that are not there, in Redis; return those that were (`dry`: would be) set."""
    keys = {consumer: f"{_PREFIX}{consumer}" for consumer in wanted}
    there = client.mget(list(keys.values())) if keys else []
    missing = {consumer: wanted[consumer] for consumer, value in zip(keys, there, strict=True) if value is None}
    if dry:
        return missing
    return {consumer: tokens for consumer, tokens in missing.items() if client.set(keys[consumer], tokens, nx=True)}
