#!/usr/bin/python
"""Module vaulted_secrets: mint secrets into a vault-encrypted file."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vaulted_secrets
short_description: Mint secrets into a vault-encrypted vars file
version_added: 0.1.0
description:
  - Makes up the secrets that are missing, on this machine, and writes the file encrypted with ansible-vault.
  - What is there already is kept, unless it is named in O(rotate). Values are never returned, shown or logged.
  - Runs on the control machine.
author: Opsta (@opsta)
options:
  path:
    description: The encrypted vars file.
    type: path
    required: true
  vault_password_file:
    description: File with the vault's password.
    type: path
    required: true
  minted:
    description: Names of the secrets that are made up here.
    type: list
    elements: str
    required: true
  given:
    description: Names of the secrets that others give out. They get a placeholder.
    type: list
    elements: str
    default: []
  rotate:
    description: Names of minted secrets to make anew.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Says what would be minted, and writes nothing.
    support: full
  diff_mode:
    description: Shows names, never values.
    support: full
"""

EXAMPLES = r"""
- name: Mint the site's secrets
  opsta.ai_gateway.vaulted_secrets:
    path: group_vars/all/secrets.yml
    vault_password_file: ~/.vault-password
    minted: [redis_password]
"""

RETURN = r"""
fresh:
  description: Names of the secrets that were minted.
  returned: success
  type: list
  elements: str
placeholders:
  description: Names of the secrets that a person has still to fill in.
  returned: success
  type: list
  elements: str
"""

import secrets
from pathlib import Path

import yaml
from ansible.module_utils.basic import AnsibleModule

_PLACEHOLDER = "change-me"


def _mint() -> str:
    # 32 characters: also the length that oauth2-proxy's cookie secret must have (16, 24 or 32 bytes).
    return secrets.token_hex(16)


def _vault(module: AnsibleModule, action: str, text: str) -> str:
    # The program, not the library: a module may not import Ansible's own side. Text goes by pipe, never by argument.
    command = ["ansible-vault", action, "--vault-password-file", module.params["vault_password_file"], "--output", "-"]
    code, out, err = module.run_command(command, data=text)
    if code:
        module.fail_json(msg=f"{module.params['path']} cannot be {action}ed: {err.strip()}")
    return out


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "vault_password_file": {"type": "path", "required": True, "no_log": False},
            "minted": {"type": "list", "elements": "str", "required": True},
            "given": {"type": "list", "elements": "str", "default": []},
            "rotate": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    options = module.params
    unknown = sorted(set(options["rotate"]) - set(options["minted"]))
    if unknown:
        module.fail_json(msg=f"only minted secrets can be made anew; not {', '.join(unknown)}")
    path = Path(options["path"])
    known = yaml.safe_load(_vault(module, "decrypt", path.read_text())) if path.exists() else {}
    fresh = [name for name in options["minted"] if name not in known or name in options["rotate"]]
    asked = [name for name in options["given"] if name not in known]
    after = known | {name: _mint() for name in fresh} | dict.fromkeys(asked, _PLACEHOLDER)
    if (fresh or asked) and not module.check_mode:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(_vault(module, "encrypt", yaml.safe_dump(after)))
        part.replace(path)
    module.exit_json(
        changed=bool(fresh or asked),
        fresh=fresh,
        placeholders=[name for name in options["given"] if after[name] == _PLACEHOLDER],
        diff={"before": "", "after": "".join(f"{name}: (new)\n" for name in [*fresh, *asked])},
    )


if __name__ == "__main__":
    main()
