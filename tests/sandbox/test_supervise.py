"""Services under a real supervisor: none outlives `make down`, not even when the supervisor was killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.supervise import Supervisor, processes_of

from .sandbox import until

CONFIGURATION = """
[unix_http_server]
file={root}/run/supervisor.sock
[supervisord]
logfile={root}/log/supervisor.log
pidfile={root}/run/supervisord.pid
childlogdir={root}/log
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[include]
files = services/*.ini
"""
SERVICE = """
[program:{name}]
command=sleep 1000
startsecs=0
"""
SECONDS = 120


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    for name in ("run", "log", "services"):
        (tmp_path / name).mkdir()
    (tmp_path / "supervisord.conf").write_text(CONFIGURATION.format(root=tmp_path), "utf-8")
    _describe(tmp_path, "one")
    found = Supervisor(tmp_path, str(Path(sys.executable).parent / "supervisord"))
    yield found
    found.stop(dry=False, seconds=SECONDS)
    assert processes_of(tmp_path) == ()


def _describe(root: Path, name: str) -> None:
    (root / "services" / f"{name}.ini").write_text(SERVICE.format(name=name), "utf-8")


def test_another_roles_service_is_started_beside_the_others_and_ended(supervisor: Supervisor) -> None:
    assert supervisor.reconcile(dry=False, seconds=SECONDS).added == ("one",)
    [one] = _services(supervisor)
    _describe(supervisor.directory, "two")
    assert supervisor.reconcile(dry=True, seconds=SECONDS).added == ("two",)
    assert processes_of(supervisor.directory) == (one,), "a dry run starts nothing"
    assert supervisor.reconcile(dry=False, seconds=SECONDS).added == ("two",)
    assert one in _services(supervisor, 2), "it was not restarted"
    assert not supervisor.reconcile(dry=False, seconds=SECONDS).any
    (supervisor.directory / "services" / "two.ini").unlink()
    assert supervisor.reconcile(dry=False, seconds=SECONDS).removed == ("two",)
    assert processes_of(supervisor.directory) == (one,)


def _services(supervisor: Supervisor, number: int = 1) -> tuple[int, ...]:
    """The processes, once there are so many: one that was just started is its supervisor's copy for a moment."""
    return until(lambda: found if len(found := processes_of(supervisor.directory)) == number else ())


def _kill(supervisor: Supervisor) -> None:
    os.kill(int((supervisor.directory / "run" / "supervisord.pid").read_text("ascii")), signal.SIGKILL)
    until(lambda: not supervisor.running())


def test_services_of_a_killed_supervisor_are_ended(supervisor: Supervisor) -> None:
    supervisor.reconcile(dry=False, seconds=SECONDS)
    [one] = _services(supervisor)
    _kill(supervisor)
    assert processes_of(supervisor.directory) == (one,)
    assert supervisor.stop(dry=True, seconds=SECONDS)
    assert supervisor.stop(dry=False, seconds=SECONDS)
    assert processes_of(supervisor.directory) == ()
    assert not supervisor.stop(dry=False, seconds=SECONDS)


def test_a_start_after_a_killed_supervisor_does_not_double_its_services(supervisor: Supervisor) -> None:
    supervisor.reconcile(dry=False, seconds=SECONDS)
    [before] = _services(supervisor)
    _kill(supervisor)
    supervisor.reconcile(dry=False, seconds=SECONDS)
    [after] = _services(supervisor)
    assert after != before
