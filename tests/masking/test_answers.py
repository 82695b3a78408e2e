"""Answers, whole and streamed: masked, restored, and otherwise as the provider wrote them."""

from __future__ import annotations

import json

import pytest
from masking.world import DONE, PATHS, World, chat, chunk, events

from guards import upstream

MAIL = "bob.smith@acme.io"
ASK = {"model": "m", "messages": [{"role": "user", "content": f"write to {MAIL} at 10.20.30.40 about TCK-123456"}]}


def placeholders(world: World) -> list[str]:
    """What the provider was given for the values of ASK."""
    text = json.loads(world.provider.last.body)["messages"][0]["content"]
    return [word for word in text.split() if word.startswith("[")]


def echo(world: World) -> None:
    """The provider answers with the last message's text."""

    def answer(received: upstream.Received) -> upstream.Answer:
        text = json.loads(received.body)["messages"][-1]["content"]
        message = {"role": "assistant", "content": f"I did: {text}"}
        return upstream.Answer([json.dumps({"choices": [{"message": message}], "usage": {"total_tokens": 3}}).encode()])

    world.provider.answer = answer


def test_values_come_back_in_a_whole_answer(world: World) -> None:
    echo(world)
    reply = world.post(ASK, project="beacon")
    assert reply.json["choices"][0]["message"]["content"] == f"I did: {ASK['messages'][0]['content']}"
    assert reply.json["usage"] == {"total_tokens": 3}
    assert MAIL not in world.provider.last.body.decode()
    assert len(placeholders(world)) == 3


def test_values_do_not_leak_into_another_request(world: World) -> None:
    echo(world)
    world.post(ASK, project="beacon")
    given = placeholders(world)
    other = {"messages": [{"role": "user", "content": " ".join(given)}]}
    assert MAIL not in world.post(other, project="beacon").body.decode()
    assert MAIL not in world.post(other, project="atlas").body.decode()


def test_a_placeholder_that_the_client_wrote_itself_is_not_given_out(world: World) -> None:
    echo(world)
    text = f"[EMAIL_1] is not {MAIL}"
    reply = world.post({"messages": [{"role": "user", "content": text}]}, project="beacon")
    assert reply.json["choices"][0]["message"]["content"] == f"I did: {text}"


def test_whole_answers_are_masked(world: World) -> None:
    body = (
        '{"choices":[{"message":{"content":"ask %s","tool_calls":[{"function":{"arguments":"{\\"to\\":\\"%s\\"}"}}]}}]}'
    )
    world.provider.answer = lambda _: upstream.Answer([body.replace("%s", MAIL).encode()])
    assert world.post({"messages": []}).body.decode() == body.replace("%s", "[EMAIL]")
    assert world.post({"messages": []}, project="comet").body.decode() == body.replace("%s", MAIL)


def test_an_error_page_is_masked_too(world: World) -> None:
    kind = (("content-type", "text/plain"),)
    world.provider.answer = lambda _: upstream.Answer([b"no such user ", MAIL.encode()], status=500, headers=kind)
    reply = world.post({"messages": []})
    assert (reply.status, reply.body) == (500, b"no such user [EMAIL]")


def test_an_answer_with_blocked_data_is_refused(world: World) -> None:
    world.provider.answer = lambda _: upstream.Answer([b'{"choices":[{"message":{"content":"4539 1488 0343 6467"}}]}'])
    reply = world.post({"messages": []}, project="blocking")
    assert (reply.status, reply.error["code"]) == (403, "answer_blocked")
    stream = world.stream(
        [chunk({"content": "it is 4539 1488 "}), chunk({"content": "0343 6467 ok"}), DONE], "blocking"
    )
    assert b"4539" not in stream
    assert [event["error"]["code"] for event in events(stream) if "error" in event] == ["answer_blocked"]
    assert stream.endswith(DONE)


