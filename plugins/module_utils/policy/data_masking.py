"""Our data-masking: the engine of a Project that does not ask for Higress's.

It masks every shape without holding streams; docs/masking.md says what it finds.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..members import Tenant
from ..secret import MASKING_HASH
from ..spec import MaskingRule, Project, Site
from .ai_data_masking import uses
from .identity import GUARDS_TAG
from .key_auth import key_secret
from .objects import secret_reference
from .plugin import Config, Plugin, Rule


def _rule(rule: MaskingRule) -> Config:
    """RULE in the guard's words, which are the spec's: unset fields are left to the guard."""
    return rule.model_dump(mode="json", exclude_defaults=True) | {"action": rule.action}


def _hash_key(project: Project) -> Config:
    if not any(rule.action == "hash" for rule in project.masking.rules):
        return {}
    return {"hash_key": secret_reference(key_secret(project), MASKING_HASH)}


def _rules(site: Site, tenant: Tenant) -> Iterator[Rule]:
    """A rule for every Project: one without rules passes everything, and a route without any is refused."""
    project = tenant.project
    if not uses(site, project, "data-masking"):
        yield Rule({"rules": [], "deny_words": []})
        return
    yield Rule(
        {
            "rules": [_rule(rule) for rule in project.masking.rules],
            "deny_words": list(project.masking.deny_words),
            **_hash_key(project),
            "max_body_bytes": site.gateway.max_body_bytes,
        }
    )


DATA_MASKING = Plugin("data-masking", "data-masking", GUARDS_TAG, "AUTHN", 280, _rules, guard=True)
