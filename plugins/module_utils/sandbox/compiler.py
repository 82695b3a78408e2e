"""From Kubernetes objects to Envoy's files: the one way in, and pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ..policy.plugin import NO_ROUTE
from . import clusters, gateway, keyauth, limits
from .atprovider import AtProvider
from .fallback import Fallback, read_fallbacks
from .ingress import Route, read_routes
from .mcpbridge import BLACKHOLE, Service, read_services
from .problem import ObjectsRefusedError, Problems, ProblemsOf
from .secretrefs import read_secrets
from .settings import Settings
from .virtualhosts import virtual_hosts
from .wasmplugin import HIGRESS_NAMESPACE, Plugin, as_received, read_plugins

_WASM_TYPE = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"
_KEY_AUTH_TYPE = "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth"
_AUTHZ_TYPE = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
_AUTHZ_ROUTE_TYPE = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"

_KEY_AUTH = "key-auth"
_LIMITS = {"ai-quota": limits.read_quota, "ai-token-ratelimit": limits.read_limit}
_AT_PROVIDER = "ai-proxy"
_ROUTE_NAMES = "route-names"
_AUTHZ_SECONDS = "5s"
"""The service answers within a second by itself; a worker that takes up a new Go program can stand still for longer."""
_TOLD_ROUTES = ("ai-data-masking", "ai-statistics")
"""Higress's programs that ask for the route by Higress's name for it; our guards know stock Envoy's too."""
_KINDS = ("WasmPlugin", "Ingress", "McpBridge", "EnvoyFilter", "Secret", "ConfigMap")


@dataclass(frozen=True, slots=True)
class Compiled:
    """`files` maps a path under the configuration directory to its text; all of it may hold secrets.

    `versions` maps the same paths, as far as Envoy watches them, to the version Envoy must report.
    """

    files: Mapping[str, str]
    versions: Mapping[str, str]
    plugins: tuple[Plugin, ...]
    routes: tuple[Route, ...]


def compile_objects(objects: Iterable[Mapping[str, Any]], settings: Settings) -> Compiled:
    """Compile objects rendered for Higress, as Higress's control plane would, for stock Envoy.

    Raises ObjectsRefusedError with every object that Higress would drop, ignore or choke on.
    """
    problems = Problems()
    by_kind = _by_kind(objects, problems)
    secrets = read_secrets(by_kind["Secret"])
    services = read_services(by_kind["McpBridge"], problems)
    routes = read_routes(by_kind["Ingress"], services, problems)
    fallbacks = read_fallbacks(by_kind["EnvoyFilter"], routes, problems)
    plugins = read_plugins(by_kind["WasmPlugin"], secrets, problems)
    _check_rules(plugins, {route.name for route in routes}, services, problems)
    chain = _Chain.of(plugins, _providers(routes, services), settings, problems)
    if problems.found:
        raise ObjectsRefusedError(problems)
    listeners = chain.provider_listeners()
    resources = {
        "cds.json": _clusters(routes, fallbacks, listeners, services[BLACKHOLE], settings),
        "lds.json": [gateway.gateway_listener(chain.filters(), settings), *(listener for _, listener in listeners)],
        "rds.json": [_route_configuration(_asked_for(routes, fallbacks), fallbacks, chain)],
        **{path: [resource] for path, resource in chain.configurations().items()},
    }
    versions = {path: _version(content) for path, content in resources.items()}
    files = {path: _text({"version_info": versions[path], "resources": content}) for path, content in resources.items()}
    files["authz.json"] = _text(chain.limits)
    files["bootstrap.json"] = _text(gateway.bootstrap(settings))
    return Compiled(files, versions, plugins, routes)


def _by_kind(objects: Iterable[Mapping[str, Any]], problems: Problems) -> Mapping[str, list[Mapping[str, Any]]]:
    by_kind: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in _KINDS}
    for obj in objects:
        kind = str(obj.get("kind"))
        if kind in by_kind:
            by_kind[kind].append(obj)
        else:
            problems.at(obj).add("kind", f"the sandbox has no place for it; it takes {', '.join(_KINDS)}")
    return by_kind


def _check_rules(
    plugins: Iterable[Plugin], routes: set[str], services: Mapping[str, Service], problems: Problems
) -> None:
    """A rule for a route or service that is not there would silently never match; policy has one that is meant so."""
    for plugin in plugins:
        of = _of(plugin, problems)
        for i, rule in enumerate(plugin.config.get("_rules_") or []):
            for route in rule.get("_match_route_") or []:
                if route not in routes and route != NO_ROUTE:
                    of.add(f"spec.matchRules[{i}].ingress", f"no route is called {route!r}: the rule would never match")
            for service in rule.get("_match_service_") or []:
                host, _, port = service.partition(":")
                if host not in services or (port and int(port) != services[host].port):
                    of.add(
                        f"spec.matchRules[{i}].service", f"there is no service {service!r}: the rule would never match"
                    )


def _of(plugin: Plugin, problems: Problems) -> ProblemsOf:
    return problems.at({"kind": "WasmPlugin", "metadata": {"namespace": HIGRESS_NAMESPACE, "name": plugin.name}})


