"""Every text the provider would read, in every shape of request: read at the provider."""

from __future__ import annotations

import json

import pytest
from masking.world import PATHS, World

CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES = PATHS
MAIL = "bob.smith@acme.io"

SHAPES = {
    "chat system": (CHAT, '{"model":"m","messages":[{"role":"system","content":"I am %s"}]}'),
    "chat developer": (CHAT, '{"model":"m","messages":[{"role":"developer","content":"%s"}]}'),
    "chat user": (CHAT, '{"model":"m","messages":[{"role":"user","content":"ask %s"}]}'),
    "chat assistant": (CHAT, '{"messages":[{"role":"assistant","content":"%s"}],"model":"m"}'),
    "chat tool result": (CHAT, '{"messages":[{"role":"tool","tool_call_id":"c","content":"%s"}]}'),
    "chat array content": (CHAT, '{"messages":[{"role":"user","content":[{"type":"text","text":"%s"}]}]}'),
    "chat after null content": (
        CHAT,
        '{"messages":[{"role":"assistant","content":null,"tool_calls":[]},{"role":"user","content":"%s"}]}',
    ),
    "chat name": (CHAT, '{"messages":[{"role":"user","name":"%s","content":"hi"}]}'),
    "chat metadata": (CHAT, '{"metadata":{"owner":"%s","id":"%s"},"messages":[]}'),
    "chat user field": (CHAT, '{"user":"%s","messages":[]}'),
    "chat tool description": (
        CHAT,
        '{"tools":[{"type":"function","function":{"name":"f","description":"%s","parameters":{"enum":["%s"]}}}]}',
    ),
    "chat image url": (CHAT, '{"messages":[{"content":[{"image_url":{"url":"https://h.io/?u=%s"}}]}]}'),
    "chat prediction": (CHAT, '{"prediction":{"type":"content","content":"%s"}}'),
    "completion prompt": (COMPLETIONS, '{"prompt":"%s"}'),
    "completion prompts": (COMPLETIONS, '{"prompt":["a","%s"],"suffix":"%s"}'),
    "embedding": (EMBEDDINGS, '{"input":"%s","model":"e"}'),
    "embeddings": (EMBEDDINGS, '{"input":["x","%s"],"model":"e"}'),
    "responses input": (RESPONSES, '{"input":"%s","instructions":"%s"}'),
    "responses items": (
        RESPONSES,
        '{"input":[{"role":"user","content":[{"type":"input_text","text":"%s"}]},'
        '{"type":"function_call_output","call_id":"c","output":"%s"},'
        '{"type":"reasoning","summary":[{"type":"summary_text","text":"%s"}]}]}',
    ),
    "responses schema": (
        RESPONSES,
        '{"text":{"format":{"type":"json_schema","schema":{"properties":{"a":{"description":"%s"}}}}}}',
    ),
    "messages system": (MESSAGES, '{"system":[{"type":"text","text":"%s"}],"messages":[]}'),
    "messages content": (MESSAGES, '{"system":"%s","messages":[{"role":"user","content":"%s"}]}'),
    "messages tool use": (
        MESSAGES,
        '{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f",'
        '"input":{"to":["%s"],"id":"%s","type":"%s"}}]}]}',
    ),
    "messages tool result": (
        MESSAGES,
        '{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t",'
        '"content":[{"type":"text","text":"%s"}]}]}]}',
    ),
    "messages document": (
        MESSAGES,
        '{"messages":[{"content":[{"type":"document","source":{"type":"text","data":"%s"}}]}]}',
    ),
    "unknown field": (CHAT, '{"brand_new":{"field":["%s"]}}'),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_text_is_masked_and_every_other_byte_stays(world: World, shape: str) -> None:
    path, template = SHAPES[shape]
    sent = template.replace("%s", f"write to {MAIL}, or \\u0062ob@acme.io")
    expected = template.replace("%s", "write to [EMAIL], or [EMAIL]")
    assert world.received(sent, path) == expected


def test_arguments_are_json_within_json(world: World) -> None:
    arguments = {"to": MAIL, "body": f'line\n{MAIL}\ttab \\ "quoted" ไทย', "card": 4539148803436467, "n": [1, 2.5]}
    sent = {"messages": [{"tool_calls": [{"function": {"name": "f", "arguments": json.dumps(arguments)}}]}]}
    received = json.loads(world.received(sent))
    expected = {
        "to": "[EMAIL]",
        "body": 'line\n[EMAIL]\ttab \\ "quoted" ไทย',
        "card": "[CREDIT_CARD]",
        "n": [1, 2.5],
    }
    assert json.loads(received["messages"][0]["tool_calls"][0]["function"]["arguments"]) == expected


def test_numbers_and_names_of_free_objects(world: World) -> None:
    sent = '{"messages":[{"content":[{"type":"tool_use","input":{"bob@acme.io":4539148803436467,"n":12345678}}]}]}'
    expected = '{"messages":[{"content":[{"type":"tool_use","input":{"[EMAIL]":"[CREDIT_CARD]","n":12345678}}]}]}'
    assert world.received(sent, MESSAGES) == expected


def test_what_is_not_touched_is_forwarded_byte_for_byte(world: World) -> None:
    sent = ' {"b" : 1.50e+03,\n\t"a":[ true,null , "\\u00e9 \\/ \\n ไทย"], "a":2 ,"model":"x@y.io","\\u0061":{}}  '
    assert world.received(sent) == sent


def test_pictures_are_not_read(world: World) -> None:
    data = "iVBORw0KGgo" + "0812345678/" * 60
    sent = json.dumps({"messages": [{"content": [{"image_url": {"url": f"data:image/png;base64,{data}"}}]}]})
    assert world.received(sent) == sent


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("โทร ๐๘๑-๒๓๔-๕๖๗๘ บัตร 1-1017-00230-70-8", "โทร [PHONE] บัตร [NATIONAL_ID]"),
        ("key sk-proj-aB3dE6gH9jK2mN5pQ8sT1vW4 pw: password='Zx9!kk22'", "key [API_KEY] pw: password='[CREDENTIAL]'"),
        ("DE89 3704 0044 0532 0130 00 at 10.20.30.40", "[IBAN] at [IP]"),
        ("v1.2.3.4 3f786850e387550fdab836ed7e6dc881de23001b 127.0.0.1", None),
    ],
)
def test_kinds_in_context(world: World, text: str, expected: str | None) -> None:
    received = json.loads(world.received({"messages": [{"role": "user", "content": text}]}))
    assert received["messages"][0]["content"] == (expected or text)


