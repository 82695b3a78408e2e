"""The stand-in for Higress's fallback: from the EnvoyFilter in the manner of Higress's console."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.compiler import Compiled
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.problem import ObjectsRefusedError

from .objects import bridge, compiled, plugin, simple

_TYPES = "type.googleapis.com/envoy"


def _when(value: str) -> dict[str, Any]:
    return {"single_predicate": {"input": {"name": value}, "value_match": {"exact": value}}}


def fallback(route: str, *statuses: str, header: str = "p1", **changes: Any) -> dict[str, Any]:
    action = {
        "@type": f"{_TYPES}.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy",
        "use_original_request_uri": True,
        "keep_original_response_code": False,
        "use_original_request_body": True,
        "only_redirect_upstream_code": True,
        "request_headers_to_add": [{"header": {"key": "X-Higress-Fallback-From", "value": header}, "append": False}],
        **changes,
    }
    matcher = {
        "predicate": {"or_matcher": {"predicate": [_when(status) for status in statuses]}},
        "on_match": {"action": {"name": "action", "typed_config": action}},
    }
    config = {"custom_response_matcher": {"matcher_list": {"matchers": [matcher]}}}
    patch = {
        "applyTo": "HTTP_ROUTE",
        "match": {"context": "GATEWAY", "routeConfiguration": {"vhost": {"route": {"name": route}}}},
        "patch": {
            "operation": "MERGE",
            "value": {"typed_per_filter_config": {"envoy.filters.http.custom_response": config}},
        },
    }
    return {
        "kind": "EnvoyFilter",
        "metadata": {"namespace": "higress-system", "name": f"{route}-fallback"},
        "spec": {"configPatches": [patch]},
    }


def site(*more: dict[str, Any]) -> Compiled:
    sibling = simple("p1-fallback", destination="llm-b.dns:8080", exact_match_header_x_higress_fallback_from="p1")
    return compiled(bridge(), simple(), sibling, *more)


def _resources(made: Compiled, file: str) -> list[dict[str, Any]]:
    resources: list[dict[str, Any]] = json.loads(made.files[file])["resources"]
    return resources


@pytest.mark.parametrize(
    ("said", "statuses"),
    [
        (("4xx", "5xx"), list(range(400, 600))),
        (("429", "5xx"), [429, *range(500, 600)]),
        (("503",), [503]),
    ],
)
def test_a_failing_provider_is_followed_by_the_next_priority(said: tuple[str, ...], statuses: list[int]) -> None:
    made = site(fallback("p1", *said))
    [entry] = _resources(made, "rds.json")[0]["virtual_hosts"][0]["routes"]
    assert entry["name"] == "p1", "the sibling is asked for by Higress's redirect only"
    assert entry["route"]["cluster"] == "outbound|443|p1|llm-a.dns"
    policy = entry["route"]["retry_policy"]
    assert (policy["num_retries"], policy["retriable_status_codes"]) == (1, statuses)
    clusters = {cluster["name"]: cluster for cluster in _resources(made, "cds.json")}
    members = clusters["outbound|443|p1|llm-a.dns"]["cluster_type"]["typed_config"]["clusters"]
    assert members == ["outbound|443||llm-a.dns", "outbound|8080||llm-b.dns"]
    assert set(members) < set(clusters)


def test_a_sibling_asks_for_all_the_headers_that_the_redirect_adds() -> None:
    more = {"header": {"key": "x-higress-llm-model", "value": "m"}}
    redirect = fallback("p1", "5xx")
    policy = redirect["spec"]["configPatches"][0]["patch"]["value"]["typed_per_filter_config"]
    [matcher] = policy["envoy.filters.http.custom_response"]["custom_response_matcher"]["matcher_list"]["matchers"]
    matcher["on_match"]["action"]["typed_config"]["request_headers_to_add"].append(more)
    with pytest.raises(ObjectsRefusedError, match="no Ingress matches the headers"):
        site(redirect)
    steered = {"exact_match_header_x_higress_fallback_from": "p1", "exact_match_header_x_higress_llm_model": "m"}
    siblings = (simple("p1-fallback", destination="llm-b.dns:8080", **steered),)
    made = compiled(bridge(), simple(), *siblings, redirect)
    assert [entry["name"] for entry in _resources(made, "rds.json")[0]["virtual_hosts"][0]["routes"]] == ["p1"]


def test_each_provider_has_its_own_ai_proxy_in_one_vm() -> None:
    rules = [
        {"service": ["llm-a.dns"], "config": {"provider": {"apiTokens": ["a"]}}},
        {"service": ["llm-b.dns:8080"], "config": {"provider": {"apiTokens": ["b"]}}},
    ]
    made = site(fallback("p1", "5xx"), plugin("ai-proxy", "ai-proxy", defaultConfig={"x": 1}, matchRules=rules))
    at = _at_providers(made)
    seen = {}
    for host, [extension] in at.items():
        config = extension["typed_config"]["config"]
        assert config["vm_config"]["vm_id"] == "ai-proxy"
        seen[host] = json.loads(config["configuration"]["value"])
    assert seen == {
        "llm-a.dns": {"x": 1, "provider": {"apiTokens": ["a"]}},
        "llm-b.dns": {"x": 1, "provider": {"apiTokens": ["b"]}},
    }


def test_a_shard_without_a_rule_for_a_provider_does_not_run_there() -> None:
    shards = [
        plugin(
            "ai-proxy-0", "ai-proxy", priority=2, matchRules=[{"service": ["llm-a.dns"], "config": {"provider": 1}}]
        ),
        plugin(
            "ai-proxy-1", "ai-proxy", priority=1, matchRules=[{"service": ["llm-b.dns"], "config": {"provider": 2}}]
        ),
    ]
    at = _at_providers(site(fallback("p1", "5xx"), *shards))
    assert {host: [filter_["name"] for filter_ in filters] for host, filters in at.items()} == {
        "llm-a.dns": ["ai-proxy-0"],
        "llm-b.dns": ["ai-proxy-1"],
    }


def _at_providers(made: Compiled) -> dict[str, list[dict[str, Any]]]:
    """Host of each provider that a cluster leads to, and the filters in the listener it leads to."""
    listeners = {listener["name"]: listener for listener in _resources(made, "lds.json")}
    found = {}
    for cluster in _resources(made, "cds.json"):
        if cluster["name"].startswith("outbound|") and "transport_socket" in cluster:
            [place] = [e["endpoint"]["address"] for e in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]]
            listener = listeners[place["envoy_internal_address"]["server_listener_name"]]
            *filters, _ = listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"]
            found[cluster["name"].rsplit("|", 1)[-1]] = filters
    return found


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (fallback("nowhere", "5xx"), "no route is called"),
        (fallback("p1", "5xx", header="else"), "no Ingress matches the headers x-higress-fallback-from: else"),
        (fallback("p1", "5xx", use_original_request_body=False), "must be true"),
        (fallback("p1", "2xx"), "not the one patch"),
    ],
)
def test_a_fallback_that_would_not_work_is_refused(bad: dict[str, Any], reason: str) -> None:
    with pytest.raises(ObjectsRefusedError, match=reason):
        site(bad)
