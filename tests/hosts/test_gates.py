"""A site's gates each get one request that they must refuse; playbooks/verify.yml sends them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ansible_collections.opsta.ai_gateway.plugins.module_utils.gates import NONE, requests
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import load_site

SITE = load_site(Path(__file__).parents[2] / "inventories" / "sandbox")
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_every_gate_that_refuses_is_asked_once() -> None:
    asked = requests(SITE, NOW)
    assert [(request.gate, request.status) for request in asked] == [
        ("identity-entrance", 404),
        ("key-auth", 401),
        ("key-auth", 401),
        ("key-auth", 403),
        ("prompt-guard", 403),
        ("model-allowlist", 403),
        ("ai-quota", 403),
        ("ai-token-ratelimit-user", 429),
        ("ai-token-ratelimit-group", 429),
        ("ai-token-ratelimit-project", 429),
        ("", 200),
    ]
    assert len({request.name for request in asked}) == len(asked)


def test_a_request_differs_from_an_honest_one_in_one_thing() -> None:
    asked = {request.name: request for request in requests(SITE, NOW)}
    honest = asked["an honest request"]
    assert asked["no key"].consumer == NONE
    assert asked["no key"].model == honest.model
    stranger = asked["another Project's key"]
    assert not stranger.consumer.startswith(f"{stranger.project}.")
    assert asked["an empty quota"].counter == f"chat_quota:{honest.consumer}"
    window = "higress-token-ratelimit:atlas.project:limit_by_header:60:x-dev-project:atlas"
    assert asked["the Project's token limit"].counter == window