@dataclass(frozen=True, slots=True)
class _Chain:
    """The gateway's filters in order: Wasm plugins, the stand-ins, and ai-proxy apart."""

    settings: Settings
    plugins: tuple[Plugin, ...]
    at_provider: tuple[AtProvider, ...]
    providers: tuple[Service, ...]
    auth: tuple[tuple[Plugin, keyauth.KeyAuth], ...]
    limits: Sequence[Sequence[Mapping[str, Any]]]
    """What the limits' stand-in reads: for each of its places in the chain, the plugins it stands for there."""

    @classmethod
    def of(
        cls, plugins: tuple[Plugin, ...], providers: tuple[Service, ...], settings: Settings, problems: Problems
    ) -> _Chain:
        for plugin in plugins:
            _check_program(plugin, settings, _of(plugin, problems))
        auth = tuple((p, keyauth.read_key_auth(p.config, _of(p, problems))) for p in plugins if p.program == _KEY_AUTH)
        runs = [list(run) for is_limit, run in groupby(plugins, key=lambda p: p.program in _LIMITS) if is_limit]
        return cls(
            settings,
            tuple(p for p in plugins if p.program != _AT_PROVIDER),
            tuple(AtProvider.of(p) for p in plugins if p.program == _AT_PROVIDER),
            providers,
            auth,
            [[{"program": p.program, "name": p.name, "config": p.config} for p in run] for run in runs],
        )

    def configurations(self) -> dict[str, dict[str, Any]]:
        """File -> the configuration of one filter."""
        found = {_file(p.name): _extension(p.name, self._wasm(p, p.received)) for p in self.plugins if _is_wasm(p)}
        for plugin, auth in self.auth:
            name = _stand_in(plugin.name)
            found[_file(name)] = _extension(name, keyauth.credentials_filter(auth))
        for i, _ in enumerate(self.limits):
            found[_file(_limits_name(i))] = _extension(_limits_name(i), self._authz(i))
        return found

    def filters(self) -> list[dict[str, Any]]:
        """The gateway's filters, the limits that stand side by side as one."""
        filters: list[dict[str, Any]] = []
        place = 0
        for is_limit, run in groupby(self.plugins, key=lambda p: p.program in _LIMITS):
            if is_limit:
                filters.append(self._discovered(_limits_name(place), _AUTHZ_TYPE))
                place += 1
                continue
            for plugin in run:
                if plugin.program == _KEY_AUTH:
                    filters.append(self._discovered(_stand_in(plugin.name), _KEY_AUTH_TYPE))
                    if plugin == self.auth[-1][0]:
                        filters.append(gateway.caller_filter())
                    continue
                if plugin.program in _TOLD_ROUTES:
                    filters += [gateway.route_filter(plugin.name), self._route_names(plugin)]
                filters.append(self._discovered(plugin.name, _WASM_TYPE))
        return filters

    def _route_names(self, plugin: Plugin) -> dict[str, Any]:
        """Stand-in for Higress's properties of the route, in front of a Higress program that asks for them."""
        return {"name": f"stand-in.{_ROUTE_NAMES}-for-{plugin.name}", "typed_config": self._program(_ROUTE_NAMES)}

    def provider_listeners(self) -> list[tuple[Service, dict[str, Any]]]:
        """Providers, and what stands in front: the plugins (shards of one) that have something to do there."""
        return [(s, clusters.provider_listener(s, self._provider_filters(s), self.settings)) for s in self.providers]

    def _provider_filters(self, service: Service) -> list[dict[str, Any]]:
        configs = [(at.plugin, at.config_for(service)) for at in self.at_provider]
        return [
            {"name": plugin.name, "typed_config": self._wasm(plugin, as_received(config))}
            for plugin, config in configs
            if config
        ]

    def per_route(self, route: Route) -> Mapping[str, Any]:
        """What the stand-ins need to know of a route."""
        configs: dict[str, Any] = {}
        for plugin, auth in self.auth:
            config = keyauth.route_filter(auth, route.name, route.host)
            if config is not None:
                configs[_stand_in(plugin.name)] = config
        for i, _ in enumerate(self.limits):
            configs[_limits_name(i)] = {
                "@type": _AUTHZ_ROUTE_TYPE,
                "check_settings": {"context_extensions": {"route": route.name}},
            }
        return configs

    def _discovered(self, name: str, config_type: str) -> dict[str, Any]:
        return gateway.discovered(name, self.settings.config_dir, _file(name), config_type)

    def _wasm(self, plugin: Plugin, received: str | None) -> dict[str, Any]:
        """Wasm filter in a VM of the plugin's own: one for all providers, since a VM with ai-proxy takes 175 MB."""
        wasm = self._program(plugin.program, plugin.name)
        config = wasm["config"]
        config["root_id"] = plugin.root_id
        config["failure_policy"] = "FAIL_OPEN" if plugin.fail_open else "FAIL_CLOSED"
        if plugin.environment:
            config["vm_config"]["environment_variables"] = {"key_values": dict(plugin.environment)}
        if received is not None:
            config["configuration"] = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": received}
        return wasm

    def _program(self, program: str, name: str = "") -> dict[str, Any]:
        """Wasm filter without a configuration."""
        vm = {
            "vm_id": name or program,
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": self.settings.programs[program]}},
        }
        config = {
            "name": name or program,
            "failure_policy": "FAIL_CLOSED",
            "allow_on_headers_stop_iteration": True,
            "vm_config": vm,
        }
        return {"@type": _WASM_TYPE, "config": config}

    def _authz(self, place: int) -> dict[str, Any]:
        return {
            "@type": _AUTHZ_TYPE,
            "transport_api_version": "V3",
            "failure_mode_allow": False,
            "status_on_error": {"code": "ServiceUnavailable"},
            "stat_prefix": _limits_name(place),
            "allowed_headers": {"patterns": [{"exact": header} for header in _headers_read(self.limits[place])]},
            "grpc_service": {
                "envoy_grpc": {"cluster_name": gateway.AUTHZ_CLUSTER},
                "timeout": _AUTHZ_SECONDS,
                "initial_metadata": [{"key": "place", "value": str(place)}],
            },
        }


