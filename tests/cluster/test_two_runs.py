"""Two runs at once: one waits for the other, a dead one's lock runs out, and a run that lost it stops writing."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import (
    Client,
    Outcome,
    preview,
    read,
    reconcile,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.errors import LockedError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.kinds import LEASE, Object
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.lock import SiteLock, lease_name
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.reconcile import labels
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Site

from .apiserver import ControlPlane
from .openness import openings
from .sites import project, site, wanted
from .waiting import wait_until

SMALL, LARGE = site(project("atlas")), site(project("atlas"), project("beacon"))


@dataclass
class PausingWriter:
    """Stops before its second write until it is told to go on."""

    client: Client
    paused: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    # Several threads write.
    _writes: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def apply(self, item: Object, *, force: bool = False) -> None:
        if next(self._writes) == 2:
            self.paused.set()
            assert self.go_on.wait(60)
        self.client.apply(item, force=force)

    def delete(self, item: Object) -> None:
        self.client.delete(item)


def held_lock(cluster: Client, duration: int = 15) -> SiteLock:
    lock = SiteLock(cluster, "lab", labels("lab"), duration=duration)
    lock.acquire(lock.seen(), 0)
    return lock


def test_two_runs_with_different_specs_end_in_one_of_them(cluster: Client) -> None:
    def run(of: Site) -> Outcome:
        return reconcile(cluster, wanted(of, prune=True, prune_limit=100))

    for _ in range(3):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(run, (SMALL, LARGE)))
        live = read(cluster, "lab")
        assert openings(live.values()) == []
        wholes = [reconcile_changes(cluster, of) for of in (SMALL, LARGE)]
        assert 0 in wholes


def reconcile_changes(cluster: Client, of: Site) -> int:
    return len(preview(cluster, wanted(of, prune=True, prune_limit=100)).plan.changes)


def test_a_second_run_waits_and_then_reads_again(cluster: Client) -> None:
    writer, waits = PausingWriter(cluster), threading.Event()

    def sleep(seconds: float) -> None:
        waits.set()
        time.sleep(seconds)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(reconcile, cluster, wanted(LARGE), writer=writer)
        assert writer.paused.wait(30)
        lock = SiteLock(cluster, "lab", labels("lab"), sleep=sleep)
        second = pool.submit(reconcile, cluster, wanted(LARGE), lock=lock)
        assert waits.wait(30)
        writer.go_on.set()
        assert first.result().writes > 0
        # Whatever it had planned before the first was done, nothing of it was sent.
        assert second.result().writes == 0


def test_a_run_that_may_not_wait_names_the_holder(cluster: Client) -> None:
    lock = held_lock(cluster)
    with pytest.raises(LockedError, match=lock.holder):
        reconcile(cluster, wanted(SMALL, wait_seconds=0))
    assert read(cluster, "lab") == {}


def test_a_run_that_lost_its_lock_stops_before_the_next_write(cluster: Client) -> None:
    writer = PausingWriter(cluster)
    with ThreadPoolExecutor(1) as pool:
        lock = SiteLock(cluster, "lab", labels("lab"), duration=1)
        first = pool.submit(reconcile, cluster, wanted(LARGE), writer=writer, lock=lock)
        assert writer.paused.wait(30)
        other = SiteLock(cluster, "lab", labels("lab"), duration=1)
        other.acquire("", 10)
        writer.go_on.set()
        with pytest.raises(LockedError, match="took site lab over"):
            first.result()
    assert openings(read(cluster, "lab").values()) == []
    other.release()
    assert reconcile(cluster, wanted(LARGE)).writes > 0


@dataclass
class SlowAnswers:
    """Holds requests to replace an object back until it is told to go on."""

    client: Client
    asked: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def replace(self, item: Object) -> Object | None:
        self.asked.set()
        assert self.go_on.wait(60)
        return self.client.replace(item)


def test_a_run_that_was_away_for_long_sends_nothing_before_its_lock_is_renewed(cluster: Client) -> None:
    """In none of its threads: another run may have taken over meanwhile."""
    slow, now = SlowAnswers(cluster), [0.0]
    lock = SiteLock(cast(Client, slow), "lab", labels("lab"), clock=lambda: now[0])
    lock.acquire(lock.seen(), 0)
    SiteLock(cluster, "lab", labels("lab"), duration=1).acquire("", 10)
    now[0] += lock.duration
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(lock.keep)
        assert slow.asked.wait(30)
        second = pool.submit(lock.keep)
        wait_until(second.running, "the second thread asks too")
        slow.go_on.set()
        for asked in (first, second):
            with pytest.raises(LockedError, match="took site lab over"):
                asked.result()


RUN = """
import itertools, os, signal, sys
from pathlib import Path
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import Connection, connect, reconcile
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.lock import SiteLock
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.reconcile import labels
from cluster.sites import project, site, wanted
class Dies:
    def __init__(self, client): self.client, self.writes = client, itertools.count(1)
    def apply(self, item, *, force=False):
        if next(self.writes) == 9: os.kill(os.getpid(), signal.SIGKILL)
        self.client.apply(item, force=force)
client = connect(Connection(Path(sys.argv[1])), "higress-system")
lock = SiteLock(client, "lab", labels("lab"), duration=2)
reconcile(client, wanted(site(project("atlas"), project("beacon"))), writer=Dies(client), lock=lock)
"""


def test_a_process_killed_for_good_delays_the_next_run_and_no_more(plane: ControlPlane, cluster: Client) -> None:
    root = Path(__file__).parents[2]
    path = os.pathsep.join(map(str, (root / ".build" / "collections", root / "tests")))
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(plane.kubeconfig)], env=os.environ | {"PYTHONPATH": path}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    lease = cluster.get(LEASE, lease_name("lab"))
    assert lease
    assert lease["spec"]["holderIdentity"]
    assert openings(read(cluster, "lab").values()) == []
    lock = SiteLock(cluster, "lab", labels("lab"), duration=2)
    assert reconcile(cluster, wanted(LARGE), lock=lock).writes > 0
    assert openings(read(cluster, "lab").values()) == []
    assert reconcile(cluster, wanted(LARGE)).writes == 0
