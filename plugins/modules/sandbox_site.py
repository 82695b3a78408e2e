#!/usr/bin/python
"""Module sandbox_site: a site's Project specs become the sandbox's policy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_site
short_description: Make the sandbox's gateway do what the Project specs say
version_added: 0.1.0
description:
  - Turns all Project specs of a site into the objects that Higress would be given, compiles those for stock Envoy and
    puts them into force, on open connections too. A policy that Envoy refuses is taken back as a whole.
  - Mints the keys that are missing and keeps them in C(secrets.json); writes C(access.json) and C(summary.txt).
author: Opsta (@opsta)
options:
  site:
    description: Directory with C(gateway.yml), C(prices.yml) and C(projects/*.yml).
    type: path
    required: true
  directory:
    description: The sandbox's directory.
    type: path
    required: true
  port_base:
    description: First of the sandbox's ports; the gateway listens there.
    type: int
    required: true
  programs:
    description: File of each Wasm program by its name, as M(opsta.ai_gateway.sandbox_programs) returns them.
    type: dict
    required: true
  endpoints:
    description: Stand-in for DNS. A provider's domain is reached at this C(ADDRESS:PORT) instead, without TLS.
    type: dict
    default: {}
attributes:
  check_mode:
    description: Works everything out and changes nothing.
    support: full
  diff_mode:
    description: Says in people's terms what changes. Never shows a secret.
    support: full
"""

EXAMPLES = r"""
- name: Put the site into force
  opsta.ai_gateway.sandbox_site:
    site: inventories/sandbox
    directory: .sandbox
    port_base: 18080
    programs: "{{ programs }}"
    endpoints:
      provider-a.sandbox.test: 127.0.0.1:18084
"""

RETURN = r"""
sentences:
  description: What changes, in people's terms.
  type: list
  returned: success
files:
  description: Names of the files that changed.
  type: list
  returned: success
projects:
  description: Host name of each Project.
  type: dict
  returned: success
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import PolicyError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.admin import NotInForceError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.problem import (
    ObjectsRefusedError,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.siteplan import (
    Request,
    carry_out,
    prepare,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.taken import PortsTakenError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import SecretError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import SpecError


def _request(params: dict[str, Any]) -> Request:
    endpoints = {domain: str(place).rpartition(":") for domain, place in params["endpoints"].items()}
    return Request(
        site_dir=Path(params["site"]),
        sandbox_dir=Path(params["directory"]).absolute(),
        port_base=params["port_base"],
        programs=params["programs"],
        endpoints={domain: (address, int(port)) for domain, (address, _, port) in endpoints.items()},
        now=datetime.now(UTC),
    )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "path", "required": True},
            "directory": {"type": "path", "required": True},
            "port_base": {"type": "int", "required": True},
            "programs": {"type": "dict", "required": True},
            "endpoints": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    try:
        prepared = prepare(_request(module.params))
        changed = carry_out(prepared, dry=module.check_mode)
    except (SpecError, SecretError, PolicyError, ObjectsRefusedError, PortsTakenError, NotInForceError) as error:
        module.fail_json(msg=str(error))
    sentences = list(prepared.plan.sentences)
    module.exit_json(
        changed=bool(changed),
        files=changed,
        sentences=sentences,
        projects={project.project: project.host for project in prepared.site.projects},
        diff={"prepared": "".join(f"{sentence}\n" for sentence in sentences)},
    )


if __name__ == "__main__":
    main()
