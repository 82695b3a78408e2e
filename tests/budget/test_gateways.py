"""When a gateway process is told to have restarted: by uptimes that are whole seconds, late, and seen at times only."""

from __future__ import annotations

from typing import Any

import pytest

from budget_controller.gateways import Gateways
from budget_controller.store import Head

PROCESS = (("instance", "gateway"),)
BEGIN = 1_700_000_000


class Shown:
    """A metrics API that has these samples of one uptime: seconds since BEGIN, uptime."""

    def __init__(self, samples: list[tuple[int, int]]) -> None:
        self.samples = samples

    def uptimes(self, after: int, until: int) -> dict[Any, list[tuple[int, int]]]:
        moments = [((BEGIN + second) * 1000, uptime) for second, uptime in self.samples]
        return {PROCESS: [(moment, uptime) for moment, uptime in moments if after * 1000 < moment <= until * 1000]}


@pytest.mark.parametrize(
    ("samples", "restarts"),
    [
        pytest.param([(0, 100), (15, 115), (30, 130)], 0, id="it goes on"),
        pytest.param([(0, 100), (15, 111), (30, 129)], 0, id="an uptime is some seconds old"),
        pytest.param([(0, 100), (15, 101), (30, 101), (45, 145)], 0, id="it stands still for half a minute"),
        pytest.param([(0, 100), (15, 3), (30, 18)], 1, id="it is younger than it was"),
        pytest.param([(0, 3), (60, 40), (75, 55)], 1, id="it is older than it was, and too young"),
        pytest.param([(0, 3), (60, 40), (120, 50), (135, 65)], 2, id="twice"),
    ],
)
@pytest.mark.parametrize("step", [15, 1000])
def test_a_restart_is_told_by_the_uptime(samples: list[tuple[int, int]], restarts: int, step: int) -> None:
    head = Head(cursor=BEGIN - 1)
    for until in range(BEGIN, BEGIN + samples[-1][0] + step, step):
        Gateways(head, Shown(samples)).steps(until, ["UTC"])  # type: ignore[arg-type]
        head.cursor = until
    [process] = head.processes.values()
    assert len(process.lives) == 1 + restarts
