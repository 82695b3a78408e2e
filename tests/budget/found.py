"""Sequences of the machine's steps that random search found to break the books, shortened. All hold now."""

from __future__ import annotations

from directed import Steps
from machine import Ledger


def a_rebuild_reads_before_every_gap(ledger: Ledger) -> None:
    """Even when no two scrapes are closer than a counter stays readable: the last one before a restart is read."""
    ledger.time_passes(seconds=700)
    ledger.traffic_during_a_run(call=1, who="atlas.alice", times=1)
    ledger.gateway_restarts(scraped_before=True, after=400)
    ledger.redis_is_flushed(sure=0)
    ledger.controller_runs(skew=0)


def many_short_lives_between_two_ticks(ledger: Ledger) -> None:
    """What stood before the first of many restarts is read under the id of its own life."""
    ledger.gateway_restarts(after=400, scraped_before=False)
    ledger.many_requests(times=40, who="atlas.dave")
    ledger.scraped(after=1)
    ledger.controller_runs(skew=0)
    for after in (1, 400, 20, 20):
        ledger.gateway_restarts(after=after, scraped_before=True)


def a_rebuild_waits_for_no_debits(ledger: Ledger) -> None:
    """The debits of what a rebuild counts went with the old ledger: a later one is not theirs."""
    ledger.scraped(after=15)
    ledger.traffic_during_a_run(call=1, who="atlas.alice", times=2)
    ledger.scraped(after=15)
    ledger.redis_is_flushed(sure=0)
    ledger.controller_runs(skew=0)
    ledger.request(ends=True, hangs_up=False, model="m1", reported=(180, 7, 59, 71), who="atlas.alice")
    ledger.gateway_restarts(after=1, scraped_before=False)


def two_controllers_rebuild(ledger: Ledger) -> None:
    """The one that lost the race must not clear away what the other has built."""
    for call in range(1, 10):
        ledger.many_requests(times=19, who="atlas.carol")
        ledger.scraped(after=15)
        ledger.redis_is_flushed(sure=0)
        ledger.two_controllers(call=call, later=False)
        ledger.controller_runs(skew=0)


def what_waits_cannot_be_leased(ledger: Ledger) -> None:
    """A pool that is overdrawn by debits without counters leaves no member a single token."""
    for reported in ((250, 66, 163, 107), (1, 26, 172, 207), (195, 24, 78, 162)):
        ledger.held_request(ends=True, reported=reported, who="atlas.dave")
    for times in (33, 12, 12):
        ledger.many_requests(times=times, who="atlas.dave")
        ledger.controller_runs(skew=0)
    ledger.held_request(ends=True, reported=(230, 103, 58, 228), who="atlas.dave")
    ledger.controller_runs(skew=0)
    ledger.controller_runs(skew=0)


def a_credit_outlives_a_crash(ledger: Ledger) -> None:
    """A hold is lost in a fail-over and given back: the run that saw it dies before it takes the tokens away."""
    ledger.time_passes(seconds=200)
    ledger.held_request(ends=False, reported=(161, 176, 46, 221), who="atlas.dave")
    ledger.redis_fails_over()
    ledger.gateway_restarts(after=20, scraped_before=False)
    ledger.controller_crashes(call=12)
    ledger.controller_runs(skew=0)


FOUND: tuple[Steps, ...] = (
    a_rebuild_reads_before_every_gap,
    many_short_lives_between_two_ticks,
    a_rebuild_waits_for_no_debits,
    two_controllers_rebuild,
    what_waits_cannot_be_leased,
    a_credit_outlives_a_crash,
)
