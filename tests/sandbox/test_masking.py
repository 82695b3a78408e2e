"""Point 4: the built-in ai-data-masking in both settings, what it covers and what it does not; beside it, our engine."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import closing
from typing import Any

import pytest

from .conftest import Caller
from .sandbox import openai_error, until

PRIVATE = {
    "e-mail": "joe.doe@megacorp.co.th",
    "phone": "+66 81 234 5678",
    "ip": "10.11.12.13",
    "key": "sk-R7vQ2mX9kLp4TzW8nB3yH6dJ",
}
TEXT = f"mail {PRIVATE['e-mail']} call {PRIVATE['phone']} at {PRIVATE['ip']} with {PRIVATE['key']} please"
PARTS = [{"type": "text", "text": TEXT}]
TURNS: dict[str, list[dict[str, Any]]] = {
    "user": [{"role": "user", "content": TEXT}],
    "user, parts": [{"role": "user", "content": PARTS}],
    "system": [{"role": "system", "content": TEXT}, {"role": "user", "content": "go"}],
    "assistant": [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": TEXT},
        {"role": "user", "content": "on"},
    ],
    "tool": [
        {"role": "user", "content": "go"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": TEXT},
    ],
}
STRICT, STREAMING, OWN = "masked-strict.mia", "masked-streaming.mia", "masked-own.mia"


def leaks(caller: Caller) -> list[str]:
    [entry] = caller.sandbox.seen()
    return [name for name, value in PRIVATE.items() if value in entry["body"]]


@pytest.mark.parametrize("consumer", [STRICT, OWN])
@pytest.mark.parametrize("shape", TURNS)
def test_strict_and_our_engine_mask_every_shape_and_role(caller: Caller, shape: str, consumer: str) -> None:
    answer = caller.post(consumer, {"model": "chat", "messages": TURNS[shape]})
    assert answer.status == 200, answer.text
    assert leaks(caller) == []


@pytest.mark.parametrize("consumer", [STRICT, OWN])
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"])
def test_strict_and_our_engine_mask_every_api(caller: Caller, path: str, consumer: str) -> None:
    body = {"model": "chat", "prompt": TEXT, "input": TEXT, "max_tokens": 9, "messages": TURNS["user, parts"]}
    answer = caller.post(consumer, body, path)
    assert answer.status == 200, answer.text
    assert leaks(caller) == []


@pytest.mark.parametrize("consumer", [STRICT, STREAMING, OWN])
def test_what_is_to_be_restored_is(caller: Caller, consumer: str) -> None:
    answer = caller.chat(consumer, "chat", f"write to {PRIVATE['e-mail']}")
    assert answer.json()["choices"][0]["message"]["content"] == f"You said: write to {PRIVATE['e-mail']}"
    assert leaks(caller) == []


@pytest.mark.parametrize(
    ("consumer", "code"), [(STRICT, "word_denied"), (STREAMING, "forbidden"), (OWN, "data_blocked")]
)
def test_denied_words_are_refused(caller: Caller, consumer: str, code: str) -> None:
    answer = caller.chat(consumer, "chat", "tell me of nightingale.")
    assert answer.status == 403
    assert openai_error(answer.text)["code"] == code
    assert caller.sandbox.seen() == []


@pytest.mark.parametrize("consumer", [STRICT, STREAMING])
@pytest.mark.parametrize("text", ["tell me of project falcon", "tell me of Nightingale"])
def test_denied_words_are_words_in_their_case_and_never_phrases(caller: Caller, consumer: str, text: str) -> None:
    assert caller.chat(consumer, "chat", text).status == 200


@pytest.mark.parametrize("shape", ["user", "system", "assistant"])
def test_streaming_masks_text_contents(caller: Caller, shape: str) -> None:
    answer = caller.post(STREAMING, {"model": "chat", "messages": TURNS[shape]})
    assert answer.status == 200, answer.text
    assert leaks(caller) == []


@pytest.mark.parametrize("shape", ["user, parts", "tool"])
def test_streaming_lets_other_shapes_pass_unmasked(caller: Caller, shape: str) -> None:
    """Array content, or an assistant's message without text, and the whole body passes: the docs say so."""
    answer = caller.post(STREAMING, {"model": "chat", "messages": TURNS[shape]})
    assert answer.status == 200, answer.text
    assert leaks(caller) == list(PRIVATE)


def _stream(caller: Caller, consumer: str, **more: Any) -> tuple[list[str], float]:
    """Events of a stream of 20 pieces 25 ms apart, and how long after the provider's first byte the first one came."""
    text = "go [[mock: chunks=20 delay_ms=25]]"
    body = {"model": "chat", "messages": [{"role": "user", "content": text}], "stream": True, **more}
    with closing(http.client.HTTPConnection("127.0.0.1", caller.sandbox.base, timeout=60)) as connection:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), dict(caller.headers(consumer)))
        answer = connection.getresponse()
        first = answer.read1(65536)
        arrived = time.time()
        rest = answer.read()
    entry = caller.sandbox.seen()[-1]
    events = [line[6:] for line in (first + rest).decode().splitlines() if line.startswith("data: ")]
    return events, arrived - entry["first_byte_at"]


def test_strict_holds_a_stream_to_its_end_and_gives_it_whole(caller: Caller) -> None:
    events, late = _stream(caller, STRICT)
    assert late > 0.3
    assert events[-1] == "[DONE]"
    assert [json.loads(e)["choices"][0]["finish_reason"] for e in events[:-1] if json.loads(e)["choices"]][-1] == "stop"


TOOL = {"type": "function", "function": {"name": "read_file", "parameters": {"type": "object", "properties": {}}}}


def test_streaming_takes_tool_calls_finish_and_done_from_a_stream(caller: Caller) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": "go"}], "stream": True, "tools": [TOOL]}
    answer = caller.post("comet.frontend", {**body, "model": "answer-1.5"})
    assert "tool_calls" in answer.text
    answer = caller.post(STREAMING, body)
    assert answer.status == 200, answer.text
    assert '"tool_calls"' not in answer.text
    assert "[DONE]" not in answer.text


def test_our_engine_holds_no_stream_and_takes_nothing_from_it(caller: Caller) -> None:
    def in_time() -> list[str]:
        """A held stream comes half a second late every time, one of a busy machine at times."""
        events, late = _stream(caller, OWN)
        assert late < 0.05
        return events

    events = until(in_time)
    assert events[-1] == "[DONE]"
    text = "".join(c["delta"].get("content") or "" for e in events[:-1] for c in json.loads(e)["choices"])
    assert text.startswith("You said: go")
    turns = [{"role": "user", "content": f"write to {PRIVATE['e-mail']}"}]
    answer = caller.post(OWN, {"model": "chat", "messages": turns, "stream": True, "tools": [TOOL]})
    assert '"tool_calls"' in answer.text
    assert answer.text.rstrip().endswith("data: [DONE]")


def test_no_log_holds_text_of_prompts(caller: Caller) -> None:
    """ai-data-masking warns of a denied word with the whole request."""
    began = time.time()
    assert caller.chat(STRICT, "chat", "tell me of nightingale in the walled garden").status == 403
    assert until(lambda: caller.sandbox.logged(began))[0]["consumer"] == STRICT
    # It reads what services say before it answers.
    caller.sandbox.supervise("status")
    for log in (caller.sandbox.root / "log").iterdir():
        assert "walled garden" not in log.read_text("utf-8", errors="replace"), log.name
