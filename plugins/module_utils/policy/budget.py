"""The budget controller's document: budgets, members, models and prices, from the specs of a site.

Where Redis and the metrics are, and every secret, is the deployment's affair and not in it. Amounts are decimal
strings, so that no reader makes floats of them. The document's fields are described in docs/budget.md.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from ..spec import Budget, Gateway, Group, Price, Project, Site
from ..spec.model import PriceTier
from .objects import Object, build
from .plugin import PolicyError, shard_of
from .quota import KEY_PREFIX

VERSION = 1
Json = dict[str, Any]
#: The ConfigMap with DOCUMENT; where that would be too large, ``NAME-<n>`` hold its Projects as ``projects-<n>.json``.
NAME = "budget-config"
DOCUMENT = "budget.json"
#: A ConfigMap holds 1 MiB; the rest is room for its metadata.
PART_BYTES = 900_000
#: So many numbered ConfigMaps the role mounts: about 500,000 users.
PARTS = 12


def budget_objects(site: Site) -> Iterator[Object]:
    """The document as ConfigMaps: one, or with its Projects in numbered ones beside it.

    A Project's part depends on its name only, and the document names the Projects of each part (``parts``: number ->
    names): so what changes for one Project is one ConfigMap, and a reader sees when a part is of another time.
    Raises PolicyError when a part is too large.
    """
    document = budget_config(site)
    if len(_text(document)) <= PART_BYTES:
        yield _config_map(site, NAME, DOCUMENT, _text(document))
        return
    parts = _parts(document.pop("projects"))
    texts = {number: _part_text(part) for number, part in parts.items()}
    document["parts"] = {str(number): list(part) for number, part in parts.items()}
    yield _config_map(site, NAME, DOCUMENT, _text(document))
    for number, text in texts.items():
        yield _config_map(site, f"{NAME}-{number}", f"projects-{number}.json", text)


def _config_map(site: Site, name: str, file: str, text: str) -> Object:
    return build("v1", "ConfigMap", name, site.gateway.site, data={file: text})


def _parts(projects: Json) -> dict[int, Json]:
    found: defaultdict[int, Json] = defaultdict(dict)
    for name, project in projects.items():
        found[shard_of(name, PARTS) + 1][name] = project
    return dict(sorted(found.items()))


def _part_text(part: Json) -> str:
    text = _text(part)
    if len(text) > PART_BYTES:
        largest = max(part, key=lambda name: len(_text(part[name])))
        raise PolicyError(
            f"projects/{largest}.yml: the budgets that it shares a ConfigMap with would be {len(text):,} bytes, "
            f"above {PART_BYTES:,}; split the Project"
        )
    return text


def _text(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))


def budget_config(site: Site) -> Json:
    """The document for SITE. Plain JSON values, the same for the same site."""
    gateway = site.gateway
    return {
        "version": VERSION,
        "site": gateway.site,
        "quota_prefix": KEY_PREFIX,
        "orgs": {
            name: {"zone": org.timezone} | _own(gateway, "budget", org.budget, org.timezone)
            for name, org in sorted(gateway.orgs.items())
        },
        "projects": {
            project.project: _project(gateway, project)
            for project in sorted(site.projects, key=lambda project: project.project)
        },
        "prices": [_price(price) for price in site.prices],
    }


def _project(gateway: Gateway, project: Project) -> Json:
    return {
        "org": project.org,
        "zone": project.timezone,
        "blocked": project.blocked or gateway.orgs[project.org].blocked,
        "groups": {name: _group(gateway, project, group) for name, group in sorted(project.groups.items())},
    } | _own(gateway, "budget", project.budget, project.timezone)


def _group(gateway: Gateway, project: Project, group: Group) -> Json:
    zone = project.timezone
    return (
        {"models": _models(project, group), "blocked": group.blocked, "users": _users(gateway, group, zone)}
        | _own(gateway, "budget", group.budget, zone)
        | _own(gateway, "member_budget", group.user_budget, zone)
    )


def _users(gateway: Gateway, group: Group, zone: str) -> Json:
    users: Json = {}
    for name, user in sorted(group.users.items()):
        blocked = {"blocked": True} if user and user.blocked else {}
        users[name] = _own(gateway, "budget", user.budget if user else None, zone) | blocked
    return users


def _models(project: Project, group: Group) -> list[str]:
    """Every provider's model that an alias of the group may end at, its fallback included."""
    found: set[str] = set()
    for alias in group.models:
        spec = project.models[alias]
        found |= {target.model for target in spec.targets}
        if spec.fallback:
            found.add(spec.fallback.model)
    return sorted(found)


def _own(gateway: Gateway, field: str, budget: Budget | None, zone: str) -> Json:
    if budget is None:
        return {}
    found: Json = {"usd": str(budget.usd), "period": budget.period, "zone": zone, "alerts": list(budget.alerts)}
    if gateway.in_flight_margin:
        found["margin_usd"] = str(gateway.in_flight_margin)
    if budget.raised:
        raised = budget.raised
        found["raise"] = {
            "usd": str(raised.usd),
            "until": _midnight(raised.until + timedelta(days=1), zone),
            "reason": raised.reason,
        }
    return {field: found}


def _price(price: Price) -> Json:
    found: Json = {"model": price.model, "pattern": "*" in price.model} | _rates(price)
    if price.valid_from:
        found["valid_from"] = _midnight(price.valid_from, "UTC")
    if price.valid_until:
        found["valid_until"] = _midnight(price.valid_until + timedelta(days=1), "UTC")
    if price.tiers:
        found["tiers"] = [_rates(tier) | {"above_input_tokens": tier.above_input_tokens} for tier in price.tiers]
    return found


def _rates(rates: Price | PriceTier) -> Json:
    amounts: dict[str, Decimal | None] = {
        "input": rates.input,
        "output": rates.output,
        "cache_read": rates.cache_read,
        "cache_write": rates.cache_write,
    }
    return {name: str(amount) for name, amount in amounts.items() if amount is not None}


def _midnight(day: date, zone: str) -> str:
    """The first moment of DAY in ZONE, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC).isoformat()
