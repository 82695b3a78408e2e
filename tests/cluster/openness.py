"""Whether a site is open: judged from nothing but the objects on the API server, as the gateway would see them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.order import family
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import CHAIN

# Plugins without which no route may stand: some with a rule for the route, some for all routes alike.
GUARDING = ("key-auth", "identity", "prompt-guard", "model-allowlist", "usage-guard")
GUARDING_ALL = ("identity-entrance", "ai-quota")
_REFERENCE = re.compile(r"\$\{secret\.higress-system/([a-z0-9.-]+?)\.([a-z0-9._-]+)\}")


def openings(live: Iterable[dict[str, Any]]) -> list[str]:
    """Every way in which LIVE lets a request past a guard; empty when the site is safe."""
    objects = list(live)
    return sorted({*_unguarded_routes(objects), *_dangling_references(objects), *_dangling_upstreams(objects)})


def _of(objects: list[dict[str, Any]], kind: str) -> Iterator[dict[str, Any]]:
    return (item for item in objects if item["kind"] == kind)


def _unguarded_routes(objects: list[dict[str, Any]]) -> Iterator[str]:
    guarded: dict[str, set[str]] = {plugin.name: set() for plugin in CHAIN}
    shared: set[str] = set()
    for item in _of(objects, "WasmPlugin"):
        plugin, spec = family(item["metadata"]["name"]), item["spec"]
        if spec.get("failStrategy") != "FAIL_CLOSE":
            yield f"{plugin} fails open"
        if spec.get("defaultConfigDisable") is False:
            shared.add(plugin)
        for rule in spec.get("matchRules", ()):
            if not rule.get("configDisable"):
                guarded[plugin].update(rule.get("ingress", ()))
    for item in _of(objects, "Ingress"):
        route = item["metadata"]["name"]
        yield from (f"{route}: no {plugin}" for plugin in GUARDING_ALL if plugin not in shared)
        yield from (f"{route}: no {plugin}" for plugin in GUARDING if route not in guarded[plugin])
        yield from (
            f"{route}: {name} is allowed but unknown to key-auth" for name in _unknown_consumers(objects, route)
        )


def _unknown_consumers(objects: list[dict[str, Any]], route: str) -> set[str]:
    """A rule may only allow consumers of its own object's table, else Higress refuses the whole config."""
    found: set[str] = set()
    for item in _of(objects, "WasmPlugin"):
        if family(item["metadata"]["name"]) == "key-auth":
            table = {consumer["name"] for consumer in item["spec"]["defaultConfig"]["consumers"]}
            for rule in item["spec"].get("matchRules", ()):
                if route in rule.get("ingress", ()):
                    found |= set(rule["config"]["allow"]) - table - {"nobody--"}
    return found


def _dangling_references(objects: list[dict[str, Any]]) -> Iterator[str]:
    """A reference without its key stays as text, and that text is then a credential anybody can guess."""
    known = {(item["metadata"]["name"], name) for item in _of(objects, "Secret") for name in item.get("data") or {}}
    for item in _of(objects, "WasmPlugin"):
        for reference in _REFERENCE.findall(json.dumps(item["spec"])):
            if reference not in known:
                yield f"{item['metadata']['name']}: {'.'.join(reference)} is not there, its text is the credential"


def _dangling_upstreams(objects: list[dict[str, Any]]) -> Iterator[str]:
    upstreams = {
        f"{registry['name']}.{registry['type']}"
        for item in _of(objects, "McpBridge")
        for registry in item["spec"]["registries"]
    }
    for item in _of(objects, "Ingress"):
        for line in item["metadata"]["annotations"]["higress.io/destination"].splitlines():
            service = line.split()[-1].rpartition(":")[0]
            if service not in upstreams:
                yield f"{item['metadata']['name']}: {service} does not exist"
