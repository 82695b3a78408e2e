"""Programs under measurement: started, watched and stopped here, their CPU time and memory read from the kernel."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Linux's number of a process's CPU clock: MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) in include/linux/posix-timers.h.
_CPU_CLOCK = 2
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.05


class DiedError(RuntimeError):
    """A program ended, or did not listen in time."""


@dataclass(frozen=True, slots=True)
class Program:
    """A started program with all processes it starts itself."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def pids(self) -> tuple[int, ...]:
        """Its processes, children of children included."""
        found = [self.process.pid]
        for pid in found:
            found += _children(pid)
        return tuple(found)

    def cpu_seconds(self) -> float:
        """User and system time of all its processes and threads since they started."""
        return sum(cpu_seconds(pid) for pid in self.pids())

    def memory_mb(self) -> float:
        """Memory of its own and its share of what processes have in common (PSS), in MB."""
        return sum(pss_kb(_read(pid, "smaps_rollup")) for pid in self.pids()) / 1000

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text("utf-8", "replace")[-2000:]

    def check(self) -> None:
        """Raise DiedError, with the end of its log, when it has ended."""
        if self.process.poll() is not None:
            raise DiedError(f"{self.name} ended with {self.process.returncode}:\n{self.last_words()}")


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process, to the nanosecond (/proc/PID/stat counts hundredths); 0 of one that is gone."""
    try:
        return time.clock_gettime((~pid << 3) | _CPU_CLOCK)
    except OSError:
        return 0.0


def pss_kb(rollup: str) -> int:
    """KiB of `Pss` in /proc/PID/smaps_rollup; 0 of one that is gone."""
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    log_dir: Path,
    *,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Iterator[Program]:
    """Run a program in a group of its own until the block ends."""
    log = log_dir / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=cwd,
            env={**os.environ, **(environment or {})}, start_new_session=True,
        )  # fmt: skip
    try:
        yield Program(name, process, log)
    finally:
        _stop(process)


def wait_for_port(program: Program, port: int, seconds: float) -> None:
    """Wait until a program listens; raises DiedError when it ends or takes longer."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        program.check()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_POLL_SECONDS)
    raise DiedError(f"{program.name} does not listen on {port} after {seconds:.0f} s:\n{program.last_words()}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(_STOP_SECONDS)
            break
        except subprocess.TimeoutExpired:
            continue


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue
    return found


def _read(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text("utf-8")
    except OSError:
        return ""
