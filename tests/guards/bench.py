"""What the guards cost: Envoy's CPU time a request, with and without them, in one run.

Answers are streamed (40 events) for 3 KB and plain for the larger bodies. `python -m guards.bench` from tests/.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from guards.conftest import ATLAS, BEACON, IDENTITY, MODELS, PROMPTS, USAGE, chain, routes
from guards.gateway import JSON, Gateway, bootstrap, key_auth

from guards import upstream

SIZES = {3_000: 3000, 100_000: 500, 500_000: 200}
WARM_UP = 100
PROJECTS = 1000
VERBS = ["ignore", "disregard", "forget", "reveal", "override"]
OBJECTS = ["previous instructions", "your system prompt", "all rules", "your guidelines", "the above", "earlier orders"]
SENTENCE = 'The function reads lines, splits them at "commas" and keeps what is not empty.\n    return [x for x in y]\n'


def _cpu_seconds(pid: int) -> float:
    """What Envoy's workers have used; its main thread does other things meanwhile."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    workers = [task for task in tasks if (task / "comm").read_text().startswith("wrk:")]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in workers) / 1e9


def _body(size: int) -> bytes:
    text = (SENTENCE * (size // len(SENTENCE) + 1))[:size]
    messages = [{"role": "user", "content": text[at : at + 2000]} for at in range(0, size, 2000)]
    return json.dumps({"model": "coding-default", "messages": messages}).encode()


def _answer() -> upstream.Answer:
    delta = {
        "id": "c",
        "object": "chat.completion.chunk",
        "model": "gpt-x",
        "choices": [{"delta": {"content": "word "}}],
    }
    last = {"model": "gpt-x", "choices": [], "usage": {"prompt_tokens": 900, "completion_tokens": 40}}
    events = [*[delta] * 40, last]
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return upstream.Answer([text.encode()], headers=(("content-type", "text/event-stream"),))


def _measure(gateway: Gateway, body: bytes, count: int) -> float:
    """Microseconds of Envoy's CPU time a request."""
    connection = gateway.connect()
    headers = {"host": "atlas.localhost", "authorization": "Bearer k-alice", "content-type": "application/json"}
    started = 0.0
    for number in range(count + WARM_UP):
        if number == WARM_UP:
            started = _cpu_seconds(gateway.process.pid)
        connection.request("POST", "/v1/chat/completions", body, headers)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
    connection.close()
    return (_cpu_seconds(gateway.process.pid) - started) / count * 1e6


def _with_projects(config: JSON, names: Sequence[str]) -> JSON:
    """The config with as many further Projects, each like atlas."""
    first = config["_rules_"][0]
    more = [{**first, "_match_route_": [r.replace("atlas", name) for r in first["_match_route_"]]} for name in names]
    return {**config, "_rules_": [*more, *config["_rules_"]]}


def main() -> None:
    """Prints a table."""
    provider, server = upstream.start()
    provider.answer = lambda _: _answer()
    clusters = dict.fromkeys({*ATLAS.values(), *BEACON.values(), "outbound|80||blackhole.static"}, provider.port)
    hosts = {"atlas.localhost": routes("atlas", ATLAS)}
    names = [f"p{number}" for number in range(PROJECTS)]
    guards = {"identity": IDENTITY, "prompt-guard": PROMPTS, "model-allowlist": MODELS, "usage-guard": USAGE}
    # As a site would have it: some thirty phrases, and patterns that need a word.
    for rule in PROMPTS["_rules_"]:
        rule["phrases"] = [f"{verb} {what}" for verb in VERBS for what in OBJECTS]
        rule["patterns"] = [rf"{verb}\s+(all\s+|the\s+)?(previous|system)\s+(prompts?|rules)" for verb in VERBS]
    limit = {"max_body_bytes": max(SIZES) * 2}
    for config in guards.values():
        config["_rules_"] = [{**rule, **(limit if "max_body_bytes" in rule else {})} for rule in config["_rules_"]]
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        many = {name.replace("-", "_"): _with_projects(config, names) for name, config in guards.items()}
        chains = {
            "bare": [key_auth({"k-alice": "atlas.alice"})],
            "guards, 2 Projects": chain(directory, **{name.replace("-", "_"): c for name, c in guards.items()}),
            f"guards, {PROJECTS} Projects": chain(directory, **many),
        }
        print(f"{'CPU us a request':22}" + "".join(f"{size:>12,}" for size in SIZES))
        for name, filters in chains.items():
            gateway = Gateway(bootstrap(filters, hosts, clusters), directory)
            try:
                figures = [_measure(gateway, _body(size), count) for size, count in SIZES.items()]
            finally:
                gateway.stop()
            print(f"{name:22}" + "".join(f"{figure:12.0f}" for figure in figures), flush=True)
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
