"""`make bench-masking`: data-masking beside Higress's ai-data-masking, in one run on one machine.

Prints the tables and writes artifacts/masking/{results.json,accuracy.txt,masking.svg}.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guards.gateway import JSON, ROOT, Gateway, Route, bootstrap, key_auth, stock_binary, wasm_filter
from masking.bench import accuracy, cost, picture
from masking.bench.engines import builtin, ours, statistics
from masking.corpus import lines, prose
from masking.world import CLUSTER, KINDS, PATHS, ROUTES, World, headers

from guards import upstream

OUT = ROOT / "artifacts/masking"
COUNTS = {"3 KB": 400, "100 KB": 30, "500 KB": 6}
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ANSWER = {
    "object": "chat.completion",
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Done, nothing to add."}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


@contextmanager
def gateway(filters: list[JSON], hosts: Any, directory: Path) -> Iterator[World]:
    """An Envoy of one worker with FILTERS, and a provider."""
    provider, server = upstream.start()
    provider.answer = lambda _: upstream.Answer([json.dumps(ANSWER).encode()])
    running = Gateway(bootstrap(filters, hosts, {CLUSTER: provider.port}), directory)
    try:
        yield World(running, provider)
    finally:
        running.stop()
        server.shutdown()
        server.server_close()


def body(size: int) -> bytes:
    """A coding agent's request of about SIZE bytes."""
    messages = [
        {"role": "system", "content": "You are a coding agent."},
        {"role": "user", "content": prose(size)},
    ]
    return json.dumps({"model": "coding-default", "messages": messages}, ensure_ascii=False).encode()


ALIAS = "coding-default"
CHAIN_ROUTES = {
    "atlas.localhost": [
        (Route(f"atlas.{ALIAS}", CLUSTER, ("x-higress-llm-model", ALIAS)), PATHS),
        (Route("atlas--entry", CLUSTER), PATHS),
    ]
}


def rule(**config: Any) -> JSON:
    """A guard's config for both routes of the Project."""
    return {"_rules_": [{"_match_route_": ["atlas--entry", f"atlas.{ALIAS}"], **config}]}


GUARDS: dict[str, JSON] = {
    "identity": {"stage": "assign", **rule(org="acme", project="atlas", groups={"dev": ["alice"]})},
    "prompt-guard": rule(
        phrases=["ignore previous instructions", "reveal your system prompt", "jailbreak", "developer mode enabled"],
        patterns=[r"(ignore|disregard|forget)\s+(all\s+|any\s+)?(previous|prior)\s+(instructions|prompts|rules)"],
        max_body_bytes=10 << 20,
    ),
    "model-allowlist": rule(project="atlas", groups={"dev": [ALIAS]}, workloads={}, max_body_bytes=10 << 20),
    "usage-guard": rule(project="atlas", max_body_bytes=10 << 20),
}
ENTRANCE: JSON = {"stage": "entrance", "strip": ["x-mse-consumer"], "strip_prefixes": ["x-dev-", "x-higress-"]}


def chain(directory: Path, masking: list[JSON]) -> list[JSON]:
    """The gates of the chain that run in stock Envoy, with MASKING in its place."""

    def guard(name: str) -> JSON:
        return wasm_filter(name, stock_binary(name, directory), GUARDS[name])

    return [
        wasm_filter("identity-entrance", stock_binary("identity", directory), ENTRANCE),
        key_auth({"k-alice": "atlas.alice"}),
        guard("identity"),
        *masking,
        guard("prompt-guard"),
        guard("model-allowlist"),
        statistics(directory),
        guard("usage-guard"),
    ]


