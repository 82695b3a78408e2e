"""Ports of the sandbox that something else on this machine listens on, and what that is."""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .settings import LOOPBACK, Ports

_LISTEN = "0A"


class PortsTakenError(RuntimeError):
    """Something else listens where the sandbox would; the message names port and program, and the way out."""


@dataclass(frozen=True, slots=True)
class _Holder:
    process: int
    command: str

    def __str__(self) -> str:
        return f"{self.command} (process {self.process})"


def check_ports(ports: Ports, own: Collection[int]) -> None:
    """Raise PortsTakenError unless each port is free or held by one of the processes `own`."""
    problems = []
    for purpose, port in asdict(ports).items():
        if _is_free(port):
            continue
        holder = _holder(port)
        if holder is None or holder.process not in own:
            said = holder or "a program of another user"
            problems.append(f"port {port} ({purpose.replace('_', ' ')}) is taken by {said}")
    if problems:
        raise PortsTakenError(
            f"{'; '.join(problems)}. End it, or move the sandbox: "
            f"make site ARGS='-e sandbox_port_base={ports.gateway + 1000}'"
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def _holder(port: int) -> _Holder | None:
    """Whoever listens; None when it is another user's."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # It has ended, or is another user's.
            if any(_target(file) in sockets for file in (process / "fd").iterdir()):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                return _Holder(int(process.name), command)
    return None


def _target(file: Path) -> str:
    """What an open file of a process is; "" when it has just been closed."""
    with suppress(OSError):
        return str(file.readlink())
    return ""


def _listening(port: int) -> Iterator[str]:
    """Inodes of listening sockets, by the kernel's tables: local address, remote address, state ... inode."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text("ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]
