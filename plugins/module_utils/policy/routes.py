"""A Project's routes and upstreams: Ingresses, McpBridge registries, and EnvoyFilters for fallbacks.

A request enters on ``<project>--entry``, which leads nowhere. model-allowlist decides which alias serves it and
sets MODEL_HEADER; only then a route with a provider matches. So a request that got around the guard ends in the
blackhole, not at a provider.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ..spec import Alias, Project, Provider, Site
from .objects import Object, build

METERED_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/messages", "/v1/responses")
MODELS_PATH = "/v1/models"
MODEL_HEADER = "x-higress-llm-model"
FALLBACK_HEADER = "x-higress-fallback-from"
# Taken off on the way to the provider. Not by a guard: without them no route of an alias would match any more.
_STEERING = {"request-header-control-remove": f"{MODEL_HEADER},{FALLBACK_HEADER}"}
BLACKHOLE = "blackhole.static:80"
# Port 9 (discard) of this very host: nothing listens, so what leads here is refused at once.
_BLACKHOLE_REGISTRY = {
    "name": "blackhole",
    "type": "static",
    "domain": "127.0.0.1:9",
    "port": 80,
    "protocol": "http",
}
_INGRESS, _NETWORKING = "networking.k8s.io/v1", "networking.higress.io/v1"


def entry_route(project: Project) -> str:
    """The route of a request whose alias is not decided yet, and of the list of models that model-allowlist answers."""
    return f"{project.project}--entry"


def alias_route(project: Project, alias: str) -> str:
    """The route of an alias; also the label ``ai_route`` of its metrics."""
    return f"{project.project}.{alias}"


def alias_paths(project: Project, alias: str) -> dict[str, tuple[str, ...]]:
    """The Ingresses of an alias with their paths. Higress sends weighted destinations of several paths astray."""
    name = alias_route(project, alias)
    if len(project.models[alias].targets) == 1:
        return {name: METERED_PATHS}
    return {f"{name}--{path.removeprefix('/v1/').replace('/', '-')}": (path,) for path in METERED_PATHS}


def fallback_route(project: Project, alias: str) -> str:
    """The route that answers when the alias's targets failed."""
    return f"{project.project}.{alias}--fallback"


def client_routes(project: Project) -> list[str]:
    """Where a client's request can be. Every rule lists all of them: headers that it sends choose among them."""
    aliases = (name for alias in project.models for name in alias_paths(project, alias))
    return sorted([entry_route(project), *aliases])


def fallback_routes(project: Project) -> list[str]:
    """The routes that only the gateway's own redirect reaches."""
    return sorted(fallback_route(project, name) for name, alias in project.models.items() if alias.fallback)


def route_names(project: Project) -> list[str]:
    """All routes of a Project."""
    return sorted([*client_routes(project), *fallback_routes(project)])


def registry_name(project: Project, provider: str) -> str:
    """A provider's name in the McpBridge."""
    return f"{project.project}--{provider}"


def _is_address(url: SplitResult) -> bool:
    try:
        ipaddress.ip_address(url.hostname or "")
    except ValueError:
        return False
    return True


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def service_name(project: Project, provider: str) -> str:
    """A provider as plugins' rules name it: ``atlas--main.dns``."""
    kind = "static" if _is_address(urlsplit(project.providers[provider].url)) else "dns"
    return f"{registry_name(project, provider)}.{kind}"


def _destination(project: Project, provider: str) -> str:
    url = urlsplit(project.providers[provider].url)
    # A static registry has the service port 80 whatever the address behind it listens on.
    return f"{service_name(project, provider)}:{80 if _is_address(url) else _port(url)}"


def _registry(project: Project, name: str, provider: Provider) -> dict[str, Any]:
    url = urlsplit(provider.url)
    host, port = str(url.hostname), _port(url)
    place = (
        {"type": "static", "domain": f"{host}:{port}", "port": 80}
        if _is_address(url)
        else {"type": "dns", "domain": host, "port": port}
    )
    return {"name": registry_name(project, name), **place, "protocol": url.scheme}


def mcp_bridge(site: Site) -> Object:
    """The one McpBridge: every provider of every Project, and the blackhole."""
    found = [
        _registry(project, name, provider) for project in site.projects for name, provider in project.providers.items()
    ]
    registries = sorted([_BLACKHOLE_REGISTRY, *found], key=lambda registry: str(registry["name"]))
    return build(_NETWORKING, "McpBridge", "default", site.gateway.site, spec={"registries": registries})


def _ingress(site: Site, project: Project, name: str, paths: tuple[str, ...], annotations: dict[str, str]) -> Object:
    backend = {"resource": {"apiGroup": "networking.higress.io", "kind": "McpBridge", "name": "default"}}
    rules = [
        {
            "host": project.host,
            "http": {"paths": [{"path": path, "pathType": "Exact", "backend": backend} for path in paths]},
        }
    ]
    spec: dict[str, Any] = {"ingressClassName": "higress", "rules": rules}
    if site.gateway.tls_secret:
        spec["tls"] = [{"hosts": [project.host], "secretName": site.gateway.tls_secret}]
    result = build(_INGRESS, "Ingress", name, site.gateway.site, project=project.project, spec=spec)
    result["metadata"]["annotations"] = {f"higress.io/{key}": value for key, value in annotations.items()}
    return result


