"""Our model-allowlist: which aliases a group may use, and which alias serves a request."""

from __future__ import annotations

from collections.abc import Iterator

from ..members import Tenant
from ..spec import Site
from .identity import GUARDS_TAG
from .plugin import Plugin, Rule


def _rules(site: Site, tenant: Tenant) -> Iterator[Rule]:
    project = tenant.project
    workloads = {alias.workload: name for name, alias in sorted(project.models.items()) if alias.workload}
    yield Rule(
        {
            "project": project.project,
            "groups": {name: sorted(group.models) for name, group in sorted(project.groups.items())},
            "workloads": workloads,
            "max_body_bytes": site.gateway.max_body_bytes,
        }
    )


MODEL_ALLOWLIST = Plugin("model-allowlist", "model-allowlist", GUARDS_TAG, "AUTHZ", 390, _rules, guard=True)
