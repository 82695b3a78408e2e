"""Ingress objects with Higress's annotations: the routes of the gateway, in the order in which they are tried.

Facts: a real Higress 2.1.11 control plane's answers to the same objects (tests/sandbox/golden). What that control
plane would drop, ignore or send astray is a problem here; so is what the sandbox does not carry.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .mcpbridge import Service
from .problem import Problems, ProblemsOf
from .wasmplugin import HIGRESS_NAMESPACE

_PREFIX = "higress.io/"
_REMOVE = "request-header-control-remove"
_PLAIN = frozenset(
    {"destination", "match-method", "timeout", "upstream-vhost", "rewrite-path", "rewrite-target", "use-regex", _REMOVE}
)
_MATCHERS = re.compile(r"(exact|regex)-match-(header|query)-(.+)")
_DESTINATION = re.compile(r"(?:(\d+)%\s+)?([A-Za-z0-9.-]+\.(?:dns|static))(?::(\d+))?")
_KINDS = {"Exact": 0, "Prefix": 1, "ImplementationSpecific": 2}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})


@dataclass(frozen=True, slots=True, order=True)
class Matcher:
    """A header or query parameter a route asks for."""

    name: str
    value: str
    regex: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A share of a route's traffic, in per cent."""

    cluster: str
    weight: int


@dataclass(frozen=True, slots=True)
class Rewrite:
    """How the path changes on the way: what `pattern` matches becomes `substitution`."""

    pattern: str
    substitution: str


@dataclass(frozen=True, slots=True)
class Route:
    """One path of one host of an Ingress; `name` is what plugins see as the route's name."""

    name: str
    host: str
    path: str
    kind: str
    targets: tuple[Target, ...]
    headers: tuple[Matcher, ...] = ()
    queries: tuple[Matcher, ...] = ()
    methods: tuple[str, ...] = ()
    timeout: int = 0
    authority: str | None = None
    rewrite: Rewrite | None = None
    removed: tuple[str, ...] = ()
    age: str = field(default="", repr=False)
    origin: str = field(default="", repr=False)

    @property
    def catches_all(self) -> bool:
        """Whether it takes any request of its host: such a route is tried last."""
        return self.kind == "Prefix" and self.path == "/" and not (self.headers or self.queries or self.methods)

    @property
    def rank(self) -> tuple[Any, ...]:
        """Sort key: exact, prefix, regex; longer paths, methods, more headers, more queries; then age and name."""
        return (
            self.catches_all, _KINDS[self.kind], -len(self.path), not self.methods,
            -len(self.headers), -len(self.queries), self.age, self.origin,
        )  # fmt: skip

    @property
    def claim(self) -> tuple[Any, ...]:
        """What it matches: of two routes with one claim, Higress silently keeps the older."""
        return (self.host, self.kind, self.path, self.headers, self.queries, self.methods)


def read_routes(
    objects: Iterable[Mapping[str, Any]], services: Mapping[str, Service], problems: Problems
) -> tuple[Route, ...]:
    """All routes, in order within their host."""
    routes: list[Route] = []
    owners: dict[str, str] = {}
    claims: dict[tuple[Any, ...], str] = {}
    for obj in objects:
        of = problems.at(obj)
        for route in _read(obj, services, of):
            namespace = obj["metadata"]["namespace"]
            if owners.setdefault(route.host, namespace) != namespace:
                of.add("spec.rules", f"host {route.host} belongs to routes of namespace {owners[route.host]}")
            if route.claim in claims:
                of.add(
                    "spec.rules", f"{route.host}{route.path} is matched by {claims[route.claim]} too: the older wins"
                )
            claims.setdefault(route.claim, route.name)
            routes.append(route)
    return tuple(sorted(routes, key=lambda r: (r.host, r.rank)))


