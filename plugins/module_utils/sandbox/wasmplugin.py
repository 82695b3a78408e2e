"""WasmPlugin objects: which filters a request passes, in which order, and the configuration each receives.

Facts: a real Higress 2.1.11 control plane's answers to the same objects (tests/sandbox/golden).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .problem import Problems, ProblemsOf
from .secretrefs import Secrets, resolve

HIGRESS_NAMESPACE = "higress-system"

_PHASES = ("AUTHN", "AUTHZ", "STATS", "UNSPECIFIED_PHASE")
_FAIL = {"FAIL_CLOSE": False, "FAIL_OPEN": True}
_PULL = ("UNSPECIFIED_POLICY", "IfNotPresent", "Always")
_SPEC_FIELDS = frozenset(
    {
        "url", "sha256", "phase", "priority", "failStrategy", "imagePullPolicy", "imagePullSecret", "pluginName",
        "defaultConfig", "defaultConfigDisable", "matchRules", "vmConfig", "pluginConfig",
    }
)  # fmt: skip
_RULE_FIELDS = frozenset({"config", "configDisable", "domain", "ingress", "service", "routeType"})
_MATCHES = {"ingress": "_match_route_", "domain": "_match_domain_", "service": "_match_service_"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCHEMES = ("oci", "http", "https", "file")


@dataclass(frozen=True, slots=True)
class Plugin:
    """A filter of the gateway: `received` is the JSON text it is configured with (None: no configuration)."""

    name: str
    program: str
    phase: str
    priority: int
    fail_open: bool
    root_id: str
    environment: tuple[tuple[str, str], ...]
    received: str | None

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration as a mapping, empty when there is none."""
        loaded: Mapping[str, Any] = json.loads(self.received) if self.received else {}
        return loaded


def read_plugins(objects: Iterable[Mapping[str, Any]], secrets: Secrets, problems: Problems) -> tuple[Plugin, ...]:
    """Plugins in the order in which a request meets them; those disabled everywhere are no filters at all."""
    read = [_read(obj, secrets, problems.at(obj)) for obj in objects]
    plugins = sorted((p for p in read if p is not None), key=lambda p: (_PHASES.index(p.phase), -p.priority, p.name))
    _refuse_ties(plugins, problems)
    return tuple(plugins)


def program_of(url: str) -> str:
    """The program a URL names: `oci://host/path/key-auth:2.0` and `file:///opt/key-auth.wasm` both give `key-auth`."""
    last = urlsplit(url).path.rsplit("/", 1)[-1]
    return re.sub(r"(\.wasm)?(@sha256:.*)?(:[^:]*)?$", "", last)


def _refuse_ties(plugins: list[Plugin], problems: Problems) -> None:
    places = Counter((p.phase, p.priority) for p in plugins)
    for plugin in plugins:
        if places[plugin.phase, plugin.priority] > 1:
            problems.at({"kind": "WasmPlugin", "metadata": {"namespace": HIGRESS_NAMESPACE, "name": plugin.name}}).add(
                "spec.priority",
                f"{plugin.priority} is used twice in phase {plugin.phase}: their order is random after a restart",
            )


def _read(obj: Mapping[str, Any], secrets: Secrets, problems: ProblemsOf) -> Plugin | None:
    metadata, spec = obj.get("metadata") or {}, obj.get("spec") or {}
    if metadata.get("namespace") != HIGRESS_NAMESPACE:
        problems.add("metadata.namespace", f"Higress reads WasmPlugins of {HIGRESS_NAMESPACE} only")
    problems.unknown("spec", spec, _SPEC_FIELDS)
    _check_enums(spec, problems)
    _check_source(spec, problems)
    configuration = _received(spec, secrets, problems)
    if configuration is _DISABLED:
        return None
    return Plugin(
        name=str(metadata.get("name", "")),
        program=program_of(str(spec.get("url", ""))),
        phase=spec.get("phase", "UNSPECIFIED_PHASE") if spec.get("phase") in _PHASES else "UNSPECIFIED_PHASE",
        priority=spec.get("priority", 0) if isinstance(spec.get("priority", 0), int) else 0,
        fail_open=_FAIL.get(spec.get("failStrategy", "FAIL_CLOSE"), False),
        root_id=str(spec.get("pluginName", "")),
        environment=_environment(spec.get("vmConfig") or {}, problems),
        received=None if configuration is None else as_received(configuration),
    )


