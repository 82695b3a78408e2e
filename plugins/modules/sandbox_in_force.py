#!/usr/bin/python
"""Module sandbox_in_force: Envoy goes by the files that are there."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_in_force
short_description: Wait until the sandbox's Envoy goes by its files
version_added: 0.1.0
description:
  - Asks Envoy for the version of each configuration in force and compares it with the files. Changes nothing.
author: Opsta (@opsta)
options:
  directory:
    description: The sandbox's directory.
    type: path
    required: true
  admin_port:
    description: Envoy's admin port.
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
    admin_port: 18081
"""

RETURN = r"""
versions:
  description: Version in force of each file.
  type: dict
  returned: success
"""

from pathlib import Path  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.admin import (  # noqa: E402
    Admin,
    NotInForceError,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.apply import (  # noqa: E402
    Place,
    versions_on_disk,
    wait_for_disk,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.layout import Layout  # noqa: E402


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "admin_port": {"type": "int", "required": True},
            "seconds": {"type": "float", "default": 180},
        },
        supports_check_mode=True,
    )
    layout = Layout(Path(module.params["directory"]).absolute())
    place = Place(layout.envoy, layout.envoy_log, Admin(module.params["admin_port"]))
    try:
        wait_for_disk(place, module.params["seconds"])
    except NotInForceError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, versions=versions_on_disk(place))


if __name__ == "__main__":
    main()
