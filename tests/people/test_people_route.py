"""People's route in a stock Envoy with the chain's own guard: refused like any other route, but for the EnvoyFilter."""

from collections.abc import Iterator

import pytest

from tests.guards.gateway import Gateway, Route, bootstrap, stock_binary, wasm_filter

from .test_gate_objects import objects

HOST = "grafana.acme.example"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("people-route")
    binary = stock_binary("identity", directory)
    (patch,) = objects(plugins=["identity"])["EnvoyFilter/people"]["spec"]["configPatches"]
    (switched_off,) = patch["patch"]["value"]["typed_per_filter_config"]
    guard = wasm_filter("higress-system.identity", binary, {"stage": "assign", "unmatched": "deny"})
    routes = [
        (Route("people", "none", says=(200, "a page"), without=(switched_off,)), ["/"]),
        (Route("stray", "none", says=(200, "a page")), ["/stray"]),
    ]
    running = Gateway(bootstrap([guard], {HOST: routes}, {}), directory)
    yield running
    running.stop()


def test_people_get_their_page(gateway: Gateway) -> None:
    answer = gateway.send("GET", "/", [("host", HOST)])
    assert (answer.status, answer.body) == (200, b"a page")


def test_any_other_route_of_no_project_is_refused(gateway: Gateway) -> None:
    answer = gateway.send("GET", "/stray", [("host", HOST)])
    assert answer.status in (401, 404)
    assert answer.headers["x-gate"] == "identity"
