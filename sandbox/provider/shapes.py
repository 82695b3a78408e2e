"""Request and answer shapes of the five APIs, as documented by OpenAI and Anthropic."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .script import Script

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What to say, in any shape: `tool` is a tool's name when the answer is a call of it."""

    model: str
    text: str
    tool: str | None
    script: Script
    input_tokens: int
    output_tokens: int

    def pieces(self) -> list[str]:
        """Cut the text into as many pieces as asked for, else into words."""
        words = self.text.split(" ")
        count = self.script.chunks or len(words)
        filled = [words[i] if i < len(words) else "." for i in range(count - 1)]
        return [f"{word} " for word in filled] + [" ".join(words[count - 1 :]) or "."]


def prompt_text(value: Any) -> str:
    """All text in a request, wherever it stands."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "\n".join(prompt_text(v) for v in value.values())
    if isinstance(value, list):
        return "\n".join(prompt_text(v) for v in value)
    return ""


def answer_to(body: Json, script: Script) -> Answer:
    """Echo the last thing said, or call the first tool that is offered when its result is not there yet."""
    turns = body.get("messages") or body.get("input") or body.get("prompt") or ""
    last = turns[-1] if isinstance(turns, list) and turns else turns
    said = prompt_text(last.get("content", last) if isinstance(last, Mapping) else last)
    tools = body.get("tools") or []
    done = isinstance(last, Mapping) and (last.get("role") == "tool" or last.get("type") == "function_call_output")
    tool = None
    if tools and not done and body.get("tool_choice") != "none":
        tool = str(tools[0].get("name") or tools[0].get("function", {}).get("name"))
    text = script.say.replace("_", " ") or f"You said: {said}"
    return Answer(
        model=script.model or str(body.get("model")),
        text=text,
        tool=tool,
        script=script,
        input_tokens=script.input
        if script.input >= 0
        else script.cached + script.written + max(1, len(prompt_text(turns)) // 4),
        output_tokens=script.output if script.output >= 0 else max(1, len(text) // 4),
    )


def chat_usage(answer: Answer) -> Json:
    """Usage as chat completions report it: input includes what was read from the cache."""
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.script.cached},
    }


def chat(answer: Answer) -> Json:
    """A whole chat completion."""
    message: dict[str, Any] = {"role": "assistant", "content": None if answer.tool else answer.text}
    if answer.tool:
        message["tool_calls"] = [_tool_call(answer.tool)]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if answer.tool else "stop"}
    return _with_usage({"id": "chatcmpl-mock", "object": "chat.completion", "created": 0, "model": answer.model,
                        "choices": [choice]}, chat_usage(answer), answer)  # fmt: skip


def chat_events(answer: Answer, include_usage: bool) -> Iterator[str]:
    """A chat completion in pieces, ending in `[DONE]`."""
    base = {"id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": 0, "model": answer.model}

    def chunk(delta: Json, finish: str | None = None) -> str:
        return _data({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    yield chunk({"role": "assistant", "content": None if answer.tool else ""})
    if answer.tool:
        call = _tool_call(answer.tool)
        start = {**call, "index": 0, "function": {"name": answer.tool, "arguments": ""}}
        yield chunk({"tool_calls": [start]})
        for part in ('{"path":', ' "README.md"}'):
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    else:
        for piece in answer.pieces():
            yield chunk({"content": piece})
    yield chunk({}, "tool_calls" if answer.tool else "stop")
    if include_usage and answer.script.usage:
        yield _data({**base, "choices": [], "usage": chat_usage(answer)})
    yield "data: [DONE]\n\n"


def completion(answer: Answer) -> Json:
    """A whole legacy completion."""
    choice = {"index": 0, "text": answer.text, "finish_reason": "stop", "logprobs": None}
    return _with_usage({"id": "cmpl-mock", "object": "text_completion", "created": 0, "model": answer.model,
                        "choices": [choice]}, chat_usage(answer), answer)  # fmt: skip


def completion_events(answer: Answer, include_usage: bool) -> Iterator[str]:
    """A legacy completion in pieces."""
    base = {"id": "cmpl-mock", "object": "text_completion", "created": 0, "model": answer.model}
    for piece in answer.pieces():
        yield _data({**base, "choices": [{"index": 0, "text": piece, "finish_reason": None}]})
    yield _data({**base, "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})
    if include_usage and answer.script.usage:
        yield _data({**base, "choices": [], "usage": chat_usage(answer)})
    yield "data: [DONE]\n\n"


def embeddings(answer: Answer, body: Json) -> Json:
    """One small vector for each input."""
    inputs = body.get("input")
    count = len(inputs) if isinstance(inputs, list) else 1
    data = [{"object": "embedding", "index": i, "embedding": [0.0, 0.5, 1.0]} for i in range(count)]
    usage = {"prompt_tokens": answer.input_tokens, "total_tokens": answer.input_tokens}
    return _with_usage({"object": "list", "model": answer.model, "data": data}, usage, answer)


def response(answer: Answer) -> Json:
    """A whole answer of the Responses API."""
    if answer.tool:
        output: Json = {"type": "function_call", "id": "fc_mock", "call_id": "call_mock", "name": answer.tool,
                        "arguments": '{"path": "README.md"}', "status": "completed"}  # fmt: skip
    else:
        part = {"type": "output_text", "text": answer.text, "annotations": []}
        output = {"type": "message", "id": "msg_mock", "role": "assistant", "status": "completed", "content": [part]}
    usage = {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": answer.script.cached},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    whole = {
        "id": "resp_mock", "object": "response", "created_at": 0, "status": "completed", "model": answer.model,
        "output": [output], "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip
    return _with_usage(whole, usage, answer)


def response_events(answer: Answer) -> Iterator[str]:
    """An answer of the Responses API in pieces; the last event carries the whole."""
    whole = response(answer)
    item = whole["output"][0]
    number = 0

    def event(kind: str, **fields: Any) -> str:
        nonlocal number
        number += 1
        return f"event: {kind}\n" + _data({"type": kind, "sequence_number": number, **fields})

    yield event("response.created", response={**whole, "status": "in_progress", "output": [], "usage": None})
    at = {"output_index": 0, "item_id": item["id"]}
    yield event("response.output_item.added", output_index=0, item={**item, "status": "in_progress"})
    if answer.tool:
        yield event("response.function_call_arguments.delta", **at, delta=item["arguments"])
        yield event("response.function_call_arguments.done", **at, arguments=item["arguments"], name=answer.tool)
    else:
        for piece in answer.pieces():
            yield event("response.output_text.delta", **at, content_index=0, delta=piece, logprobs=[])
        yield event("response.output_text.done", **at, content_index=0, text=answer.text, logprobs=[])
    yield event("response.output_item.done", output_index=0, item=item)
    yield event("response.completed", response=whole)


def message_usage(answer: Answer) -> Json:
    """Usage as Messages report it: input apart from what the cache took part in."""
    fresh = answer.input_tokens - answer.script.cached - answer.script.written
    return {
        "input_tokens": max(0, fresh),
        "cache_read_input_tokens": answer.script.cached,
        "cache_creation_input_tokens": answer.script.written,
        "output_tokens": answer.output_tokens,
    }


def message(answer: Answer) -> Json:
    """A whole answer of the Messages API."""
    content: Json = {"type": "text", "text": answer.text}
    if answer.tool:
        content = {"type": "tool_use", "id": "toolu_mock", "name": answer.tool, "input": {"path": "README.md"}}
    whole = {
        "id": "msg_mock", "type": "message", "role": "assistant", "model": answer.model, "content": [content],
        "stop_reason": "tool_use" if answer.tool else "end_turn", "stop_sequence": None,
    }  # fmt: skip
    return _with_usage(whole, message_usage(answer), answer)


def message_events(answer: Answer) -> Iterator[str]:
    """An answer of the Messages API in pieces."""
    whole = message(answer)

    def event(kind: str, **fields: Any) -> str:
        return f"event: {kind}\n" + _data({"type": kind, **fields})

    started = {**whole, "content": [], "stop_reason": None}
    if answer.script.usage:
        started["usage"] = {**message_usage(answer), "output_tokens": 1}
    yield event("message_start", message=started)
    if answer.tool:
        yield event("content_block_start", index=0, content_block={**whole["content"][0], "input": {}})
        yield event("content_block_delta", index=0,
                    delta={"type": "input_json_delta", "partial_json": '{"path": "README.md"}'})  # fmt: skip
    else:
        yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for piece in answer.pieces():
            yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
    yield event("content_block_stop", index=0)
    usage = {"usage": {"output_tokens": answer.output_tokens}} if answer.script.usage else {}
    yield event("message_delta", delta={"stop_reason": whole["stop_reason"], "stop_sequence": None}, **usage)
    yield event("message_stop")


def _tool_call(tool: str) -> dict[str, Any]:
    return {"id": "call_mock", "type": "function", "function": {"name": tool, "arguments": '{"path": "README.md"}'}}


def _with_usage(whole: dict[str, Any], usage: Json, answer: Answer) -> Json:
    return {**whole, "usage": usage} if answer.script.usage else whole


def _data(value: Json) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"
