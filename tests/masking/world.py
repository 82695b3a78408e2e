"""What the masking tests share: routes, rules, and a client that reads streams event by event."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from guards.gateway import JSON, Gateway, Reply, Route, stock_binary, wasm_filter

from guards import upstream

CLUSTER = "outbound|443||atlas-a.dns"
PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"]
HOSTS = ("atlas", "beacon", "comet", "broken", "blocking")
ROUTES = {f"{name}.localhost": [(Route(f"{name}--entry", CLUSTER), PATHS)] for name in HOSTS}
HASH_KEY = "a-site-secret-of-32-bytes-length"

KINDS = ("email", "phone", "ip", "api_key", "credential", "credit_card", "iban", "national_id")
RULES: JSON = {
    "_rules_": [
        # Everything masked, answers too.
        {"_match_route_": ["atlas--entry"], "rules": [{"kind": kind} for kind in KINDS], "max_body_bytes": 4 << 20},
        # Values come back.
        {
            "_match_route_": ["beacon--entry"],
            "rules": [
                {"kind": "email", "restore": True},
                {"kind": "ip", "action": "hash", "restore": True},
                {"kind": "credit_card", "action": "hash"},
                {"name": "ticket", "regex": "\\bTCK-[0-9]{4,8}\\b", "restore": True},
            ],
            "hash_key": HASH_KEY,
        },
        # Only requests.
        {"_match_route_": ["comet--entry"], "rules": [{"kind": "email"}], "answers": False},
        {"_match_route_": ["broken--entry"], "rules": [{"name": "endless", "regex": "a+"}]},
        {
            "_match_route_": ["blocking--entry"],
            "rules": [{"kind": "credit_card", "action": "block"}, {"kind": "email", "action": "report"}],
            "deny_words": ["project-nightingale", "ลับที่สุด"],
        },
    ]
}


def filter_of(directory: Path, rules: JSON | None = None) -> JSON:
    """The guard as an Envoy filter."""
    return wasm_filter("data-masking", stock_binary("data-masking", directory), rules or RULES)


@dataclass(frozen=True)
class World:
    """The gateway and its provider."""

    gateway: Gateway
    provider: upstream.Provider

    def post(self, body: JSON | bytes | str, path: str = PATHS[0], project: str = "atlas") -> Reply:
        return self.gateway.send("POST", path, headers(project), encoded(body))

    def received(self, body: JSON | bytes | str, path: str = PATHS[0], project: str = "atlas") -> str:
        """The body that reached the provider."""
        reply = self.post(body, path, project)
        assert reply.status == 200, reply.body
        return self.provider.last.body.decode()

    def stream(self, chunks: Sequence[bytes], project: str = "atlas", ask: JSON | None = None) -> bytes:
        """The whole streamed answer as the client got it, for what the provider wrote in CHUNKS."""
        kind = (("content-type", "text/event-stream"),)
        self.provider.answer = lambda _: upstream.Answer(chunks, headers=kind)
        reply = self.post(ask or {"model": "m", "messages": []}, project=project)
        assert reply.status == 200, reply.body
        return reply.body

    def masked(self, name: str) -> dict[str, int]:
        """Counters of a project's route: rule and action -> count."""
        found: dict[str, int] = {}
        for line in self.gateway.admin("/stats?filter=masked_").splitlines():
            counter, value = line.rsplit(": ", 1)
            if f"route.{name}--entry." in counter:
                rule = counter.rsplit(".metric.masked_", 1)[1]
                found[rule] = found.get(rule, 0) + int(value)
        return found


def encoded(body: JSON | bytes | str) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body, ensure_ascii=False).encode()


def headers(project: str) -> list[tuple[str, str]]:
    return [
        ("host", f"{project}.localhost"),
        ("content-type", "application/json"),
        ("x-mse-consumer", f"{project}.alice"),
        ("accept-encoding", "gzip"),
    ]


def events(raw: bytes) -> Iterator[JSON]:
    """The JSON documents of a stream."""
    for line in raw.decode().splitlines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def chat(raw: bytes, field: str = "content") -> str:
    """The text of choice 0 that a client puts together."""
    deltas = (choice["delta"] for event in events(raw) for choice in event["choices"] if choice["index"] == 0)
    return "".join(delta.get(field) or "" for delta in deltas)


def chunk(delta: JSON, finish: str | None = None, index: int = 0) -> bytes:
    """One chunk of a chat stream."""
    event = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
        "choices": [{"index": index, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


class Reader:
    """Reads an answer byte by byte as it comes."""

    def __init__(self, gateway: Gateway, project: str, body: JSON) -> None:
        self.connection: http.client.HTTPConnection = gateway.connect()
        gateway.begin(self.connection, "POST", PATHS[0], headers(project), encoded(body))
        self.response = self.connection.getresponse()

    def event(self) -> bytes:
        """The next event, whole; empty at the end."""
        text = b""
        while not text.endswith(b"\n\n"):
            byte = self.response.read(1)
            if not byte:
                break
            text += byte
        return text

    def close(self) -> None:
        self.connection.close()
