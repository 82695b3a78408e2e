"""Measuring: one cell is one subject under one load, a few times over in turns with what it is compared with."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .load import LoadError, Seen, Target, run_load
from .processes import Program
from .workload import Load

# Few with large bodies: a filter that holds a worker for seconds lets the time-outs of others run out behind it.
_CONNECTIONS = {3: 16, 100: 4, 500: 2}
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

    @property
    def key(self) -> tuple[int, str]:
        """What tells it from the others."""
        return self.projects, self.name


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
class Failure:
    """A subject that did not give every answer: how many failed, and how, instead of a figure."""

    projects: int
    subject: str
    load: str
    what: str


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a cell is measured, and how often: some turns close together, in each of some rounds."""

    seconds: float
    turns: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Ask:
    """A kind of request and the file with its body."""

    load: Load
    body: Path

    @property
    def connections(self) -> int:
        """Connections it is asked over."""
        return _CONNECTIONS[self.load.size_kb]


def measure(groups: Sequence[Sequence[Subject]], asks: Iterable[Ask], effort: Effort) -> Iterator[Cell | Failure]:
    """Measure every subject under every load, a group after the other, and its subjects turn by turn.

    What is compared stands in one group, so that a slow half minute of a machine that others use too hits all of it;
    a later round finds another one. A subject that fails under a load is not asked again under that load.
    """
    programs = dict.fromkeys(subject.program for group in groups for subject in group)
    idle = {program: _idle_share(program) for program in programs}
    for ask in asks:
        counts: dict[tuple[int, str], int] = {}
        failed: set[tuple[int, str]] = set()
        for turn, group in _turns(groups, effort):
            for subject in (subject for subject in group if subject.key not in failed):
                try:
                    if subject.key not in counts:
                        counts[subject.key] = max(ask.connections, round(_pilot(subject, ask) * effort.seconds))
                    yield _cell(subject, ask, turn, counts[subject.key], idle[subject.program])
                except LoadError as error:
                    failed.add(subject.key)
                    yield Failure(subject.projects, subject.name, ask.load.name, str(error))


def _turns(groups: Sequence[Sequence[Subject]], effort: Effort) -> Iterator[tuple[int, Sequence[Subject]]]:
    for number in range(effort.rounds):
        for group in groups:
            yield from ((number * effort.turns + turn, group) for turn in range(effort.turns))


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


def _cell(subject: Subject, ask: Ask, turn: int, requests: int, idle: float) -> Cell:
    subject.program.check()
    before, beside_before = subject.program.cpu_seconds(), _cpu(subject.beside)
    started = time.monotonic()
    seen = _run(subject, ask, requests)
    cpu = subject.program.cpu_seconds() - before - idle * (time.monotonic() - started)
    return Cell(
        projects=subject.projects,
        subject=subject.name,
        kind=subject.kind,
        load=ask.load.name,
        turn=turn,
        requests=requests,
        per_second=seen.per_second,
        mean_ms=seen.mean_ms,
        cpu_us=cpu / requests * 1e6,
        beside_us=(_cpu(subject.beside) - beside_before) / requests * 1e6,
    )


def _run(subject: Subject, ask: Ask, requests: int) -> Seen:
    return run_load(subject.target, ask.body, requests=requests, connections=ask.connections)


def _cpu(programs: Iterable[Program]) -> float:
    return sum(program.cpu_seconds() for program in programs)
