"""Every query that the project has: of panels, of variables, of recording rules and of alerts."""

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from dashboards import DASHBOARDS

from .services import TREE

# Grafana's variables as Prometheus sees them with everything chosen.
_ALL = {"$__rate_interval": "1m", "$__range": "1h"} | {
    f"${name}": ".*" for name in ("org", "project", "group", "user", "model")
}


@dataclass(frozen=True)
class Named:
    """A query and where it stands; ``source`` is panel, record or alert."""

    source: str
    name: str
    expr: str


def every_query() -> Iterator[Named]:
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels():
            for query in panel.queries:
                yield Named("panel", f"{dashboard.title} / {panel.title}", _chosen(query.expr))
    for file in sorted((TREE / "rules").glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                source = "alert" if "alert" in rule else "record"
                yield Named(source, rule[source], rule["expr"])


def _chosen(expr: str) -> str:
    for variable, value in _ALL.items():
        expr = expr.replace(variable, value)
    return expr
