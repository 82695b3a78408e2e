"""Stand-in for Higress's key-auth: Envoy's `api_key_auth` filter, configured from the very WasmPlugin.

Where the two differ the object is refused: Envoy takes `Bearer KEY` and `KEY` in a header for the same credential,
so a consumer must have both or neither form (key-auth compares whole values).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .matching import RuleTable
from .problem import ProblemsOf

_BEARER = "Bearer "
_FORWARDING = {"header": "x-mse-consumer"}
_FIELDS = frozenset({"consumers", "keys", "in_header", "in_query", "global_auth", "_rules_"})


@dataclass(frozen=True, slots=True)
class KeyAuth:
    """Who may come in: `credentials` maps a key, without `Bearer `, to its consumer."""

    credentials: Mapping[str, str]
    headers: tuple[str, ...]
    everyone: bool
    """Whether a route without a rule asks for a known key (True) or for none at all (False)."""
    rules: RuleTable


def read_key_auth(config: Mapping[str, Any], problems: ProblemsOf) -> KeyAuth:
    """Read the configuration key-auth receives."""
    problems.unknown("spec.defaultConfig", config, _FIELDS)
    consumers = config.get("consumers") or []
    if not consumers:
        problems.add("spec.defaultConfig.consumers", "is empty: key-auth would refuse its whole configuration")
    if config.get("in_query") or config.get("in_header") is not True:
        problems.add("spec.defaultConfig.in_header", "keys must be sought in headers, and only there")
    rules = RuleTable.of(config, problems)
    for where, rule in rules.all:
        if not rule.get("allow"):
            problems.add(f"spec.{where}.config.allow", "is empty: key-auth would refuse its whole configuration")
    return KeyAuth(
        credentials=_credentials(consumers, problems),
        headers=tuple(str(key).lower() for key in config.get("keys") or []),
        everyone=config.get("global_auth") is True,
        rules=rules,
    )


def _credentials(consumers: Iterable[Mapping[str, Any]], problems: ProblemsOf) -> Mapping[str, str]:
    seen: Counter[str] = Counter()
    credentials: dict[str, str] = {}
    for i, consumer in enumerate(consumers):
        given = [str(c) for c in consumer.get("credentials") or [consumer.get("credential", "")]]
        seen.update(given)
        bare = {c.removeprefix(_BEARER) for c in given}
        path = f"spec.defaultConfig.consumers[{i}]"
        if "" in bare:
            problems.add(path, "has no credential")
        if any(c.startswith(_BEARER) for c in given) and {_BEARER + c for c in bare} | bare != set(given):
            problems.add(path, "has one of `Bearer KEY` and `KEY` only: this stand-in would accept both")
        if any(seen[c] > 1 for c in given):
            problems.add(path, "shares a credential: key-auth would refuse its whole configuration")
        credentials |= dict.fromkeys(bare, str(consumer.get("name")))
    return credentials


def credentials_filter(auth: KeyAuth) -> dict[str, Any]:
    """Envoy's `ApiKeyAuth`; the header key-auth adds, the credential left in place as key-auth leaves it."""
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
        "credentials": [{"key": key, "client": name} for key, name in sorted(auth.credentials.items())],
        "key_sources": [{"header": header} for header in auth.headers],
        "forwarding": _FORWARDING,
    }


def route_filter(auth: KeyAuth, route: str, host: str) -> dict[str, Any] | None:
    """Envoy's per-route part: who is allowed here; None where any known key is."""
    rule = auth.rules.find(route, host)
    if rule is not None:
        return {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuthPerRoute",
            "allowed_clients": sorted(rule["allow"]),
            "forwarding": _FORWARDING,
        }
    if auth.everyone:
        return None
    return {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
