"""Point 1 of the ledger: any order of traffic, scrapes, failures and runs keeps the books exact and the bound."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from machine import Ledger

SETTINGS = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def test_any_order_of_events_keeps_the_books_exact(redis_port: int) -> None:
    Ledger.port = redis_port
    Ledger.phantoms.clear()
    run_state_machine_as_test(Ledger, settings=SETTINGS)
    asked, phantom = (sum(column) for column in zip(*Ledger.phantoms, strict=True))
    print(f"refused although a worst-case request could be paid: {phantom} of {asked}")
    assert phantom * 4 < asked