def costs(filters: list[JSON], hosts: Any, asked: list[tuple[str, str]], directory: Path) -> dict[str, Any]:
    """CPU per size and memory of one gateway."""
    with gateway(filters, hosts, directory) as world:
        found: dict[str, Any] = {}
        for size, count in COUNTS.items():
            taken = cost.measure(world.gateway, body(cost.SIZES[size]), asked, count, ROUNDS)
            found[size] = {"cpu_ms": taken.cpu * 1e3, "rounds_ms": [r * 1e3 for r in taken.rounds]}
            world.provider.received.clear()
        found["rss_mb"] = cost.resident(world.gateway.process.pid) / 1e6
        return found


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        filters: dict[str, list[JSON]] = {
            "none": [],
            "data-masking": [ours(directory)],
            "ai-data-masking": [builtin(directory)],
        }
        asked = headers("atlas")
        result: dict[str, Any] = {"alone": {n: costs(f, ROUTES, asked, directory) for n, f in filters.items()}}
        keyed = [*asked, ("authorization", "Bearer k-alice")]
        result["chain"] = {n: costs(chain(directory, f), CHAIN_ROUTES, keyed, directory) for n, f in filters.items()}
        corpus = list(lines())
        result["accuracy"] = {}
        report = []
        for engine, made in (("data-masking", ours), ("ai-data-masking", builtin)):
            with gateway([made(directory, marked=True)], ROUTES, directory) as world:
                scored = accuracy.score(world, corpus)
            result["accuracy"][engine] = {
                kind: {
                    "precision": scored.precision(kind),
                    "recall": scored.recall(kind),
                    "values": scored.wanted[kind],
                }
                for kind in KINDS
            }
            result["accuracy"][engine]["broken_bodies"] = len(scored.broken)
            report += [
                f"== {engine}: bodies that are no JSON any more",
                *scored.broken,
                f"== {engine}: missed",
                *scored.missed,
                f"== {engine}: masked though no value",
                *scored.false,
            ]
        result["corpus_lines"] = len(corpus)
    (OUT / "results.json").write_text(json.dumps(result, indent=1))
    (OUT / "accuracy.txt").write_text("\n".join(report))
    (OUT / "masking.svg").write_text(picture.draw(result))
    print("\n".join(table(result)))


def table(result: dict[str, Any]) -> Iterator[str]:
    """The tables as text."""
    for part, title in (
        ("alone", "CPU ms per request: the engine alone in stock Envoy"),
        ("chain", "... in the chain"),
    ):
        yield f"{title:60}" + "".join(f"{size:>10}" for size in COUNTS) + f"{'RSS MB':>10}"
        for engine, found in result[part].items():
            row = "".join(f"{found[size]['cpu_ms']:10.3f}" for size in COUNTS)
            yield f"  {engine:58}{row}{found['rss_mb']:10.0f}"
        none, mine, theirs = (result[part][e] for e in ("none", "data-masking", "ai-data-masking"))
        if part == "alone":
            added = [mine[s]["cpu_ms"] - none[s]["cpu_ms"] for s in COUNTS]
            yield f"  {'data-masking adds':58}" + "".join(f"{a:10.3f}" for a in added)
            added = [theirs[s]["cpu_ms"] - none[s]["cpu_ms"] for s in COUNTS]
            yield f"  {'ai-data-masking adds':58}" + "".join(f"{a:10.3f}" for a in added)
        ratio = "".join(f"{theirs[s]['cpu_ms'] / mine[s]['cpu_ms']:9.1f}x" for s in COUNTS)
        yield f"  {'throughput of data-masking to ai-data-masking':58}{ratio}"
        yield ""
    yield f"{result['corpus_lines']} labelled lines{'':20}{'data-masking':>26}{'ai-data-masking':>26}"
    yield f"{'':10}{'values':>8}{'':21}{'recall':>13}{'precision':>13}{'recall':>13}{'precision':>13}"
    for kind in KINDS:
        mine, theirs = (result["accuracy"][e][kind] for e in ("data-masking", "ai-data-masking"))
        figures = (mine["recall"], mine["precision"], theirs["recall"], theirs["precision"])
        yield f"{kind:12}{mine['values']:6}{'':21}" + "".join(f"{f:13.3f}" for f in figures)
    mine, theirs = (result["accuracy"][e]["broken_bodies"] for e in ("data-masking", "ai-data-masking"))
    yield f"bodies that are no JSON any more: data-masking {mine}, ai-data-masking {theirs}"


if __name__ == "__main__":
    main()
