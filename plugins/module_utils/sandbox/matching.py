"""How a plugin finds its rule for a request: the first of `_rules_` that matches the route or the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .problem import ProblemsOf

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RuleTable:
    """The rules of one plugin, routes by hash; `all` holds each with its place in the object."""

    all: tuple[tuple[str, Config], ...]
    by_route: Mapping[str, int]
    by_domain: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, config: Config, problems: ProblemsOf | None = None) -> RuleTable:
        """Read `_rules_`; rules by service are a problem, since a stand-in decides before an upstream is chosen."""
        by_route: dict[str, int] = {}
        by_domain: list[tuple[str, int]] = []
        rules: list[tuple[str, Config]] = []
        for i, rule in enumerate(config.get("_rules_") or []):
            where = f"matchRules[{i}]"
            if "_match_service_" in rule and problems:
                problems.add(
                    f"spec.{where}.service", "a stand-in has no rules by service: match the route or the domain"
                )
            for route in rule.get("_match_route_") or []:
                by_route.setdefault(route, i)
            by_domain += [(domain, i) for domain in rule.get("_match_domain_") or []]
            rules.append((where, rule))
        return cls(tuple(rules), by_route, tuple(by_domain))

    def find(self, route: str, host: str) -> Config | None:
        """Give the first rule in order that matches; the host's port does not count."""
        name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
        places = [i for domain, i in self.by_domain if _domain_matches(domain, name)]
        if route in self.by_route:
            places.append(self.by_route[route])
        return self.all[min(places)][1] if places else None


def _domain_matches(pattern: str, host: str) -> bool:
    """`*suffix`, `prefix*` or exact, as wasm-go matches them."""
    if pattern.startswith("*"):
        return host.endswith(pattern[1:])
    if pattern.endswith("*"):
        return host.startswith(pattern[:-1])
    return pattern == host
