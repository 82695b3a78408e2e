"""Envoy clusters of the services, and the listeners behind which each provider's ai-proxy runs.

In stock Envoy a filter that changes a request's headers makes the route be chosen anew, and Higress's way of switching
that off does not exist there. So ai-proxy runs in an internal listener of its provider, where the one route takes
everything; plugins of the gateway see the provider's cluster under the name it has on Higress.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from .mcpbridge import Service
from .settings import Settings

_TYPE = "type.googleapis.com/envoy"
_CA = "/etc/ssl/certs/ca-certificates.crt"
CLUSTER_TYPE = f"{_TYPE}.config.cluster.v3.Cluster"
LISTENER_TYPE = f"{_TYPE}.config.listener.v3.Listener"
HCM_TYPE = f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True},
}


def to_provider_listener(service: Service, name: str, settings: Settings) -> dict[str, Any]:
    """Cluster that plugins of the gateway see for a provider; it leads to the internal listener of that name."""
    return {
        **_cluster(service.cluster, settings),
        "type": "STATIC",
        "load_assignment": _endpoints(
            service.cluster, [{"envoy_internal_address": {"server_listener_name": name, "endpoint_id": name}}]
        ),
        "transport_socket": {
            "name": "envoy.transport_sockets.internal_upstream",
            "typed_config": {
                "@type": f"{_TYPE}.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport",
                "transport_socket": {
                    "name": "envoy.transport_sockets.raw_buffer",
                    "typed_config": {"@type": f"{_TYPE}.extensions.transport_sockets.raw_buffer.v3.RawBuffer"},
                },
            },
        },
    }


def upstream(service: Service, name: str, settings: Settings) -> dict[str, Any]:
    """Cluster of the real addresses; those that `settings.endpoints` redirects are reached there without TLS."""
    sockets = [settings.endpoints.get(host, (host, port)) for host, port in service.addresses]
    redirected = any(host in settings.endpoints for host, _ in service.addresses)
    cluster = {
        **_cluster(name, settings),
        "type": "STRICT_DNS" if service.by_dns and not redirected else "STATIC",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": _endpoints(
            name, [{"socket_address": {"address": host, "port_value": port}} for host, port in sockets]
        ),
    }
    if service.tls and not redirected:
        cluster["transport_socket"] = _tls(service.sni)
    return cluster


def first_then_second(first: str, second: str, route: str, settings: Settings) -> dict[str, Any]:
    """Stand-in for Higress's fallback: a cluster whose next priority is another provider.

    Its name has the route in Istio's place for a subset, so rules by service still see the first provider.
    """
    direction, port, _, host = first.split("|")
    return {
        **_cluster(f"{direction}|{port}|{route}|{host}", settings),
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": f"{_TYPE}.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": [first, second],
            },
        },
    }


def grpc_service(name: str, port: int, settings: Settings) -> dict[str, Any]:
    """Cluster of one of the sandbox's own stand-in services."""
    return {
        **_cluster(name, settings),
        "connect_timeout": "0.25s",
        "type": "STATIC",
        "load_assignment": _endpoints(name, [{"socket_address": {"address": "127.0.0.1", "port_value": port}}]),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


def provider_listener(service: Service, filters: list[dict[str, Any]], settings: Settings) -> dict[str, Any]:
    """Internal listener of a provider: `filters` (ai-proxy), then the real addresses.

    Its name tells its content. So other content is another listener, connections to the old one end with the requests
    they carry, and no later request meets the old content.
    """
    http = _provider_http(service, filters)
    digest = hashlib.sha256(json.dumps(http, sort_keys=True).encode()).hexdigest()[:12]
    return {
        "@type": LISTENER_TYPE,
        "name": f"provider/{service.host}/{digest}",
        "internal_listener": {},
        "per_connection_buffer_limit_bytes": settings.buffer_bytes,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": http}]}],
    }


def upstream_name(service: Service) -> str:
    """Cluster name inside a provider's listener."""
    return f"upstream|{service.port}||{service.host}"


def _provider_http(service: Service, filters: list[dict[str, Any]]) -> Mapping[str, Any]:
    return {
        "@type": HCM_TYPE,
        "stat_prefix": "provider",
        "generate_request_id": False,
        "skip_xff_append": True,
        "server_header_transformation": "PASS_THROUGH",
        "stream_idle_timeout": "0s",
        "route_config": {
            "name": "provider",
            # New listeners come before the clusters they lead to.
            "validate_clusters": False,
            "virtual_hosts": [
                {
                    "name": "any",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}, "route": {"cluster": upstream_name(service), "timeout": "0s"}}
                    ],
                }
            ],
        },
        "http_filters": [*filters, ROUTER],
    }


def _cluster(name: str, settings: Settings) -> dict[str, Any]:
    return {
        "@type": CLUSTER_TYPE,
        "name": name,
        "connect_timeout": "5s",
        "per_connection_buffer_limit_bytes": settings.buffer_bytes,
    }


def _endpoints(cluster: str, addresses: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}} for address in addresses]}]
        if addresses
        else [],
    }


def _tls(sni: str | None) -> dict[str, Any]:
    validation: dict[str, Any] = {"trusted_ca": {"filename": _CA}}
    if sni:
        validation["match_typed_subject_alt_names"] = [{"san_type": "DNS", "matcher": {"exact": sni}}]
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            **({"sni": sni} if sni else {}),
            "common_tls_context": {"validation_context": validation},
        },
    }
