"""What an engine costs: CPU of the Envoy process per request, and its memory."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from guards.gateway import Gateway
from masking.world import PATHS

SIZES = {"3 KB": 3_000, "100 KB": 100_000, "500 KB": 500_000}


@dataclass(frozen=True)
class Cost:
    """CPU seconds per request (median of the rounds) and the rounds themselves."""

    cpu: float
    rounds: tuple[float, ...]


def cpu_seconds(pid: int) -> float:
    """utime + stime of a process in seconds, from the scheduler's nanoseconds per thread (the clock ticks are too coarse)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue
    return total / 1e9


def resident(pid: int) -> int:
    """Resident memory in bytes."""
    fields = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in fields.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def measure(gateway: Gateway, body: bytes, headers: list[tuple[str, str]], count: int, rounds: int) -> Cost:
    """COUNT requests one after another on one connection, ROUNDS times, after a tenth of that to warm up."""
    send = _sender(gateway, body, headers)
    for _ in range(max(2, count // 10)):
        send()
    taken = []
    for _ in range(rounds):
        before = cpu_seconds(gateway.process.pid)
        for _ in range(count):
            send()
        taken.append((cpu_seconds(gateway.process.pid) - before) / count)
    return Cost(statistics.median(taken), tuple(taken))


def _sender(gateway: Gateway, body: bytes, headers: list[tuple[str, str]]) -> Callable[[], None]:
    connection = gateway.connect()

    def send() -> None:
        gateway.begin(connection, "POST", PATHS[0], headers, body)
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{response.status}: {answer[:300]!r}")

    return send
