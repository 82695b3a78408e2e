"""What the limits say of one request: pure, apart from the file the rules are read from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox import limits
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.matching import RuleTable
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.problem import Problems

_READERS = {"ai-quota": limits.read_quota, "ai-token-ratelimit": limits.read_limit}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer in the real plugin's words."""

    status: int
    body: str
    content_type: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()


NO_CONSUMER = Refusal(401, "Request denied by ai quota check. No Key Authentication information found.")
NO_QUOTA = Refusal(403, "Request denied by ai quota check, No quota left")


@dataclass(frozen=True, slots=True)
class Check:
    """Counters to look at for one request, in the order of the chain."""

    consumer: str
    quota: str | None
    counters: tuple[limits.Counter, ...]
    refusals: tuple[limits.Limit, ...]
    """The limit behind each counter, for its refusal."""

    @property
    def debit(self) -> str:
        """What the usage service has to debit, as JSON: the quota's key, then [key, tokens, seconds] a window."""
        return json.dumps([self.quota, [[c.key, c.tokens, c.seconds] for c in self.counters]], separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class _Plugin:
    default: Any
    rules: Sequence[Any]
    table: RuleTable

    def for_route(self, route: str, host: str) -> Any:
        """Give the configuration in force for a request, None when the plugin has none for it."""
        place = self.table.by_route.get(route)
        if place is not None and not self.table.by_domain:
            return self.rules[place]
        rule = self.table.find(route, host)
        if rule is None:
            return self.default
        return self.rules[next(i for i, (_, each) in enumerate(self.table.all) if each is rule)]


@dataclass(frozen=True, slots=True)
class Rules:
    """All limits at one place in the chain."""

    plugins: tuple[_Plugin, ...]

    @classmethod
    def of(cls, run: Sequence[Mapping[str, Any]]) -> Rules:
        """Read what the compiler wrote for one place; it has checked it."""
        problems = Problems()
        return cls(
            tuple(
                _Plugin(*limits.read_scoped(entry["config"], _READERS[entry["program"]], problems.at({})))
                for entry in run
            )
        )

    def check(self, route: str, host: str, path: str, headers: Mapping[str, str]) -> Check | Refusal:
        """Name the counters a request is checked against."""
        consumer = headers.get(limits.CONSUMER_HEADER, "")
        quota: str | None = None
        counters: list[limits.Counter] = []
        refusals: list[limits.Limit] = []
        for plugin in self.plugins:
            rule = plugin.for_route(route, host)
            if isinstance(rule, limits.Quota):
                if not consumer:
                    return NO_CONSUMER
                quota = rule.key(consumer, path.partition("?")[0])
            elif isinstance(rule, limits.Limit):
                counter = rule.counter(headers)
                if counter is not None:
                    counters.append(counter)
                    refusals.append(rule)
        return Check(consumer, quota, tuple(counters), tuple(refusals))


def verdict(check: Check, balance: bytes | None, windows: Sequence[tuple[int, int]]) -> Refusal | None:
    """Judge what Redis holds: the quota's balance, and (left, seconds to reset) a window."""
    if check.quota is not None and not _above_zero(balance):
        return NO_QUOTA
    for limit, (left, reset) in zip(check.refusals, windows, strict=True):
        if left < 0:
            return Refusal(limit.status, limit.message, headers=(("x-tokenratelimit-reset", str(reset)),))
    return None


def _above_zero(balance: bytes | None) -> bool:
    try:
        return balance is not None and int(balance) > 0
    except ValueError:
        return False


class RulesFile:
    """The compiler's file, read again whenever it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] = (0, 0)
        self._places: tuple[Rules, ...] = ()

    def place(self, index: int) -> Rules:
        """Give the rules in force at a place in the chain."""
        stat = self._path.stat()
        seen = (stat.st_mtime_ns, stat.st_ino)
        if seen != self._seen:
            self._places = tuple(Rules.of(run) for run in json.loads(self._path.read_text("utf-8")))
            self._seen = seen
        return self._places[index]
