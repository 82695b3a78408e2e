"""Filter version_step: whether Kubernetes supports going from one version to another."""

from __future__ import annotations

import re
from collections.abc import Callable

DOCUMENTATION = r"""
name: version_step
short_description: Say whether a k3s version may follow another
version_added: 0.1.0
description:
  - True for a fresh installation, the same version, a newer patch, or the next minor version.
  - False for a downgrade and for a step over a minor version; Kubernetes supports neither.
author: Opsta (@opsta)
options:
  _input:
    description: The version that runs, such as V(v1.33.4+k3s1); empty when none does.
    type: str
    required: true
  target:
    description: The version that shall run.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Refuse a skipped minor version
  ansible.builtin.assert:
    that: "'v1.33.4+k3s1' | opsta.ai_gateway.version_step('v1.34.4+k3s1')"
"""

RETURN = r"""
_value:
  description: Whether the step is supported.
  type: bool
"""


_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:\+k3s(\d+))?")


def version_step(before: str, target: str) -> bool:
    """Return whether `target` may follow `before`; raises ValueError for what is no version."""
    if not before:
        return True
    old, new = _parsed(before), _parsed(target)
    return new >= old and new[0] == old[0] and new[1] - old[1] <= 1


def _parsed(version: str) -> tuple[int, int, int, int]:
    match = _VERSION.fullmatch(version)
    if not match:
        raise ValueError(f"{version!r} is not a version such as v1.34.4+k3s1")
    major, minor, patch, build = (int(part or 0) for part in match.groups())
    return major, minor, patch, build


class FilterModule:
    """The filters of this file, as Ansible looks for them."""

    def filters(self) -> dict[str, Callable[[str, str], bool]]:
        """Return them by name."""
        return {"version_step": version_step}
