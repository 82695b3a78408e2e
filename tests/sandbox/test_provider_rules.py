"""The rule that holds at a provider: what a scan of all rules finds, found without one."""

from __future__ import annotations

import cProfile
import json
from typing import Any

from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.atprovider import AtProvider
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.compiler import Compiled
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.mcpbridge import Service
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.problem import Problems
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.wasmplugin import read_plugins
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .objects import bridge, compiled, plugin, simple

SERVICES = [Service(f"s{i}.dns", port, (), by_dns=True, tls=False, sni=None) for i in range(3) for port in (80, 443)]
NAMES = st.sampled_from([*(s.host for s in SERVICES), *(f"{s.host}:{s.port}" for s in SERVICES), "other.dns"])
RULES = st.lists(
    st.fixed_dictionaries(
        {"service": st.lists(NAMES, min_size=1, max_size=4)},
        optional={"config": st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))},
    ),
    max_size=6,
)


def _scanned(config: dict[str, Any], service: Service) -> dict[str, Any]:
    """Higress's order: the first rule that names the service, over the default."""
    default = {name: value for name, value in config.items() if name != "_rules_"}
    for rule in config.get("_rules_", []):
        if {service.host, f"{service.host}:{service.port}"} & set(rule["_match_service_"]):
            return default | {name: value for name, value in rule.items() if name != "_match_service_"}
    return default


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a loaded machine is no mistake of the rules
@given(RULES, st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9), min_size=1))
def test_the_first_rule_that_names_the_service_holds(rules: list[dict[str, Any]], default: dict[str, int]) -> None:
    problems = Problems()
    [read] = read_plugins([plugin("ai-proxy", "ai-proxy", defaultConfig=default, matchRules=rules)], {}, problems)
    assert not problems.found
    at = AtProvider.of(read)
    for service in SERVICES:
        assert at.config_for(service) == _scanned(json.loads(read.received or "{}"), service)


def _made(providers: int) -> Compiled:
    registries = [
        {"name": f"p{i}", "type": "static", "domain": f"127.0.0.1:{10000 + i}", "port": 80, "protocol": "http"}
        for i in range(providers)
    ]
    routes = [simple(f"p{i}", f"p{i}.test", destination=f"p{i}.static:80") for i in range(providers)]
    rules = [{"service": [f"p{i}.static"], "config": {"provider": {"apiTokens": [str(i)]}}} for i in range(providers)]
    return compiled(bridge(*registries), *routes, plugin("ai-proxy", "ai-proxy", matchRules=rules))


def test_envoy_watches_no_file_more_for_more_providers() -> None:
    """Each watched file is an inotify instance, of which Linux gives a user 128."""
    assert set(_made(200).files) == set(_made(1).files)
    assert len(_made(1).versions) < 10


def _calls(providers: int) -> int:
    """Function calls, which no other program on this machine adds to."""
    profile = cProfile.Profile()
    profile.runcall(_made, providers)
    return sum(entry.callcount for entry in profile.getstats())


def test_twice_the_providers_take_twice_the_work() -> None:
    """Four times the work would be a scan of all for each."""
    assert _calls(400) < 3 * _calls(200)
