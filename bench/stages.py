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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.compiler import Compiled
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.mcpbridge import BLACKHOLE

from .tenants import BUILT_IN, CALLERS, OWN, UNMASKED, Caller

_DIRECT = "direct"
_PROVIDER = "bench-provider"
_HEADERS_TO_METADATA = "envoy.filters.http.header_to_metadata"
_KEY_AUTH = "stand-in.key-auth"
_LIMITS = "stand-in.limits"
_ENTRANCE = "identity-entrance"
GUARDS = (_ENTRANCE, "identity", "prompt-guard", "model-allowlist", "usage-guard")
"""The four guards; identity stands in the chain twice."""

_STAND_IN = "stand-in."
_ROUTE_NAMES = f"{_STAND_IN}route-names-for-"
AT_PROVIDER = "ai-proxy"
BARE, LISTENER = "bare Envoy", "routes and access log"


NO_GUARDS, ALL_GUARDS, NO_MASKING = "guards: none", "guards: + usage-guard", "masking: none"


def masking(engine: str) -> str:
    """Name of the stage with this masking engine alone."""
    return f"masking: {engine}"


def chain(engine: str) -> str:
    """Name of the stage with the whole chain and this masking engine."""
    return f"full chain, masking {engine}"


@dataclass(frozen=True, slots=True)
class Stage:
    """A listener of the measured gateway.

    `kind`: `step` (the one before it and one filter more), or what it is measured for: `guards`, `masking`, `chain`.
    `whole`: whether routes lead through ai-proxy, as compiled.
    """

    name: str
    kind: str
    filters: tuple[str, ...]
    caller: Caller = BUILT_IN
    whole: bool = False
    port: int = 0


@dataclass(frozen=True, slots=True)
class Gateway:
    """Files of the measured gateway and its listeners."""

    files: Mapping[str, str]
    stages: tuple[Stage, ...]


def plugin_of(filter_name: str) -> str:
    """Name the plugin a filter belongs to: shards are one plugin, a stand-in's second filter is the stand-in's."""
    if filter_name == _HEADERS_TO_METADATA:
        return _KEY_AUTH
    return re.sub(r"-\d+$", "", re.sub(r"^route-for-", _ROUTE_NAMES, filter_name))


def label(plugin: str) -> str:
    """How tables call a plugin."""
    return f"{plugin.removeprefix(_STAND_IN)} (stand-in)" if plugin.startswith(_STAND_IN) else plugin


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
    """Lay out the chain step by step, the guards step by step without the rest, and what else aims are about."""
    found = [*_chain_steps(plugins), *_guard_steps(plugins), *_masking_parts(plugins), *_chains(plugins)]
    return tuple(replace(stage, port=first_port + place) for place, stage in enumerate(found))


def _chain_steps(plugins: tuple[str, ...]) -> Iterator[Stage]:
    """Bare Envoy, then one plugin more a step; masking passes, or its cost would drown all others'."""
    yield Stage(BARE, "step", (), UNMASKED)
    yield Stage(LISTENER, "step", (), UNMASKED)
    for count, plugin in enumerate(plugins, start=1):
        yield Stage(f"+ {label(plugin)}", "step", plugins[:count], UNMASKED)
    yield Stage(f"+ {AT_PROVIDER}", "step", plugins, UNMASKED, whole=True)


def _guard_steps(plugins: tuple[str, ...]) -> Iterator[Stage]:
    """The guards alone, one more a step, over what tells them the consumer."""
    chosen: tuple[str, ...] = (_KEY_AUTH,)
    yield Stage(NO_GUARDS, "guards", chosen)
    for guard in (plugin for plugin in plugins if plugin in GUARDS):
        chosen = (*chosen, guard)
        yield Stage(f"guards: + {guard}", "guards", chosen)


def _masking_parts(plugins: tuple[str, ...]) -> Iterator[Stage]:
    # ai-data-masking needs its stand-in for route names: it is in all of them, so that it is in no difference.
    before = tuple(p for p in plugins if p in (_ENTRANCE, _KEY_AUTH, "identity", f"{_ROUTE_NAMES}{BUILT_IN.engine}"))
    yield Stage(NO_MASKING, "masking", before)
    for caller in _engines(plugins):
        yield Stage(masking(caller.engine), "masking", (*before, caller.engine), caller)


def _chains(plugins: tuple[str, ...]) -> Iterator[Stage]:
    """The whole chain as compiled, with each engine; also without the stand-in that is slower than the real thing."""
    for caller in (*_engines(plugins), UNMASKED):
        yield Stage(chain(caller.engine), "chain", plugins, caller, whole=True)
        without = tuple(plugin for plugin in plugins if plugin != _LIMITS)
        yield Stage(f"{chain(caller.engine)}, no limits", "chain", without, caller, whole=True)


def _engines(plugins: tuple[str, ...]) -> tuple[Caller, ...]:
    return tuple(caller for caller in (BUILT_IN, OWN) if caller.engine in plugins)


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
    measured = {caller.host for caller in CALLERS}
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