def _weighted(project: Project, alias: Alias) -> str:
    if len(alias.targets) == 1:
        return _destination(project, alias.targets[0].provider)
    return "\n".join(f"{target.weight}% {_destination(project, target.provider)}" for target in alias.targets)


def routes(site: Site, project: Project) -> Iterator[Object]:
    """The Project's Ingresses and fallback EnvoyFilters."""
    yield _ingress(site, project, entry_route(project), (*METERED_PATHS, MODELS_PATH), {"destination": BLACKHOLE})
    for name, alias in project.models.items():
        timeout = str(alias.timeout_seconds)
        annotations = {
            "destination": _weighted(project, alias),
            f"exact-match-header-{MODEL_HEADER}": name,
            "timeout": timeout,
            **_STEERING,
        }
        for route, paths in alias_paths(project, name).items():
            yield _ingress(site, project, route, paths, annotations)
        if alias.fallback:
            annotations = {
                "destination": _destination(project, alias.fallback.provider),
                f"exact-match-header-{MODEL_HEADER}": name,
                f"exact-match-header-{FALLBACK_HEADER}": alias_route(project, name),
                "timeout": timeout,
                **_STEERING,
            }
            yield _ingress(site, project, fallback_route(project, name), METERED_PATHS, annotations)
            yield _fallback_filter(site, project, name)


def _fallback_filter(site: Site, project: Project, alias: str) -> Object:
    """Redirects an upstream's 429 and 5xx to the fallback route, in the manner of Higress's own console.

    Other 4xx are the client's own mistakes, which a second provider would only repeat.
    Stock Envoy's RedirectPolicy lacks use_original_request_uri and its neighbours: Higress 2.1 and 2.2 only.
    """
    route = alias_route(project, alias)
    fallen = {"header": {"key": FALLBACK_HEADER, "value": route}, "append": False}
    # The first attempt's route has taken it off (_STEERING), and the fallback's route asks for it.
    model = {"header": {"key": MODEL_HEADER, "value": alias}, "append": False}
    redirect = {
        "@type": "type.googleapis.com/envoy.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy",
        "use_original_request_uri": True,
        "keep_original_response_code": False,
        "use_original_request_body": True,
        "only_redirect_upstream_code": True,
        "request_headers_to_add": [fallen, model],
        "response_headers_to_add": [fallen],
    }
    matcher = {
        "predicate": {"or_matcher": {"predicate": [_status("", "429"), _status("Class", "5xx")]}},
        "on_match": {"action": {"name": "action", "typed_config": redirect}},
    }
    response = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.custom_response.v3.CustomResponse",
        "custom_response_matcher": {"matcher_list": {"matchers": [matcher]}},
    }
    merge = {
        "operation": "MERGE",
        "value": {"typed_per_filter_config": {"envoy.filters.http.custom_response": response}},
    }
    patches = [
        {
            "applyTo": "HTTP_ROUTE",
            "match": {"context": "GATEWAY", "routeConfiguration": {"vhost": {"route": {"name": name}}}},
            "patch": merge,
        }
        for name in alias_paths(project, alias)
    ]
    spec = {
        "workloadSelector": {"labels": {"higress": "higress-system-higress-gateway"}},
        "configPatches": patches,
    }
    api, name = "networking.istio.io/v1alpha3", fallback_route(project, alias)
    return build(api, "EnvoyFilter", name, site.gateway.site, project=project.project, spec=spec)


def _status(what: str, value: str) -> dict[str, Any]:
    kind = f"type.googleapis.com/envoy.type.matcher.v3.HttpResponseStatusCode{what}MatchInput"
    return {
        "single_predicate": {
            "input": {"name": f"{value}_response", "typed_config": {"@type": kind}},
            "value_match": {"exact": value},
        }
    }


def custom_response_filter(site: Site) -> Object:
    """Puts Envoy's custom_response filter first in the gateway's chain; the fallbacks' redirects need it there."""
    value = {
        "name": "envoy.filters.http.custom_response",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.custom_response.v3.CustomResponse"
        },
    }
    chain = {"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}}
    patch = {
        "applyTo": "HTTP_FILTER",
        "match": {"context": "GATEWAY", "listener": chain},
        "patch": {"operation": "INSERT_FIRST", "value": value},
    }
    spec = {
        "workloadSelector": {"labels": {"higress": "higress-system-higress-gateway"}},
        "configPatches": [patch],
    }
    return build("networking.istio.io/v1alpha3", "EnvoyFilter", "custom-response", site.gateway.site, spec=spec)
