#!/usr/bin/python
"""Module sandbox_in_force: Envoy goes by the files that are there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_in_force
short_description: Wait until the sandbox's Envoy goes by its files
version_added: 0.1.0
description:
  - Asks Envoy for the version of each configuration in force and compares it with the files, and sees that every
    service listens. Changes nothing.
author: Opsta (@opsta)
options:
  directory:
    description: The sandbox's directory.
    type: path
    required: true
  port_base:
    description: First of the sandbox's ports.
    type: int
    required: true
  seconds:
    description: How long to wait; an Envoy that starts compiles its Wasm programs first.
    type: float
    default: 180
attributes:
  check_mode:
    description: Does the same.
    support: full
"""

EXAMPLES = r"""
- name: See the policy in force
  opsta.ai_gateway.sandbox_in_force:
    directory: .sandbox
    port_base: 18080
"""

RETURN = r"""
versions:
  description: Version in force of each file.
  type: dict
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.admin import (
    Admin,
    NotInForceError,
    wait_for_ports,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.apply import (
    Place,
    versions_on_disk,
    wait_for_disk,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.layout import Layout
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.settings import Ports


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "port_base": {"type": "int", "required": True},
            "seconds": {"type": "float", "default": 180},
        },
        supports_check_mode=True,
    )
    layout = Layout(Path(module.params["directory"]).absolute())
    ports = Ports.from_base(module.params["port_base"])
    place = Place(layout.envoy, layout.envoy_log, Admin(ports.admin))
    try:
        wait_for_disk(place, module.params["seconds"])
        wait_for_ports(ports.served, module.params["seconds"])
    except NotInForceError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, versions=versions_on_disk(place))


if __name__ == "__main__":
    main()
