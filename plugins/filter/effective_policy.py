"""Filter effective_policy: everything that holds for one user of a Project, from a site's directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.explain import effective_policy as effective
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import SpecError, load_site

DOCUMENTATION = r"""
name: effective_policy
short_description: Say what holds for one user of a Project
version_added: 0.1.0
description:
  - Identity, models, budgets and token limits (tightest first), masking, prompt guard and key names of one user.
  - Reads the specs only; never a key.
author: Opsta (@opsta)
options:
  _input:
    description: Directory with C(gateway.yml), C(prices.yml) and C(projects/*.yml).
    type: path
    required: true
  project:
    description: Name of the Project.
    type: str
    required: true
  user:
    description: Name of the user.
    type: str
    required: true
positional: project, user
"""

EXAMPLES = r"""
- name: Show what bob may do
  ansible.builtin.debug:
    msg: "{{ inventory_dir | opsta.ai_gateway.effective_policy('atlas', 'bob') }}"
"""

RETURN = r"""
_value:
  description: The user's policy.
  type: dict
"""


def effective_policy(directory: str, project: str, user: str) -> dict[str, Any]:
    """Return the policy of USER in PROJECT; budgets and times as text."""
    try:
        found = effective(load_site(Path(directory)), project, user, datetime.now(UTC))
    except (SpecError, KeyError) as error:
        raise AnsibleFilterError(str(error.args[0])) from error
    return {
        **asdict(found),
        "identity": found.identity.model_dump(mode="json"),
        "budgets": {level: budget.model_dump(mode="json", by_alias=True) for level, budget in found.budgets.items()},
        "token_limits": {level: limit.model_dump(mode="json") for level, limit in found.token_limits.items()},
        "models": {alias: list(how) for alias, how in found.models.items()},
        "keys": {name: end.isoformat() if end else None for name, end in found.keys.items()},
    }


class FilterModule:
    """The filters of this file, as Ansible looks for them."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """Return them by name."""
        return {"effective_policy": effective_policy}
