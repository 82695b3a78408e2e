"""Sequences of the machine's steps too rare to wait for; races happen at every call that a run makes to Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from machine import Ledger

Steps = Callable[[Ledger], object]
#: More than the calls of one run, so that the race happens at every one of them.
CALLS = range(1, 18)


def play(port: int, steps: Steps) -> None:
    """Take the steps from the beginning, and check what must hold after them and in the end."""
    ledger = Ledger()
    ledger.port = port
    ledger.begin()
    steps(ledger)
    ledger.nothing_is_overspent()
    ledger.no_lease_is_lost_or_given_twice()
    ledger.who_can_pay_is_let_in()
    ledger.teardown()


def another_controller_writes() -> Iterator[Steps]:
    """Two controllers book the same requests: the first has read the page, the second writes it, the first goes on."""

    def steps(call: int, ledger: Ledger) -> None:
        ledger.many_requests(who="comet.eve", times=5)
        ledger.scraped(after=15)
        ledger.two_controllers(call=call, later=False)
        ledger.controller_runs(skew=0)

    return (partial(steps, call) for call in CALLS)


def a_lease_is_spent_as_it_is_taken_back() -> Iterator[Steps]:
    """Carol's need takes most of Dave's lease, who spends it during that run; then Carol spends what she was given."""

    def steps(call: int, ledger: Ledger) -> None:
        for _ in range(8):
            ledger.request(who="atlas.carol", model="m1", reported=(0, 0, 0, 250), ends=True, hangs_up=False)
        ledger.traffic_during_a_run(call=call, who="atlas.dave", times=30)
        ledger.traffic_during_a_run(call=1, who="atlas.carol", times=60)

    return (partial(steps, call) for call in CALLS)


def a_restart_is_passed_by_its_counters() -> Iterator[Steps]:
    """No counter falls: what the new process counted is more than the old one had, when it is first read."""

    def steps(ledger: Ledger) -> None:
        ledger.many_requests(who="comet.eve", times=5)
        ledger.gateway_restarts(scraped_before=True, after=1)
        ledger.controller_runs(skew=0)
        ledger.many_requests(who="comet.eve", times=9)

    yield steps


def old_counters_are_shown_beside_a_new_process() -> Iterator[Steps]:
    """The machine restarts: for five minutes the metrics API has what the old gateway counted."""

    def steps(after: int, ledger: Ledger) -> None:
        ledger.many_requests(who="comet.eve", times=5)
        ledger.machine_restarts(after=after)
        ledger.controller_runs(skew=0)
        ledger.many_requests(who="comet.eve", times=2)
        ledger.scraped(after=15)
        ledger.controller_runs(skew=0)

    return (partial(steps, after) for after in (1, 20, 400))


DIRECTED = {
    "what an old process counted is not the new one's": old_counters_are_shown_beside_a_new_process,
    "a restarted gateway goes on counting": a_restart_is_passed_by_its_counters,
    "writes do not ask who wrote before": another_controller_writes,
    "a lease is taken back as it was read, not as it is": a_lease_is_spent_as_it_is_taken_back,
}
