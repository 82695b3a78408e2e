#!/usr/bin/python
"""Module registry_account: the one account of the site's registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_account
short_description: Set the account of the site's registry
version_added: 0.1.0
description:
  - Writes a htpasswd file with one account, and changes it only when the password is another.
  - The registry checks the password on every request. It is a minted secret of 128 random bits, so a cheap bcrypt is as
    safe as a dear one, and pulls do not wait for it.
author: Opsta (@opsta)
requirements:
  - bcrypt (on the host)
options:
  path:
    description: The htpasswd file.
    type: path
    required: true
  username:
    description: Name of the account.
    type: str
    required: true
  password:
    description: Its password.
    type: str
    required: true
  group:
    description: Group that may read the file.
    type: str
    required: true
attributes:
  check_mode:
    description: Says whether the account would change.
    support: full
  diff_mode:
    description: There is nothing to show that is no secret.
    support: none
"""

EXAMPLES = r"""
- name: Set the account
  opsta.ai_gateway.registry_account:
    path: /etc/docker/registry/htpasswd
    username: ai-gateway
    password: "{{ registry_password }}"
    group: docker-registry
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
"""

import shutil
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import bcrypt
except ImportError:
    bcrypt = None

_COST = 5


def _holds(path: Path, username: str, password: str) -> bool:
    if not path.exists():
        return False
    name, _, hashed = path.read_text().strip().partition(":")
    return name == username and bool(bcrypt.checkpw(password.encode(), hashed.encode()))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "group": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    if bcrypt is None:
        module.fail_json(msg=missing_required_lib("bcrypt"))
    path, username, password = Path(module.params["path"]), module.params["username"], module.params["password"]
    changed = not _holds(path, username, password)
    if changed and not module.check_mode:
        part = path.with_suffix(".part")
        part.touch(mode=0o640)
        part.write_text(f"{username}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(_COST)).decode()}\n")
        shutil.chown(part, "root", module.params["group"])
        part.replace(path)
    module.exit_json(changed=changed, path=str(path))


if __name__ == "__main__":
    main()
