"""Counters of many consumers are read by another process: the same books, its errors, and what it learnt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from directed import Steps, play
from found import FOUND

from budget_controller import ahead, gateways, run
from budget_controller.errors import ControllerError, SourceError
from budget_controller.gateways import Gateways, Usage
from budget_controller.sources import METERS, Shard, shared_out
from budget_controller.store import Head

SHARDS = [Shard(frozenset({name})) for name in ("atlas", "beacon", "comet")]


class Unseen:
    """A metrics API whose gateways show no uptime."""

    def disconnect(self) -> None:
        """It has no connections."""

    def counters(self, _meter: int, at: int, _since: int | None, shard: Shard, _born: object) -> Iterator[Any]:
        project = next(iter(shard.projects))
        if project == "comet" and at == 0:
            raise SourceError("the metrics API is away")
        yield (("instance", f"gateway of {project}"),), f"{project}.alice", "m1", 7


def beside(shard: Shard, usage: Usage) -> str:
    (project,) = shard.projects
    assert all(consumer.startswith(f"{project}.") for consumer in usage)
    return project


@pytest.mark.parametrize("steps", FOUND, ids=lambda steps: steps.__name__)
def test_the_books_are_the_same(redis_port: int, steps: Steps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateways, "FEW_SHARDS", 0)
    monkeypatch.setattr(run, "SHARD_CONSUMERS", 1)
    play(redis_port, steps)


def test_processes_that_the_reader_meets_are_known_afterwards() -> None:
    head = Head(cursor=0)
    reading = Gateways(head, Unseen())  # type: ignore[arg-type]
    found = {project: usage for usage, project in reading.read_each(SHARDS, 5, None, beside)}
    lives = {name: process.lives[-1][1] for name, process in head.processes.items()}
    assert len(set(lives.values())) == len(SHARDS)
    assert reading.unsaved
    for project, usage in found.items():
        life = lives[f"instance=gateway of {project}"]
        assert usage == {f"{project}.alice": {f"{life}|m1": [7] * len(METERS)}}


def test_the_readers_error_is_the_runs() -> None:
    reading = Gateways(Head(cursor=0), Unseen())  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="is away"):
        list(reading.read_each(SHARDS, 0, None, beside))


def test_a_reader_that_dies_is_an_error() -> None:
    def make() -> Iterator[int]:
        yield 1
        raise SystemExit(3)

    with pytest.raises(ControllerError, match="died"):
        list(ahead.produce(make))


def test_every_consumer_is_in_one_shard() -> None:
    shards = [*SHARDS, Shard(frozenset({"atlas", "beacon", "comet"}), others=True)]
    names = ["comet.eve", "atlas.ann", "stranger.x", "atlas", "atlas.", ".ann", "", "atlas.ann.x"]
    assert shared_out(names, shards) == [
        ["atlas.ann", "atlas.ann.x"],
        [],
        ["comet.eve"],
        ["stranger.x", "atlas", "atlas.", ".ann", ""],
    ]
