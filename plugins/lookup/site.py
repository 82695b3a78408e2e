"""Lookup: what other roles need to know of a site's directory."""

# Copyright (c) Opsta. Licensed as LICENSE says.

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.chain import CHAIN
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.plugin import wasm_plugins
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import SpecError, load_site

DOCUMENTATION = """
name: site
short_description: Name, Projects and plugins of a site
version_added: 0.1.0
description:
  - Reads C(gateway.yml), C(prices.yml) and C(projects/*.yml) of a site's directory; never a key.
author: Opsta (@opsta)
options:
  _terms:
    description: Directories of sites.
    type: list
    elements: path
    required: true
"""

EXAMPLES = """
- name: Show the Projects
  ansible.builtin.debug:
    msg: "{{ lookup('opsta.ai_gateway.site', inventory_dir).projects }}"
"""

RETURN = """
_list:
  description: One item per directory.
  type: list
  elements: dict
  contains:
    name: {description: The site's name., type: str}
    projects: {description: Each Project's org by the Project's name., type: dict}
    plugins: {description: "Names of the WasmPlugin objects, in the order of the request chain.", type: list}
"""


class LookupModule(LookupBase):
    """Gives one dict per directory."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        """Read each site; raises AnsibleLookupError with every problem of its files."""
        self.set_options(var_options=variables, direct=kwargs)
        return [_facts(Path(term)) for term in terms]


def _facts(directory: Path) -> dict[str, Any]:
    try:
        site = load_site(directory)
    except (SpecError, OSError) as error:
        raise AnsibleLookupError(f"{directory}: {error}") from error
    return {
        "name": site.gateway.site,
        "projects": {project.project: project.org for project in site.projects},
        # Their names depend on the shards alone, not on who is in them.
        "plugins": [made["metadata"]["name"] for plugin in CHAIN for made in wasm_plugins(plugin, site, ())],
    }
