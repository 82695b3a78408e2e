"""Arithmetic: the best turn, the cost of a filter, and aims that are judged or said to be unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.figures import SMALL, Figures, MissingFigureError, aims
from bench.measure import Cell
from bench.stages import ALL_GUARDS, BARE, NO_GUARDS, chain

CELL = Cell(3, BARE, "step", SMALL, 0, 100, 1000.0, 1.0, 50.0, 0.0)


def cells(subject: str, kind: str, *cpu_us: float, per_second: float = 1000.0, projects: int = 3) -> list[Cell]:
    return [
        replace(CELL, subject=subject, kind=kind, turn=turn, cpu_us=cpu, per_second=per_second, projects=projects)
        for turn, cpu in enumerate(cpu_us)
    ]


def test_a_slow_turn_does_not_count() -> None:
    figures = Figures(cells(BARE, "step", 50, 900, 52))
    assert figures.get(3, SMALL, BARE).cpu_us == 50


def test_a_filter_costs_what_it_adds_to_the_stage_before() -> None:
    figures = Figures(
        [*cells(BARE, "step", 50), *cells("+ a", "step", 80), *cells("x", "guards", 1), *cells("+ b", "step", 95)]
    )
    assert [(figure.subject, added) for figure, added in figures.steps(3, SMALL)] == [
        (BARE, 50),
        ("+ a", 30),
        ("+ b", 15),
    ]


def test_growth_is_of_the_guards_alone() -> None:
    few = [*cells(NO_GUARDS, "guards", 100), *cells(ALL_GUARDS, "part", 200)]
    many = [*cells(NO_GUARDS, "guards", 500, projects=1000), *cells(ALL_GUARDS, "part", 620, projects=1000)]
    assert Figures([*few, *many]).guards_growth(3, 1000, SMALL) == pytest.approx(20)


def test_what_was_not_measured_is_named() -> None:
    with pytest.raises(MissingFigureError, match="guards"):
        Figures(cells(BARE, "step", 50)).guards_us(3, SMALL)


def test_aims_are_judged_by_their_limits() -> None:
    found = Figures(
        [
            *cells(BARE, "step", 50, per_second=20_000),
            *cells(NO_GUARDS, "guards", 100),
            *cells(ALL_GUARDS, "guards", 251),
            *cells(chain("off"), "guards", 900, per_second=1000),
            *cells(chain("ai-data-masking"), "guards", 900, per_second=999),
        ]
    )
    judged = {aim.text: aim.reached for aim in aims(found, (3, 1000), 2.9)}
    assert judged["1,000 Projects x 50 users rendered in under 3 s"] is True
    assert judged["four guards, 3 KB, answer included, under 150 us"] is False
    assert judged["four guards, 500 KB, answer included, under 2,500 us"] is None
    assert judged[f"{chain('off')}: 1/20 of bare Envoy's throughput at 3 KB, or more"] is True
    assert judged[f"{chain('ai-data-masking')}: 1/20 of bare Envoy's throughput at 3 KB, or more"] is False
