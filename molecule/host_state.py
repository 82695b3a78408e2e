#!/usr/bin/env python3
"""What a host is like, as sorted lines: packages, units, mounts, interfaces, firewall rules and files (accounts too).

Left out is what changes by itself (logs, caches, the package manager's and systemd's own books), and kernel settings in
force: without their file they go with the next boot.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

TREES = ("/etc", "/usr/local", "/opt", "/srv", "/root", "/var/lib", "/var/spool", "/run/k3s", "/run/flannel")
OWN_LIFE = (
    "/opt/stand-in", "/var/lib/apt", "/var/lib/dpkg", "/var/lib/systemd", "/etc/ld.so.cache", "/root/.ansible",
    "/etc/.pwd.lock", "/var/lib/python", "/var/lib/pam",
)  # fmt: skip
BACKUPS = ("-", ".dpkg-old")  # /etc/passwd- and the like: what a tool left of its last change
COMMANDS = {
    "package": ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Abbrev}\n"],
    "unit": ["systemctl", "list-unit-files", "--no-legend", "--no-pager", "--plain"],
    "interface": ["ip", "-brief", "link"],
}


def of_tree(tree: str) -> Iterator[str]:
    """Path, kind, mode and content of each file below a tree."""
    for directory, directories, files in os.walk(tree):
        directories[:] = [name for name in directories if not f"{directory}/{name}".startswith(OWN_LIFE)]
        for name in sorted([*directories, *files]):
            path = Path(directory, name)
            if str(path).startswith(OWN_LIFE) or name.endswith(BACKUPS):
                continue
            status = path.lstat()
            content = ""
            if stat.S_ISLNK(status.st_mode):
                content = str(path.readlink())
            elif stat.S_ISREG(status.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            yield f"file {path} {stat.filemode(status.st_mode)} {status.st_uid} {status.st_gid} {content}"


def main() -> None:
    """Print the lines."""
    lines = [line for tree in TREES for line in of_tree(tree)]
    for what, command in COMMANDS.items():
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        # The number after an interface's name is another one at each boot, and columns are as wide as it needs.
        lines += [f"{what} {' '.join(re.sub('@if[0-9]+', '', line).split())}" for line in told.splitlines()]
    for family in ("iptables", "ip6tables"):
        told = subprocess.run([f"{family}-save"], check=True, capture_output=True, text=True).stdout
        # Tables and chains come into being empty when somebody first looks; rules and chains of one's own do not.
        lines += [f"{family} {line}" for line in told.splitlines() if line.startswith("-A") or " - [" in line]
    lines += [f"mount {line.split()[1]}" for line in Path("/proc/mounts").read_text().splitlines()]
    print("\n".join(sorted(lines)))


if __name__ == "__main__":
    main()
