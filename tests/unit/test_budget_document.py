"""What the spec lets through, the budget controller reads: else a play would fail when the gateway is changed already."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.budget import budget_config
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import SpecError, parse_site
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from budget_controller.config import parse

# Mostly what is allowed, at times just beyond it.
GOOD = st.decimals(0, 9_000_000, places=6).map(str)
AMOUNTS = st.one_of(*[GOOD] * 12, st.sampled_from([0, -1, 9_000_000, 9_000_000.01, 10**18, "0.000001", "0.0000001"]))
FIRST, LAST = date(2000, 1, 1), date(2999, 12, 31)
DAYS = st.one_of(*[st.dates(FIRST, LAST)] * 9, st.sampled_from([date.min, FIRST, LAST, date.max])).map(str)
ZONES = st.sampled_from(["UTC", "Asia/Bangkok", "Pacific/Kiritimati", "Pacific/Niue", "America/Sao_Paulo"])


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


RAISES = st.fixed_dictionaries({"usd": AMOUNTS, "until": DAYS, "reason": st.text("a ", min_size=2, max_size=4)})
BUDGETS = st.fixed_dictionaries(
    {"usd": AMOUNTS},
    optional={
        "period": st.sampled_from(["month", "week", "day"]),
        "alerts": st.lists(st.integers(0, 1001), max_size=3),
        "raise": RAISES,
    },
)
RATES = {"input": AMOUNTS, "output": AMOUNTS}
CACHE = {"cache_read": AMOUNTS, "cache_write": AMOUNTS}
TIERS = st.lists(st.fixed_dictionaries(RATES | {"above_input_tokens": st.integers(0, 9)}, optional=CACHE), max_size=2)
PRICES = st.lists(
    st.fixed_dictionaries(
        RATES | {"model": st.sampled_from(["m", "m*", "n"])},
        optional=CACHE | {"valid_from": DAYS, "valid_until": DAYS, "tiers": TIERS},
    ),
    max_size=3,
)
SITES = st.fixed_dictionaries(
    {
        "org": some(budget=BUDGETS, timezone=ZONES),
        "project": some(budget=BUDGETS, timezone=ZONES),
        "group": some(budget=BUDGETS, user_budget=BUDGETS),
        "user": some(budget=BUDGETS),
        "gateway": some(in_flight_margin=AMOUNTS),
        "prices": PRICES,
    }
)


def texts(site: dict[str, Any]) -> tuple[str, str, list[tuple[str, str]]]:
    """The files of a site with one of everything."""
    gateway = {"version": 1, "site": "s", "orgs": {"acme": site["org"]}} | site["gateway"]
    project = {
        "version": 1,
        "org": "acme",
        "project": "p",
        "host": "p.example.org",
        "providers": {"main": {"url": "http://provider.test/v1", "key": "main"}},
        "models": {"a": {"targets": [{"provider": "main", "model": "always"}]}},
        "groups": {"g": {"models": ["a"], "users": {"u": site["user"]}} | site["group"]},
    } | site["project"]
    always = {"model": "always", "input": 1, "output": 1}
    prices = {"version": 1, "prices": [always, *site["prices"]]}
    return json.dumps(gateway), json.dumps(prices), [("p.yml", json.dumps(project))]


PLAIN: dict[str, Any] = {"org": {}, "project": {}, "group": {}, "user": {}, "gateway": {}, "prices": []}


@given(SITES)
@example(PLAIN)
@example(PLAIN | {"user": {"budget": {"usd": 9_000_000}}, "gateway": {"in_flight_margin": 9_000_000}})
@settings(max_examples=400, deadline=None)
def test_the_controller_reads_what_the_spec_lets_through(site: dict[str, Any]) -> None:
    try:
        read = parse_site(*texts(site))
    except SpecError:
        event("refused")
        return
    event("let through")
    assert [consumer for consumer, _ in parse(json.dumps(budget_config(read))).consumers()] == ["p.u"]
