"""Killed at each write: the site is never open, and the next run finishes."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import Client, read, reconcile
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.kinds import Object, name_of
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.records import record_name, recorded_texts
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Site

from .openness import openings
from .sites import project, site, wanted, with_single_records, with_user


class Killed(BaseException):
    """Not an Exception: nothing on the way may catch it, as nothing catches a SIGKILL."""


@dataclass
class DyingWriter:
    """Writes until its number of writes is reached, then nothing more ever leaves this process."""

    client: Client
    lives: int
    written: list[str] = field(default_factory=list)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def apply(self, item: Object, *, force: bool = False) -> None:
        with self._turn:
            self._live_on("apply", item)
            self.client.apply(item, force=force)

    def delete(self, item: Object) -> None:
        with self._turn:
            self._live_on("delete", item)
            self.client.delete(item)

    def _live_on(self, action: str, item: Object) -> None:
        if len(self.written) >= self.lives:
            raise Killed
        self.written.append(f"{action} {name_of(item)}")


OTHER_UPSTREAM = {"providers": {"backup": {"url": "https://api.backup.example/v1", "key": "main"}}}
OTHER_UPSTREAM |= {"models": {"coding": {"targets": [{"provider": "backup", "model": "large"}]}}}
EMPTY = None
STEPS: dict[str, tuple[Site | None, Site]] = {
    "first push": (EMPTY, site(project("atlas"), project("beacon"))),
    "a user joins": (site(project("atlas")), site(with_user(project("atlas"), "dev", "zoe"))),
    "a user leaves": (site(with_user(project("atlas"), "dev", "zoe")), site(project("atlas"))),
    "a Project comes, one goes": (site(project("atlas"), project("beacon")), site(project("atlas"), project("comet"))),
    "a provider is replaced": (site(project("atlas")), site(project("atlas", **OTHER_UPSTREAM))),
    "one shard becomes two": (
        site(project("atlas"), project("beacon")),
        site(project("atlas"), project("beacon"), shards={"key-auth": 2, "identity": 2}),
    ),
    "two shards become three": (
        site(*map(project, "abcdef"), shards={"key-auth": 2, "identity": 2, "usage-guard": 2}),
        site(*map(project, "abcdef"), shards={"key-auth": 3, "identity": 3, "usage-guard": 3}),
    ),
    "three shards become one": (
        site(*map(project, "abc"), shards={"key-auth": 3, "identity": 3}),
        site(*map(project, "abc")),
    ),
}


def run(cluster: Client, of: Site, writer: DyingWriter | None = None) -> int:
    """One run that removes what has no spec."""
    return reconcile(cluster, wanted(of, prune=True, prune_limit=100), writer=writer).writes


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_each_write_no_route_is_ever_open(cluster: Client, step: str) -> None:
    before, after = STEPS[step]
    for lives in itertools.count():
        if before:
            run(cluster, before)
        else:
            _clear(cluster)
        writer = DyingWriter(cluster, lives)
        try:
            run(cluster, after, writer)
        except Killed:
            assert openings(read(cluster, "lab").values()) == [], f"killed after {writer.written}"
            continue
        assert openings(read(cluster, "lab").values()) == []
        break
    assert lives > 1
    assert run(cluster, after) == 0


@pytest.mark.parametrize("step", ["a Project comes, one goes", "two shards become three"])
def test_what_a_killed_run_left_the_next_one_finishes(cluster: Client, step: str) -> None:
    before, after = STEPS[step]
    assert before
    run(cluster, before)
    with pytest.raises(Killed):
        run(cluster, after, DyingWriter(cluster, 4))
    assert run(cluster, after) > 0
    assert run(cluster, after) == 0
    assert openings(read(cluster, "lab").values()) == []


def test_killed_while_records_are_taken_over_none_is_lost(cluster: Client) -> None:
    whole = site(*map(project, "abc"))
    run(cluster, whole)
    before = recorded_texts(read(cluster, "lab").values())
    for lives in itertools.count():
        with_single_records(cluster)
        writer = DyingWriter(cluster, lives)
        try:
            run(cluster, whole, writer)
        except Killed:
            assert recorded_texts(read(cluster, "lab").values()) == before, f"killed after {writer.written}"
            run(cluster, whole)
            continue
        break
    assert lives == len(set(map(record_name, "abc"))) + len("abc")
    assert recorded_texts(read(cluster, "lab").values()) == before


def test_the_judge_sees_an_open_route(cluster: Client) -> None:
    """The check above can fail: without its rules, a route is called open."""
    run(cluster, site(project("atlas")))
    live = [
        item for item in read(cluster, "lab").values() if item["metadata"]["name"] not in ("key-auth", "keys-atlas")
    ]
    found = openings(live)
    assert "atlas.coding: no key-auth" in found
    assert any("is not there, its text is the credential" in line for line in found)


def _clear(cluster: Client) -> None:
    for item in read(cluster, "lab").values():
        cluster.delete(item)
