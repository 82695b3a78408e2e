"""Higress's ai-quota: a balance of tokens per consumer, which the budget controller turns into dollars."""

from __future__ import annotations

from collections.abc import Sequence

from ..members import Tenant
from ..spec import Site
from .plugin import Config, Plugin, no_rules
from .redis_service import redis_service
from .routes import METERED_PATHS

KEY_PREFIX = "chat_quota:"
# Whoever holds the admin consumer's key may set any balance. `--` stands in no name, so nobody can.
_NO_ADMIN = "nobody--"


def _shared(site: Site, _tenants: Sequence[Tenant]) -> Config:
    return {
        "redis_key_prefix": KEY_PREFIX,
        "admin_consumer": _NO_ADMIN,
        "admin_path": "/quota--",
        "redis": redis_service(site),
        "enable_path_suffixes": list(METERED_PATHS),
    }


AI_QUOTA = Plugin("ai-quota", "ai-quota", "2.0.0", "UNSPECIFIED_PHASE", 750, no_rules, shared=_shared)
