"""Point 1 of the ledger: any order of traffic, scrapes, failures and runs keeps the books exact and the bound."""

from __future__ import annotations

import json
from fractions import Fraction

import pytest
from directed import DIRECTED, play
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


def test_a_rebuild_reads_before_every_gap(redis_port: int) -> None:
    """Even when no two scrapes are closer than a counter stays readable: the last one before a restart is read."""

    def steps(ledger: Ledger) -> None:
        ledger.time_passes(seconds=700)
        ledger.traffic_during_a_run(call=1, who="atlas.alice", times=1)
        ledger.gateway_restarts(scraped_before=True, after=400)
        ledger.redis_is_flushed(sure=0)
        ledger.controller_runs(skew=0)

    play(redis_port, steps)


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="open: booked twice, docs/budget.md, Known gaps")
def test_three_short_lives_and_a_fail_over_during_a_run(redis_port: int) -> None:
    """What random search found and nobody has explained yet; kept so that a fix shows itself."""

    def steps(ledger: Ledger) -> None:
        ledger.scraped(after=15)
        ledger.gateway_restarts(after=400, scraped_before=False)
        ledger.many_requests(times=40, who="atlas.dave")
        ledger.many_requests(times=28, who="atlas.carol")
        ledger.scraped(after=1)
        ledger.two_controllers(call=19, later=False)
        ledger.gateway_restarts(after=1, scraped_before=True)
        ledger.gateway_restarts(after=400, scraped_before=True)
        ledger.many_requests(times=28, who="atlas.carol")
        ledger.fail_over_during_a_run(call=21)
        ledger.gateway_restarts(after=20, scraped_before=False)
        ledger.gateway_restarts(after=20, scraped_before=True)

    play(redis_port, steps)
