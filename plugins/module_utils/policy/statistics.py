"""Higress's ai-statistics: token counters, and `ai_log` for the access log."""

from __future__ import annotations

from collections.abc import Sequence

from ..members import Tenant
from ..spec import Site
from .plugin import Config, Plugin, no_rules
from .routes import METERED_PATHS

_IDENTITY = {
    "consumer": "x-mse-consumer",
    "project": "x-dev-project",
    "group": "x-dev-group",
    "user": "x-dev-user",
}


def _shared(_site: Site, _tenants: Sequence[Tenant]) -> Config:
    attributes = [
        {"key": key, "value_source": "request_header", "value": header, "apply_to_log": True}
        for key, header in _IDENTITY.items()
    ]
    return {"attributes": attributes, "enable_path_suffixes": list(METERED_PATHS)}


AI_STATISTICS = Plugin("ai-statistics", "ai-statistics", "2.0.0", "STATS", 200, no_rules, shared=_shared)