def _check_program(plugin: Plugin, settings: Settings, problems: ProblemsOf) -> None:
    if plugin.program in _LIMITS:
        limits.read_scoped(plugin.config, _LIMITS[plugin.program], problems)
    elif plugin.program != _KEY_AUTH and plugin.program not in settings.programs:
        known = ", ".join(sorted({*settings.programs, *_LIMITS, _KEY_AUTH}))
        problems.add("spec.url", f"the sandbox has no program {plugin.program!r}; it has {known}")
    if plugin.program == _AT_PROVIDER:
        for i, rule in enumerate(plugin.config.get("_rules_") or []):
            if rule.get("_match_route_", [NO_ROUTE]) != [NO_ROUTE] or "_match_domain_" in rule:
                problems.add(f"spec.matchRules[{i}]", "ai-proxy runs at the provider here: match by service")


def _headers_read(run: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every header some limit of the run looks at."""
    headers = {limits.CONSUMER_HEADER}
    for entry in run:
        for config in (entry["config"], *(entry["config"].get("_rules_") or [])):
            for item in config.get("rule_items") or []:
                headers |= {
                    str(v).lower() for k, v in item.items() if k.startswith("limit_by_") and k.endswith("header")
                }
    return sorted(headers)


def _is_wasm(plugin: Plugin) -> bool:
    return plugin.program != _KEY_AUTH and plugin.program not in _LIMITS


def _stand_in(name: str) -> str:
    return f"stand-in.{name}"


def _limits_name(place: int) -> str:
    return f"stand-in.limits-{place}"


def _file(name: str) -> str:
    return f"ecds/{name}.json"


def _extension(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": name,
        "typed_config": config,
    }


def _providers(routes: Iterable[Route], services: Mapping[str, Service]) -> tuple[Service, ...]:
    """Services that routes lead to, apart from the blackhole."""
    used = {target.cluster for route in routes for target in route.targets}
    return tuple(s for host, s in sorted(services.items()) if s.cluster in used and host != BLACKHOLE)


def _clusters(
    routes: Sequence[Route],
    fallbacks: Mapping[str, Fallback],
    listeners: Iterable[tuple[Service, Mapping[str, Any]]],
    blackhole: Service,
    settings: Settings,
) -> list[dict[str, Any]]:
    found = [
        clusters.grpc_service(gateway.AUTHZ_CLUSTER, settings.ports.authz, settings),
        clusters.grpc_service(gateway.USAGE_CLUSTER, settings.ports.usage, settings),
        clusters.upstream(blackhole, blackhole.cluster, settings),
    ]
    for service, listener in listeners:
        found.append(clusters.to_provider_listener(service, listener["name"], settings))
        found.append(clusters.upstream(service, clusters.upstream_name(service), settings))
    by_name = {route.name: route for route in routes}
    for fallback in sorted(fallbacks.values(), key=lambda f: f.route):
        second = by_name[fallback.sibling].targets[0].cluster
        for target in by_name[fallback.route].targets:
            found.append(clusters.first_then_second(target.cluster, second, fallback.route, settings))
    return found


def _asked_for(routes: Iterable[Route], fallbacks: Mapping[str, Fallback]) -> list[Route]:
    """Leave out what only Higress's own redirect reaches: here the next provider is asked on the same route."""
    siblings = {fallback.sibling for fallback in fallbacks.values()}
    return [route for route in routes if route.name not in siblings]


def _route_configuration(routes: Sequence[Route], fallbacks: Mapping[str, Fallback], chain: _Chain) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": "gateway",
        "ignore_port_in_host_matching": True,
        "virtual_hosts": virtual_hosts(routes, fallbacks, chain.per_route),
    }


def _version(content: Any) -> str:
    return hashlib.sha256(_text(content).encode()).hexdigest()[:16]


def _text(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
