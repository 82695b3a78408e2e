"""Every answered request is booked once: with its usage when the answer carries it, else with an estimate."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from guards.conftest import World
from guards.gateway import JSON

from guards import upstream

ROUTE, CLUSTER, CONSUMER = "atlas.coding-default", "outbound|443||atlas-a.dns", "atlas.alice"
CHAT: JSON = {"model": "coding-default", "messages": [{"role": "user", "content": "hello"}]}
SSE = (("content-type", "text/event-stream"),)
SECONDS = 60.0


def booked(world: World, model: str) -> dict[str, int]:
    """What is booked on a model: by counter, over all labels, which must be these."""
    found: dict[str, int] = {}
    for (name, route, cluster, on, consumer), value in world.gateway.counters().items():
        if on == model:
            assert (route, cluster, consumer) == (ROUTE, CLUSTER, CONSUMER)
            found[name.removeprefix("usage_")] = value
    return found


def comes_to(probe: Callable[[], object], expected: object) -> None:
    """Polls: a stream that is cut is booked after its client has gone, and counter by counter in their order."""
    deadline = time.monotonic() + SECONDS
    while (found := probe()) != expected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert found == expected


def event(data: JSON | str) -> bytes:
    return f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n".encode()


def chat_stream(model: str, usage: JSON | None) -> list[bytes]:
    pieces = [event({"model": model, "choices": [{"delta": {"content": "word "}}]}) for _ in range(6)]
    last = [event({"model": model, "choices": [], "usage": usage})] if usage else []
    return [*pieces, *last, event("[DONE]")]


def test_a_plain_answer(world: World) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 64}}
    body = json.dumps({"model": "plain-1", "choices": [], "usage": usage}).encode()
    world.provider.answer = lambda _: upstream.Answer([body[:20], body[20:]])
    assert world.post(CHAT).body == body
    expected = {"request": 1, "input_token": 36, "cache_read_token": 64, "output_token": 7}
    assert booked(world, "plain-1") == expected
    world.post(CHAT)
    assert booked(world, "plain-1") == {name: 2 * value for name, value in expected.items()}


def test_a_streamed_answer_goes_through_untouched(world: World) -> None:
    chunks = chat_stream("stream-1", {"prompt_tokens": 9, "completion_tokens": 6})
    world.provider.answer = lambda _: upstream.Answer(chunks, headers=SSE)
    assert world.post({**CHAT, "stream": True}).body == b"".join(chunks)
    assert booked(world, "stream-1") == {"request": 1, "input_token": 9, "output_token": 6}


def test_messages_and_responses_streams(world: World) -> None:
    start = {"input_tokens": 3, "cache_read_input_tokens": 90, "cache_creation_input_tokens": 7, "output_tokens": 1}
    messages = [
        event({"type": "message_start", "message": {"model": "claude-1", "usage": start}}),
        event({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 12}}),
        event({"type": "message_stop"}),
    ]
    world.provider.answer = lambda _: upstream.Answer(messages, headers=SSE)
    world.post({**CHAT, "stream": True}, "/v1/messages")
    expected = {"request": 1, "input_token": 3, "cache_read_token": 90, "cache_write_token": 7, "output_token": 12}
    assert booked(world, "claude-1") == expected
    usage = {"input_tokens": 11, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 1}}
    done = event({"type": "response.completed", "response": {"model": "resp-1", "usage": usage}})
    world.provider.answer = lambda _: upstream.Answer([done], headers=SSE)
    world.post({"model": "coding-default", "input": "x", "stream": True}, "/v1/responses")
    assert booked(world, "resp-1") == {"request": 1, "input_token": 10, "cache_read_token": 1, "output_token": 2}


def test_chunks_are_passed_on_at_once(world: World) -> None:
    passed = threading.Semaphore(0)
    chunks = chat_stream("atonce-1", {"prompt_tokens": 1, "completion_tokens": 1})
    world.provider.answer = lambda _: upstream.Answer(chunks, headers=SSE, gate=lambda: _acquire(passed))
    connection, response = _open(world, {**CHAT, "stream": True})
    try:
        # The provider writes a chunk only after the one before has arrived here.
        for chunk in chunks:
            assert response.read(len(chunk)) == chunk
            passed.release()
    finally:
        connection.close()


def _acquire(passed: threading.Semaphore) -> None:
    # The provider breaks off, and the client misses what it would have read.
    assert passed.acquire(timeout=SECONDS / 2), "the client did not get the chunk before"


def _open(world: World, body: JSON) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = world.gateway.connect()
    headers = [("host", "atlas.localhost"), ("authorization", "Bearer k-alice")]
    world.gateway.begin(connection, "POST", "/v1/chat/completions", headers, json.dumps(body).encode())
    return connection, connection.getresponse()


def test_a_client_that_hangs_up_in_a_stream_is_booked(world: World) -> None:
    gone = threading.Event()
    chunks = chat_stream("hangup-1", {"prompt_tokens": 9, "completion_tokens": 6})

    def pieces() -> Iterator[bytes]:
        yield chunks[0]
        yield chunks[1]
        gone.wait(SECONDS)

    world.provider.answer = lambda _: upstream.Answer(pieces(), headers=SSE)
    connection, response = _open(world, {**CHAT, "stream": True})
    assert response.read(len(chunks[0] + chunks[1])) == chunks[0] + chunks[1]
    response.close()
    connection.close()
    texts = sum(
        len(word) for word in ("model", "coding-default", "messages", "role", "user", "content", "hello", "stream")
    )
    comes_to(
        lambda: booked(world, "hangup-1"),
        {"request": 1, "estimated_input_token": -(-texts // 3), "estimated_output_token": 4},
    )
    gone.set()


def test_a_client_that_hangs_up_before_the_answer_is_booked_on_the_alias(world: World) -> None:
    gone = threading.Event()

    def slow(_: upstream.Received) -> upstream.Answer:
        gone.wait(SECONDS)
        return upstream.Answer([b"{}"])

    world.provider.answer = slow
    before = booked(world, "coding-default")

    def added() -> dict[str, int]:
        return {name: value - before.get(name, 0) for name, value in booked(world, "coding-default").items()}

    connection = world.gateway.connect()
    headers = [("host", "atlas.localhost"), ("authorization", "Bearer k-alice")]
    body = {**CHAT, "max_tokens": 40}
    world.gateway.begin(connection, "POST", "/v1/chat/completions", headers, json.dumps(body).encode())
    comes_to(lambda: len(world.provider.received), 1)
    connection.close()
    # The last that is counted.
    comes_to(lambda: added().get("estimated_output_token"), 40)
    gone.set()
    assert added()["request"] == 1
    assert added()["estimated_input_token"] > 0


def test_a_provider_that_breaks_off_is_booked(world: World) -> None:
    chunks = chat_stream("broken-1", None)[:3]
    world.provider.answer = lambda _: upstream.Answer(chunks, headers=SSE, cut=True)
    connection, response = _open(world, {**CHAT, "stream": True})
    with pytest.raises(http.client.IncompleteRead):
        response.read()
    connection.close()
    comes_to(lambda: booked(world, "broken-1").get("estimated_output_token"), 5)


def test_an_answer_without_usage_is_estimated(world: World) -> None:
    answer = {"model": "nousage-1", "choices": [{"message": {"role": "assistant", "content": "x" * 31}}]}
    world.provider.answer = lambda _: upstream.Answer([json.dumps(answer).encode()])
    world.post(CHAT)
    found = booked(world, "nousage-1")
    assert (found["request"], found["estimated_output_token"]) == (1, 11)
    assert "output_token" not in found


def test_refusals_and_errors_are_not_booked(world: World) -> None:
    before = world.gateway.counters()
    world.post({**CHAT, "model": "gpt-unknown"})
    world.post(CHAT, key="k-nobody")
    world.provider.answer = lambda _: upstream.Answer([b'{"error":{"message":"busy"},"model":"err-1"}'], status=503)
    assert world.post(CHAT).status == 503
    # Envoy's one worker is through with all of them when it books what came after.
    later = {"model": "later-1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    world.provider.answer = lambda _: upstream.Answer([json.dumps(later).encode()])
    assert world.post(CHAT).status == 200
    after = world.gateway.counters()
    assert {labels[3] for labels, count in after.items() if count != before.get(labels)} == {"later-1"}


def test_an_alias_full_of_the_counters_own_words(world: World) -> None:
    alias = "my.metric.consumer.model"
    answer = {"model": "odd.consumer.metric", "usage": {"prompt_tokens": 4, "completion_tokens": 1}}
    world.provider.answer = lambda _: upstream.Answer([json.dumps(answer).encode()])
    assert world.post({**CHAT, "model": alias}).status == 200
    keys = [key for key in world.gateway.counters() if key[3].startswith("odd")]
    assert sorted(keys) == [
        (name, "atlas.my.metric.consumer_model_", CLUSTER, "odd.consumer_metric", CONSUMER)
        for name in ("usage_input_token", "usage_output_token", "usage_request")
    ]
