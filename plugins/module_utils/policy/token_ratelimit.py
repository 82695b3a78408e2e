"""Higress's ai-token-ratelimit, one object per level.

Up to 2.2.3 only the first matching item of an object counts, from 2.2.4 on all of them: with one level per
object, and each header value in one item, both say the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Literal

from ..members import Tenant
from ..spec import Project, Site, TokenLimit
from .plugin import Config, Plugin, Rule
from .redis_service import redis_service

Level = Literal["user", "group", "project"]
_PER = {"second": "a second", "minute": "a minute", "hour": "an hour", "day": "a day"}
_WINDOW_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def _user_limits(tenant: Tenant) -> Iterator[tuple[str, TokenLimit]]:
    for member in tenant.members:
        if member.settings.token_limit:
            yield member.identity.user, member.settings.token_limit


def _group_limits(tenant: Tenant) -> Iterator[tuple[str, TokenLimit]]:
    for name, group in sorted(tenant.project.groups.items()):
        if group.token_limit:
            yield name, group.token_limit


def _project_limits(tenant: Tenant) -> Iterator[tuple[str, TokenLimit]]:
    project = tenant.project
    if project.token_limit:
        yield project.project, project.token_limit


_LIMITS: Mapping[Level, Callable[[Tenant], Iterator[tuple[str, TokenLimit]]]] = {
    "user": _user_limits,
    "group": _group_limits,
    "project": _project_limits,
}


def _refusal(project: Project, level: Level, limits: dict[str, TokenLimit]) -> str:
    """The OpenAI error object. The plugin has one message per rule, so several limits are listed."""
    amounts = sorted({f"{limit.tokens:,} tokens {_PER[limit.per]}" for limit in limits.values()})
    longest = max(_WINDOW_SECONDS[limit.per] for limit in limits.values())
    error = {
        "message": f"The token limit of your {level} in Project {project.project} is used up ({' or '.join(amounts)}). "
        f"It resets by itself, at the latest in {longest} s: retry then, or ask the Project's owner for more.",
        "type": "rate_limit_error",
        "code": "token_limit_exceeded",
        "param": None,
        "gate": f"ai-token-ratelimit-{level}",
        "limit": amounts,
        "resets_within_seconds": longest,
    }
    return json.dumps({"error": error})


def _rule(site: Site, rule_name: str, level: Level, limits: dict[str, TokenLimit], message: str) -> Config:
    keys = [{"key": name, f"token_per_{limit.per}": limit.tokens} for name, limit in limits.items()]
    return {
        "rule_name": rule_name,
        "rule_items": [{"limit_by_header": f"x-dev-{level}", "limit_keys": keys}],
        "rejected_code": 429,
        "rejected_msg": message,
        "redis": redis_service(site),
    }


def _rules(level: Level, site: Site, tenant: Tenant) -> Iterator[Rule]:
    limits = dict(_LIMITS[level](tenant))
    if limits:
        message = _refusal(tenant.project, level, limits)
        yield Rule(_rule(site, f"{tenant.project.project}.{level}", level, limits, message))


def _plugin(level: Level, priority: int) -> Plugin:
    idle: Config = {
        "rule_name": f"idle.{level}",
        "rule_items": [{"limit_by_header": "x-dev-user", "limit_keys": [{"key": "nobody--", "token_per_day": 1}]}],
        "redis": {"service_name": "redis.static", "service_port": 6379},
    }
    name = f"ai-token-ratelimit-{level}"
    return Plugin(name, "ai-token-ratelimit", "2.0.0", "UNSPECIFIED_PHASE", priority, partial(_rules, level), idle=idle)


USER_LIMIT = _plugin("user", 603)
GROUP_LIMIT = _plugin("group", 602)
PROJECT_LIMIT = _plugin("project", 601)