def _check_enums(spec: Mapping[str, Any], problems: ProblemsOf) -> None:
    for name, allowed in (("phase", _PHASES), ("failStrategy", tuple(_FAIL)), ("imagePullPolicy", _PULL)):
        if name in spec and spec[name] not in allowed:
            problems.add(f"spec.{name}", f"{spec[name]!r} is not one of {', '.join(allowed)}")
    if not isinstance(spec.get("priority", 0), int):
        problems.add("spec.priority", "must be an integer")


def _check_source(spec: Mapping[str, Any], problems: ProblemsOf) -> None:
    url = str(spec.get("url", ""))
    if not url:
        problems.add("spec.url", "is missing: Higress would fetch `oci:` and block every plugin's update")
        return
    try:
        parts = urlsplit(url if "://" in url else f"oci://{url}")
        broken = (
            parts.scheme not in _SCHEMES or not parts.path.strip("/") or parts.port == -1 or bool(re.search(r"\s", url))
        )
    except ValueError:
        broken = True
    if broken:
        problems.add("spec.url", f"{url!r} is no URL (oci, http, https, file): Higress would discard the plugin")
    if "sha256" in spec and not _SHA256.fullmatch(str(spec["sha256"])):
        problems.add("spec.sha256", "must be 64 hexadecimal digits: Envoy would never load the plugin")


_DISABLED: Any = object()


def _received(spec: Mapping[str, Any], secrets: Secrets, problems: ProblemsOf) -> Any:
    """`defaultConfig` with the enabled rules as `_rules_`; _DISABLED when nothing of it is enabled."""
    rules = [_rule(rule, f"spec.matchRules[{i}]", problems) for i, rule in enumerate(spec.get("matchRules") or [])]
    kept = [rule for rule in rules if rule is not None]
    if "pluginConfig" in spec:
        if "defaultConfig" in spec or "matchRules" in spec:
            problems.add("spec.pluginConfig", "with it Higress ignores defaultConfig and matchRules: give one of them")
        return resolve(spec["pluginConfig"], secrets, "spec.pluginConfig", problems)
    default = None if spec.get("defaultConfigDisable") else spec.get("defaultConfig")
    if not kept and default is None:
        return _DISABLED if spec.get("defaultConfigDisable") else None
    config = resolve(dict(default or {}), secrets, "spec.defaultConfig", problems)
    if kept:
        config["_rules_"] = resolve(kept, secrets, "spec.matchRules", problems)
    return config


def _rule(rule: Mapping[str, Any], path: str, problems: ProblemsOf) -> dict[str, Any] | None:
    problems.unknown(path, rule, _RULE_FIELDS)
    if rule.get("routeType", "HTTP") != "HTTP":
        problems.add(f"{path}.routeType", "GRPC rules never match in Higress 2.2")
    matches = {key: list(rule[name]) for name, key in _MATCHES.items() if rule.get(name)}
    if not matches:
        problems.add(path, "matches nothing (ingress, domain or service): Higress would drop the whole update")
    if rule.get("configDisable"):
        return None
    return {**(rule.get("config") or {}), **matches}


def _environment(vm: Mapping[str, Any], problems: ProblemsOf) -> tuple[tuple[str, str], ...]:
    pairs = []
    for i, entry in enumerate(vm.get("env") or []):
        if entry.get("valueFrom", "INLINE") != "INLINE":
            problems.add(f"spec.vmConfig.env[{i}].valueFrom", "the sandbox hands down no variables of its host")
        pairs.append((str(entry.get("name", "")), str(entry.get("value", ""))))
    return tuple(sorted(pairs))


def as_received(config: Any) -> str:
    """JSON as it arrives: keys sorted, every number a double (integers above 2^53 rounded, 1.0 written 1)."""
    return json.dumps(_as_doubles(config), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _as_doubles(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | dict | list):
        return value
    if isinstance(value, dict):
        return {str(k): _as_doubles(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_as_doubles(v) for v in value]
    number = float(value)
    return int(number) if math.isfinite(number) and number.is_integer() else number