def test_a_large_body_in_pieces(world: World) -> None:
    filler = 'fn main() { println!("{}", 42); } // ไทย\n' * 8_000
    body = {"messages": [{"role": "user", "content": filler + MAIL}, {"role": "user", "content": filler}]}
    received = json.loads(world.received(body))
    assert received["messages"][0]["content"] == filler + "[EMAIL]"
    assert received["messages"][1]["content"] == filler
    assert world.provider.last.header("content-length") in ([], [str(len(world.provider.last.body))])


def test_block_deny_words_and_report(world: World) -> None:
    for text, rule in (
        ("pay 4539 1488 0343 6467", "credit_card"),
        ("on Project-Nightingale now", "deny_words"),
        ("เรื่องลับที่สุดนี้", "deny_words"),
    ):
        reply = world.post({"messages": [{"role": "user", "content": text}]}, project="blocking")
        assert (reply.status, reply.headers["x-gate"], reply.error["code"]) == (403, "data-masking", "data_blocked")
        assert reply.error["rule"] == rule
        assert "4539" not in reply.body.decode()
    assert world.provider.received == []
    before = world.masked("blocking").get("email_report", 0)
    text = f"report {MAIL}"
    assert text in world.received({"messages": [{"role": "user", "content": text}]}, project="blocking")
    assert world.masked("blocking")["email_report"] == before + 1


def test_what_cannot_be_read_is_refused(world: World) -> None:
    cases: list[tuple[bytes, int, str]] = [
        (b'{"a":', 400, "body_malformed"),
        (b'{"a":"\xff"}', 400, "body_malformed"),
        (b"[" * 300, 400, "body_malformed"),
        (b'"' + b"a" * (5 << 20) + b'"', 413, "body_too_large"),
    ]
    for body, status, code in cases:
        reply = world.post(body)
        assert (reply.status, reply.error["code"]) == (status, code)
    assert world.provider.received == []


def test_a_rule_that_cannot_be_obeyed_closes_its_own_routes_only(world: World) -> None:
    reply = world.post({"messages": []}, project="broken")
    assert (reply.status, reply.error["code"]) == (503, "guard_misconfigured")
    assert world.post({"messages": []}).status == 200


def test_hashes_are_keyed_and_the_same_for_the_same_value(world: World) -> None:
    text = "cards 4539 1488 0343 6467 and 4539 1488 0343 6467"
    received = json.loads(world.received({"messages": [{"content": text}]}, project="beacon"))
    first, second = received["messages"][0]["content"].removeprefix("cards ").split(" and ")
    assert first == second
    assert first.startswith("[CREDIT_CARD:")
    assert len(first) == len("[CREDIT_CARD:]") + 16


def test_counters_name_rules_and_actions(world: World) -> None:
    before = world.masked("beacon")
    world.received({"messages": [{"content": f"{MAIL} {MAIL} 10.20.30.40 TCK-1234"}]}, project="beacon")
    after = world.masked("beacon")
    changed = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
    assert changed == {"email_mask": 2, "ip_hash": 1, "ticket_mask": 1}
    stats = world.gateway.admin("/stats/prometheus?filter=masked_")
    assert 'ai_consumer="beacon.alice"' in stats
    assert MAIL not in stats
