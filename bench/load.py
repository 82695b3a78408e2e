"""The load: h2load, a fixed number of requests over a fixed number of connections on loopback.

A number and not a time, so that CPU time divided by it has no unfinished request in it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_DURATION = r"([\d.]+)(us|ms|s)"
_FINISHED = re.compile(rf"finished in {_DURATION},")
_TIMES = re.compile(rf"time for request:\s+\S+\s+\S+\s+{_DURATION}")
_DONE = re.compile(r"requests: (\d+) total, .* (\d+) succeeded,")
_STATUS = re.compile(r"status codes: (\d+) 2xx")
_MAX_SECONDS = 180


class LoadError(RuntimeError):
    """Requests were refused or broken: what was measured is no answer."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go and what they carry besides the body. `host`: another than the URL's."""

    url: str
    headers: Mapping[str, str]
    host: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the load generator saw."""

    requests: int
    seconds: float
    mean_ms: float

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def run_load(target: Target, body: Path, *, requests: int, connections: int) -> Seen:
    """Send one request `requests` times; raises LoadError unless every answer is a good one."""
    headers = {"content-type": "application/json", **target.headers}
    if target.host:
        headers[":authority"] = target.host
    command = [
        "h2load", "--h1", "--threads", "1", "--clients", str(min(connections, requests)), "--requests", str(requests),
        "--data", str(body), *(word for name, value in headers.items() for word in ("--header", f"{name}: {value}")),
        target.url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_MAX_SECONDS)
    try:
        return parse(done.stdout + done.stderr, requests)
    except LoadError as error:
        raise LoadError(f"{target.url}: {error}") from error


def parse(output: str, requests: int) -> Seen:
    """Read h2load's summary (nghttp2 1.52); raises LoadError when an answer is missing or no good one."""
    found = [pattern.search(output) for pattern in (_FINISHED, _TIMES, _DONE, _STATUS)]
    if not all(found):
        raise LoadError(f"h2load printed no summary: {output[-500:]}")
    finished, times, done, status = (match.groups() for match in found if match)
    if not requests == int(done[0]) == int(done[1]) == int(status[0]):
        codes = next(line for line in output.splitlines() if line.startswith("status codes"))
        raise LoadError(f"{done[1]} of {requests} requests succeeded; {codes}")
    return Seen(requests, _seconds(finished), _seconds(times) * 1e3)


def _seconds(duration: tuple[str, ...]) -> float:
    return float(duration[0]) * _UNITS[duration[1]]
