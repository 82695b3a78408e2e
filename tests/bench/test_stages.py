"""Which filters stand in which stage, on what the compiler makes of a real site."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.compiler import compile_objects
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.settings import Ports, Settings

from bench import stages
from bench.stages import ALL_GUARDS, BARE, GUARDS, Gateway, chain, plugin_of
from bench.tenants import ALIAS, BUILT_IN, PROVIDER_DOMAIN, render
from bench.workload import KILOBYTE, LOADS, request_body

PROVIDER = ("127.0.0.1", 29010)


@pytest.fixture(scope="module")
def laid() -> Gateway:
    programs: defaultdict[str, str] = defaultdict(lambda: "/dev/null")
    for name in (*GUARDS, "ai-data-masking", "data-masking", "ai-statistics", "ai-proxy", "route-names"):
        programs[name] = f"/wasm/{name}.wasm"
    settings = Settings(Ports.from_base(29000), "/c", "/l", programs, {PROVIDER_DOMAIN: PROVIDER})
    return stages.gateway(compile_objects(render(3).objects, settings), 29020, "/c", PROVIDER)


def listener(laid: Gateway, name: str) -> dict[str, Any]:
    stage = next(stage for stage in laid.stages if stage.name == name)
    listeners = json.loads(laid.files["lds.json"])["resources"]
    found: dict[str, Any] = next(each for each in listeners if each["name"] == f"stage-{stage.port}")
    http: dict[str, Any] = found["filter_chains"][0]["filters"][0]["typed_config"]
    return http


def names(http: dict[str, Any]) -> list[str]:
    return [each["name"] for each in http["http_filters"]]


def test_bare_envoy_has_a_route_and_nothing_else(laid: Gateway) -> None:
    http = listener(laid, BARE)
    assert names(http) == ["envoy.filters.http.router"]
    assert "access_log" not in http
    assert len(http["route_config"]["virtual_hosts"][0]["routes"]) == 1


def test_the_whole_chain_is_the_compiled_one(laid: Gateway) -> None:
    http = listener(laid, chain(BUILT_IN.engine))
    assert http["rds"]["route_config_name"] == "gateway"
    assert [n for n in names(http) if n in GUARDS] == list(GUARDS)
    assert "stand-in.limits-0" in names(http)


def test_every_step_adds_one_plugin(laid: Gateway) -> None:
    chains = [stage.filters for stage in laid.stages if stage.kind == "step"]
    for before, after in pairwise(chains[1:-1]):
        assert after[:-1] == before
        assert len(after) == len(before) + 1


def test_the_guards_stand_alone_with_what_names_the_consumer(laid: Gateway) -> None:
    found = {plugin_of(name) for name in names(listener(laid, ALL_GUARDS))[:-1]}
    assert found == {*GUARDS, "stand-in.key-auth"}


def test_shortened_chains_lead_straight_to_the_provider(laid: Gateway) -> None:
    [direct] = json.loads(laid.files["rds-direct.json"])["resources"]
    host = next(each for each in direct["virtual_hosts"] if BUILT_IN.host in each["domains"])
    assert {route["route"]["cluster"] for route in host["routes"]} == {"bench-provider"}
    clusters = {each["name"]: each for each in json.loads(laid.files["cds.json"])["resources"]}
    endpoint = clusters["bench-provider"]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    assert endpoint["address"]["socket_address"] == {"address": PROVIDER[0], "port_value": PROVIDER[1]}


def test_bodies_have_their_size_and_are_no_repetition() -> None:
    for load in LOADS:
        body = request_body(load)
        request = json.loads(body)
        assert 0 <= len(body) - load.size_kb * KILOBYTE < 500
        assert (request["model"], request["stream"]) == (ALIAS, load.streamed)
        text = "".join(message["content"] for message in request["messages"])
        assert len(set(text)) > 60
