"""What the cells say: medians, the cost of each filter, and the aims. Pure arithmetic."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .measure import Cell
from .rivals import PORTKEY_GUARDED
from .stages import BARE
from .workload import LOADS, SIZES_KB, Load

NO_GUARDS, ALL_GUARDS = "guards: none", "guards: all four"
NO_MASKING = "masking: none"
MASKING = {engine: f"masking: {engine}" for engine in ("ai-data-masking", "data-masking")}
OWN_CHAIN = "chain with data-masking"
SMALL, MEDIUM, LARGE = (Load(size).name for size in SIZES_KB)


@dataclass(frozen=True, slots=True)
class Figure:
    """Medians over the turns of one subject under one load: microseconds a request, requests a second, milliseconds."""

    subject: str
    kind: str
    cpu_us: float
    beside_us: float
    per_second: float
    mean_ms: float


@dataclass(frozen=True, slots=True)
class Aim:
    """An aim and what was measured; `reached` is None when it could not be measured."""

    text: str
    measured: str
    reached: bool | None


class Figures:
    """Figures of a run by number of Projects, load and subject."""

    def __init__(self, cells: Iterable[Cell]) -> None:
        grouped: dict[tuple[int, str, str], list[Cell]] = {}
        for cell in cells:
            grouped.setdefault((cell.projects, cell.load, cell.subject), []).append(cell)
        self._all = {key: _figure(group) for key, group in grouped.items()}

    def of(self, projects: int, load: str) -> Mapping[str, Figure]:
        """Figures by subject, in the order they were measured in."""
        return {subject: found for (n, name, subject), found in self._all.items() if (n, name) == (projects, load)}

    def steps(self, projects: int, load: str) -> list[tuple[Figure, float]]:
        """Stages of the chain, each with what it adds to the one before, microseconds of CPU a request."""
        steps = [figure for figure in self.of(projects, load).values() if figure.kind == "step"]
        before = [0.0, *(figure.cpu_us for figure in steps)]
        return [(figure, figure.cpu_us - last) for figure, last in zip(steps, before, strict=False)]

    def chain(self, projects: int, load: str) -> Figure:
        """The whole chain."""
        return self.steps(projects, load)[-1][0]

    def guards_us(self, projects: int, load: str) -> float:
        """CPU of the four guards together."""
        found = self.of(projects, load)
        return found[ALL_GUARDS].cpu_us - found[NO_GUARDS].cpu_us

    def masking_us(self, projects: int, load: str, engine: str) -> float | None:
        """CPU of one masking engine; None when the chain does not have it."""
        found = self.of(projects, load)
        if MASKING[engine] not in found:
            return None
        return found[MASKING[engine]].cpu_us - found[NO_MASKING].cpu_us


def _figure(cells: list[Cell]) -> Figure:
    first = cells[0]
    return Figure(
        first.subject,
        first.kind,
        statistics.median(cell.cpu_us for cell in cells),
        statistics.median(cell.beside_us for cell in cells),
        statistics.median(cell.per_second for cell in cells),
        statistics.median(cell.mean_ms for cell in cells),
    )


def aims(figures: Figures, sizes: tuple[int, int], rendering_seconds: float) -> list[Aim]:
    """Judge every aim for the data plane."""
    few, many = sizes
    small, large = figures.guards_us(few, SMALL), figures.guards_us(few, LARGE)
    streamed = figures.guards_us(few, LOADS[-1].name)
    loaded = figures.guards_us(many, SMALL) / small - 1
    share = figures.of(few, SMALL)[BARE].per_second / figures.chain(few, SMALL).per_second
    found = [
        _below("four guards, 3 KB, answer included, under 150 us", small, 150, "us"),
        _below("four guards, 3 KB, streamed answer included, under 150 us", streamed, 150, "us"),
        _below("four guards, 500 KB, under 2,500 us", large, 2500, "us"),
        _below(f"four guards, 3 KB: {many} Projects within 10 % of {few}", loaded * 100, 10, "% more"),
        _below("full chain: 1/20 of bare Envoy's throughput at 3 KB, or more", share, 20, "times fewer"),
        _below("1,000 Projects x 50 users rendered in under 3 s", rendering_seconds, 3, "s"),
    ]
    return [*found, *_masking_aims(figures, few)]


def _masking_aims(figures: Figures, few: int) -> list[Aim]:
    """Judge the aims for the masking engine; none when the chain does not have it."""
    own = {load: figures.masking_us(few, load, "data-masking") for load in (SMALL, MEDIUM, LARGE)}
    small, medium, large = own.values()
    if small is None or medium is None or large is None:
        return [Aim("data-masking: CPU and throughput beside ai-data-masking", "not in the chain", None)]
    built_in = figures.masking_us(few, SMALL, "ai-data-masking") or 0.0
    found = [
        _below("data-masking, 3 KB: a tenth of ai-data-masking, or less", small / built_in * 100, 10, "%"),
        _below("data-masking, 100 KB, under 1,000 us", medium, 1000, "us"),
        _below("data-masking, 500 KB, under 4,000 us", large, 4000, "us"),
        _gain(figures, few, SMALL, 1.5),
        _gain(figures, few, MEDIUM, 10),
    ]
    for load in (SMALL, MEDIUM, LARGE):
        cells = figures.of(few, load)
        if PORTKEY_GUARDED in cells:
            ahead = cells[OWN_CHAIN].per_second / cells[PORTKEY_GUARDED].per_second
            text = f"chain with data-masking ahead of Portkey's gateway with its guards, {load}"
            found.append(Aim(text, f"{ahead:.2f} times", ahead > 1))
    return found


def _gain(figures: Figures, few: int, load: str, aim: float) -> Aim:
    gain = figures.of(few, load)[OWN_CHAIN].per_second / figures.chain(few, load).per_second
    text = f"chain with data-masking: {aim:g} times the built-in's throughput at {load}, or more"
    return Aim(text, f"{gain:.2f} times", gain >= aim)


def _below(text: str, measured: float, limit: float, unit: str) -> Aim:
    return Aim(text, f"{measured:,.1f} {unit}", measured <= limit)
