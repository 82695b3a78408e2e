"""The ledger as a table, CSV or JSON. The page with plots is in ``page``."""

from __future__ import annotations

import csv
import io
import json

from . import periods
from .money import usd, usd_exact
from .view import Line, View

KINDS = ("org", "project", "group", "user")
COLUMNS = (
    "kind",
    "name",
    "period",
    "limit",
    "spent",
    "leased",
    "waiting",
    "left",
    "forecast",
    "unattributed",
    "resets",
)


def table(view: View, users: int = 20) -> str:
    """A table for a terminal; of users only those who spent most, with a line that says how many more there are."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    more = 0
    for kind in KINDS:
        lines = view.of(kind)
        shown = lines[:users] if kind == "user" else lines
        more += len(lines) - len(shown)
        rows += [_cells(line) for line in shown]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    text = [
        "  ".join(cell.ljust(width) if i < 3 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()  # noqa: E501
        for row in rows
    ]  # fmt: skip
    text.insert(1, "  ".join("-" * width for width in widths))
    head = f"{view.site}, {periods.stamp(view.at, 'UTC')}, amounts in USD"
    models = [f"  {model}  {usd(amount)}" for model, amount in view.models().items()]
    tail = [f"and {more} users who spent less"] if more else []
    return "\n".join([head, "", *text, *tail, "", "this month by model:", *(models or ["  nothing yet"])]) + "\n"


def as_csv(view: View) -> str:
    """Every line, amounts with every digit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for line in view.lines:
        document = _document(line)
        writer.writerow(["" if document[name] is None else document[name] for name in COLUMNS])
    return out.getvalue()


def as_json(view: View) -> str:
    """Everything the report knows; amounts are strings with every digit, times are ISO 8601."""
    return json.dumps(
        {
            "site": view.site,
            "at": periods.stamp(view.at, "UTC"),
            "last_run": view.head.last,
            "models": {model: usd_exact(amount) for model, amount in view.models().items()},
            "lines": [_document(line) for line in view.lines],
        },
        indent=1,
        ensure_ascii=False,
    )


def _document(line: Line) -> dict[str, object]:
    return {
        "kind": line.kind,
        "name": line.name,
        "period": line.period,
        "limit": None if line.limit is None else usd_exact(line.limit),
        "spent": usd_exact(line.spent),
        "leased": usd_exact(line.leased),
        "waiting": usd_exact(line.waiting),
        "left": None if line.left is None else usd_exact(line.left),
        "forecast": usd_exact(line.forecast),
        "unattributed": usd_exact(line.unattributed),
        "resets": periods.stamp(line.resets, line.zone),
        "blocked": line.blocked,
        "models": {model: usd_exact(amount) for model, amount in line.models.items()},
        "days": {day: usd_exact(amount) for day, amount in line.days.items()},
    }


def _cells(line: Line) -> tuple[str, ...]:
    def money(amount: int | None) -> str:
        return "-" if amount is None else usd(amount)

    name = f"{line.name} (blocked)" if line.blocked else line.name
    amounts = (line.limit, line.spent, line.leased, line.waiting, line.left, line.forecast, line.unattributed)
    return (line.kind, name, line.period, *map(money, amounts), periods.stamp(line.resets, line.zone))