def test_a_compressed_answer_is_not_let_through(world: World) -> None:
    encoding = (("content-type", "application/json"), ("content-encoding", "gzip"))
    world.provider.answer = lambda _: upstream.Answer([b"\x1f\x8b"], headers=encoding)
    reply = world.post({"messages": []})
    assert (reply.status, reply.error["code"]) == (502, "answer_unreadable")
    assert world.provider.last.header("accept-encoding") == []


def test_a_stream_without_anything_to_mask_is_not_changed(world: World) -> None:
    calls = {
        "tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]
    }
    parts = [
        b": ping\n\n",
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Fine. "}),
        chunk(calls),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": '}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "[]} "}}]}),
        chunk({}, "tool_calls"),
        b'data: {"id":"c1","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n',
        DONE,
    ]
    assert world.stream(parts) == b"".join(parts)


TEXT = f"Sure: {MAIL}, card 4539 1488 0343 6467, call +66 81 234 5678 or 10.20.30.40. Key sk-proj-aB3dE6gH9jK2mN5pQ8sT1vW4!"
MASKED = "Sure: [EMAIL], card [CREDIT_CARD], call [PHONE] or [IP]. Key [API_KEY]!"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 40, 400])
def test_values_split_over_deltas_are_masked(world: World, size: int) -> None:
    pieces = [TEXT[i : i + size] for i in range(0, len(TEXT), size)]
    usage = b'data: {"choices":[],"usage":{"total_tokens":7}}\n\n'
    stream = world.stream([*(chunk({"content": piece}) for piece in pieces), chunk({}, "stop"), usage, DONE])
    assert chat(stream) == MASKED
    assert stream.endswith(chunk({}, "stop") + usage + DONE)


def test_events_split_over_chunks_anywhere(world: World) -> None:
    whole = b"".join(
        [chunk({"content": f"to {MAIL[:5]}"}), chunk({"content": f"{MAIL[5:]} now"}), chunk({}, "stop"), DONE]
    )
    for size in (1, 3, 17, 64, 200):
        stream = world.stream([whole[i : i + size] for i in range(0, len(whole), size)])
        assert chat(stream) == "to [EMAIL] now"


def test_tool_calls_reasoning_and_choices_each_have_their_own_text(world: World) -> None:
    def call(index: int, text: str) -> bytes:
        return chunk({"tool_calls": [{"index": index, "function": {"arguments": text}}]})

    stream = world.stream(
        [
            chunk({"reasoning_content": "hm bob"}),
            chunk({"content": "x"}, index=1),
            chunk({"reasoning_content": "@acme.io"}),
            chunk({"content": "ok eve@ac"}),
            call(0, '{"to": "bob@ac'),
            call(0, 'me.io", "n\\u0040": "a\\nb@ac'),
            call(1, '["eve@acme'),
            call(0, 'me.io"}'),
            call(1, '.io"]'),
            chunk({}, "tool_calls"),
            DONE,
        ]
    )
    assert chat(stream, "reasoning_content") == "hm [EMAIL]"
    arguments = ["", ""]
    for event in events(stream):
        for choice in event["choices"]:
            for part in choice["delta"].get("tool_calls", []):
                arguments[part["index"]] += part["function"]["arguments"]
    assert json.loads(arguments[0]) == {"to": "[EMAIL]", "n@": "a\n[EMAIL]"}
    assert json.loads(arguments[1]) == ["[EMAIL]"]
    assert [c["finish_reason"] for e in events(stream) for c in e["choices"] if c.get("finish_reason")] == [
        "tool_calls"
    ]


