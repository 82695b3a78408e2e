"""Higress's ai-data-masking, for Projects that choose that engine.

It has either streaming or safety: `strict` masks every shape and holds a streamed answer to its end,
`streaming` masks string contents only (docs/masking.md says exactly what passes unmasked).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from ..members import Tenant
from ..spec import MaskingRule, Project, Site
from .plugin import Config, Plugin, Rule

# In strict mode the plugin sees the raw JSON, where a match inside a bare number would break the document:
# so phones need a leading 0, + or separators, and cards need separators. JSON numbers have none of these.
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
KIND_PATTERNS = {
    "email": r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}",
    "phone": r"\+[0-9]{1,3}[- .]?(?:[0-9][- .]?){6,12}[0-9]|\b0[0-9]{1,2}[- ]?[0-9]{3}[- ]?[0-9]{3,4}\b"
    r"|\([0-9]{3}\) ?[0-9]{3}-[0-9]{4}|\b[0-9]{3}-[0-9]{3}-[0-9]{4}\b",
    "ip": rf"\b(?:{_OCTET}\.){{3}}{_OCTET}\b|\b(?:[0-9A-Fa-f]{{1,4}}:){{7}}[0-9A-Fa-f]{{1,4}}\b",
    "api_key": r"\b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bglpat-[A-Za-z0-9_-]{20,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{35}|\bxox[abprs]-[A-Za-z0-9-]{10,}",
    "credit_card": r"\b[0-9]{4}[ -][0-9]{4}[ -][0-9]{4}[ -][0-9]{1,4}\b",
}
_MASK = "****"


def uses(site: Site, project: Project, engine: str) -> bool:
    """Whether PROJECT is masked by ENGINE."""
    return (project.masking.engine or site.gateway.masking_engine) == engine


def _role(rule: MaskingRule) -> Config:
    regex = rule.regex if rule.kind is None else KIND_PATTERNS[rule.kind]
    if rule.action == "hash":
        return {"regex": regex, "type": "hash", "restore": rule.restore}
    return {"regex": regex, "type": "replace", "restore": rule.restore, "value": rule.value or _MASK}


def _deny_words(words: Sequence[str]) -> Config:
    """No option without words: for each rule that has one, even an empty one, 2.0.3 keeps a dictionary of 31 MB.

    A hundred of them are more than its VM can hold: it does not start, and with it no request gets through.
    """
    return {"deny_words": list(words)} if words else {}


def _rules(site: Site, tenant: Tenant) -> Iterator[Rule]:
    project = tenant.project
    masking = project.masking
    if not uses(site, project, "ai-data-masking") or not (masking.rules or masking.deny_words):
        return
    message = f"A word in this request may not leave Project {project.project}. Remove it and send the request again."
    error = {"message": message, "type": "invalid_request_error", "code": "word_denied", "param": None}
    yield Rule(
        {
            "deny_openai": masking.mode == "streaming",
            "deny_raw": masking.mode == "strict",
            "deny_jsonpath": [],
            "system_deny": False,
            # The plugin's default answers a refusal with 200.
            "deny_code": 403,
            "deny_message": message,
            "deny_raw_message": json.dumps({"error": {**error, "gate": "ai-data-masking"}}),
            "deny_content_type": "application/json",
            **_deny_words(masking.deny_words),
            "replace_roles": [_role(rule) for rule in masking.rules],
        }
    )


AI_DATA_MASKING = Plugin(
    "ai-data-masking",
    "ai-data-masking",
    "2.0.3",
    "AUTHN",
    290,
    _rules,
    idle={"deny_openai": False, "deny_raw": False, "replace_roles": []},
)
