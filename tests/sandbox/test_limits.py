"""What the limits' stand-in decides, without Envoy and Redis: as the real plugins would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.limits import Counter
from ansible_collections.opsta.ai_gateway.sandbox.limits.decision import (
    NO_CONSUMER,
    NO_QUOTA,
    Check,
    Refusal,
    Rules,
    RulesFile,
    verdict,
)

REDIS = {"service_name": "redis.static"}
QUOTA = {"program": "ai-quota", "name": "ai-quota", "config": {"admin_consumer": "nobody", "redis": REDIS}}
CHAT = "/v1/chat/completions"


def limit(**config: Any) -> dict[str, Any]:
    return {"program": "ai-token-ratelimit", "name": "limit", "config": config}


def rule(name: str, **config: Any) -> dict[str, Any]:
    return {"rule_name": name, "redis": REDIS, **config}


def checked(*plugins: dict[str, Any], route: str = "r", host: str = "h:80", path: str = CHAT, **headers: str) -> Check:
    check = Rules.of(plugins).check(route, host, path, {k.replace("_", "-"): v for k, v in headers.items()})
    assert isinstance(check, Check)
    return check


@pytest.mark.parametrize(
    ("path", "key"), [(CHAT, "chat_quota:a.x"), ("/v1/messages?x=1", "chat_quota:a.x"), ("/v1/other", None)]
)
def test_quota_looks_at_its_path_suffixes(path: str, key: str | None) -> None:
    assert checked(QUOTA, path=path, x_mse_consumer="a.x").quota == key


def test_quota_without_a_consumer_is_refused() -> None:
    assert Rules.of([QUOTA]).check("r", "h", CHAT, {}) is NO_CONSUMER


@pytest.mark.parametrize(
    ("balance", "passes"), [(b"1", True), (b"0", False), (b"-5", False), (None, False), (b"x", False)]
)
def test_quota_needs_a_number_above_zero(balance: bytes | None, passes: bool) -> None:
    refusal = verdict(checked(QUOTA, x_mse_consumer="a.x"), balance, [])
    assert refusal is (None if passes else NO_QUOTA)


KINDS: list[tuple[dict[str, Any], dict[str, str], str | None]] = [
    ({"global_threshold": {"token_per_hour": 9}}, {}, "higress-token-ratelimit:n:global_threshold:3600"),
    (
        {"rule_items": [{"limit_by_header": "X-Dev-User", "limit_keys": [{"key": "alice", "token_per_minute": 9}]}]},
        {"x_dev_user": "alice"},
        "higress-token-ratelimit:n:limit_by_header:60:x-dev-user:alice",
    ),
    (
        {"rule_items": [{"limit_by_header": "x-dev-user", "limit_keys": [{"key": "alice", "token_per_minute": 9}]}]},
        {"x_dev_user": "bob"},
        None,
    ),
    (
        {"rule_items": [{"limit_by_per_consumer": "", "limit_keys": [{"key": "regexp:^a\\.", "token_per_day": 9}]}]},
        {"x_mse_consumer": "a.x"},
        "higress-token-ratelimit:n:limit_by_per_consumer:86400:x-mse-consumer:a.x",
    ),
    (
        {"rule_items": [{"limit_by_per_header": "x-team", "limit_keys": [{"key": "*", "token_per_second": 9}]}]},
        {"x_team": "t"},
        "higress-token-ratelimit:n:limit_by_per_header:1:x-team:t",
    ),
]


@pytest.mark.parametrize(("config", "headers", "key"), KINDS)
def test_counters_have_the_real_plugins_keys(config: dict[str, Any], headers: dict[str, str], key: str | None) -> None:
    counters = checked(limit(**rule("n", **config)), **headers).counters
    assert [counter.key for counter in counters] == ([] if key is None else [key])
    assert all(counter.tokens == 9 for counter in counters)


def test_the_first_limit_in_the_chain_that_is_used_up_refuses() -> None:
    """The plugin lets through at exactly 0 left, and refuses below."""
    first = limit(**rule("one", global_threshold={"token_per_minute": 5}, rejected_code=430, rejected_msg="first"))
    second = limit(**rule("two", global_threshold={"token_per_hour": 5}, rejected_msg="second"))
    check = checked(first, second)
    assert check.counters == (
        Counter("higress-token-ratelimit:one:global_threshold:60", 5, 60),
        Counter("higress-token-ratelimit:two:global_threshold:3600", 5, 3600),
    )
    assert verdict(check, None, [(0, 60), (0, 9)]) is None
    assert verdict(check, None, [(0, 60), (-1, 9)]) == Refusal(
        429, "second", headers=(("x-tokenratelimit-reset", "9"),)
    )
    assert verdict(check, None, [(-1, 3), (-1, 9)]) == Refusal(430, "first", headers=(("x-tokenratelimit-reset", "3"),))


@pytest.mark.parametrize(
    ("route", "host", "name"),
    [
        ("r1", "h.test:8080", "routed"),
        ("r9", "h.test:8080", "hosted"),
        ("r9", "x.wild.test", "wild"),
        ("r9", "else", None),
    ],
)
def test_the_first_rule_that_matches_counts(route: str, host: str, name: str | None) -> None:
    rules = [
        {**rule("routed", global_threshold={"token_per_minute": 1}), "_match_route_": ["r1"]},
        {**rule("hosted", global_threshold={"token_per_minute": 1}), "_match_domain_": ["h.test"]},
        {**rule("wild", global_threshold={"token_per_minute": 1}), "_match_domain_": ["*.wild.test"]},
    ]
    counters = checked(limit(_rules_=rules), route=route, host=host).counters
    assert [c.key.split(":")[1] for c in counters] == ([name] if name else [])


def test_a_replaced_file_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "authz.json"
    path.write_text(json.dumps([[QUOTA]]), "utf-8")
    rules = RulesFile(path)
    assert rules.place(0).check("r", "h", CHAT, {}) is NO_CONSUMER
    new = tmp_path / "new"
    new.write_text("[[]]", "utf-8")
    new.replace(path)
    assert isinstance(rules.place(0).check("r", "h", CHAT, {}), Check)
