"""What policy renders for the example Projects is what the real guard takes, in a stock Envoy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import desired_objects
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.routes import route_names
from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import minted
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Site, load_site
from guards.gateway import JSON, Gateway, Route, bootstrap
from masking.world import CLUSTER, PATHS, World, filter_of, headers

from guards import upstream

NOW = datetime(2026, 11, 23, tzinfo=UTC)
TEXT = "mail bob.smith@acme.io, key ghp_" + "A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8 for ATLAS-1234"


@pytest.fixture(scope="module")
def site(root: Path) -> Site:
    return load_site(root / "inventories" / "sandbox")


def received_by_guard(site: Site) -> JSON:
    """The config of data-masking as Higress hands it to the guard: rules beside the defaults, secrets in place."""
    secrets = minted(site, {}, NOW)
    objects = desired_objects(site, secrets, now=NOW)
    (spec,) = (item["spec"] for item in objects if item["metadata"]["name"] == "data-masking")
    rules = [{"_match_route_": rule["ingress"], **rule["config"]} for rule in spec["matchRules"]]
    text = json.dumps({**spec["defaultConfig"], "_rules_": rules})
    for project, known in secrets.items():
        for name, value in known.items():
            text = text.replace(f"${{secret.higress-system/keys-{project}.{name}}}", value)
    assert "${" not in text
    config: JSON = json.loads(text)
    return config


@pytest.fixture(scope="module")
def examples(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    provider, server = upstream.start()
    provider.answer = lambda _: upstream.Answer([b'{"choices":[{"message":{"content":"eve@acme.io"}}]}'])
    directory = tmp_path_factory.mktemp("examples")
    hosts = {f"{p.project}.localhost": [(Route(f"{p.project}--entry", CLUSTER), PATHS)] for p in site.projects}
    hosts["stray.localhost"] = [(Route("stray--entry", CLUSTER), PATHS)]
    gateway = Gateway(
        bootstrap([filter_of(directory, received_by_guard(site))], hosts, {CLUSTER: provider.port}), directory
    )
    yield World(gateway, provider)
    gateway.stop()
    server.shutdown()
    server.server_close()


def ask(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def test_atlas_is_masked_as_its_file_says(examples: World) -> None:
    sent = json.loads(examples.received(ask(TEXT), project="atlas"))["messages"][0]["content"]
    words = sent.split()
    assert words[1] == "[e-mail],"
    assert words[3].startswith("[API_KEY:")
    assert words[-1] == "[ticket]"


@pytest.mark.parametrize("project", ["beacon", "comet"])
def test_projects_of_another_engine_or_none_pass_untouched(examples: World, project: str) -> None:
    body = json.dumps(ask(TEXT)) + " "
    assert examples.received(body, project=project) == body
    assert "eve@acme.io" in examples.post(body, project=project).body.decode()
    # It is not even read: a body that data-masking could not read passes as well.
    assert examples.received("no JSON at all", project=project) == "no JSON at all"


def test_a_route_of_no_project_is_refused(examples: World) -> None:
    reply = examples.gateway.send("POST", PATHS[0], headers("stray"), b"{}")
    assert (reply.status, reply.json["error"]["code"]) == (404, "route_unknown")


def test_every_route_of_every_project_has_a_rule(site: Site) -> None:
    named = {route for rule in received_by_guard(site)["_rules_"] for route in rule["_match_route_"]}
    assert named == {route for project in site.projects for route in route_names(project)}
