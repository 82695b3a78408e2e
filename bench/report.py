"""A run as people and programs read it: tables with ratios, JSON and CSV with every cell."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from .figures import Figure, Figures, aims
from .machine import Machine
from .measure import Cell, Effort, Failure
from .stages import ALL_GUARDS, BARE, NO_GUARDS
from .workload import LOADS

_WIDTH = 58
_HEADINGS = f"{'':{_WIDTH}} {'CPU us':>9} {'added':>9} {'x bare':>7} {'req/s':>9} {'x bare':>7} {'ms':>8} {'beside':>7}"
_NOTE = """Figures are the best turn's. CPU: user and system time of a gateway's processes a request, idle time off.
added: what this filter adds to the line above. x bare: CPU and throughput beside bare Envoy's.
beside: CPU of the stand-ins for ai-quota and ai-token-ratelimit and of Redis; on Higress those two are Wasm filters,
so neither their cost nor the throughput they leave is Higress's. key-auth's stand-in is an Envoy filter in C++."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """Seconds it took to render a site, each time; and the objects that its size asked for."""

    projects: int
    users: int
    seconds: tuple[float, ...]
    shards: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Run:
    """Everything measured. `sizes`: numbers of Projects; `memory_mb`: PSS after the load, of all workers."""

    machine: Machine
    effort: Effort
    sizes: tuple[int, int]
    rendering: Rendering
    cells: tuple[Cell, ...]
    failures: tuple[Failure, ...]
    memory_mb: Mapping[str, float]

    @property
    def figures(self) -> Figures:
        """Best turns and differences."""
        return Figures(self.cells)


def write_json(run: Run, path: Path) -> None:
    """Write everything."""
    path.write_text(json.dumps(asdict(run), indent=1) + "\n", "utf-8")


def write_csv(run: Run, path: Path) -> None:
    """Write every cell, a line each."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Cell)])
        writer.writeheader()
        writer.writerows(asdict(cell) for cell in run.cells)


def as_text(run: Run) -> str:
    """Give the tables."""
    return "\n".join([*_head(run), *_tables(run), *_failures(run), *_aims(run)]) + "\n"


def _head(run: Run) -> Iterator[str]:
    machine, rendering = run.machine, run.rendering
    yield f"{machine.time}, {machine.processor}, {machine.cores} cores, {machine.memory_gb} GB, Linux {machine.kernel}"
    effort = run.effort
    turns = f"{effort.rounds} x {effort.turns} turns of {effort.seconds:g} s a cell"
    yield f"load average before the run {machine.load_average:.1f}; {turns}"
    seconds = ", ".join(f"{each:.2f}" for each in rendering.seconds)
    yield f"{rendering.projects} Projects x {rendering.users} users rendered in {seconds} s"
    yield f"objects for them, where not one: {dict(rendering.shards) or 'one each'}"
    yield "memory, PSS: " + ", ".join(f"{name} {mb:,.0f} MB" for name, mb in run.memory_mb.items())
    yield ""
    yield _NOTE


def _tables(run: Run) -> Iterator[str]:
    figures = run.figures
    for load in LOADS:
        for projects in run.sizes:
            found = figures.of(projects, load.name)
            bare = found[BARE]
            yield f"\n{load.name}, {projects} Projects"
            yield _HEADINGS
            for figure, added in figures.steps(projects, load.name):
                yield _line(figure, bare, f"{added:9,.0f}")
            yield from (_line(figure, bare, " " * 9) for figure in found.values() if figure.kind != "step")
            if ALL_GUARDS in found and NO_GUARDS in found:
                yield f"{'the four guards together':{_WIDTH}} {figures.guards_us(projects, load.name):9,.0f}"


def _line(figure: Figure, bare: Figure, added: str) -> str:
    cpu, speed = figure.cpu_us / bare.cpu_us, figure.per_second / bare.per_second
    return (
        f"{figure.subject:{_WIDTH}} {figure.cpu_us:9,.0f} {added} {cpu:7.1f} {figure.per_second:9,.0f} {speed:7.3f} "
        f"{figure.mean_ms:8.1f} {figure.beside_us:7,.0f}"
    )


def _failures(run: Run) -> Iterator[str]:
    if run.failures:
        yield "\nNot measured, because not every request was answered"
    for each in run.failures:
        yield f"  {each.subject}, {each.load}, {each.projects} Projects: {each.what}"


def _aims(run: Run) -> Iterator[str]:
    yield "\nAims"
    for aim in aims(run.figures, run.sizes, min(run.rendering.seconds)):
        verdict = {True: "reached", False: "NOT REACHED", None: "not measured"}[aim.reached]
        yield f"  {verdict:13} {aim.text}: {aim.measured}"
