"""What ai-quota and ai-token-ratelimit make of their configurations: the counters a request is checked against.

Pure, and used twice: the compiler refuses what the real plugins would refuse, and the stand-in service decides with it.
Facts about keys, statuses and defaults: Higress 2.2.3's plugins (a fixed window; the key's value is what is left).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .matching import RuleTable
from .problem import ProblemsOf

WINDOWS = {"token_per_second": 1, "token_per_minute": 60, "token_per_hour": 3600, "token_per_day": 86400}
CONSUMER_HEADER = "x-mse-consumer"

_DEFAULT_QUOTA_PREFIX = "chat_quota:"
_DEFAULT_QUOTA_PATHS = ("/v1/chat/completions", "/v1/messages")
_KINDS = (
    "limit_by_header", "limit_by_per_header", "limit_by_consumer", "limit_by_per_consumer",
)  # fmt: skip
_QUOTA_FIELDS = frozenset(
    {"admin_consumer", "admin_path", "redis_key_prefix", "redis", "enable_path_suffixes", "_rules_"}
)
_LIMIT_FIELDS = frozenset(
    {"rule_name", "global_threshold", "rule_items", "rejected_code", "rejected_msg", "redis", "_rules_"}
)


@dataclass(frozen=True, slots=True)
class Quota:
    """The balance of a consumer: refused when it is missing, no number, or not above 0."""

    prefix: str
    path_suffixes: tuple[str, ...]

    def key(self, consumer: str, path: str) -> str | None:
        """Give the balance's Redis key; None where ai-quota neither checks nor debits."""
        return self.prefix + consumer if path.endswith(self.path_suffixes) else None


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens allowed in a window of seconds, for requests whose header `header` is (or matches) `value`."""

    kind: str
    header: str
    value: re.Pattern[str] | str | None
    tokens: int
    seconds: int

    def takes(self, given: str) -> bool:
        """Whether a header's value falls under this limit."""
        if isinstance(self.value, re.Pattern):
            return self.value.search(given) is not None
        return self.value is None or self.value == given


@dataclass(frozen=True, slots=True)
class Counter:
    """One Redis counter of one request: `tokens` is what a new window starts with."""

    key: str
    tokens: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Limit:
    """One ai-token-ratelimit rule and how it refuses."""

    name: str
    windows: tuple[Window, ...]
    status: int
    message: str

    def counter(self, headers: Mapping[str, str]) -> Counter | None:
        """Give the counter of the first window that takes the request (to 2.2.3 only the first counts)."""
        for window in self.windows:
            if window.kind == "global_threshold":
                return Counter(
                    f"higress-token-ratelimit:{self.name}:global_threshold:{window.seconds}",
                    window.tokens,
                    window.seconds,
                )
            given = headers.get(window.header)
            if given is not None and window.takes(given):
                key = f"higress-token-ratelimit:{self.name}:{window.kind}:{window.seconds}:{window.header}:{given}"
                return Counter(key, window.tokens, window.seconds)
        return None


def read_quota(config: Mapping[str, Any], path: str, problems: ProblemsOf) -> Quota:
    """Read what ai-quota receives for a route, or globally."""
    problems.unknown(path, {k for k in config if not k.startswith("_match_")}, _QUOTA_FIELDS)
    _require(config, ("admin_consumer", "redis"), path, problems)
    suffixes = tuple(str(s) for s in config.get("enable_path_suffixes") or _DEFAULT_QUOTA_PATHS)
    return Quota(str(config.get("redis_key_prefix") or _DEFAULT_QUOTA_PREFIX), suffixes)


def read_limit(config: Mapping[str, Any], path: str, problems: ProblemsOf) -> Limit:
    """Read what ai-token-ratelimit receives for a route, or globally."""
    problems.unknown(path, {k for k in config if not k.startswith("_match_")}, _LIMIT_FIELDS)
    _require(config, ("rule_name", "redis"), path, problems)
    windows: list[Window] = []
    if config.get("global_threshold"):
        where = f"{path}.global_threshold"
        windows += _windows(("global_threshold", "", None), config["global_threshold"], where, problems)
    for i, item in enumerate(config.get("rule_items") or []):
        windows += _item(item, f"{path}.rule_items[{i}]", problems)
    if not windows:
        problems.add(path, "has neither global_threshold nor rule_items: the plugin would refuse its configuration")
    return Limit(
        str(config.get("rule_name", "")),
        tuple(windows),
        int(config.get("rejected_code", 429)),
        str(config.get("rejected_msg", "Too many requests")),
    )


def read_scoped(config: Mapping[str, Any], read: Any, problems: ProblemsOf) -> tuple[Any, Sequence[Any], RuleTable]:
    """Read the global configuration (None when there is none) and one per rule, with the table to find it."""
    table = RuleTable.of(config, problems)
    own = {k: v for k, v in config.items() if k != "_rules_"}
    default = read(own, "spec.defaultConfig", problems) if own else None
    return default, [read(rule, f"spec.{where}.config", problems) for where, rule in table.all], table


def _item(item: Mapping[str, Any], path: str, problems: ProblemsOf) -> list[Window]:
    kinds = [kind for kind in item if kind.startswith("limit_by_")]
    if len(kinds) != 1 or kinds[0] not in _KINDS:
        problems.add(path, f"must have exactly one of {', '.join(_KINDS)}: the stand-in knows no others")
        return []
    [kind] = kinds
    header = CONSUMER_HEADER if kind.endswith("consumer") else str(item[kind]).lower()
    windows: list[Window] = []
    for i, limit in enumerate(item.get("limit_keys") or []):
        where = f"{path}.limit_keys[{i}]"
        value = _value(str(limit.get("key", "")), "_per_" in kind, f"{where}.key", problems)
        windows += _windows((kind, header, value), limit, where, problems)
    if not windows:
        problems.add(f"{path}.limit_keys", "is empty: the plugin would refuse its configuration")
    return windows


def _value(key: str, per: bool, path: str, problems: ProblemsOf) -> re.Pattern[str] | str | None:
    if not per:
        return key
    if key == "*":
        return None
    try:
        return re.compile(key.removeprefix("regexp:"))
    except re.error as error:
        problems.add(path, f"{key!r} is no regular expression: {error}")
    finally:
        if not key.startswith("regexp:"):
            problems.add(path, f"{key!r} must be `*` or start with `regexp:`")
    return None


def _windows(
    matched: tuple[str, str, re.Pattern[str] | str | None], limit: Mapping[str, Any], path: str, problems: ProblemsOf
) -> list[Window]:
    given = [name for name in WINDOWS if name in limit]
    if len(given) != 1 or not isinstance(limit[given[0]], int) or limit[given[0]] <= 0:
        problems.add(path, f"must have exactly one of {', '.join(WINDOWS)}, above 0")
        return []
    return [Window(*matched, limit[given[0]], WINDOWS[given[0]])]


def _require(config: Mapping[str, Any], names: Sequence[str], path: str, problems: ProblemsOf) -> None:
    for name in names:
        if not config.get(name):
            problems.add(f"{path}.{name}", "is missing: the plugin would refuse its configuration")
