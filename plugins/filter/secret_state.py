"""Filter secret_state: whether a secret is set, without its value going anywhere."""

from __future__ import annotations

from collections.abc import Callable

DOCUMENTATION = r"""
name: secret_state
short_description: Say whether a secret is set
version_added: 0.1.0
description:
  - Answers V(missing), V(placeholder) or V(set), so that a check can speak of a secret without holding it.
author: Opsta (@opsta)
options:
  _input:
    description: The secret's value.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse placeholders
  ansible.builtin.assert:
    that: redis_password | opsta.ai_gateway.secret_state == 'set'
"""

RETURN = r"""
_value:
  description: V(missing), V(placeholder) or V(set).
  type: str
"""


_PLACEHOLDERS = ("change", "replace", "xxx", "todo")


def secret_state(value: object) -> str:
    """Return the state of a secret's value."""
    text = str(value or "").strip().lower()
    if not text:
        return "missing"
    return "placeholder" if text.startswith(_PLACEHOLDERS) else "set"


class FilterModule:
    """The filters of this file, as Ansible looks for them."""

    def filters(self) -> dict[str, Callable[[object], str]]:
        """Return them by name."""
        return {"secret_state": secret_state}