def _read(obj: Mapping[str, Any], services: Mapping[str, Service], problems: ProblemsOf) -> Iterator[Route]:
    metadata, spec = obj.get("metadata") or {}, obj.get("spec") or {}
    annotations = {k: str(v) for k, v in (metadata.get("annotations") or {}).items()}
    if spec.get("ingressClassName", "higress") != "higress":
        problems.add(
            "spec.ingressClassName", f"{spec['ingressClassName']!r} is not Higress's: it would ignore the object"
        )
    if spec.get("tls"):
        problems.add("spec.tls", "the sandbox listens without TLS")
    _check_annotations(annotations, problems)
    common = _common(metadata, annotations, services, problems)
    paths = [
        _Path(str(rule.get("host") or "*"), path, f"spec.rules[{i}].http.paths[{j}]")
        for i, rule in enumerate(spec.get("rules") or [])
        for j, path in enumerate((rule.get("http") or {}).get("paths") or [])
    ]
    if len(common["targets"]) > 1 and len(paths) > 1:
        problems.add("spec.rules", "weighted destinations with several paths: Higress sends the traffic astray")
    for path in paths:
        _check_backend(path, problems)
        yield _route(path, common, annotations, problems)


@dataclass(frozen=True, slots=True)
class _Path:
    """One path of an Ingress as written, and its place in the object."""

    host: str
    said: Mapping[str, Any]
    where: str


def _common(
    metadata: Mapping[str, Any],
    annotations: Mapping[str, str],
    services: Mapping[str, Service],
    problems: ProblemsOf,
) -> dict[str, Any]:
    """What all routes of an Ingress share."""
    namespace, name = str(metadata.get("namespace", "")), str(metadata.get("name", ""))
    return {
        "name": name if namespace == HIGRESS_NAMESPACE else f"{namespace}/{name}",
        "origin": f"{name}.{namespace}",
        "age": str(metadata.get("creationTimestamp", "")),
        "targets": _targets(annotations.get(_PREFIX + "destination"), services, problems),
        "headers": _matchers(annotations, "header", problems),
        "queries": _matchers(annotations, "query", problems),
        "methods": _methods(annotations.get(_PREFIX + "match-method", ""), problems),
        "timeout": _timeout(annotations.get(_PREFIX + "timeout"), problems),
        "authority": _authority(annotations.get(_PREFIX + "upstream-vhost"), problems),
        "removed": tuple(filter(None, annotations.get(_PREFIX + _REMOVE, "").split(","))),
    }


def _check_annotations(annotations: Mapping[str, str], problems: ProblemsOf) -> None:
    for key in sorted(annotations):
        name = key.removeprefix(_PREFIX)
        if key.startswith(_PREFIX) and name not in _PLAIN and not _MATCHERS.fullmatch(name):
            problems.add(f"metadata.annotations.{key}", "Higress ignores it, or the sandbox does not carry it")


def _check_backend(path: _Path, problems: ProblemsOf) -> None:
    resource = (path.said.get("backend") or {}).get("resource") or {}
    if resource.get("kind") != "McpBridge" or resource.get("name") != "default":
        problems.add(
            f"{path.where}.backend", "must be the resource McpBridge `default`; the sandbox has no cluster's Services"
        )


def _route(path: _Path, common: Mapping[str, Any], annotations: Mapping[str, str], problems: ProblemsOf) -> Route:
    kind, text = str(path.said.get("pathType", "Prefix")), str(path.said.get("path", "/"))
    if kind not in _KINDS:
        problems.add(f"{path.where}.pathType", f"{kind!r} is not one of {', '.join(_KINDS)}")
    if kind == "ImplementationSpecific" or annotations.get(_PREFIX + "use-regex") == "true":
        kind, text = "ImplementationSpecific", _regex(f"{text}.*", f"{path.where}.path", problems)
    elif kind != "Exact":
        kind, text = "Prefix", text.rstrip("/") or "/"
    return Route(host=path.host, path=text, kind=kind, rewrite=_rewrite(text, annotations, problems), **common)


