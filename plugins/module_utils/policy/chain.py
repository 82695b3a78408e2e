"""The request chain: every plugin, in the order in which a request meets them.

Order is by phase (AUTHN, AUTHZ, STATS, none), then by priority, larger first; all are different, because Higress
orders equal ones at random. Adding a plugin is adding its file and its name here.
"""

from __future__ import annotations

from .ai_data_masking import AI_DATA_MASKING
from .ai_proxy import AI_PROXY
from .data_masking import DATA_MASKING
from .identity import ENTRANCE, IDENTITY
from .key_auth import KEY_AUTH
from .model_allowlist import MODEL_ALLOWLIST
from .plugin import Plugin
from .prompt_guard import PROMPT_GUARD
from .quota import AI_QUOTA
from .statistics import AI_STATISTICS
from .token_ratelimit import GROUP_LIMIT, PROJECT_LIMIT, USER_LIMIT
from .usage_guard import USAGE_GUARD

CHAIN: tuple[Plugin, ...] = (
    ENTRANCE,
    KEY_AUTH,
    IDENTITY,
    AI_DATA_MASKING,
    DATA_MASKING,
    PROMPT_GUARD,
    MODEL_ALLOWLIST,
    AI_STATISTICS,
    AI_QUOTA,
    USER_LIMIT,
    GROUP_LIMIT,
    PROJECT_LIMIT,
    USAGE_GUARD,
    AI_PROXY,
)
