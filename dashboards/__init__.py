"""Dashboards as code: typed panels with PromQL here, Grafana's JSON only at build or role time.

``python -m dashboards DIR`` writes one JSON file per dashboard; the lookup ``opsta.ai_gateway.dashboards``
gives the same documents to a role. Nothing here reads a clock, a file or a network.
"""

from .grafana import render
from .model import Dashboard, Panel, Query, Row
from .overview import OVERVIEW
from .platform import PLATFORM
from .spend import SPEND

DASHBOARDS = (OVERVIEW, SPEND, PLATFORM)

__all__ = ["DASHBOARDS", "Dashboard", "Panel", "Query", "Row", "render"]
