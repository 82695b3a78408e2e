"""What must change: desired objects against live ones, as an immutable list, and in people's terms.

Pure. `live` holds only objects that are ours (by their labels); callers read them from the API server or from the
sandbox's record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .people import broken_tests, sentences, site_sentences
from .policy.objects import LABEL_PROJECT, Object
from .policy.records import recorded_projects, recorded_site, recorded_texts
from .spec import Project

Action = Literal["create", "update", "delete"]
Key = tuple[str, str, str]
Field = tuple[str | int, ...]
# Besides what an object says, its labels and annotations are ours; the rest of metadata is the server's.
_OWN_METADATA = ("labels", "annotations")
_ABSENT = object()
# What a rule is for, and what else an entry of a list may be called by.
_MATCHES = ("ingress", "service", "domain")
_NAMES = ("name", "key", "kind", "model", "path")


@dataclass(frozen=True)
class FieldChange:
    """One field's difference; ``old`` and ``new`` are None where the field is absent, and never a secret's value."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Change:
    """One object to be written or removed. ``desired`` is None for a delete."""

    action: Action
    kind: str
    name: str
    project: str
    fields: tuple[FieldChange, ...]
    desired: Object | None


@dataclass(frozen=True)
class Plan:
    """Everything one run would do. ``broken`` names policy tests of the specs that would no longer hold."""

    changes: tuple[Change, ...]
    sentences: tuple[str, ...]
    broken: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.changes)


def key_of(item: Object) -> Key:
    """An object's identity: kind, namespace, name."""
    return item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]


def make_plan(desired: Sequence[Object], live: Sequence[Object]) -> Plan:
    """The way from LIVE to DESIRED, sorted by kind and name."""
    wanted, present = {key_of(item): item for item in desired}, {key_of(item): item for item in live}
    changes = [
        change
        for key in sorted(wanted.keys() | present.keys())
        if (change := _change(wanted.get(key), present.get(key)))
    ]
    before, after = _changed_projects(live, desired)
    told = (*site_sentences(recorded_site(live), recorded_site(desired)), *sentences(before, after))
    return Plan(tuple(changes), told, tuple(broken_tests(before, after)))


def _changed_projects(
    live: Sequence[Object], desired: Sequence[Object]
) -> tuple[dict[str, Project], dict[str, Project]]:
    """The Projects that differ between what both record; to read all of a thousand takes a second."""
    before, after = recorded_texts(live), recorded_texts(desired)
    same = {name for name, text in after.items() if before.get(name) == text}
    changed = ({name: text for name, text in texts.items() if name not in same} for texts in (before, after))
    was, now = map(recorded_projects, changed)
    return was, now


def _change(desired: Object | None, live: Object | None) -> Change | None:
    if desired is None:
        assert live is not None  # noqa: S101 -- a key comes from one of the two
        return _describe("delete", live, None, ())
    if live is None:
        return _describe("create", desired, desired, ())
    fields = tuple(_field_changes(desired, live))
    return _describe("update", desired, desired, fields) if fields else None


def _describe(action: Action, item: Object, desired: Object | None, fields: tuple[FieldChange, ...]) -> Change:
    project = item["metadata"].get("labels", {}).get(LABEL_PROJECT, "")
    return Change(action, item["kind"], item["metadata"]["name"], project, fields, desired)


def _field_changes(desired: Object, live: Object) -> Iterator[FieldChange]:
    secret = desired["kind"] == "Secret"
    for field, old, new in _differences(_owned(live, desired), _owned(desired, desired), ()):
        hide = secret and field[0] in ("data", "stringData")
        yield FieldChange(_dotted(field), _shown(old, hide), _shown(new, hide))


def _owned(item: Object, desired: Object) -> dict[str, Any]:
    content = {name: value for name, value in item.items() if name not in ("metadata", "status")}
    metadata = item["metadata"]
    for part in _OWN_METADATA:
        wanted = desired["metadata"].get(part, {})
        content[part] = {name: value for name, value in (metadata.get(part) or {}).items() if name in wanted}
    return content


def _differences(old: Any, new: Any, field: Field) -> Iterator[tuple[Field, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in sorted(old.keys() | new.keys(), key=str):
            yield from _differences(old.get(name, _ABSENT), new.get(name, _ABSENT), (*field, name))
    elif isinstance(old, list) and isinstance(new, list) and old != new:
        inside = list(_differences(_by_name(old), _by_name(new), field))
        yield from inside or [(field, old, new)]
    elif isinstance(old, str) and isinstance(new, str) and old != new:
        # A document in a ConfigMap: what differs in it, not two long lines that look alike.
        before, after = _document(old), _document(new)
        inside = list(_differences(before, after, field)) if before and after else []
        yield from inside or [(field, old, new)]
    elif old is _ABSENT or new is _ABSENT or old != new or isinstance(old, bool) != isinstance(new, bool):
        yield field, old, new


def _document(text: str) -> dict[str, Any]:
    """TEXT as the JSON object that it is; empty when it is none."""
    if not text.startswith("{"):
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _by_name(items: list[Any]) -> dict[Any, Any]:
    """A list's entries by what a person calls them, so that one new tenant is one difference and not a shift."""
    names = [_name_of(item) for item in items]
    told_apart = "" not in names and len(set(names)) == len(names)
    return dict(zip(names if told_apart else range(len(items)), items, strict=True))


def _name_of(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    match = next((item[key] for key in _MATCHES if item.get(key)), None)
    return str(match[0] if match else next((item[key] for key in _NAMES if item.get(key)), ""))


def _shown(value: Any, hide: bool) -> Any:
    if value is _ABSENT:
        return None
    return "(a secret, not shown)" if hide else value


def _dotted(field: Field) -> str:
    return ".".join(str(part) for part in field)
