"""The machine a run was made on: figures without it mean little."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Machine:
    """`load_average`: of the last minute when the run began; above 0 something else was running."""

    time: str
    processor: str
    cores: int
    memory_gb: float
    kernel: str
    load_average: float


def describe() -> Machine:
    """Describe this machine, now."""
    return Machine(
        time=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        processor=_field("/proc/cpuinfo", "model name"),
        cores=os.cpu_count() or 0,
        memory_gb=round(int(_field("/proc/meminfo", "MemTotal").split()[0]) / 1e6, 1),
        kernel=platform.release(),
        load_average=os.getloadavg()[0],
    )


def _field(file: str, name: str) -> str:
    lines = Path(file).read_text("utf-8").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")
