"""Point 9: what the sandbox makes of objects agrees with what a real Higress control plane made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.compiler import Compiled
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.ingress import higress_weights

from .objects import bridge, compiled, ingress, plugin, simple

HOSTS = yaml.safe_load((Path(__file__).parent / "golden" / "routes.yaml").read_text("utf-8"))


def _objects(host: dict[str, Any]) -> list[dict[str, Any]]:
    made = [bridge()]
    for name, short in host["ingresses"].items():
        annotations = {"destination": "\n\n".join(short["to"]), **short.get("annotations", {})}
        obj = ingress(name, host["host"], short, **annotations)
        obj["metadata"]["creationTimestamp"] = "2026-08-01T00:00:09Z" if short.get("later") else "2026-08-01T00:00:00Z"
        made.append(obj)
    return made


def _matchers(entries: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for entry in entries:
        match = entry["string_match"]
        found[entry["name"]] = (
            ["exact", match["exact"]] if "exact" in match else ["regex", match["safe_regex"]["regex"]]
        )
    return found


def _seen(entry: dict[str, Any]) -> dict[str, Any]:
    """What a request can notice of one route, in the short form of the golden file."""
    match, action = entry["match"], entry["route"]
    [kind] = [kind for kind in ("path", "prefix", "safe_regex") if kind in match]
    value = match[kind]["regex"] if kind == "safe_regex" else match[kind]
    seen: dict[str, Any] = {"route": entry["name"], "match": ["regex" if kind == "safe_regex" else kind, value]}
    if "headers" in match:
        seen["headers"] = _matchers(match["headers"])
    if "query_parameters" in match:
        seen["queries"] = {name: value for name, (_, value) in _matchers(match["query_parameters"]).items()}
    weighted = action.get("weighted_clusters", {}).get("clusters")
    seen["clusters"] = {c["name"]: c["weight"] for c in weighted} if weighted else {action["cluster"]: 100}
    if action["timeout"] != "0s":
        seen["timeout"] = action["timeout"]
    if "host_rewrite_literal" in action:
        seen["authority"] = action["host_rewrite_literal"]
    if "request_headers_to_remove" in entry:
        seen["removed"] = entry["request_headers_to_remove"]
    if "regex_rewrite" in action:
        seen["rewrite"] = [action["regex_rewrite"]["pattern"]["regex"], action["regex_rewrite"]["substitution"]]
    return seen


def _resources(made: Compiled, file: str) -> list[dict[str, Any]]:
    resources: list[dict[str, Any]] = json.loads(made.files[file])["resources"]
    return resources


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: str(host["host"]))
def test_routes_names_order_matches_and_shares(host: dict[str, Any]) -> None:
    made = compiled(*_objects(host))
    [configuration] = _resources(made, "rds.json")
    [virtual_host] = configuration["virtual_hosts"]
    assert virtual_host["domains"] == [host["host"]]
    assert [_seen(entry) for entry in virtual_host["routes"]] == host["routes"]


def test_the_golden_file_is_the_whole_comparison() -> None:
    assert len(HOSTS) == 8
    assert sum(len(host["routes"]) for host in HOSTS) == 48


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ([29, 71], [29, 71]),
        ([47, 53], [48, 52]),
        ([41, 59], [42, 58]),
        ([53, 47], [53, 47]),
        ([33, 33, 34], [33, 33, 34]),
        ([80, 20], [80, 20]),
    ],
)
def test_weights_are_cut_off_in_single_precision(given: list[int], made: list[int]) -> None:
    assert higress_weights(given) == made


def test_retries_are_two_but_never_for_post() -> None:
    made = compiled(bridge(), simple())
    policy = _resources(made, "rds.json")[0]["virtual_hosts"][0]["routes"][0]["route"]["retry_policy"]
    assert policy["num_retries"] == 2
    assert policy["retriable_status_codes"] == [503]
    assert policy["retriable_request_headers"] == [
        {"name": ":method", "string_match": {"safe_regex": {"regex": "POST|PATCH|LOCK"}}, "invert_match": True}
    ]


@pytest.mark.parametrize(
    ("to", "addresses", "sni"),
    [
        ("llm-a.dns:443", [("llm-a.example", 443)], "llm-a.example"),
        ("llm-a-sni.dns:443", [("llm-a.example", 443)], "other-sni.example"),
        ("llm-two.dns:443", [("one.example", 443), ("two.example", 443)], None),
        ("llm-b.dns:8080", [("llm-b.example", 8080)], ""),
        ("llm-c.static:80", [("127.0.0.2", 9000), ("127.0.0.3", 9001)], ""),
        ("llm-d.static:443", [("127.0.0.4", 9443)], "llm-d.example"),
    ],
)
def test_clusters_addresses_and_tls(to: str, addresses: list[tuple[str, int]], sni: str | None) -> None:
    """`sni` is "" where there is no TLS."""
    made = compiled(bridge(), simple(destination=to))
    host, port = to.split(":")
    found = {c["name"]: c for c in _resources(made, "cds.json")}
    assert f"outbound|{port}||{host}" in found
    upstream = found[f"upstream|{port}||{host}"]
    sockets = [
        e["endpoint"]["address"]["socket_address"] for e in upstream["load_assignment"]["endpoints"][0]["lb_endpoints"]
    ]
    assert [(s["address"], s["port_value"]) for s in sockets] == addresses
    assert upstream["lb_policy"] == "LEAST_REQUEST"
    tls = upstream.get("transport_socket", {}).get("typed_config")
    assert (tls is None) == (sni == "")
    if tls is not None:
        assert tls.get("sni") == sni
        assert tls["common_tls_context"]["validation_context"]["trusted_ca"]


CHAIN = (
    plugin("key-auth-like", phase="AUTHN", priority=310),
    plugin("same-a", phase="AUTHN", priority=309),
    plugin("noscheme", phase="AUTHN"),
    plugin("negative", phase="AUTHN", priority=-5),
    plugin("noconfig", phase="AUTHZ", priority=900),
    plugin("own-guard", phase="AUTHZ", priority=10),
    plugin("stats", phase="STATS", priority=100),
    plugin("quota", priority=280),
    plugin("unspec", phase="UNSPECIFIED_PHASE", priority=100),
    plugin("nophase-noprio"),
    plugin("disabled", phase="AUTHZ", priority=3, defaultConfigDisable=True),
    plugin(
        "alldisabled",
        phase="AUTHZ",
        priority=2,
        defaultConfigDisable=True,
        defaultConfig={"x": 1},
        matchRules=[{"ingress": ["p1"], "config": {"y": 2}, "configDisable": True}],
    ),
)


@pytest.mark.parametrize("backwards", [False, True])
def test_plugins_run_by_phase_then_priority(backwards: bool) -> None:
    made = compiled(bridge(), simple(), *(reversed(CHAIN) if backwards else CHAIN))
    gateway = next(listener for listener in _resources(made, "lds.json") if listener["name"] == "gateway")
    filters = gateway["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
    assert [f["name"] for f in filters if "config_discovery" in f] == [
        "key-auth-like",
        "same-a",
        "noscheme",
        "negative",
        "noconfig",
        "own-guard",
        "stats",
        "quota",
        "unspec",
        "nophase-noprio",
    ]


RECEIVED: dict[str, tuple[dict[str, Any], Any]] = {
    "rules keep their order and lose the disabled ones; matches beside the config": (
        {
            "defaultConfig": {"keys": ["Authorization"], "global_auth": False},
            "defaultConfigDisable": False,
            "matchRules": [
                {"ingress": ["p1", "p2"], "config": {"allow": ["app-1"]}, "configDisable": False},
                {"domain": ["p1.tenant.test", "*.wild.test"], "config": {"allow": ["app-2"]}},
                {"service": ["llm-c.static:80", "llm-a.dns"], "config": {"allow": ["app-2"]}},
                {"ingress": ["p1"], "config": {"allow": ["never"]}, "configDisable": True},
                {"ingress": ["p2"]},
                {
                    "ingress": ["p1"],
                    "domain": ["p1.tenant.test"],
                    "service": ["llm-a.dns"],
                    "config": {"allow": ["all"]},
                },
            ],
        },
        {
            "_rules_": [
                {"_match_route_": ["p1", "p2"], "allow": ["app-1"]},
                {"_match_domain_": ["p1.tenant.test", "*.wild.test"], "allow": ["app-2"]},
                {"_match_service_": ["llm-c.static:80", "llm-a.dns"], "allow": ["app-2"]},
                {"_match_route_": ["p2"]},
                {
                    "_match_domain_": ["p1.tenant.test"],
                    "_match_route_": ["p1"],
                    "_match_service_": ["llm-a.dns"],
                    "allow": ["all"],
                },
            ],
            "global_auth": False,
            "keys": ["Authorization"],
        },
    ),
    "numbers are doubles": (
        {
            "defaultConfigDisable": True,
            "matchRules": [{"ingress": ["p1"], "config": {"n": 9007199254740993, "f": 1.0, "big": 12345678901}}],
        },
        {"_rules_": [{"_match_route_": ["p1"], "big": 12345678901, "f": 1, "n": 9007199254740992}]},
    ),
    "no configuration at all": ({}, None),
    "a default alone": ({"defaultConfig": {"x": 1}}, {"x": 1}),
    "pluginConfig as it is": ({"pluginConfig": {"raw": 1}}, {"raw": 1}),
    "a secret's value": (
        {
            "defaultConfig": {
                "key": "${secret.higress-system/provider-a.key}",
                "list": ["Bearer ${secret.higress-system/provider-a.key}"],
            }
        },
        {"key": "sk-not-a-real-key", "list": ["Bearer sk-not-a-real-key"]},
    ),
}


@pytest.mark.parametrize("case", RECEIVED)
def test_what_a_plugin_receives(case: str) -> None:
    spec, expected = RECEIVED[case]
    secret = {
        "kind": "Secret",
        "metadata": {"namespace": "higress-system", "name": "provider-a"},
        "stringData": {"key": "sk-not-a-real-key"},
    }
    made = compiled(
        bridge(), simple(), simple("p2", "p2.test", destination="llm-c.static"), secret, plugin("guard", **spec)
    )
    [extension] = _resources(made, "ecds/guard.json")
    configuration = extension["typed_config"]["config"].get("configuration")
    text = None if configuration is None else configuration["value"]
    assert (None if text is None else json.loads(text)) == expected
    if text is not None:
        assert text == json.dumps(expected, sort_keys=True, separators=(",", ":"))


def test_a_plugins_settings_reach_envoy() -> None:
    spec = {
        "failStrategy": "FAIL_OPEN",
        "pluginName": "guard_root",
        "vmConfig": {"env": [{"name": "A", "valueFrom": "INLINE", "value": "b"}]},
        "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    [extension] = _resources(compiled(bridge(), simple(), plugin("guard", **spec)), "ecds/guard.json")
    config = extension["typed_config"]["config"]
    assert config["failure_policy"] == "FAIL_OPEN"
    assert config["root_id"] == "guard_root"
    assert config["vm_config"]["environment_variables"] == {"key_values": {"A": "b"}}


def test_the_same_objects_give_the_same_files() -> None:
    objects = [bridge(), simple(), simple("p2", "p2.test"), *CHAIN]
    assert compiled(*objects) == compiled(*reversed(objects))
