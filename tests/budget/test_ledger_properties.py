"""Point 1 of the ledger: any order of traffic, scrapes, failures and runs keeps the books exact and the bound."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from directed import DIRECTED, Steps, play
from found import FOUND
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import PICO, Ledger
from world import DEAREST

SETTINGS = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking and explaining a failure takes minutes
    suppress_health_check=list(HealthCheck),
)


def test_any_order_of_events_keeps_the_books_exact(redis_port: int) -> None:
    Ledger.port = redis_port
    Ledger.phantoms.clear()
    run_state_machine_as_test(Ledger, settings=SETTINGS)
    asked, phantom = (sum(column) for column in zip(*Ledger.phantoms, strict=True))
    print(f"refused although a worst-case request could be paid: {phantom} of {asked}")
    assert phantom * 4 < asked


@pytest.mark.parametrize("sequence", DIRECTED)
def test_a_directed_sequence_keeps_the_books_exact(redis_port: int, sequence: str) -> None:
    for steps in DIRECTED[sequence]():
        play(redis_port, steps)


def test_a_life_too_short_to_be_seen(redis_port: int) -> None:
    """A gateway that is scraped, and restarts within 10 s of its start, looks like one process: uptimes are no more
    exact than that. When a counter of the new life then passes the old value unseen, the old one's requests are not
    priced: their debits are booked at the dearest price instead. Nothing is booked too low.
    """
    ledger = Ledger()
    ledger.port = redis_port
    ledger.begin()
    ledger.restart(scraped_before=False, after=1)
    ledger.many_requests(who="comet.eve", times=13)
    short = list(ledger.world.requests)
    ledger.restart(scraped_before=True, after=400)
    ledger.many_requests(who="comet.eve", times=37)
    assert len(short) < len(ledger.world.requests) - len(short)
    ledger.settle()
    page = json.loads(ledger.redis.get("budget:page:comet.eve"))
    booked = Fraction(sum(amount for key, amount in page[8].items() if len(key) == 7), PICO)
    used = sum((r.cost for r in ledger.world.requests), Fraction(0))
    assert booked == used + sum((r.reported * DEAREST - r.cost for r in short), Fraction(0)) > used
    ledger.nothing_is_overspent()
    ledger.sums_agree()
    ledger.redis.close()


@pytest.mark.parametrize("steps", FOUND, ids=lambda steps: steps.__name__)
def test_a_sequence_that_random_search_found(redis_port: int, steps: Steps) -> None:
    """Each broke the books once."""
    play(redis_port, steps)
