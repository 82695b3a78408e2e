"""Our usage-guard: every answer is metered, cached tokens apart, unfinished ones by estimate."""

from __future__ import annotations

from collections.abc import Iterator

from ..members import Tenant
from ..spec import Site
from .identity import GUARDS_TAG
from .plugin import Plugin, Rule


def _rules(site: Site, tenant: Tenant) -> Iterator[Rule]:
    project = tenant.project
    yield Rule({"project": project.project, "max_body_bytes": site.gateway.max_body_bytes})


USAGE_GUARD = Plugin("usage-guard", "usage-guard", GUARDS_TAG, "UNSPECIFIED_PHASE", 500, _rules, guard=True)
