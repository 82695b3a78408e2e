"""The one place that makes quotas up until the budget controller leases them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.quota import UNLIMITED, give, seeds
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import load_site

from .conftest import Caller
from .sandbox import EXAMPLES

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    ("consumer", "tokens"),
    [
        ("atlas.alice", 5_000_000),  # 50 USD of her own, mock-large's output at 10 USD a million
        ("atlas.bob", 8_000_000),  # raised to 80 USD until the end of the year
        ("atlas.olga", 8_333_333),  # 5 USD, mock-small's output at 0.60 USD a million
    ],
)
def test_the_tightest_budget_at_the_dearest_price(consumer: str, tokens: int) -> None:
    assert seeds(load_site(EXAMPLES), NOW)[consumer] == tokens


def test_every_consumer_gets_one() -> None:
    site = load_site(EXAMPLES)
    given = seeds(site, NOW)
    assert set(given) == {i.consumer for project in site.projects for i in project.identities()}
    assert all(0 < tokens <= UNLIMITED for tokens in given.values())


def test_spent_quota_is_not_given_back(caller: Caller) -> None:
    with caller.sandbox.redis() as client:
        client.set("chat_quota:test.spent", 3)
        client.delete("chat_quota:test.new")
        wanted = {"test.spent": 100, "test.new": 100}
        try:
            assert give(client, wanted, dry=True) == {"test.new": 100}
            assert client.get("chat_quota:test.new") is None
            assert give(client, wanted, dry=False) == {"test.new": 100}
            assert client.get("chat_quota:test.spent") == "3"
            assert give(client, wanted, dry=False) == {}
        finally:
            client.delete("chat_quota:test.spent", "chat_quota:test.new")
