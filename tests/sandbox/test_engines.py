"""A Project moves from one masking engine to the other under load: what the provider was sent tells which one masked it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from .conftest import Caller
from .sandbox import Sandbox, until

VALUES = ("joe.doe@megacorp.co.th", "sk-R7vQ2mX9kLp4TzW8nB3yH6dJ", "ATLAS-1234")
ASK = {
    "model": "coding-default",
    "messages": [{"role": "user", "content": f"ask {VALUES[0]} with {VALUES[1]} about {VALUES[2]}"}],
}


@pytest.fixture
def site(caller: Caller) -> Iterator[Sandbox]:
    """The running sandbox, whose Project files are as they were when the test is over."""
    yield caller.sandbox
    caller.sandbox.reset_site()
    assert caller.sandbox.play().code == 0


def masked_by(caller: Caller) -> str:
    """The engine that masked a request of atlas: data-masking writes its rule's name before a hash."""
    for provider in caller.sandbox.providers():
        provider.clear()
    assert caller.post("atlas.alice", ASK).status == 200
    [entry] = caller.sandbox.seen()
    assert [value for value in VALUES if value in entry["body"]] == []
    return "data-masking" if "[API_KEY:" in entry["body"] else "ai-data-masking"


def test_atlas_is_masked_by_both_engines_and_no_request_fails_in_between(site: Sandbox, caller: Caller) -> None:
    statuses: Counter[int] = Counter()
    moving = threading.Event()

    def load() -> None:
        while not moving.is_set():
            statuses[caller.post("atlas.bob", ASK).status] += 1

    assert masked_by(caller) == "data-masking"
    for old, new in (("data-masking", "ai-data-masking"), ("ai-data-masking", "data-masking")):
        moving.clear()
        threads = [threading.Thread(target=load) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            site.edit("atlas", f"  engine: {old}\n", f"  engine: {new}\n")
            played = site.play()
            enough = statuses.total() + 20
            until(lambda enough=enough: statuses.total() >= enough)
        finally:
            moving.set()
            for thread in threads:
                thread.join(60)
        assert played.code == 0, played.text
        assert masked_by(caller) == new
    assert set(statuses) == {200}, statuses
