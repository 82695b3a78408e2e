"""The Project spec, version 1: what people write, read into frozen models.

One way in: :func:`load_site` reads a site's directory and either returns a :class:`Site` or raises
:class:`SpecError` with every problem of every file.
"""

from .load import load_site, parse_site
from .model import (
    Alias,
    Budget,
    Gateway,
    Group,
    Identity,
    Key,
    Masking,
    MaskingRule,
    Org,
    PolicyTest,
    Price,
    Project,
    PromptGuard,
    Provider,
    Raise,
    Site,
    SiteRecord,
    Target,
    TokenLimit,
    User,
)
from .problems import Problem, SpecError

__all__ = [
    "Alias",
    "Budget",
    "Gateway",
    "Group",
    "Identity",
    "Key",
    "Masking",
    "MaskingRule",
    "Org",
    "PolicyTest",
    "Price",
    "Problem",
    "Project",
    "PromptGuard",
    "Provider",
    "Raise",
    "Site",
    "SiteRecord",
    "SpecError",
    "Target",
    "TokenLimit",
    "User",
    "load_site",
    "parse_site",
]
