#!/usr/bin/python
"""Module sandbox_services: the sandbox's services, run by supervisor."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_services
short_description: Run the sandbox's services as their files say
version_added: 0.1.0
description:
  - Starts a supervisor over C(DIRECTORY/supervisord.conf) and brings its services in line with the files in
    C(DIRECTORY/services). Only services whose files changed are restarted. Any role may put a file there.
author: Opsta (@opsta)
options:
  directory:
    description: The sandbox's directory.
    type: path
    required: true
  program:
    description: The C(supervisord) to start.
    type: path
    required: true
  state:
    description: V(stopped) ends all services and the supervisor.
    type: str
    choices: [started, stopped]
    default: started
  seconds:
    description: How long to wait until all services run, or have ended.
    type: float
    default: 60
attributes:
  check_mode:
    description: Says which services would be started, restarted or ended.
    support: full
"""

EXAMPLES = r"""
- name: Run the services
  opsta.ai_gateway.sandbox_services:
    directory: .sandbox
    program: .build/venv/bin/supervisord
"""

RETURN = r"""
services:
  description: Names of services added, changed, removed and started.
  type: dict
  returned: when O(state=started)
"""

from dataclasses import asdict
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.supervise import (
    ServiceError,
    Supervisor,
)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "program": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["started", "stopped"], "default": "started"},
            "seconds": {"type": "float", "default": 60},
        },
        supports_check_mode=True,
    )
    supervisor = Supervisor(Path(module.params["directory"]).absolute(), module.params["program"])
    dry, seconds = module.check_mode, module.params["seconds"]
    try:
        if module.params["state"] == "stopped":
            module.exit_json(changed=supervisor.stop(dry=dry, seconds=seconds))
        outcome = supervisor.reconcile(dry=dry, seconds=seconds)
    except ServiceError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=outcome.any, services=asdict(outcome))


if __name__ == "__main__":
    main()
