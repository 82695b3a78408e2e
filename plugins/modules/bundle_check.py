#!/usr/bin/python
"""Module bundle_check: every file of an air-gap bundle against its checksums."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_check
short_description: Check an air-gap bundle, or write its checksums
version_added: 0.1.0
description:
  - Compares files with the list of checksums in the bundle, and says which file is damaged, missing or unlisted.
  - With O(state=written) it writes the list instead.
author: Opsta (@opsta)
options:
  bundle_dir:
    description: Directory of the bundle.
    type: path
    required: true
  below:
    description: Only look at this directory of the bundle.
    type: str
    default: ""
  state:
    description: Whether to check the list or to write it.
    type: str
    choices: [checked, written]
    default: checked
attributes:
  check_mode:
    description: Only reads, unless it writes the list.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Check a bundle
  opsta.ai_gateway.bundle_check:
    bundle_dir: /srv/bundle
"""

RETURN = r"""
files:
  description: Number of files that match.
  returned: success
  type: int
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opsta.ai_gateway.plugins.module_utils import bundle


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "bundle_dir": {"type": "path", "required": True},
            "below": {"type": "str", "default": ""},
            "state": {"type": "str", "choices": ["checked", "written"], "default": "checked"},
        },
        supports_check_mode=True,
    )
    directory, below = Path(module.params["bundle_dir"]), module.params["below"]
    try:
        if module.params["state"] == "written":
            changed = bundle.write_checksums(directory, dry_run=module.check_mode)
            module.exit_json(changed=changed, files=len(bundle.read_checksums(directory)) if not changed else 0)
        count = bundle.check_all(directory, below)
    except (bundle.BundleError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, files=count)


if __name__ == "__main__":
    main()
