"""One Envoy with a listener for every stage of the chain: stages share programs, policy and process.

So stages can be measured in turns, under the same conditions, and a difference between two is a filter's cost.
The filters, routes and policy are those compiled for the gateway; a stage only leaves filters out. Where ai-proxy is
left out, the measured Projects' routes lead straight to the provider, since without model-allowlist or ai-proxy
the gateway's own would lead nowhere.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.compiler import Compiled
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.mcpbridge import BLACKHOLE

from .tenants import BUILT_IN, OWN, Caller

_DIRECT = "direct"
_PROVIDER = "bench-provider"
_HEADERS_TO_METADATA = "envoy.filters.http.header_to_metadata"
_KEY_AUTH = "stand-in.key-auth"
_LIMITS = "stand-in.limits"
_ENTRANCE = "identity-entrance"
GUARDS = (_ENTRANCE, "identity", "prompt-guard", "model-allowlist", "usage-guard")
"""The four guards; identity stands in the chain twice."""

_LABELS = {
    _KEY_AUTH: "key-auth (stand-in)",
    _LIMITS: "ai-quota, ai-token-ratelimit (stand-in)",
}
AT_PROVIDER = "ai-proxy"
BARE, LISTENER = "bare Envoy", "routes and access log"


@dataclass(frozen=True, slots=True)
class Stage:
    """A listener of the measured gateway.

    `kind`: `step` (the one before it and one filter more) or `part` (measured for a difference of its own).
    """

    name: str
    kind: str
    port: int
    filters: tuple[str, ...]
    whole: bool = False
    """Whether routes lead through ai-proxy, as compiled."""
    caller: Caller = BUILT_IN


@dataclass(frozen=True, slots=True)
class Gateway:
    """Files of the measured gateway and its listeners."""

    files: Mapping[str, str]
    stages: tuple[Stage, ...]


def plugin_of(filter_name: str) -> str:
    """Name the plugin a filter belongs to: shards are one plugin, and what only notes the caller is key-auth's."""
    if filter_name == _HEADERS_TO_METADATA:
        return _KEY_AUTH
    return re.sub(r"-\d+$", "", filter_name)


def label(plugin: str) -> str:
    """How tables call a plugin."""
    return _LABELS.get(plugin, plugin)


def gateway(compiled: Compiled, first_port: int, config_dir: str, provider: tuple[str, int]) -> Gateway:
    """Lay out the listeners; ports count from `first_port`."""
    listeners = json.loads(compiled.files["lds.json"])["resources"]
    own = next(each for each in listeners if each["name"] == "gateway")
    filters = _http(own)["http_filters"]
    plugins = tuple(dict.fromkeys(plugin_of(each["name"]) for each in filters[:-1]))
    stages = _stages(plugins, first_port)
    measured = [_listener(own, stage, config_dir) for stage in stages]
    others = [each for each in listeners if each["name"] != "gateway"]
    clusters = json.loads(compiled.files["cds.json"])["resources"]
    files = dict(compiled.files)
    files["lds.json"] = _resources([*measured, *others])
    files["cds.json"] = _resources([*clusters, _provider_cluster(clusters, provider)])
    files["rds-direct.json"] = _resources([_direct_routes(json.loads(compiled.files["rds.json"])["resources"][0])])
    return Gateway(files, stages)


def _stages(plugins: tuple[str, ...], first_port: int) -> tuple[Stage, ...]:
    """Bare, then one plugin more a step; then the parts whose difference some aim is about."""
    found: list[tuple[str, str, tuple[str, ...], bool, Caller]] = [
        (BARE, "step", (), False, BUILT_IN),
        (LISTENER, "step", (), False, BUILT_IN),
    ]
    # The built-in engine's chain, then ours: each Project passes the other engine's filter untouched.
    for count, plugin in enumerate(plugins, start=1):
        found.append((f"+ {label(plugin)}", "step", plugins[:count], False, BUILT_IN))
    found.append((f"+ {AT_PROVIDER}", "step", plugins, True, BUILT_IN))
    keyed = tuple(p for p in plugins if p in (_ENTRANCE, _KEY_AUTH, "identity"))
    found += [
        ("guards: none", "part", (_KEY_AUTH,), False, BUILT_IN),
        ("guards: all four", "part", tuple(p for p in plugins if p in (*GUARDS, _KEY_AUTH)), False, BUILT_IN),
        ("masking: none", "part", keyed, False, BUILT_IN),
        ("masking: ai-data-masking", "part", (*keyed, BUILT_IN.engine), False, BUILT_IN),
        ("chain without the limits' stand-in", "part", tuple(p for p in plugins if p != _LIMITS), True, BUILT_IN),
    ]
    if OWN.engine in plugins:
        found += [
            ("masking: data-masking", "part", (*keyed, OWN.engine), False, OWN),
            ("chain with data-masking", "part", plugins, True, OWN),
            (
                "chain with data-masking, without the limits' stand-in",
                "part",
                tuple(p for p in plugins if p != _LIMITS),
                True,
                OWN,
            ),
        ]
    return tuple(
        Stage(name, kind, first_port + place, chosen, whole, caller)
        for place, (name, kind, chosen, whole, caller) in enumerate(found)
    )


def _listener(own: Mapping[str, Any], stage: Stage, config_dir: str) -> dict[str, Any]:
    listener = copy.deepcopy(dict(own))
    listener["name"] = f"stage-{stage.port}"
    listener["address"]["socket_address"]["port_value"] = stage.port
    http = _http(listener)
    *filters, router = http["http_filters"]
    http["http_filters"] = [*(f for f in filters if plugin_of(f["name"]) in stage.filters), router]
    if stage.name == BARE:
        del http["rds"], http["access_log"], http["local_reply_config"]
        http["route_config"] = {
            "name": "bare",
            "virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [_straight("any", {"prefix": "/"})]}],
        }
    elif not stage.whole:
        path = {"path": f"{config_dir}/rds-direct.json"}
        http["rds"] = {
            "route_config_name": _DIRECT,
            "config_source": {"path_config_source": path, "resource_api_version": "V3"},
        }
    return listener


def _http(listener: Mapping[str, Any]) -> dict[str, Any]:
    http: dict[str, Any] = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return http


def _direct_routes(routes: Mapping[str, Any]) -> dict[str, Any]:
    direct = copy.deepcopy(dict(routes))
    direct["name"] = _DIRECT
    measured = {caller.host for caller in (BUILT_IN, OWN)}
    for host in direct["virtual_hosts"]:
        if measured & set(host["domains"]):
            host["routes"] = [route | _straight(route["name"], route["match"]) for route in host["routes"]]
    return direct


def _straight(name: str, match: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "match": dict(match), "route": {"cluster": _PROVIDER, "timeout": "0s"}}


def _provider_cluster(clusters: Iterable[Mapping[str, Any]], provider: tuple[str, int]) -> dict[str, Any]:
    """Like the blackhole's cluster in everything but where it leads."""
    like = next(each for each in clusters if BLACKHOLE in each["name"])
    host, port = provider
    address = {"socket_address": {"address": host, "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        **like,
        "name": _PROVIDER,
        "type": "STATIC",
        "load_assignment": {"cluster_name": _PROVIDER, "endpoints": endpoints},
    }


def _resources(resources: list[Any]) -> str:
    return json.dumps({"version_info": "1", "resources": resources}, ensure_ascii=False, separators=(",", ":"))
