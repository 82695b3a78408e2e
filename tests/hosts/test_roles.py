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

ROOT = Path(__file__).resolve().parents[2]
ROLES = [
    "preflight",
    "host",
    "k3s",
    "registry",
    "release",
    "secrets",
    "backup",
    "gates",
    "cert_manager",
    "redis",
    "higress",
    "observability",
    "oauth2_proxy",
    "budget_controller",
]
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
