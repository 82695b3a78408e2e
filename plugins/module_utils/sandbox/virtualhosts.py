"""Envoy's form of the routes: one virtual host per host, each prefix split in two as Higress does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

from .fallback import Fallback
from .ingress import Matcher, Route

PerRoute = Callable[[Route], Mapping[str, Any]]
"""Filter name -> configuration of that filter on the route."""

_NEVER_TWICE = "POST|PATCH|LOCK"


def virtual_hosts(
    routes: Iterable[Route], fallbacks: Mapping[str, Fallback], per_route: PerRoute
) -> list[dict[str, Any]]:
    """Virtual hosts in order; what most routes of a host configure alike stands on the host once."""
    hosts = []
    for host, grouped in groupby(routes, key=lambda r: r.host):
        mine = list(grouped)
        configs = [dict(per_route(route)) for route in mine]
        shared = _shared(configs)
        entries = [
            _entry(route, match, {n: v for n, v in config.items() if v != shared.get(n)}, fallbacks.get(route.name))
            for route, config in zip(mine, configs, strict=True)
            for match in _paths(route)
        ]
        virtual_host = {"name": host, "domains": [host], "routes": entries, "typed_per_filter_config": shared}
        if any(route.name in fallbacks for route in mine):
            virtual_host["include_attempt_count_in_response"] = True
        hosts.append(virtual_host)
    return hosts


def _shared(configs: list[dict[str, Any]]) -> dict[str, Any]:
    """The commonest configuration of each filter that all routes configure: long lists of names stand once."""
    shared = {}
    for name in configs[0]:
        given = [config.get(name) for config in configs]
        if None not in given:
            shared[name] = max(given, key=given.count)
    return shared


def target_cluster(cluster: str, fallback: Fallback | None) -> str:
    """The cluster a route names: its own, or the one that also knows the second provider."""
    if fallback is None:
        return cluster
    direction, port, _, host = cluster.split("|")
    return f"{direction}|{port}|{fallback.route}|{host}"


def _paths(route: Route) -> list[dict[str, Any]]:
    if route.kind == "Exact":
        return [{"path": route.path}]
    if route.kind == "ImplementationSpecific":
        return [{"safe_regex": {"regex": route.path}}]
    if route.path == "/":
        return [{"prefix": "/"}]
    return [{"path": route.path}, {"prefix": f"{route.path}/"}]


def _entry(route: Route, path: dict[str, Any], config: Mapping[str, Any], fallback: Fallback | None) -> dict[str, Any]:
    match = dict(path)
    headers = [_matcher(header) for header in route.headers]
    if route.methods:
        headers.insert(0, {"name": ":method", "string_match": {"safe_regex": {"regex": "|".join(route.methods)}}})
    if headers:
        match["headers"] = headers
    if route.queries:
        match["query_parameters"] = [_matcher(query) for query in route.queries]
    entry: dict[str, Any] = {"name": route.name, "match": match, "route": _action(route, fallback)}
    if route.removed:
        entry["request_headers_to_remove"] = list(route.removed)
    if config:
        entry["typed_per_filter_config"] = dict(config)
    return entry


def _matcher(matcher: Matcher) -> dict[str, Any]:
    kind = {"safe_regex": {"regex": matcher.value}} if matcher.regex else {"exact": matcher.value}
    return {"name": matcher.name, "string_match": kind}


def _action(route: Route, fallback: Fallback | None) -> dict[str, Any]:
    clusters = [(target_cluster(target.cluster, fallback), target.weight) for target in route.targets]
    action: dict[str, Any] = {"timeout": f"{route.timeout}s", "retry_policy": _retries(fallback)}
    if len(clusters) == 1:
        action["cluster"] = clusters[0][0]
    else:
        action["weighted_clusters"] = {"clusters": [{"name": name, "weight": weight} for name, weight in clusters]}
    if route.timeout:
        action["max_stream_duration"] = {"grpc_timeout_header_max": f"{route.timeout}s"}
    if route.authority:
        action["host_rewrite_literal"] = route.authority
    if route.rewrite:
        pattern = {"regex": route.rewrite.pattern}
        action["regex_rewrite"] = {"pattern": pattern, "substitution": route.rewrite.substitution}
    return action


def _retries(fallback: Fallback | None) -> dict[str, Any]:
    """Higress's default (two tries, never for POST), or one try on the next provider for a route that falls back."""
    if fallback:
        return {
            "retry_on": "connect-failure,refused-stream,retriable-status-codes",
            "retriable_status_codes": list(fallback.statuses),
            "num_retries": 1,
            "retry_priority": {
                "name": "envoy.retry_priorities.previous_priorities",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3"
                    ".PreviousPrioritiesConfig",
                    "update_frequency": 1,
                },
            },
        }
    return {
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "retriable_status_codes": [503],
        "num_retries": 2,
        "retriable_request_headers": [
            {"name": ":method", "string_match": {"safe_regex": {"regex": _NEVER_TWICE}}, "invert_match": True}
        ],
    }
