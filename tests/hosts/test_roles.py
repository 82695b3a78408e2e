"""Roles: defaults and specs agree, and every value we give a chart is one that the chart has.

chart_values.json holds the key paths of the pinned charts' own values (facts, read from their repositories; "*": anything
may stand below; also values that a chart's templates read and its values file only has in a comment). The values of the
observability charts are templates: tests/people looks at those.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.opsta.ai_gateway.plugins.module_utils import versions
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import CHAIN
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.plugin import PULL_SECRET

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
CHARTS = json.loads((Path(__file__).parent / "chart_values.json").read_text())
GIVEN = (
    ("cert_manager", "cert_manager_values", "cert-manager"),
    ("redis", "redis_operator_values", "redis-operator"),
    ("redis", "redis_standalone_values", "redis"),
    ("redis", "redis_replication_values", "redis-replication"),
    ("redis", "redis_sentinel_values", "redis-sentinel"),
    ("higress", "higress_values", "higress-core"),
    ("oauth2_proxy", "oauth2_proxy_values", "oauth2-proxy"),
)


def read(role: str, file: str) -> dict[str, Any]:
    path = ROOT / "roles" / role / file
    return dict(yaml.safe_load(path.read_text())) if path.exists() else {}


def foreign_paths(given: object, chart: object, variables: dict[str, Any], at: str = "") -> Iterator[str]:
    """Paths that we set and the chart does not have. A `{{ name }}` of the same role is followed."""
    if isinstance(given, str) and (match := re.fullmatch(r"\{\{ (\w+) \}\}", given)):
        given = variables.get(match[1], given)
    if chart == "*" or not isinstance(given, dict):
        return
    if not isinstance(chart, dict):
        yield at
        return
    for key, value in given.items():
        if key in chart:
            yield from foreign_paths(value, chart[key], variables, f"{at}.{key}")
        else:
            yield f"{at}.{key}"


@pytest.mark.parametrize(("role", "name", "chart"), GIVEN, ids=[name for _, name, _ in GIVEN])
def test_every_value_exists_in_the_pinned_chart(role: str, name: str, chart: str) -> None:
    variables = read(role, "vars/main.yml")
    assert list(foreign_paths(variables[name], CHARTS[chart], variables)) == []


def test_a_value_that_no_chart_has_is_found() -> None:
    given = {"a": {"b": 1, "typo": 2}}
    assert list(foreign_paths(given, {"a": {"b": 1}}, {})) == [".a.typo"]


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_specs_agree(role: str) -> None:
    options = read(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = read(role, "defaults/main.yml")
    assert {name: spec["default"] for name, spec in options.items() if "default" in spec} == defaults
    assert all(spec.get("required") or "default" in spec for spec in options.values())
    assert all(name.startswith(f"{role}_") and spec["description"] for name, spec in options.items())


def test_the_gateway_pulls_plugins_from_the_registry_that_the_roles_fill() -> None:
    """Address, account's Secret and paths are written in three places; a difference would stop every plugin."""
    login, *_ = read("higress", "vars/main.yml")["higress_registry_objects"]
    assert (login["metadata"]["name"], login["type"]) == (PULL_SECRET, "kubernetes.io/dockerconfigjson")
    port = read("registry", "defaults/main.yml")["registry_port"]
    for inventory in ("single_node", "ha"):
        site = ROOT / "inventories" / inventory
        host = yaml.safe_load((site / "group_vars/all/main.yml").read_text())["registry_host"]
        gateway = yaml.safe_load((site / "gateway.yml").read_text())
        assert gateway["plugin_registry"] == f"oci://{host}:{port}/plugins"


def test_every_plugin_of_the_chain_is_in_the_registry_under_its_tag() -> None:
    lock = versions.load((ROOT / "versions.yml").read_text())
    tag = read("registry", "defaults/main.yml")["registry_guards_version"]
    pushed = {f"{entry.repository}:{entry.version}" for entry in lock.of_kind("plugin")}
    pushed |= {f"plugins/{wasm.stem}:{tag}" for wasm in (ROOT / "files/wasm").glob("*.wasm")}
    assert {f"plugins/{plugin.binary}:{plugin.tag}" for plugin in CHAIN} <= pushed