@pytest.mark.parametrize("size", [1, 2, 3, 8, 100])
def test_values_come_back_in_a_stream(world: World, size: int) -> None:
    def answer(received: upstream.Received) -> upstream.Answer:
        text = "Done: " + json.loads(received.body)["messages"][0]["content"] + "."
        pieces = [chunk({"content": text[i : i + size]}) for i in range(0, len(text), size)]
        arguments = json.dumps({"mail": text})
        calls = [
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": arguments[i : i + size]}}]})
            for i in range(0, len(arguments), size)
        ]
        kind = (("content-type", "text/event-stream"),)
        return upstream.Answer([*pieces, *calls, chunk({}, "stop"), DONE], headers=kind)

    world.provider.answer = answer
    stream = world.post(ASK, project="beacon").body
    assert chat(stream) == f"Done: {ASK['messages'][0]['content']}."
    deltas = [c["delta"] for e in events(stream) for c in e["choices"]]
    arguments = "".join(p["function"]["arguments"] for d in deltas for p in d.get("tool_calls", []))
    assert json.loads(arguments) == {"mail": f"Done: {ASK['messages'][0]['content']}."}


def test_messages_stream(world: World) -> None:
    def event(kind: str, **fields: object) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()

    def text(piece: str) -> bytes:
        return event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})

    def arguments(piece: str) -> bytes:
        return event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": piece})

    start = event(
        "message_start", message={"id": "m", "role": "assistant", "content": [], "usage": {"input_tokens": 1}}
    )
    end = [
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 5}),
        event("message_stop"),
    ]
    stream = world.stream(
        [
            start,
            event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            text("write bo"),
            text("b@acme.io"),
            event("content_block_stop", index=0),
            event(
                "content_block_start", index=1, content_block={"type": "tool_use", "id": "t", "name": "f", "input": {}}
            ),
            arguments('{"a":"bob@acm'),
            arguments('e.io"}'),
            event("content_block_stop", index=1),
            *end,
        ]
    )
    deltas = [e["delta"] for e in events(stream) if e["type"] == "content_block_delta"]
    assert "".join(d.get("text", "") for d in deltas) == "write [EMAIL]"
    assert "".join(d.get("partial_json", "") for d in deltas) == '{"a":"[EMAIL]"}'
    kinds = [e["type"] for e in events(stream)]
    assert kinds.index("content_block_stop") > max(
        i for i, e in enumerate(events(stream)) if e.get("index") == 0 and "delta" in e
    )
    assert stream.startswith(start)
    assert stream.endswith(b"".join(end))


def test_responses_stream(world: World) -> None:
    def event(kind: str, **fields: object) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()

    place = {"item_id": "i", "output_index": 0, "content_index": 0}
    whole = [
        event("response.output_text.done", **place, text=f"to {MAIL}"),
        event(
            "response.completed",
            response={"output": [{"content": [{"text": f"to {MAIL}"}]}], "usage": {"total_tokens": 9}},
        ),
    ]
    stream = world.stream(
        [
            event("response.output_text.delta", **place, delta="to bob.smi"),
            event("response.output_text.delta", **place, delta="th@acme.io"),
            *whole,
        ]
    )
    deltas = "".join(e["delta"] for e in events(stream) if e["type"] == "response.output_text.delta")
    assert deltas == "to [EMAIL]"
    assert stream.endswith(b"".join(whole).replace(MAIL.encode(), b"[EMAIL]"))


def test_a_completion_stream(world: World) -> None:
    def part(text: str, finish: str | None = None) -> bytes:
        event = {
            "id": "c",
            "object": "text_completion",
            "choices": [{"index": 0, "text": text, "finish_reason": finish}],
        }
        return b"data: " + json.dumps(event).encode() + b"\n\n"

    stream = world.stream([part("a bob@"), part("acme"), part(".io", "stop"), DONE])
    assert "".join(c["text"] for e in events(stream) for c in e["choices"]) == "a [EMAIL]"
    assert [c["finish_reason"] for e in events(stream) for c in e["choices"]][-1] == "stop"


def test_a_stream_that_is_cut_off_loses_nothing_but_its_end(world: World) -> None:
    assert chat(world.stream([chunk({"content": "to bob@acme.io"})])) == "to [EMAIL]"


def test_paths_are_all_masked(world: World) -> None:
    world.provider.answer = lambda _: upstream.Answer([f'{{"text":"{MAIL}"}}'.encode()])
    for path in PATHS:
        assert world.post({"input": MAIL}, path).json == {"text": "[EMAIL]"}
