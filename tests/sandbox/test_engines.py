"""A Project moves from one masking engine to the other under load: what the provider was sent tells which one masked it."""

from __future__ import annotations

from .conftest import Caller
from .load import Load
from .sandbox import Sandbox, until

VALUES = ("joe.doe@megacorp.co.th", "sk-R7vQ2mX9kLp4TzW8nB3yH6dJ", "ATLAS-1234")
SECRETS = f"ask {VALUES[0]} with {VALUES[1]} about {VALUES[2]}"
ASK = {"model": "coding-default", "messages": [{"role": "user", "content": SECRETS}]}


def masked_by(caller: Caller) -> str:
    """The engine that masked a request of atlas: data-masking writes its rule's name before a hash."""
    for provider in caller.sandbox.providers():
        provider.clear()
    assert caller.post("atlas.alice", ASK).status == 200
    [entry] = caller.sandbox.seen()
    assert [value for value in VALUES if value in entry["body"]] == []
    return "data-masking" if "[API_KEY:" in entry["body"] else "ai-data-masking"


def test_atlas_is_masked_by_both_engines_and_no_request_fails_in_between(site: Sandbox, caller: Caller) -> None:
    assert masked_by(caller) == "data-masking"
    for old, new in (("data-masking", "ai-data-masking"), ("ai-data-masking", "data-masking")):
        with Load(caller, "atlas.bob", "coding-default", SECRETS).running() as load:
            site.edit("atlas", f"  engine: {old}\n", f"  engine: {new}\n")
            played = site.play()
            enough = load.statuses.total() + 20
            until(lambda load=load, enough=enough: load.statuses.total() >= enough)
        assert played.code == 0, played.text
        assert set(load.statuses) == {200}, load.statuses
        assert masked_by(caller) == new
