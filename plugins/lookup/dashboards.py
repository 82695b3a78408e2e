"""Lookup: the collection's Grafana dashboards, rendered."""

# Copyright (c) Opsta. Licensed as LICENSE says.

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleOptionsError
from ansible.plugins.lookup import LookupBase
from ansible_collections.opsta.ai_gateway.dashboards import DASHBOARDS, render

DOCUMENTATION = """
name: dashboards
short_description: Grafana dashboards of the AI gateway
description:
  - Renders every dashboard of the collection from its typed source. Needs no network and reads no file.
author: Opsta (@opsta)
"""

EXAMPLES = """
- name: Show which dashboards there are
  ansible.builtin.debug:
    msg: "{{ lookup('opsta.ai_gateway.dashboards', wantlist=true) | map(attribute='title') }}"
"""

RETURN = """
_list:
  description: One item per dashboard.
  type: list
  elements: dict
  contains:
    name: {description: "Stable identifier, also Grafana's uid.", type: str}
    title: {description: What people see., type: str}
    json: {description: "The dashboard's JSON document, the same text for the same source.", type: str}
"""


class LookupModule(LookupBase):
    """Gives the dashboards in reading order."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, str]]:
        """Render all dashboards; raises AnsibleOptionsError when a term is given, as none is taken."""
        if terms:
            raise AnsibleOptionsError(f"the lookup takes no terms, not {terms!r}")
        self.set_options(var_options=variables, direct=kwargs)
        return [
            {
                "name": dashboard.uid,
                "title": dashboard.title,
                "json": json.dumps(render(dashboard), indent=1, sort_keys=True),
            }
            for dashboard in DASHBOARDS
        ]
