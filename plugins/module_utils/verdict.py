"""What the policy makes of one request, told from the spec alone: which gate refuses it, with which status.

Covers the gates whose answer follows from the spec. Quota and token limits depend on what was used before, so a
request that meets all others counts as answered.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from .policy.prompt_guard import patterns_of, phrases_of
from .spec import PolicyTest, Project
from .spec.model import Expectation


def verdict(project: Project, test: PolicyTest) -> Expectation:
    """The first gate of the chain that refuses TEST's request, or 200."""
    group = next((identity.group for identity in project.identities() if identity.user == test.user), None)
    if group is None:
        return Expectation(status=401, gate="key-auth")
    if project.blocked or project.groups[group].user(test.user).blocked:
        return Expectation(status=403, gate="identity")
    prompt = normalised(test.prompt)
    if any(normalised(word) in prompt for word in project.masking.deny_words) and project.masking.engine != "off":
        return Expectation(status=403, gate=project.masking.engine or "data-masking")
    if _is_injection(prompt, phrases_of(project), patterns_of(project)):
        return Expectation(status=403, gate="prompt-guard")
    if alias_of(project, test.model, test.workload) not in project.groups[group].models:
        return Expectation(status=403, gate="model-allowlist")
    return Expectation(status=200)


def meets(found: Expectation, expected: Expectation) -> bool:
    """Whether FOUND is what was EXPECTED: the same status, and the same gate where both name one."""
    same_gate = None in (found.gate, expected.gate) or found.gate == expected.gate
    return found.status == expected.status and same_gate


def told(outcome: Expectation) -> str:
    """OUTCOME in words: ``403 by model-allowlist``."""
    return f"{outcome.status} by {outcome.gate}" if outcome.gate else str(outcome.status)


def alias_of(project: Project, model: str, workload: str | None) -> str:
    """The alias that serves a request: its workload's, if one claims it, else the model it names."""
    claimed = {alias.workload: name for name, alias in project.models.items() if alias.workload}
    return claimed.get(workload, model) if workload else model


@lru_cache(maxsize=4096)  # Projects share most of their phrases
def normalised(text: str) -> str:
    """TEXT as prompt-guard compares it: compatibility forms, case and white space folded, format marks dropped."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    visible = "".join(char for char in folded if unicodedata.category(char) != "Cf")
    return " ".join(visible.split())


def _is_injection(prompt: str, phrases: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(normalised(phrase) in prompt for phrase in phrases) or any(
        re.search(pattern, prompt, re.IGNORECASE) for pattern in patterns
    )
