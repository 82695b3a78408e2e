"""What the cells say: the best turns, the cost of each filter, and the aims. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from .measure import Cell
from .rivals import PORTKEY_GUARDED
from .stages import ALL_GUARDS, BARE, NO_GUARDS, NO_MASKING, chain, masking
from .tenants import BUILT_IN, OWN, UNMASKED
from .workload import LOADS, SIZES_KB, Load

SMALL, MEDIUM, LARGE = (Load(size).name for size in SIZES_KB)
STREAMED = LOADS[-1].name


class MissingFigureError(LookupError):
    """A subject that a figure is about was not measured."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The best turn of one subject under one load: microseconds a request, requests a second, milliseconds.

    The best, because what else runs on a machine only ever adds.
    """

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

    def get(self, projects: int, load: str, subject: str) -> Figure:
        """One figure; raises MissingFigureError."""
        try:
            return self._all[projects, load, subject]
        except KeyError:
            raise MissingFigureError(f"{subject}, {load}, {projects} Projects") from None

    def steps(self, projects: int, load: str) -> list[tuple[Figure, float]]:
        """Stages of the chain, each with what it adds to the one before, microseconds of CPU a request."""
        steps = [figure for figure in self.of(projects, load).values() if figure.kind == "step"]
        before = [0.0, *(figure.cpu_us for figure in steps)]
        return [(figure, figure.cpu_us - last) for figure, last in zip(steps, before, strict=False)]

    def guards_us(self, projects: int, load: str) -> float:
        """CPU of the four guards together."""
        return self._difference(projects, load, ALL_GUARDS, NO_GUARDS)

    def guards_growth(self, few: int, many: int, load: str) -> float:
        """Per cent that the guards take more with many Projects than with few."""
        return (self.guards_us(many, load) / self.guards_us(few, load) - 1) * 100

    def masking_us(self, projects: int, load: str, engine: str) -> float:
        """CPU of one masking engine."""
        return self._difference(projects, load, masking(engine), NO_MASKING)

    def gain(self, projects: int, load: str, subject: str, other: str) -> float:
        """How many times the other's throughput a subject has."""
        return self.get(projects, load, subject).per_second / self.get(projects, load, other).per_second

    def _difference(self, projects: int, load: str, subject: str, without: str) -> float:
        return self.get(projects, load, subject).cpu_us - self.get(projects, load, without).cpu_us


def _figure(cells: list[Cell]) -> Figure:
    first = cells[0]
    return Figure(
        first.subject,
        first.kind,
        min(cell.cpu_us for cell in cells),
        min(cell.beside_us for cell in cells),
        max(cell.per_second for cell in cells),
        min(cell.mean_ms for cell in cells),
    )


def aims(figures: Figures, sizes: tuple[int, int], rendering_seconds: float) -> Iterator[Aim]:
    """Judge every aim for the data plane."""
    yield _most("1,000 Projects x 50 users rendered in under 3 s", lambda: rendering_seconds, 3, "s")
    yield from _guard_aims(figures, *sizes)
    yield from _chain_aims(figures, sizes[0])
    yield from _masking_aims(figures, sizes[0])


def _guard_aims(figures: Figures, few: int, many: int) -> Iterator[Aim]:
    for load, limit in ((SMALL, 150), (STREAMED, 150), (LARGE, 2500)):
        yield _most(
            f"four guards, {load}, answer included, under {limit:,} us",
            partial(figures.guards_us, few, load),
            limit,
            "us",
        )
    for load in (SMALL, LARGE):
        text = f"four guards, {load}: {many} Projects within 10 % of {few}"
        yield _most(text, partial(figures.guards_growth, few, many, load), 10, "% more")


def _chain_aims(figures: Figures, few: int) -> Iterator[Aim]:
    for engine in (UNMASKED.engine, BUILT_IN.engine, OWN.engine):
        for name in (chain(engine), f"{chain(engine)}, no limits"):
            text = f"{name}: 1/20 of bare Envoy's throughput at {SMALL}, or more"
            yield _most(text, partial(figures.gain, few, SMALL, BARE, name), 20, "times fewer")


def _masking_aims(figures: Figures, few: int) -> Iterator[Aim]:
    own, built_in = OWN.engine, BUILT_IN.engine
    yield _most(
        f"{own}, {SMALL}: a tenth of {built_in}'s CPU, or less",
        lambda: 100 * figures.masking_us(few, SMALL, own) / figures.masking_us(few, SMALL, built_in),
        10,
        "%",
    )
    for load, limit in ((MEDIUM, 1000), (LARGE, 4000)):
        yield _most(f"{own}, {load}, under {limit:,} us", partial(figures.masking_us, few, load, own), limit, "us")
    for load, least in ((SMALL, 1.5), (MEDIUM, 10.0)):
        text = f"{chain(own)}: {least:g} times {built_in}'s throughput at {load}, or more"
        yield _least(text, partial(figures.gain, few, load, chain(own), chain(built_in)), least)
    for load in (SMALL, MEDIUM, LARGE):
        text = f"{chain(own)}: ahead of Portkey's gateway with its own guards, {load}"
        yield _least(text, partial(figures.gain, few, load, chain(own), PORTKEY_GUARDED), 1)


def _most(text: str, measured: Callable[[], float], limit: float, unit: str) -> Aim:
    try:
        value = measured()
    except MissingFigureError as missing:
        return Aim(text, f"no figure: {missing}", None)
    return Aim(text, f"{value:,.1f} {unit}", value <= limit)


def _least(text: str, measured: Callable[[], float], limit: float) -> Aim:
    try:
        value = measured()
    except MissingFigureError as missing:
        return Aim(text, f"no figure: {missing}", None)
    return Aim(text, f"{value:,.2f} times", value >= limit)
