"""Plans as Ansible results: what people read, what a playbook may test, and a diff of bearable length. Pure.

No secret can be in here: :class:`FieldChange` never carries one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ..plan import Change, FieldChange, Plan
from .reconcile import Outcome, Prepared

# A tenant's rule is a few hundred bytes; a list of all of them may be a megabyte.
_LONGEST = 400
_MARKS = {"create": "+", "update": "~", "delete": "-"}


def result(prepared: Prepared) -> dict[str, Any]:
    """PREPARED for a playbook: changes in people's terms, objects, and a prepared diff."""
    plan = prepared.plan
    return {
        "changed": plan.changed,
        "changes": list(plan.sentences),
        "broken_tests": list(plan.broken),
        "objects": [_object(change) for change in plan.changes],
        "kept": list(prepared.kept),
        "drift": [{"object": c.object, "field": c.field, "manager": c.manager} for c in prepared.conflicts],
        "diff": {"prepared": diff(plan)},
    }


def written(outcome: Outcome) -> dict[str, Any]:
    """The same for a run that has been made."""
    return {**result(outcome.prepared), "writes": outcome.writes}


def diff(plan: Plan) -> str:
    """What `--diff` shows: sentences first, then each object with its fields."""
    lines = [*(f"# {sentence}" for sentence in plan.sentences), *(line for c in plan.changes for line in _lines(c))]
    return "\n".join(lines) + "\n" if lines else ""


def _object(change: Change) -> dict[str, Any]:
    fields = [{"field": field.field, "change": list(_field(field))} for field in change.fields]
    return {
        "action": change.action,
        "kind": change.kind,
        "name": change.name,
        "project": change.project,
        "fields": fields,
    }


def _lines(change: Change) -> Iterator[str]:
    yield f"{_MARKS[change.action]} {change.kind}/{change.name}"
    for field in change.fields:
        for line in _field(field):
            yield f"    {field.field}: {line}"


def _field(field: FieldChange) -> Iterator[str]:
    if isinstance(field.old, list) and isinstance(field.new, list):
        before, after = [_text(item) for item in field.old], [_text(item) for item in field.new]
        gone, come = set(before) - set(after), set(after) - set(before)
        yield from (f"- {_short(text)}" for text in before if text in gone)
        yield from (f"+ {_short(text)}" for text in after if text in come)
        if not gone and not come:
            yield "the same entries in another order or number"
    else:
        yield f"{_short(_text(field.old))} -> {_short(_text(field.new))}"


def _text(value: Any) -> str:
    return "(absent)" if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text):,} characters)"
