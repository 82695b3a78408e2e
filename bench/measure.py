"""Measuring: one cell is one subject under one load, a few times over in turns with the others."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .load import Seen, Target, run_load
from .processes import Program
from .workload import Load

_CONNECTIONS = {3: 16, 100: 8, 500: 8}
_PILOT_SECONDS = 0.3
_IDLE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Subject:
    """What answers: a listener of the gateway, or a rival. `beside`: programs that work for it, counted apart."""

    projects: int
    name: str
    kind: str
    target: Target
    program: Program
    beside: tuple[Program, ...] = ()


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement. CPU in microseconds a request: `cpu_us` of the gateway, `beside_us` of what works for it."""

    projects: int
    subject: str
    kind: str
    load: str
    turn: int
    requests: int
    per_second: float
    mean_ms: float
    cpu_us: float
    beside_us: float


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a cell is measured, and how often."""

    seconds: float
    turns: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A kind of request and the file with its body."""

    load: Load
    body: Path

    @property
    def connections(self) -> int:
        """Connections it is asked over."""
        return _CONNECTIONS[self.load.size_kb]


def measure(subjects: Sequence[Subject], asks: Iterable[Ask], effort: Effort) -> Iterator[Cell]:
    """Measure every subject under every load, turn by turn, so that a slow minute hits all alike."""
    idle = {program: _idle_share(program) for program in dict.fromkeys(subject.program for subject in subjects)}
    for ask in asks:
        counts = {s.name: max(ask.connections, round(_pilot(s, ask) * effort.seconds)) for s in subjects}
        for turn in range(effort.turns):
            for subject in subjects:
                seen, cpu_us, beside_us = _measured(subject, ask, counts[subject.name], idle[subject.program])
                yield Cell(
                    subject.projects, subject.name, subject.kind, ask.load.name, turn,
                    seen.requests, seen.per_second, seen.mean_ms, cpu_us, beside_us,
                )  # fmt: skip


def _idle_share(program: Program) -> float:
    """CPU seconds a second that a program uses without requests: more Projects mean more to keep account of."""
    before = program.cpu_seconds()
    time.sleep(_IDLE_SECONDS)
    return (program.cpu_seconds() - before) / _IDLE_SECONDS


def _pilot(subject: Subject, ask: Ask) -> float:
    """Requests a second, roughly; warms the subject up as well."""
    seen = _run(subject, ask, ask.connections)
    if seen.seconds < _PILOT_SECONDS:
        seen = _run(subject, ask, max(seen.requests, round(seen.per_second * _PILOT_SECONDS)))
    return seen.per_second


def _measured(subject: Subject, ask: Ask, requests: int, idle: float) -> tuple[Seen, float, float]:
    """Give what was seen, and CPU microseconds a request of the subject and of what works for it."""
    subject.program.check()
    before, beside_before = subject.program.cpu_seconds(), _cpu(subject.beside)
    started = time.monotonic()
    seen = _run(subject, ask, requests)
    elapsed = time.monotonic() - started
    cpu = subject.program.cpu_seconds() - before - idle * elapsed
    return seen, cpu / requests * 1e6, (_cpu(subject.beside) - beside_before) / requests * 1e6


def _run(subject: Subject, ask: Ask, requests: int) -> Seen:
    return run_load(subject.target, ask.body, requests=requests, connections=ask.connections)


def _cpu(programs: Iterable[Program]) -> float:
    return sum(program.cpu_seconds() for program in programs)
