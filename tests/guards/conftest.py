"""Fixtures: two Projects, atlas and beacon, behind the guards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from guards.gateway import JSON, Gateway, Reply, Route, bootstrap, key_auth, stock_binary, wasm_filter

from guards import upstream

POSTED = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/messages"]
ALIAS = "x-higress-llm-model"
KEYS = {"k-alice": "atlas.alice", "k-bob": "atlas.bob", "k-eve": "atlas.eve", "k-mallory": "beacon.mallory"}
MAX_BODY = 1 << 20


@dataclass(frozen=True)
class World:
    """The gateway and its provider."""

    gateway: Gateway
    provider: upstream.Provider

    def post(
        self,
        body: JSON | bytes,
        path: str = POSTED[0],
        *,
        key: str = "k-alice",
        headers: tuple[tuple[str, str], ...] = (),
        host: str = "atlas.localhost",
        chunked: bool = False,
    ) -> Reply:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        auth = (("authorization", f"Bearer {key}"),) if key else ()
        all_headers = [("host", host), ("content-type", "application/json"), *auth, *headers]
        return self.gateway.send("POST", path, all_headers, raw, chunked)


def routes(project: str, aliases: dict[str, str]) -> list[tuple[Route, list[str]]]:
    """A Project's routes: one per alias, then the entry and the list of models."""
    chosen = [(Route(f"{project}.{alias}", cluster, (ALIAS, alias)), POSTED) for alias, cluster in aliases.items()]
    entry = Route(f"{project}--entry", "outbound|80||blackhole.static")
    return [*chosen, (entry, POSTED), (Route(f"{project}--models", entry.cluster), ["/v1/models"])]


PROVIDER_A = "outbound|443||atlas-a.dns"
ATLAS = {
    "coding-default": PROVIDER_A,
    "bulk": PROVIDER_A,
    "my.metric.consumer.model": PROVIDER_A,
    "dead": "outbound|443||dead.dns",
}
BEACON = {"chat": "outbound|443||beacon-b.dns"}


def names(project: str, aliases: dict[str, str]) -> list[str]:
    return [route.name for route, _ in routes(project, aliases)]


def rules(**configs: JSON) -> JSON:
    tables = {"atlas": ATLAS, "beacon": BEACON}
    return {"_rules_": [{"_match_route_": names(name, tables[name]), **rule} for name, rule in configs.items()]}


ENTRANCE = {"stage": "entrance", "strip": ["x-secret-steering"], "strip_prefixes": ["x-dev-", "x-higress-", "x-envoy-"]}
IDENTITY = {
    "stage": "assign",
    **rules(
        atlas={
            "org": "acme",
            "project": "atlas",
            "groups": {"dev": ["alice", "eve"], "ops": ["bob"]},
            "blocked": {"users": ["eve"]},
        },
        beacon={"org": "acme", "project": "beacon", "groups": {"core": ["mallory"]}},
    ),
}
PROMPTS = rules(
    atlas={
        "phrases": ["ignore previous instructions", "เปิดเผยรหัสลับ"],
        "patterns": [r"(reveal|leak)\s+(the\s+)?system\s+prompt", r"\d{4}-\d{4}-\d{4}"],
        "max_body_bytes": MAX_BODY,
    },
    beacon={"phrases": ["zanzibar"], "max_body_bytes": MAX_BODY},
)
MODELS = rules(
    atlas={
        "project": "atlas",
        "groups": {"dev": list(ATLAS), "ops": ["bulk"]},
        "workloads": {"bulk": "bulk"},
        "max_body_bytes": MAX_BODY,
    },
    beacon={"project": "beacon", "groups": {"core": ["chat"]}, "max_body_bytes": MAX_BODY},
)
USAGE = rules(
    atlas={"project": "atlas", "max_body_bytes": MAX_BODY}, beacon={"project": "beacon", "max_body_bytes": MAX_BODY}
)


def chain(directory: Path, **replaced: JSON | str) -> list[JSON]:
    """The guards in the order of the chain; a guard's config can be replaced by name."""

    def guard(name: str, binary: str, config: JSON) -> JSON:
        return wasm_filter(name, stock_binary(binary, directory), replaced.get(name.replace("-", "_"), config))

    return [
        guard("identity-entrance", "identity", ENTRANCE),
        key_auth(KEYS),
        guard("identity", "identity", IDENTITY),
        guard("prompt-guard", "prompt-guard", PROMPTS),
        guard("model-allowlist", "model-allowlist", MODELS),
        guard("usage-guard", "usage-guard", USAGE),
    ]


@pytest.fixture(scope="session")
def binaries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the guards for stock Envoy are put."""
    return tmp_path_factory.mktemp("wasm")


@pytest.fixture(scope="session")
def running(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One gateway for all tests."""
    provider, server = upstream.start()
    clusters = {PROVIDER_A: provider.port, "outbound|443||beacon-b.dns": provider.port}
    # Nothing listens on port 1.
    clusters |= {"outbound|80||blackhole.static": 1, "outbound|443||dead.dns": 1}
    hosts = {"atlas.localhost": routes("atlas", ATLAS), "beacon.localhost": routes("beacon", BEACON)}
    gateway = Gateway(bootstrap(chain(binaries), hosts, clusters), tmp_path_factory.mktemp("envoy"))
    yield World(gateway, provider)
    gateway.stop()
    server.shutdown()
    server.server_close()


@pytest.fixture
def world(running: World) -> World:
    """The gateway with a provider that has seen nothing and gives an ordinary answer."""
    running.provider.received.clear()
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    answer = {"object": "chat.completion", "model": "gpt-x", "choices": [], "usage": usage}
    running.provider.answer = lambda _: upstream.Answer([json.dumps(answer).encode()])
    return running
