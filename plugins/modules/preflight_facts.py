#!/usr/bin/python
"""Module preflight_facts: what a host offers, read without changing anything."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_facts
short_description: Look at a host before anything is installed
version_added: 0.1.0
description:
  - Reads the system, its sizes, listening ports, clock, names and kernel. Judges nothing and changes nothing.
author: Opsta (@opsta)
options:
  paths:
    description: Directories whose free space is wanted; the nearest that exists is measured.
    type: list
    elements: str
    default: []
  names:
    description: Names that the host should resolve.
    type: list
    elements: str
    default: []
  kernel_modules:
    description: Kernel modules to look for, loaded, built in or loadable.
    type: list
    elements: str
    default: []
  own_units:
    description: systemd units of ours; ports that they hold are not in anybody's way.
    type: list
    elements: str
    default: []
  control_time:
    description: The control machine's clock, in seconds since 1970.
    type: float
    required: true
attributes:
  check_mode:
    description: Only reads.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
"""

EXAMPLES = r"""
- name: Look at the host
  opsta.ai_gateway.preflight_facts:
    paths: [/var/lib]
    control_time: "{{ now(utc=true).timestamp() }}"
"""

RETURN = r"""
host:
  description: What was seen, for module preflight.
  returned: success
  type: dict
"""

import os
import platform
import re
import shutil
import socket
import sys
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def _free(path: str) -> int:
    where = Path(path)
    while not where.exists():
        where = where.parent
    return shutil.disk_usage(where).free


def _system() -> str:
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return f"{release.get('ID', '')} {release.get('VERSION_ID', '')}".replace('"', "").strip()


def _meminfo() -> dict[str, int]:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if len(line.split()) > 1}


def _listening(module: AnsibleModule) -> dict[str, tuple[str, int]]:
    _rc, out, _err = module.run_command(["ss", "-Hltnp"])
    found = {}
    for line in out.splitlines():
        columns = line.split()
        holder = re.search(r'\("([^"]+)",pid=(\d+)', line)
        found[columns[3].rsplit(":", 1)[1]] = (holder[1], int(holder[2])) if holder else ("", 0)
    return found


def _unit_of(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text()
    except OSError:
        return ""
    return next((part for part in re.split(r"[/\n]", text) if part.endswith(".service")), "")


def _modules(module: AnsibleModule, wanted: list[str]) -> list[str]:
    # A kernel that loads no modules has what it has built in, and no such list.
    listing = Path("/proc/modules")
    loaded = {line.split()[0] for line in listing.read_text().splitlines()} if listing.exists() else set()
    found = []
    for name in wanted:
        plain = name.replace("-", "_")
        known = plain in loaded or Path(f"/sys/module/{plain}").exists()
        if known or module.run_command(["modprobe", "--dry-run", "--quiet", name])[0] == 0:
            found.append(name)
    return found


def _controllers() -> list[str]:
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        return unified.read_text().split()
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines()[1:]]
    return [row[0] for row in rows if row[3] == "1"]


def _resolves(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        return False
    return True


def _active(module: AnsibleModule, units: list[str]) -> str:
    for unit in units:
        if module.run_command(["systemctl", "is-active", "--quiet", unit])[0] == 0:
            return unit
    return ""


def _machine_id() -> str:
    try:
        return Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""


def _has_default_route() -> bool:
    rows = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    return any(row[1] == "00000000" and row[7] == "00000000" for row in rows)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "str", "default": []},
            "names": {"type": "list", "elements": "str", "default": []},
            "kernel_modules": {"type": "list", "elements": "str", "default": []},
            "own_units": {"type": "list", "elements": "str", "default": []},
            "control_time": {"type": "float", "required": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    memory, hostname, listening = _meminfo(), socket.gethostname(), _listening(module)
    clock = module.run_command(["timedatectl", "show", "--property=NTPSynchronized", "--value"])[1]
    host = {
        "hostname": hostname,
        "system": _system(),
        "architecture": platform.machine(),
        "cpus": os.cpu_count() or 0,
        "memory": memory["MemTotal"],
        "free": {path: _free(path) for path in options["paths"]},
        "listening": {port: holder[0] for port, holder in listening.items()},
        "own_ports": [int(port) for port, holder in listening.items() if _unit_of(holder[1]) in options["own_units"]],
        "clock_synchronised": clock.strip() == "yes",
        "clock_offset": time.time() - options["control_time"],
        "resolved": {name: _resolves(name) for name in [*options["names"], hostname]},
        "swap": memory.get("SwapTotal", 0),
        "modules": _modules(module, options["kernel_modules"]),
        "cgroup_controllers": _controllers(),
        "init": Path("/proc/1/comm").read_text().strip(),
        "python": list(sys.version_info[:2]),
        "root": os.geteuid() == 0,
        "default_route": _has_default_route(),
        "machine_id": _machine_id(),
        "firewall": _active(module, ["ufw", "firewalld"]),
    }
    module.exit_json(changed=False, host=host)


if __name__ == "__main__":
    main()
