"""Point 1: official clients get answers through every example Project, and streams stream."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import time
from contextlib import closing
from typing import Any

import openai
import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import load_site

from .conftest import Caller
from .sandbox import EXAMPLES, Sandbox, project_of, until

CHATS = [("atlas.alice", "coding-default"), ("beacon.tina", "chat"), ("comet.frontend", "answer-1.5")]
SITE = load_site(EXAMPLES)


def _masking(consumer: str) -> tuple[str, str]:
    """The engine and the mode of a consumer's Project."""
    masking = SITE.project(project_of(consumer)).masking
    return masking.engine or SITE.gateway.masking_engine, masking.mode


# ai-data-masking holds streams in its strict mode, and in the other one takes events from them: test_masking pins both.
STREAMING = [case for case in CHATS if _masking(case[0]) != ("ai-data-masking", "strict")]
WHOLE = [case for case in CHATS if _masking(case[0])[0] != "ai-data-masking"]
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "read_file",
            "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
        },
    }
]
WORDS = [{"role": "user", "content": "hello there"}]


def client_of(sandbox: Sandbox, consumer: str) -> openai.OpenAI:
    host = sandbox.host(project_of(consumer))
    return openai.OpenAI(
        base_url=f"{sandbox.url}/v1", api_key=sandbox.key(consumer), default_headers={"host": host}, max_retries=0
    )


@pytest.mark.parametrize(("consumer", "model"), CHATS)
def test_plain_answers(caller: Caller, consumer: str, model: str) -> None:
    with client_of(caller.sandbox, consumer) as client:
        answer = client.chat.completions.create(model=model, messages=WORDS)  # type: ignore[call-overload]
    assert answer.choices[0].message.content == "You said: hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens > 0


@pytest.mark.parametrize(("consumer", "model"), CHATS)
def test_a_tool_is_called_and_its_result_answered(caller: Caller, consumer: str, model: str) -> None:
    with client_of(caller.sandbox, consumer) as client:
        first = client.chat.completions.create(model=model, messages=WORDS, tools=TOOLS)  # type: ignore[call-overload]
        [call] = first.choices[0].message.tool_calls
        assert first.choices[0].finish_reason == "tool_calls"
        assert (call.function.name, json.loads(call.function.arguments)) == ("read_file", {"path": "README.md"})
        turns = [*WORDS, first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "the text"}]
        second = client.chat.completions.create(model=model, messages=turns, tools=TOOLS)  # type: ignore[call-overload]
    assert second.choices[0].message.content == "You said: the text"


@pytest.mark.parametrize(("consumer", "model"), WHOLE)
def test_streams_with_tools_come_whole(caller: Caller, consumer: str, model: str) -> None:
    with client_of(caller.sandbox, consumer) as client:
        stream = client.chat.completions.create(  # type: ignore[call-overload]
            model=model, messages=WORDS, tools=TOOLS, stream=True
        )
        chunks = list(stream)
    calls = [delta for chunk in chunks if chunk.choices for delta in chunk.choices[0].delta.tool_calls or []]
    assert calls[0].function.name == "read_file"
    assert json.loads("".join(call.function.arguments for call in calls)) == {"path": "README.md"}
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "tool_calls"
    assert chunks[-1].usage is not None, "usage is forced on"


@pytest.mark.parametrize(("consumer", "model"), WHOLE)
def test_a_stream_ends_in_done(caller: Caller, consumer: str, model: str) -> None:
    answer = caller.chat(consumer, model, stream=True)
    events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "data: [DONE]"
    texts = [json.loads(event[6:]) for event in events[:-1]]
    assert "".join(t["choices"][0]["delta"].get("content") or "" for t in texts if t["choices"]) == "You said: hello"


@pytest.mark.parametrize(("consumer", "model"), STREAMING)
def test_the_first_byte_comes_within_50_ms_of_the_providers(caller: Caller, consumer: str, model: str) -> None:
    """Twenty pieces 25 ms apart: a held stream would come half a second late, every time. A busy machine is late at times."""
    sandbox = caller.sandbox

    def it_does() -> bool:
        for provider in sandbox.providers():
            provider.clear()
        text = "go [[mock: chunks=20 delay_ms=25]]"
        body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True}
        arrivals = []
        with closing(http.client.HTTPConnection("127.0.0.1", sandbox.base, timeout=30)) as connection:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), dict(caller.headers(consumer)))
            answer = connection.getresponse()
            while answer.read1(65536):
                arrivals.append(time.time())
        [entry] = sandbox.seen()
        assert arrivals[-1] - arrivals[0] > 0.4, "the pieces came at once"
        assert len(arrivals) > 10
        assert arrivals[0] - entry["first_byte_at"] < 0.05
        return True

    until(it_does)


def test_curl_gets_an_answer(caller: Caller) -> None:
    """The summary's own line for atlas, with its host resolved."""
    sandbox = caller.sandbox
    summary = (sandbox.root / "summary.txt").read_text("utf-8")
    [line] = [line for line in summary.splitlines() if "curl http://atlas." in line]
    command = line.split("curl", 1)[1].strip()
    resolve = f"--resolve {sandbox.host('atlas')}:{sandbox.base}:127.0.0.1"
    run = subprocess.run(["bash", "-c", f"{command} {resolve} -s"], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout)["choices"][0]["message"]["content"] == "You said: Say hello."


