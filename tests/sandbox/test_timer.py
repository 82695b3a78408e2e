"""The stand-in for a CronJob: a real program, run again and again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from .sandbox import until

TIMER = (sys.executable, "-m", "ansible_collections.opsta.ai_gateway.sandbox.timer")


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines() if path.exists() else []


def test_a_command_that_fails_is_reported_and_runs_again(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = ["sh", "-c", f"echo run >> {runs}; exit 3"]
    with subprocess.Popen([*TIMER, "--seconds", "0.1", "--", *command], stderr=subprocess.PIPE, text=True) as timer:
        until(lambda: len(_lines(runs)) >= 3)
        timer.terminate()
        _, said = timer.communicate(timeout=20)
    assert timer.returncode == 0
    assert "ended with code 3" in said


def test_the_first_run_is_at_once_and_ends_with_the_timer(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = f"trap 'echo ended >> {told}; exit' TERM; echo begun >> {told}; while :; do sleep 0.1; done"
    with subprocess.Popen([*TIMER, "--seconds", "3600", "--", "sh", "-c", script]) as timer:
        until(lambda: _lines(told) == ["begun"])
        timer.send_signal(signal.SIGTERM)
        assert timer.wait(20) == 0
    assert _lines(told) == ["begun", "ended"]
