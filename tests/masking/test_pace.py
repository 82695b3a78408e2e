"""Streams keep their pace, and a Project moves from one engine to the other under load."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from guards.gateway import JSON, START_SECONDS, Gateway, Reply, bootstrap
from masking.bench.engines import builtin, ours
from masking.world import CLUSTER, DONE, ROUTES, Reader, World, chat, chunk, headers

from guards import upstream

ASK = {"model": "m", "messages": [{"role": "user", "content": "write to bob.smith@acme.io"}]}
PATIENCE = 30.0


def test_every_chunk_goes_on_before_the_next_is_written(world: World) -> None:
    """The provider writes a chunk only when the client has the one before: nothing is held that need not be."""
    read = threading.Semaphore(0)
    parts = ["Sure, ", "I will ", "write to [EMAIL_1] ", "about it: ", "eve@acme.io ", "too."]
    kind = (("content-type", "text/event-stream"),)

    def gate() -> None:
        assert read.acquire(timeout=PATIENCE), "the client did not get the chunk before"

    chunks = [*(chunk({"content": part}) for part in parts), chunk({}, "stop") + DONE]
    world.provider.answer = lambda _: upstream.Answer(chunks, headers=kind, gate=gate)
    reader = Reader(world.gateway, "beacon", ASK)
    got = b""
    for _ in parts:
        got += reader.event()
        read.release()
    while event := reader.event():
        got += event
    reader.close()
    assert chat(got) == "Sure, I will write to bob.smith@acme.io about it: " + placeholder(got) + "too."


def placeholder(stream: bytes) -> str:
    """What stands for the address that the model made up: a rule with restore masks it in answers as well."""
    return chat(stream).split("about it: ")[1].removesuffix("too.")


def test_the_first_byte_is_within_5_ms_of_the_providers(world: World) -> None:
    """In the best turn: what others do on this machine makes turns longer, and a guard that waits makes all of them so."""
    written: list[float] = []

    def chunks() -> Iterator[bytes]:
        written.append(time.perf_counter())
        yield chunk({"content": "Write to [EMAIL_1] "})
        yield chunk({"content": "or eve@acme.io"})
        yield DONE

    kind = (("content-type", "text/event-stream"),)
    world.provider.answer = lambda _: upstream.Answer(chunks(), headers=kind)
    delays = []
    for _ in range(31):
        reader = Reader(world.gateway, "beacon", ASK)
        assert reader.response.read(1)
        delays.append(time.perf_counter() - written[-1])
        reader.response.read()
        reader.close()
    assert min(delays) < 0.005


def discovered(directory: Path, filters: list[JSON]) -> list[JSON]:
    """The filters, each with its config in a file of its own that Envoy watches."""
    return [
        {
            "name": made["name"],
            "config_discovery": {
                "config_source": {
                    "path_config_source": {"path": str(put(directory, made))},
                    "resource_api_version": "V3",
                },
                "type_urls": [made["typed_config"]["@type"]],
            },
        }
        for made in filters
    ]


def put(directory: Path, made: JSON) -> Path:
    """Writes a filter's config where Envoy looks for it, in one step."""
    resource = {
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": made["name"],
        "typed_config": made["typed_config"],
    }
    target = directory / f"{made['name']}.json"
    fresh = directory / f"{made['name']}.new"
    fresh.write_text(json.dumps({"version_info": str(time.monotonic_ns()), "resources": [resource]}))
    fresh.replace(target)
    return target


def test_a_project_moves_between_the_engines_under_load(tmp_path: Path) -> None:
    """Both objects are in the chain at all times; one word moves the rules from one to the other."""
    active = {"data-masking": ours(tmp_path), "ai-data-masking": builtin(tmp_path)}
    idle = {"data-masking": ours(tmp_path), "ai-data-masking": builtin(tmp_path)}
    configure(idle["data-masking"], {"unmatched": "pass"})
    configure(idle["ai-data-masking"], {"deny_openai": False, "deny_raw": False, "replace_roles": []})
    filters = [active["ai-data-masking"], idle["data-masking"]]
    provider, server = upstream.start()
    config = bootstrap(discovered(tmp_path, filters), ROUTES, {CLUSTER: provider.port})
    # Files that are watched need a node's name.
    gateway = Gateway({**config, "node": {"id": "masking", "cluster": "masking"}}, tmp_path)
    replies: list[Reply] = []
    stop = threading.Event()

    def load() -> None:
        body = json.dumps(ASK).encode()
        while not stop.is_set():
            replies.append(gateway.send("POST", "/v1/chat/completions", headers("atlas"), body))

    threads = [threading.Thread(target=load) for _ in range(3)]
    try:
        for thread in threads:
            thread.start()
        for made in (active["data-masking"], idle["ai-data-masking"], active["ai-data-masking"], idle["data-masking"]):
            updated = reloads(gateway, made["name"])
            put(tmp_path, made)
            wait(lambda name=made["name"], before=updated: reloads(gateway, name) > before)  # type: ignore[misc]
            more = len(replies) + 30
            wait(lambda more=more: len(replies) > more)  # type: ignore[misc]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        gateway.stop()
        server.shutdown()
        server.server_close()
    assert [reply.body for reply in replies if reply.status != 200] == []
    assert len(provider.received) == len(replies)
    assert [r.body for r in provider.received if b"bob.smith" in r.body] == []


def configure(made: JSON, config: JSON) -> None:
    made["typed_config"]["config"]["configuration"]["value"] = json.dumps(config)


def reloads(gateway: Gateway, name: str) -> int:
    """How often Envoy has taken up a new config of the filter."""
    stats = gateway.admin(f"/stats?filter=extension_config_discovery.*{name}.config_reload$").splitlines()
    mine = [line for line in stats if f".{name}.config_reload" in line]
    return sum(int(line.rsplit(": ", 1)[1]) for line in mine)


def wait(condition: object) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
