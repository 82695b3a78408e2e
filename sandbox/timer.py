"""Stand-in for a Kubernetes CronJob: runs one command again and again, never two at once.

    python -m ansible_collections.opsta.ai_gateway.sandbox.timer --seconds 15 -- COMMAND ARGUMENT...

The first run starts at once. A run that fails is reported and the next one comes in its time, as a CronJob's would.
What the command prints goes where this program's own output goes: into the service's log.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

_LOOK = 0.2
"""Seconds from one look at whether to end to the next."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to end (SIGTERM, SIGINT); a command that still runs then is told so too."""
    parser = argparse.ArgumentParser(description="Run a command at equal distances of time.")
    parser.add_argument("--seconds", type=float, required=True, help="from one start to the next")
    parser.add_argument("command", nargs="+", help="after --")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    repeat(options.command, options.seconds, ended)
    return 0


def repeat(command: Sequence[str], seconds: float, ended: threading.Event) -> None:
    """Run `command` every `seconds`, from one start to the next, until `ended`."""
    while not ended.is_set():
        begun = time.monotonic()
        code = _run(command, ended)
        if code and not ended.is_set():
            print(f"the command ended with code {code}; it runs again", file=sys.stderr, flush=True)
        # Not ended.wait(): it holds the lock that set() wants, and a signal's handler runs in between.
        while not ended.is_set() and time.monotonic() < begun + seconds:
            time.sleep(min(_LOOK, seconds))


def _run(command: Sequence[str], ended: threading.Event) -> int:
    """Run it once; its exit code. Ends it when told to."""
    with subprocess.Popen(command) as process:
        while not ended.is_set():
            with suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=_LOOK)
        process.terminate()
        return process.wait()


if __name__ == "__main__":
    sys.exit(main())
