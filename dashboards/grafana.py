"""A dashboard in Grafana's JSON model (schema of Grafana 11 and later), deterministic to the byte."""

from collections.abc import Iterator
from typing import Any

from .model import GRID_WIDTH, Dashboard, Kind, Panel, Query, Variable

Json = dict[str, Any]
SCHEMA_VERSION = 39
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


def render(dashboard: Dashboard) -> Json:
    """Give the dashboard as the document that Grafana's sidecar or API takes."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.why,
        "tags": ["ai-gateway"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "refresh": dashboard.refresh,
        "time": {"from": dashboard.since, "to": "now"},
        "timezone": "browser",
        "templating": {"list": [_datasource(), *(_variable(v) for v in dashboard.variables)]},
        "panels": list(_panels(dashboard)),
        "links": [
            {
                "type": "dashboards",
                "tags": ["ai-gateway"],
                "title": "AI Gateway",
                "keepTime": True,
                "includeVars": True,
            }
        ],
    }


def _datasource() -> Json:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Metrics"}


def _variable(variable: Variable) -> Json:
    within = ",".join(f'{name}=~"${name}"' for name in variable.within)
    query = f"label_values({variable.metric}{{{within}}}, {variable.label})"
    return {
        "name": variable.name,
        "label": variable.name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": variable.name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panels(dashboard: Dashboard) -> Iterator[Json]:
    number, top = 1, 0
    for row in dashboard.rows:
        yield {
            "id": number,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": GRID_WIDTH, "h": 1},
        }
        number, top, left, line = number + 1, top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > GRID_WIDTH:
                top, left, line = top + line, 0, 0
            yield _panel(panel, number, {"x": left, "y": top, "w": panel.width, "h": panel.height})
            number, left, line = number + 1, left + panel.width, max(line, panel.height)
        top += line


def _panel(panel: Panel, number: int, position: dict[str, int]) -> Json:
    instant = panel.kind is not Kind.LINES
    document: Json = {
        "id": number,
        "type": panel.kind.value,
        "title": panel.title,
        "description": panel.why,
        "datasource": DATASOURCE,
        "gridPos": position,
        "targets": [
            _target(query, chr(ord("A") + i), instant=instant, table=panel.kind is Kind.TABLE)
            for i, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
    }
    if panel.kind is Kind.TABLE:
        document["transformations"] = _one_table(panel)
    if panel.kind is Kind.BARS:
        document["options"] = {"orientation": "horizontal", "displayMode": "gradient"}
    return document


def _target(query: Query, ref: str, *, instant: bool, table: bool) -> Json:
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": instant,
        "range": not instant,
        "format": "table" if table else "time_series",
    }


def _field(panel: Panel) -> Json:
    field: Json = {"unit": panel.unit.value, "min": 0, "thresholds": _thresholds(panel)}
    if panel.kind is Kind.LINES:
        field["custom"] = {
            "drawStyle": "line",
            "fillOpacity": 20 if panel.stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
        field["color"] = {"mode": "palette-classic"}
    return field


def _thresholds(panel: Panel) -> Json:
    first, last = ("red", "green") if panel.low_is_bad else ("green", "red")
    steps: list[Json] = [{"color": first, "value": None}]
    if panel.warn is not None:
        steps.append({"color": "orange", "value": panel.warn})
    if panel.bad is not None:
        steps.append({"color": last, "value": panel.bad})
    return {"mode": "absolute", "steps": steps}


def _one_table(panel: Panel) -> list[Json]:
    """Join the queries to one row per identity, each query's value a column named by its legend."""
    names = {f"Value #{chr(ord('A') + i)}": query.legend for i, query in enumerate(panel.queries) if query.legend}
    return [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}},
    ]
