"""The sandbox's services, run by supervisor: what stands in for systemd or Kubernetes on a laptop.

Each service is one file in a directory; any role may put one there. What has changed there is started anew.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import SupervisorTransport

_PAUSE = 0.1


class ServiceError(RuntimeError):
    """A service does not run; the message names it and the log that tells why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Names of services that were (or would be) added, changed, removed or started."""

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    started: tuple[str, ...]

    @property
    def any(self) -> bool:
        """Whether there was anything to do."""
        return bool(self.added or self.changed or self.removed or self.started)


def _url(directory: Path) -> str:
    return f"unix://{directory / 'run' / 'supervisor.sock'}"


def processes_of(directory: Path) -> tuple[int, ...]:
    """Services of a directory, also of a supervisor that was killed: all carry the name by which it can be called."""
    mark = f"SUPERVISOR_SERVER_URL={_url(directory)}".encode()
    return tuple(
        int(process.parent.name)
        for process in Path("/proc").glob("[0-9]*/environ")
        if mark in _bytes_of(process).split(b"\0")
    )


@dataclass(frozen=True, slots=True)
class Supervisor:
    """A supervisord with its files in one directory: supervisord.conf, run/supervisor.sock."""

    directory: Path
    program: str

    def reconcile(self, *, dry: bool, seconds: float) -> Outcome:
        """Bring the running services in line with their files, and wait until all run."""
        if not self.running():
            names = self._described()
            if not dry:
                self._end_orphans(seconds)
                self._start(seconds)
                self._wait_running(seconds)
            return Outcome(names, (), (), ())
        added, changed, removed = self._differences()
        idle = tuple(info["name"] for info in self._all() if info["statename"] != "RUNNING")
        outcome = Outcome(added, changed, removed, tuple(sorted(set(idle) - {*changed, *removed})))
        if outcome.any and not dry:
            self._update(outcome)
            self._wait_running(seconds)
        return outcome

    def running(self) -> bool:
        """Whether the supervisor answers."""
        try:
            self._call("getState")
        except (OSError, Fault):
            return False
        return True

    def stop(self, *, dry: bool, seconds: float) -> bool:
        """Stop all services and the supervisor; tell whether any ran."""
        if not self.running():
            orphans = bool(processes_of(self.directory))
            if not dry:
                self._end_orphans(seconds)
            return orphans
        if not dry:
            # The supervisor stops to answer long before the services it waits for have ended.
            self._call("stopAllProcesses", True)
            self._call("shutdown")
            pid = self.directory / "run" / "supervisord.pid"
            self._until(lambda: not pid.exists(), seconds, "the supervisor does not end")
        return True

    def _end_orphans(self, seconds: float) -> None:
        for pid in processes_of(self.directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        self._until(
            lambda: not processes_of(self.directory), seconds, "services of a supervisor that was killed do not end"
        )

    def _described(self) -> tuple[str, ...]:
        described = ConfigParser(interpolation=None)
        described.read(sorted((self.directory / "services").glob("*.ini")))
        return tuple(sorted(section.removeprefix("program:") for section in described.sections()))

    def _start(self, seconds: float) -> None:
        configuration = str(self.directory / "supervisord.conf")
        subprocess.run([self.program, "-c", configuration], check=True, capture_output=True)
        self._until(self.running, seconds, "the supervisor does not start")

    def _differences(self) -> tuple[tuple[str, ...], ...]:
        [[added, changed, removed]] = self._call("reloadConfig")
        return tuple(sorted(added)), tuple(sorted(changed)), tuple(sorted(removed))

    def _update(self, outcome: Outcome) -> None:
        for name in (*outcome.removed, *outcome.changed):
            self._call("stopProcessGroup", name, True)
            self._call("removeProcessGroup", name)
        for name in (*outcome.added, *outcome.changed):
            self._call("addProcessGroup", name)
        for name in outcome.started:
            with contextlib.suppress(Fault):  # It may be starting by itself.
                self._call("startProcess", name, False)

    def _wait_running(self, seconds: float) -> None:
        def all_run() -> bool:
            return all(info["statename"] == "RUNNING" for info in self._all())

        try:
            self._until(all_run, seconds, "")
        except ServiceError:
            failing = ", ".join(
                f"{i['name']} ({i['statename']}: see {i['logfile']})"
                for i in self._all()
                if i["statename"] != "RUNNING"
            )
            raise ServiceError(f"not running: {failing}") from None

    def _until(self, condition: Any, seconds: float, complaint: str) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise ServiceError(f"{complaint}; see {self.directory / 'log'}")
            time.sleep(_PAUSE)

    def _all(self) -> Sequence[dict[str, Any]]:
        infos: Sequence[dict[str, Any]] = self._call("getAllProcessInfo")
        return infos

    def _call(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(None, None, _url(self.directory))
        with ServerProxy("http://localhost", transport=transport) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)


def _bytes_of(path: Path) -> bytes:
    """A file of /proc, empty when its process has ended or is another user's."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
