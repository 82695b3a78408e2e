"""Point 9, other half: objects that Higress would drop, ignore or choke on are refused, all at once, with the reason."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.problem import ObjectsRefusedError

from .objects import REGISTRIES, bridge, compiled, ingress, plugin, simple


def key_auth(**config: Any) -> dict[str, Any]:
    whole = {
        "keys": ["authorization"],
        "in_header": True,
        "global_auth": True,
        "consumers": [{"name": "a.x", "credentials": ["Bearer sk-1", "sk-1"]}],
    }
    return plugin("key-auth", "key-auth", defaultConfig={**whole, **config})


def limit(**config: Any) -> dict[str, Any]:
    whole = {"rule_name": "r", "redis": {"service_name": "redis.static"}, "global_threshold": {"token_per_minute": 9}}
    return plugin("limit", "ai-token-ratelimit", defaultConfig={**whole, **config})


def registry(**changes: Any) -> dict[str, Any]:
    return bridge({**REGISTRIES[0], **changes})


def edited(obj: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {**obj, "spec": {**obj["spec"], **spec}}


# Object -> where the problem is, and a piece of the reason. What Higress does with it is golden, or domain knowledge.
BAD: dict[str, tuple[list[dict[str, Any]], str, str]] = {
    "unknown annotation": ([simple(exakt_match_header_foo="x")], "exakt-match-header-foo", "ignores"),
    "annotation the sandbox lacks": ([simple(enable_cors="true")], "enable-cors", "does not carry"),
    "empty destination": ([simple(destination=" ")], "destination", "drop the route"),
    "no destination": ([ingress("p1", "p1.test", {"path": "/"})], "destination", "drop the route"),
    "weight that is no number": ([simple(destination="abc% llm-a.dns:443")], "destination", "drop the route"),
    "weights that do not add up": (
        [simple(destination="3% llm-a.dns:443\n1% llm-b.dns:8080")],
        "destination",
        "add up to 4",
    ),
    "weights on several paths": (
        [ingress("p1", "p1.test", {"path": "/a"}, {"path": "/b"}, destination="50% llm-a.dns\n50% llm-b.dns")],
        "spec.rules",
        "astray",
    ),
    "unknown service": ([simple(destination="nowhere.dns:443")], "destination", "no registry"),
    "half unknown": ([simple(destination="50% llm-a.dns\n50% nowhere.dns")], "destination", "no registry"),
    "wrong port": ([simple(destination="llm-a.dns:8443")], "destination", "has port 443"),
    "timeout in parts of a second": ([simple(timeout="1.5")], "timeout", "whole number"),
    "timeout with a unit": ([simple(timeout="30s")], "timeout", "whole number"),
    "timeout of none": ([simple(timeout="0")], "timeout", "above 0"),
    "broken header regex": ([simple(regex_match_header_workload="b((")], "regex-match-header-workload", "regular"),
    "broken path regex": (
        [ingress("p1", "p.test", {"path": "/x((", "type": "ImplementationSpecific"}, destination="llm-a.dns")],
        "path",
        "regular expression",
    ),
    "host with a space": ([simple(upstream_vhost="has space\nnewline")], "upstream-vhost", "no host"),
    "one path twice": (
        [ingress("p1", "p1.test", {"path": "/a"}, {"path": "/a/"}, destination="llm-a.dns")],
        "spec.rules",
        "matched by p1 too",
    ),
    "two Ingresses, one path": ([simple(), simple("later")], "spec.rules", "the older wins"),
    "a host of another namespace": ([simple(), simple("tenant-b/p1", path="/stolen")], "spec.rules", "belongs to"),
    "another ingress class": ([edited(simple(), ingressClassName="nginx")], "ingressClassName", "not Higress's"),
    "TLS": ([edited(simple(), tls=[{"secretName": "x"}])], "spec.tls", "without TLS"),
    "a cluster's Service": (
        [edited(simple(), rules=[{"http": {"paths": [{"path": "/", "backend": {"service": {"name": "echo"}}}]}}])],
        "backend",
        "McpBridge",
    ),
    "unknown registry type": ([registry(type="nacos")], "type", "stop deleting"),
    "unknown protocol": ([registry(protocol="grpcs")], "protocol", "stop deleting"),
    "address as a DNS name": ([registry(domain="10.0.0.1")], "domain", "silently leave"),
    "URL as a DNS name": ([registry(domain="https://llm.example")], "domain", "silently leave"),
    "localhost": ([registry(domain="localhost")], "domain", "silently leave"),
    "static without a port": ([registry(type="static", domain="10.0.0.1")], "domain", "IP:PORT"),
    "no port": ([registry(port="443")], "port", "no port"),
    "one registry twice": ([bridge(REGISTRIES[0], REGISTRIES[0])], "name", "twice"),
    "McpBridge of another name": (
        [{"kind": "McpBridge", "metadata": {"namespace": "higress-system", "name": "second"}, "spec": {}}],
        "metadata.name",
        "default",
    ),
    "unknown phase": ([plugin("g", phase="BEFORE")], "phase", "not one of"),
    "unknown failStrategy": ([plugin("g", failStrategy="CLOSED")], "failStrategy", "not one of"),
    "unknown pull policy": ([plugin("g", imagePullPolicy="Sometimes")], "imagePullPolicy", "not one of"),
    "unknown field": ([plugin("g", defaultConfg={})], "defaultConfg", "unknown field"),
    "unknown field of a rule": ([plugin("g", matchRules=[{"ingres": ["p1"]}])], "ingres", "unknown field"),
    "no URL": ([edited(plugin("g"), url="")], "url", "missing"),
    "broken URL": ([edited(plugin("g"), url="oci://bad host:%zz/x")], "url", "no URL"),
    "bad checksum": ([plugin("g", sha256="nothex")], "sha256", "64 hexadecimal"),
    "a rule that matches nothing": (
        [plugin("g", matchRules=[{"config": {"y": 2}}])],
        "matchRules[0]",
        "matches nothing",
    ),
    "a rule for no route": ([plugin("g", matchRules=[{"ingress": ["no-such"]}])], "ingress", "never match"),
    "a rule for no service": ([plugin("g", matchRules=[{"service": ["no-such.dns"]}])], "service", "never match"),
    "a GRPC rule": ([plugin("g", matchRules=[{"ingress": ["p1"], "routeType": "GRPC"}])], "routeType", "never match"),
    "missing secret": (
        [plugin("g", defaultConfig={"key": "${secret.higress-system/absent.key}"})],
        "spec.defaultConfig.key",
        "no Secret higress-system/absent",
    ),
    "malformed reference": ([plugin("g", defaultConfig={"key": "${secret.absent}"})], "key", "must read"),
    "pluginConfig beside a default": (
        [plugin("g", pluginConfig={"a": 1}, defaultConfig={})],
        "pluginConfig",
        "ignores",
    ),
    "one place twice": ([plugin("g", priority=5), plugin("h", priority=5)], "priority", "random"),
    "plugin of another namespace": (
        [{**plugin("g"), "metadata": {"namespace": "tenant-b", "name": "g"}}],
        "metadata.namespace",
        "higress-system only",
    ),
    "no program": ([plugin("g", "waf")], "url", "no program 'waf'"),
    "host variables": (
        [plugin("g", vmConfig={"env": [{"name": "A", "valueFrom": "HOST"}]})],
        "valueFrom",
        "no variables",
    ),
    "no consumers": ([key_auth(consumers=[])], "consumers", "is empty"),
    "an empty allow": (
        [edited(key_auth(), matchRules=[{"ingress": ["p1"], "config": {"allow": []}}])],
        "allow",
        "is empty",
    ),
    "one credential twice": (
        [
            key_auth(
                consumers=[
                    {"name": "a.x", "credentials": ["Bearer sk-1", "sk-1"]},
                    {"name": "a.y", "credentials": ["Bearer sk-1", "sk-1"]},
                ]
            )
        ],
        "consumers[1]",
        "shares a credential",
    ),
    "a credential in one form": (
        [key_auth(consumers=[{"name": "a.x", "credential": "Bearer k"}])],
        "consumers[0]",
        "both",
    ),
    "keys in the query": ([key_auth(in_query=True)], "in_header", "only there"),
    "a stand-in's rule by service": (
        [edited(key_auth(), matchRules=[{"service": ["llm-a.dns"], "config": {"allow": ["a.x"]}}])],
        "service",
        "no rules by service",
    ),
    "a limit without a rule": ([limit(global_threshold=None)], "spec.defaultConfig", "neither"),
    "a limit without Redis": ([limit(redis=None)], "redis", "is missing"),
    "a limit of nothing": ([limit(global_threshold={"token_per_minute": 0})], "global_threshold", "above 0"),
    "an unknown kind of limit": ([limit(rule_items=[{"limit_by_cookie": "c"}])], "rule_items[0]", "knows no others"),
    "a quota without an admin": (
        [plugin("q", "ai-quota", defaultConfig={"redis": {"service_name": "redis.static"}})],
        "admin_consumer",
        "is missing",
    ),
    "ai-proxy by route": (
        [plugin("ai-proxy", "ai-proxy", matchRules=[{"ingress": ["p1"], "config": {}}])],
        "matchRules[0]",
        "match by service",
    ),
    "another EnvoyFilter": (
        [
            {
                "kind": "EnvoyFilter",
                "metadata": {"namespace": "higress-system", "name": "e"},
                "spec": {"configPatches": [{}]},
            }
        ],
        "configPatches[0]",
        "not the one patch",
    ),
    "a kind of its own": ([{"kind": "Gateway", "metadata": {"namespace": "a", "name": "b"}}], "kind", "no place"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_objects_are_refused_with_the_reason(case: str) -> None:
    objects, path, reason = BAD[case]
    given = list(objects)
    if not any(obj["kind"] == "McpBridge" for obj in given):
        given.append(bridge())
    if not any(obj["kind"] == "Ingress" for obj in given):
        given.append(simple())
    with pytest.raises(ObjectsRefusedError) as refused:
        compiled(*given)
    assert [p for p in refused.value.problems if path in p.path and reason in p.reason], refused.value


def test_all_problems_come_at_once() -> None:
    objects = [obj for given, _, _ in BAD.values() for obj in given if obj["kind"] == "WasmPlugin"]
    with pytest.raises(ObjectsRefusedError) as refused:
        compiled(bridge(), simple(timeout="x"), *objects)
    assert len(refused.value.problems) > 25
    assert {problem.where.split()[0] for problem in refused.value.problems} == {"WasmPlugin", "Ingress"}


def test_the_blackhole_needs_no_registry() -> None:
    made = compiled(bridge(), simple(destination="blackhole.static:80"))
    assert made.routes[0].targets[0].cluster == "outbound|80||blackhole.static"
