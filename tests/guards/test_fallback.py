"""The gateway's own redirect to a fallback route, and clients that pretend to be one.

Stand-in: Envoy's internal_redirect_policy, on the provider's 307, for the custom_response redirect of Higress's Envoy.
Both make Envoy run the whole chain again as a new stream, without the client's credential.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from guards.conftest import ALIAS, MODELS, POSTED, USAGE, World, chain
from guards.gateway import JSON, Gateway, Reply, Route, bootstrap

from guards import upstream

STEER = "x-higress-fallback-from"
HOST = "atlas.localhost"
NAME = "coding-default"
MAIN, SECOND, NOWHERE = (f"outbound|443||{name}.dns" for name in ("atlas-a", "atlas-second", "blackhole"))
ENTRY = Route("atlas--entry", NOWHERE)
MODEL = Route(f"atlas.{NAME}", MAIN, (ALIAS, NAME), redirects=True)
FALLBACK = Route(f"{MODEL.name}--fallback", SECOND, (ALIAS, NAME), ((STEER, MODEL.name),), without=("key-auth",))
CHAT: JSON = {"model": NAME, "messages": [{"role": "user", "content": "hello"}]}
PERSON: JSON = {
    "org": "acme",
    "project": "atlas",
    "groups": {"dev": ["alice", "eve"], "ops": ["bob"]},
    "blocked": {"users": ["eve"]},
}
# A client's own claim to be the redirect, in several spellings.
FORGED = (
    (STEER, MODEL.name),
    ("X-Higress-Fallback-From", MODEL.name),
    ("x_higress_fallback_from", MODEL.name),
    (ALIAS, NAME),
    ("x-mse-consumer", "atlas.alice"),
    ("x-dev-user", "alice"),
    ("opsta_ai_gateway_consumer", "atlas.alice"),
)


def _under(config: JSON, *routes: Route) -> JSON:
    [rule, *_] = config["_rules_"]
    return {**config, "_rules_": [{**rule, "_match_route_": [route.name for route in routes]}]}


def _identity(*, remember: bool) -> JSON:
    kept = {"remember": True} if remember else {}
    client = {"_match_route_": [ENTRY.name, MODEL.name], **PERSON, **kept}
    redirected = {"_match_route_": [FALLBACK.name], **PERSON, "redirected": True}
    return {"stage": "assign", "_rules_": [client, redirected]}


@dataclass(frozen=True)
class Pair:
    """A gateway whose first provider sends every request on to the second."""

    gateway: Gateway
    first: upstream.Provider
    second: upstream.Provider

    def post(self, key: str = "k-alice", headers: tuple[tuple[str, str], ...] = ()) -> Reply:
        return World(self.gateway, self.first).post(CHAT, key=key, headers=headers)

    @property
    def reached(self) -> tuple[int, int]:
        """How many requests each provider has received."""
        return len(self.first.received), len(self.second.received)


def _redirect(path: str) -> upstream.Answer:
    return upstream.Answer([b""], 307, (("location", f"http://{HOST}{path}"), (STEER, MODEL.name), (ALIAS, NAME)))


Start = Callable[..., Pair]


@pytest.fixture(scope="module")
def start(binaries: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts gateways of the two providers, with or without the guard's memory and the entrance."""
    (first, first_server), (second, second_server) = upstream.start(), upstream.start()
    gateways: dict[tuple[bool, bool], Gateway] = {}

    def made(*, remember: bool = True, entrance: bool = True) -> Pair:
        first.received.clear()
        second.received.clear()
        if ready := gateways.get((remember, entrance)):
            return Pair(ready, first, second)
        filters = chain(
            binaries,
            identity=_identity(remember=remember),
            prompt_guard={"unmatched": "pass"},
            model_allowlist=_under(MODELS, ENTRY, MODEL, FALLBACK),
            usage_guard=_under(USAGE, ENTRY, MODEL, FALLBACK),
        )
        hosts = {HOST: [(route, POSTED) for route in (FALLBACK, MODEL, ENTRY)]}
        clusters = {MAIN: first.port, SECOND: second.port, NOWHERE: 1}
        directory = tmp_path_factory.mktemp("fallback")
        gateway = Gateway(bootstrap(filters if entrance else filters[1:], hosts, clusters), directory)
        gateways[remember, entrance] = gateway
        return Pair(gateway, first, second)

    first.answer = lambda received: _redirect(received.path)
    second.answer = lambda _: upstream.Answer([b'{"object":"chat.completion","choices":[]}'])
    yield made
    for gateway in gateways.values():
        gateway.stop()
    for server in (first_server, second_server):
        server.shutdown()
        server.server_close()


def test_the_redirect_reaches_the_second_provider_as_the_same_person(start: Start) -> None:
    pair = start()
    reply = pair.post()
    assert (reply.status, reply.json["object"]) == (200, "chat.completion")
    assert pair.reached == (1, 1)
    assert pair.second.last.body == pair.first.last.body
    for provider in (pair.first, pair.second):
        assert not [name for name, _ in provider.last.headers if name.startswith(("x-higress-", "x-dev-", "x-mse-"))]
    booked = {labels for labels in pair.gateway.counters() if labels[1] == FALLBACK.name}
    assert {(consumer, cluster) for _, _, cluster, _, consumer in booked} == {("atlas.alice", SECOND)}
    assert pair.post(key="k-bob").error["code"] == "model_not_allowed"


@pytest.mark.parametrize("key", ["", "k-eve", "k-mallory", "k-alice"])
def test_nobody_gets_to_a_fallback_by_its_header(start: Start, key: str) -> None:
    pair = start()
    reply = pair.post(key=key, headers=FORGED)
    # key-auth is off on the route that the forged header chose at first, so not even a good key makes a consumer.
    assert (reply.status, reply.error["code"]) == (401, "key_missing")
    assert pair.reached == (0, 0)
    if key == "k-alice":
        assert pair.post(key=key).status == 200


@pytest.mark.parametrize("key", ["", "k-alice"])
def test_a_fallback_takes_no_consumer_from_a_header_even_without_the_entrance(start: Start, key: str) -> None:
    pair = start(entrance=False)
    reply = pair.post(key=key, headers=((STEER, MODEL.name), (ALIAS, NAME), ("x-mse-consumer", "atlas.alice")))
    assert (reply.status, reply.error["code"]) == (401, "key_missing")
    assert pair.reached == (0, 0)


def test_without_memory_the_fallback_refuses(start: Start) -> None:
    pair = start(remember=False)
    assert pair.post().error["code"] == "key_missing"
    assert pair.reached == (1, 0)