def _targets(text: str | None, services: Mapping[str, Service], problems: ProblemsOf) -> tuple[Target, ...]:
    path = f"metadata.annotations.{_PREFIX}destination"
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if not lines:
        problems.add(path, "names no service: Higress would drop the route")
        return ()
    parsed = [_DESTINATION.fullmatch(line) for line in lines]
    if not all(parsed):
        problems.add(path, f"{text!r} is not `[WEIGHT% ]NAME.dns[:PORT]` a line: Higress would drop the route")
        return ()
    clusters = [_cluster(m[2], m[3], path, services, problems) for m in parsed if m]
    weights = [int(m[1]) if m[1] else 0 for m in parsed if m]
    if len(clusters) == 1:
        return (Target(clusters[0], 100),)
    if not any(m[1] for m in parsed if m) and len(clusters) == 2:
        weights = [50, 50]
    if sum(weights) != 100:
        problems.add(path, f"weights add up to {sum(weights)}, not 100: Higress would shift the shares")
        return ()
    shares = zip(clusters, higress_weights(weights), strict=True)
    return tuple(Target(cluster, weight) for cluster, weight in shares if weight)


def _cluster(host: str, port: str | None, path: str, services: Mapping[str, Service], problems: ProblemsOf) -> str:
    service = services.get(host)
    if service is None:
        problems.add(path, f"no registry of the McpBridge makes a service {host}: every request would end in 503")
        return ""
    if port and int(port) != service.port:
        problems.add(path, f"{host} has port {service.port}, not {port}: every request would end in 503")
    return service.cluster


def higress_weights(weights: list[int]) -> list[int]:
    """Shares Higress makes of weights that add up to 100: cut off in single precision, the rest goes to the first."""
    cut = [int(_single(_single(weight / 100) * 100)) for weight in weights[1:]]
    return [100 - sum(cut), *cut]


def _single(value: float) -> float:
    single: float = struct.unpack("f", struct.pack("f", value))[0]
    return single


def _matchers(annotations: Mapping[str, str], what: str, problems: ProblemsOf) -> tuple[Matcher, ...]:
    found = []
    for key, value in annotations.items():
        match = _MATCHERS.fullmatch(key.removeprefix(_PREFIX)) if key.startswith(_PREFIX) else None
        if match and match[2] == what:
            regex = match[1] == "regex"
            text = _regex(value, f"metadata.annotations.{key}", problems) if regex else value
            found.append(Matcher(match[3].lower() if what == "header" else match[3], text, regex))
    return tuple(sorted(found))


def _methods(text: str, problems: ProblemsOf) -> tuple[str, ...]:
    methods = tuple(text.split())
    for method in methods:
        if method not in _METHODS:
            problems.add(f"metadata.annotations.{_PREFIX}match-method", f"{method!r} is no HTTP method")
    return methods


def _timeout(text: str | None, problems: ProblemsOf) -> int:
    """Whole seconds; 0 is no limit, which is what Higress makes of anything it cannot read."""
    if text is None:
        return 0
    if text.isdigit() and int(text) > 0:
        return int(text)
    problems.add(
        f"metadata.annotations.{_PREFIX}timeout", f"{text!r} is not a whole number of seconds above 0: no limit at all"
    )
    return 0


def _authority(text: str | None, problems: ProblemsOf) -> str | None:
    if text is not None and not re.fullmatch(r"[A-Za-z0-9.:-]+", text):
        problems.add(f"metadata.annotations.{_PREFIX}upstream-vhost", f"{text!r} is no host")
    return text


def _rewrite(path: str, annotations: Mapping[str, str], problems: ProblemsOf) -> Rewrite | None:
    replacement, target = annotations.get(_PREFIX + "rewrite-path"), annotations.get(_PREFIX + "rewrite-target")
    if replacement is not None and target is not None:
        problems.add(f"metadata.annotations.{_PREFIX}rewrite-target", "together with rewrite-path: only one can hold")
    if replacement is not None:
        return Rewrite(f"^{path.rstrip('/')}(/.*)?", f"{replacement.rstrip('/')}\\1")
    if target is not None:
        return Rewrite(path, re.sub(r"\$(\d)", r"\\\1", target))
    return None


def _regex(text: str, path: str, problems: ProblemsOf) -> str:
    try:
        re.compile(text)
    except re.error as error:
        problems.add(path, f"{text!r} is no regular expression ({error}): Envoy would refuse all routes")
    return text
