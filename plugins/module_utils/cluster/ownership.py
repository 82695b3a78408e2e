"""What of a live object is ours, what the server added, and what somebody else set. Pure; reads `managedFields`.

The API server records which manager set which field. So a difference can be told apart: a server's default has no
manager and is no drift; a field of another manager is drift with a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .errors import Conflict
from .kinds import Object, name_of

FIELD_MANAGER = "opsta-ai-gateway"
Field = tuple[str, ...]
# What decides how the gateway behaves; other metadata and the status are not ours to judge.
_CONTENT = ("spec", "data", "stringData", "binaryData", "immutable", "type")
_STEERING_ANNOTATIONS = "higress.io/"
_ABSENT = object()


def unchanged(desired: Object, live: Object) -> bool:
    """Whether LIVE is DESIRED and nobody else has a hand in it; the fast path, at the speed of a dict comparison."""
    return (
        all(desired.get(part) == live.get(part) for part in _CONTENT)
        and _same_metadata(desired["metadata"], live["metadata"])
        and not any(True for _ in _foreign_fields(live))
    )


def owned(desired: Object, live: Object) -> Object:
    """LIVE without what the API server added by itself: what is compared with DESIRED and shown in a diff."""
    managed = frozenset(_all_fields(live))
    content = {
        part: _kept(live[part], desired.get(part, _ABSENT), (part,), managed)
        for part in _CONTENT
        if part in live and (part in desired or _has_owner((part,), managed))
    }
    return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": live["metadata"], **content}


def conflicts(desired: Object, live: Object) -> tuple[Conflict, ...]:
    """Fields of LIVE that another manager set to something else than DESIRED says."""
    return tuple(sorted(Conflict(name_of(live), ".".join(f), m) for f, m in _contested(desired, live)))


def intruding_fields(desired: Object, live: Object) -> list[Field]:
    """Fields that others added to LIVE and DESIRED does not have: an apply alone would leave them there."""
    return sorted({field for field, _ in _contested(desired, live) if _at(desired, field) is _ABSENT})


def _contested(desired: Object, live: Object) -> Iterator[tuple[Field, str]]:
    for field, manager in _foreign_fields(live):
        found = _at(live, field)
        if found is not _ABSENT and not _same(found, _at(desired, field)):
            yield field, manager


def _same(left: Any, right: Any) -> bool:
    return bool(left == right) and isinstance(left, bool) == isinstance(right, bool)


def _same_metadata(desired: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    return all(
        (live.get(part) or {}).get(name) == value
        for part in ("labels", "annotations")
        for name, value in desired.get(part, {}).items()
    )


def _kept(live: Any, desired: Any, field: Field, managed: frozenset[Field]) -> Any:
    if not isinstance(live, dict) or not isinstance(desired, dict):
        return live
    return {
        name: _kept(value, desired.get(name, _ABSENT), (*field, name), managed)
        for name, value in live.items()
        if name in desired or _has_owner((*field, name), managed)
    }


def _has_owner(field: Field, managed: frozenset[Field]) -> bool:
    """Whether somebody manages FIELD, something in it, or an atomic value around it."""
    return any(field[: len(other)] == other or other[: len(field)] == field for other in managed)


def _entries(live: Object) -> Iterator[Mapping[str, Any]]:
    for entry in live["metadata"].get("managedFields", ()):
        if not entry.get("subresource"):
            yield entry


def _all_fields(live: Object) -> Iterator[Field]:
    for entry in _entries(live):
        yield from _fields(entry.get("fieldsV1", {}))


def _foreign_fields(live: Object) -> Iterator[tuple[Field, str]]:
    for entry in _entries(live):
        if entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply":
            continue
        for field in _fields(entry.get("fieldsV1", {})):
            if _steers(field):
                yield field, str(entry.get("manager", ""))


def _steers(field: Field) -> bool:
    if field[:2] == ("metadata", "annotations"):
        return len(field) > 2 and field[2].startswith(_STEERING_ANNOTATIONS)
    return field[0] in _CONTENT


def _fields(tree: Mapping[str, Any], field: Field = ()) -> Iterator[Field]:
    """Leaves of a `fieldsV1` tree. Entries of keyed lists (k:, v:, i:) count as the list itself."""
    names = [name for name in tree if name.startswith("f:")]
    if field and (not names or any(name[:2] in ("k:", "v:", "i:") for name in tree)):
        yield field
        return
    for name in names:
        yield from _fields(tree[name], (*field, name[2:]))


def _at(item: Any, field: Iterable[str]) -> Any:
    for part in field:
        if not isinstance(item, dict) or part not in item:
            return _ABSENT
        item = item[part]
    return item
