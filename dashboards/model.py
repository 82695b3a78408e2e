"""What a dashboard is, apart from how Grafana spells it."""

from dataclasses import dataclass
from enum import Enum

GRID_WIDTH = 24  # Grafana's columns


class Unit(Enum):
    """Units that Grafana formats (names from its unit list)."""

    TOKENS_PER_SECOND = "suffix:tok/s"
    REQUESTS_PER_SECOND = "reqps"
    MILLISECONDS = "ms"
    SECONDS = "s"
    USD = "currencyUSD"
    RATIO = "percentunit"
    BYTES = "bytes"
    COUNT = "short"
    CORES = "suffix:cores"


class Kind(Enum):
    """How a panel shows its queries (Grafana's panel types)."""

    LINES = "timeseries"
    NUMBER = "stat"
    TABLE = "table"
    BARS = "bargauge"


@dataclass(frozen=True, slots=True)
class Variable:
    """A dashboard variable: the values of ``label`` on ``metric``; the empty choice means all."""

    name: str
    metric: str
    label: str
    within: tuple[str, ...] = ()  # variables that narrow this one


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression; ``legend`` is Grafana's ``{{label}}`` text."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture; ``why`` tells what to conclude, ``warn`` and ``bad`` colour a number from there up."""

    title: str
    why: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = Kind.LINES
    width: int = 8
    height: int = 8
    stacked: bool = False
    warn: float | None = None
    bad: float | None = None
    low_is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading, from left to right; they wrap at the grid's width."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """``uid`` is stable: links and the runbooks use it."""

    uid: str
    title: str
    why: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...]
    refresh: str = "30s"
    since: str = "now-6h"

    def panels(self) -> tuple[Panel, ...]:
        """Every panel, in reading order."""
        return tuple(panel for row in self.rows for panel in row.panels)