SHAPES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "answer-1.5", "messages": WORDS},
    "/v1/completions": {"model": "answer-1.5", "prompt": "hello"},
    "/v1/embeddings": {"model": "embed", "input": ["hello", "you"]},
    "/v1/responses": {"model": "answer-1.5", "input": "hello"},
    "/v1/messages": {"model": "answer-1.5", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]},
}


@pytest.mark.parametrize("path", SHAPES)
def test_every_api_answers_and_is_debited(caller: Caller, path: str) -> None:
    consumer = "comet.indexer"
    with caller.sandbox.redis() as client:
        client.set(f"chat_quota:{consumer}", 10**6)
    answer = caller.post(consumer, SHAPES[path], path)
    assert answer.status == 200, answer.text
    usage = answer.json()["usage"]
    used = sum(usage.get(name) or 0 for name in ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"))
    assert used > 0
    _debited(caller.sandbox, consumer, 10**6 - used)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"])
def test_every_api_streams_and_is_debited(caller: Caller, path: str) -> None:
    consumer = "comet.indexer"
    with caller.sandbox.redis() as client:
        client.set(f"chat_quota:{consumer}", 10**6)
    text = json.dumps("[[mock: input=70 output=7]]")
    body = json.loads(re.sub('"hello[^"]*"', lambda _: text, json.dumps({**SHAPES[path], "stream": True})))
    answer = caller.post(consumer, body, path)
    assert answer.status == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.count("data: ") > 3
    _debited(caller.sandbox, consumer, 10**6 - 77)


@pytest.mark.parametrize("path", SHAPES)
@pytest.mark.parametrize(("consumer", "model"), CHATS)
def test_every_project_and_provider_answers_every_api(caller: Caller, consumer: str, model: str, path: str) -> None:
    """Each provider that the Project's alias leads to, its fallback when the others fail."""
    alias = SITE.project(project_of(consumer)).models[model]
    wanted = {target.model for target in alias.targets}
    body = {**SHAPES[path], "model": model}

    def models_that_answered(tries: int) -> set[str]:
        answers = [caller.post(consumer, body, path) for _ in range(tries)]
        assert {answer.status for answer in answers} == {200}, answers
        return {answer.json()["model"] for answer in answers}

    # The rarest share of a canary is a tenth: not to meet it in 200 tries is less likely than one in a billion.
    met = models_that_answered(1)
    for _ in range(20):
        met |= models_that_answered(10) if met != wanted else set()
    assert met == wanted
    if alias.fallback:
        caller.sandbox.provider("a").told(status=503)
        assert models_that_answered(1) == {alias.fallback.model}


def _debited(sandbox: Sandbox, consumer: str, left: int) -> None:
    with sandbox.redis() as client:
        until(lambda: int(str(client.get(f"chat_quota:{consumer}"))) != 10**6)
        assert int(str(client.get(f"chat_quota:{consumer}"))) == left


def test_the_access_log_tells_who_and_nothing_secret(caller: Caller) -> None:
    began = time.time()
    answer = caller.chat("atlas.alice", "coding-default", "a very private thought")
    assert answer.status == 200

    [logged] = until(lambda: caller.sandbox.logged(began))
    assert (logged["consumer"], logged["status"], logged["bytes_sent"]) == ("atlas.alice", 200, len(answer.text))
    assert (logged["project"], logged["route"]) == ("atlas", "atlas.coding-default")
    ai_log = json.loads(json.loads(f'"{logged["ai_log"]}"'))
    assert ai_log["model"] == "mock-large"
    assert ai_log["input_token"] > 0
    everything = (caller.sandbox.root / "log" / "access.json").read_text("utf-8")
    assert "private thought" not in everything
    assert caller.sandbox.key("atlas.alice") not in everything


def test_higress_counters_have_higress_names_and_labels(caller: Caller) -> None:
    assert caller.chat("atlas.olga", "bulk").status == 200

    def counted() -> bool:
        lines = [line for line in caller.sandbox.metrics().splitlines() if 'ai_consumer="atlas.olga"' in line]
        assert [
            line
            for line in lines
            if line.startswith("route_upstream_model_consumer_metric_output_token{")
            and 'ai_route="atlas.bulk"' in line
            and 'ai_cluster="outbound|80||atlas--main.dns"' in line
            and 'ai_model="mock-small"' in line
        ], lines
        return True

    until(counted)


def test_prometheus_keeps_the_counters_and_loads_the_rules(caller: Caller) -> None:
    assert caller.chat("atlas.carol", "bulk").status == 200

    def asked(query: str) -> Any:
        with closing(http.client.HTTPConnection("127.0.0.1", caller.sandbox.base + 3, timeout=10)) as connection:
            connection.request("GET", f"/api/v1/{query}")
            return json.loads(connection.getresponse().read())["data"]

    counter = "route_upstream_model_consumer_metric_usage_request"
    [series] = until(lambda: asked(f"query?query={counter}%7Bai_consumer%3D%22atlas.carol%22%7D")["result"])
    assert (series["metric"]["ai_route"], series["metric"]["ai_model"]) == ("atlas.bulk", "mock-small")

    def rules_hold() -> bool:
        rules = [rule for group in asked("rules")["groups"] for rule in group["rules"]]
        # One that was not evaluated yet is "unknown".
        assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
        return bool(rules)

    until(rules_hold)
