"""EnvoyFilter objects of one kind: another provider answers when a route's own one fails.

Higress's console merges a `custom_response` redirect onto the route by name; a sibling Ingress matches the header
it adds. Any other EnvoyFilter is refused: the sandbox could only pretend to honour it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .ingress import Matcher, Route
from .problem import Problems, ProblemsOf

_FILTER = "envoy.filters.http.custom_response"
_CLASSES = {"4xx": range(400, 500), "5xx": range(500, 600)}


@dataclass(frozen=True, slots=True)
class Fallback:
    """When `route` answers with one of `statuses`, the request goes to `sibling` instead."""

    route: str
    sibling: str
    statuses: tuple[int, ...]


def read_fallbacks(
    objects: Iterable[Mapping[str, Any]], routes: Iterable[Route], problems: Problems
) -> Mapping[str, Fallback]:
    """Fallbacks by the name of the route that falls back."""
    by_headers: dict[frozenset[Matcher], str] = {}
    names = set()
    for route in routes:
        names.add(route.name)
        by_headers[frozenset(route.headers)] = route.name
    fallbacks: dict[str, Fallback] = {}
    for obj in objects:
        of = problems.at(obj)
        for i, patch in enumerate((obj.get("spec") or {}).get("configPatches") or []):
            if _inserts_filter(patch):
                continue
            fallback = _read(patch, f"spec.configPatches[{i}]", names, by_headers, of)
            if fallback:
                fallbacks[fallback.route] = fallback
    return fallbacks


def _inserts_filter(patch: Mapping[str, Any]) -> bool:
    """Whether it puts the custom_response filter itself into the chain, which only Higress needs."""
    value = (patch.get("patch") or {}).get("value") or {}
    return patch.get("applyTo") == "HTTP_FILTER" and value.get("name") == _FILTER


def _read(
    patch: Mapping[str, Any],
    path: str,
    names: set[str],
    by_headers: Mapping[frozenset[Matcher], str],
    problems: ProblemsOf,
) -> Fallback | None:
    try:
        route = patch["match"]["routeConfiguration"]["vhost"]["route"]["name"]
        config = patch["patch"]["value"]["typed_per_filter_config"][_FILTER]
        [matcher] = config["custom_response_matcher"]["matcher_list"]["matchers"]
        action = matcher["on_match"]["action"]["typed_config"]
        headers = [entry["header"] for entry in action["request_headers_to_add"]]
        added = frozenset(Matcher(header["key"].lower(), header["value"]) for header in headers)
        statuses = tuple(sorted(set(_statuses(matcher["predicate"]))))
    except (KeyError, TypeError, ValueError):
        problems.add(path, "is not the one patch the sandbox carries: a custom_response redirect merged onto a route")
        return None
    sibling = by_headers.get(added)
    if route not in names:
        problems.add(f"{path}.match", f"no route is called {route!r}: the patch would change nothing")
    if sibling is None:
        said = ", ".join(f"{header.name}: {header.value}" for header in sorted(added))
        problems.add(path, f"no Ingress matches the headers {said}")
        return None
    for name in ("use_original_request_uri", "use_original_request_body", "only_redirect_upstream_code"):
        if action.get(name) is not True:
            problems.add(f"{path}.{name}", "must be true, or the second provider gets another request")
    return Fallback(route, sibling, statuses)


def _statuses(predicate: Mapping[str, Any]) -> Iterator[int]:
    if "or_matcher" in predicate:
        for inner in predicate["or_matcher"]["predicate"]:
            yield from _statuses(inner)
        return
    exact = predicate["single_predicate"]["value_match"]["exact"]
    if exact in _CLASSES:
        yield from _CLASSES[exact]
    elif re.fullmatch(r"[45]\d\d", exact):
        yield int(exact)
    else:
        raise ValueError(exact)
