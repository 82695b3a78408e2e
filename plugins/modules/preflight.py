#!/usr/bin/python
"""Module preflight: judge every host and the inventory at once."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Say everything that stands in the way of an installation
version_added: 0.1.0
description:
  - Judges what M(opsta.ai_gateway.preflight_facts) saw on every host, and the inventory itself.
  - Fails with one line for each problem, all at once. Runs on the control machine and changes nothing.
author: Opsta (@opsta)
options:
  hosts:
    description: Facts by inventory name.
    type: dict
    required: true
  needs:
    description: What each host must offer, by inventory name.
    type: dict
    required: true
  inventory:
    description: What hosts.yml and group_vars say; of secrets only whether they are set.
    type: dict
    required: true
  lock:
    description: Path of versions.yml.
    type: path
    required: true
attributes:
  check_mode:
    description: Only judges.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Judge the hosts
  opsta.ai_gateway.preflight:
    hosts: "{{ facts }}"
    needs: "{{ needs }}"
    inventory: "{{ inventory }}"
    lock: versions.yml
"""

RETURN = r"""
problems:
  description: One line for each problem; empty when all is well.
  returned: always
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opsta.ai_gateway.plugins.module_utils import preflight, versions


def _needs(raw: dict[str, Any]) -> preflight.Needs:
    return preflight.Needs(
        systems=tuple(raw["systems"]),
        architectures=tuple(raw["architectures"]),
        cpus=int(raw["cpus"]),
        memory=int(float(raw["memory_gib"]) * preflight.GIB),
        disk={path: int(float(size) * preflight.GIB) for path, size in raw["disk_gib"].items()},
        ports=tuple(int(port) for port in raw["ports"]),
        modules=tuple(raw["kernel_modules"]),
        cgroup_controllers=tuple(raw["cgroup_controllers"]),
        resolves=tuple(raw["names"]),
        clock_synchronised=bool(raw["clock_synchronised"]),
        max_clock_offset=float(raw["max_clock_offset_s"]),
        python=(3, 9),
    )


def _inventory(raw: dict[str, Any], lock: versions.Lock) -> preflight.Inventory:
    return preflight.Inventory(
        servers=tuple(raw["servers"]),
        agents=tuple(raw["agents"]),
        registries=tuple(raw["registries"]),
        sandboxes=tuple(raw["sandboxes"]),
        addresses=raw["addresses"],
        api_endpoint=raw["api_endpoint"],
        redis_mode=raw["redis_mode"],
        domain=raw["domain"],
        certificate_mode=raw["certificate_mode"],
        secrets=raw["secrets"],
        unpinned=tuple(entry.name for entry in lock.unpinned()),
        bundle=bool(raw["bundle_dir"]),
        cluster_cidrs=tuple(raw["cluster_cidrs"]),
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "dict", "required": True},
            "needs": {"type": "dict", "required": True},
            "inventory": {"type": "dict", "required": True},
            "lock": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        lock = versions.load(Path(options["lock"]).read_text())
    except versions.LockError as error:
        module.fail_json(msg=str(error), problems=list(error.problems))
    hosts = [preflight.host_from_facts(name, facts) for name, facts in sorted(options["hosts"].items())]
    problems = [
        *preflight.judge_inventory(_inventory(options["inventory"], lock)),
        *preflight.judge_hosts(hosts),
        *(problem for host in hosts for problem in preflight.judge_host(host, _needs(options["needs"][host.name]))),
    ]
    lines = [str(problem) for problem in problems]
    if lines:
        count = f"{len(lines)} problem{'s' if len(lines) > 1 else ''}"
        module.fail_json(msg=f"{count}:\n  " + "\n  ".join(lines), problems=lines)
    module.exit_json(changed=False, problems=[])


if __name__ == "__main__":
    main()
