"""What runs at a provider: ai-proxy, whose rules are by service, with the one rule that holds there.

Stock Envoy tells plugins the cluster only when it is called, so the rule is chosen here. Configurations stand in the
listener itself: Envoy takes an inotify instance for each file it watches, and Linux gives a user 128 of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .mcpbridge import Service
from .wasmplugin import Plugin


@dataclass(frozen=True, slots=True)
class AtProvider:
    """A plugin's rules by service, read once: `places` has the first rule for each name of a service."""

    plugin: Plugin
    default: Mapping[str, Any]
    rules: tuple[Mapping[str, Any], ...]
    places: Mapping[str, int]

    @classmethod
    def of(cls, plugin: Plugin) -> AtProvider:
        """Read a plugin whose rules are all by service."""
        default = dict(plugin.config)
        rules = tuple(default.pop("_rules_", ()))
        places: dict[str, int] = {}
        for place, rule in enumerate(rules):
            for name in rule.get("_match_service_", ()):
                places.setdefault(name, place)
        return cls(plugin, default, rules, places)

    def config_for(self, service: Service) -> dict[str, Any]:
        """Give what holds at a service: the default, and over it the first rule that names the service."""
        names = (service.host, f"{service.host}:{service.port}")
        found = [self.places[name] for name in names if name in self.places]
        rule = self.rules[min(found)] if found else {}
        return {**self.default, **{name: value for name, value in rule.items() if name != "_match_service_"}}
