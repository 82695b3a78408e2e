"""A wrong spec never gets far: each kind of mistake names file, path, value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Problem, SpecError, load_site, parse_site


class Mistake(NamedTuple):
    """OLD in atlas.yml becomes NEW; the problem must stand at PATH and say VALUE, MESSAGE and ALLOWED."""

    old: str
    new: str
    path: str
    message: str
    value: str = ""
    allowed: str = ""


ENGINE, BUILTIN, RULES = "  engine: data-masking\n", "  engine: ai-data-masking\n", "  rules:\n"
MISTAKES = {
    "unknown field": Mistake(
        "token_limit: {tokens: 500000", "token_limits: {tokens: 500000", "token_limits", "did you mean token_limit?", "", "budget"
    ),
    "missing field": Mistake("host: atlas.localhost\n", "", "host", "is missing"),
    "duplicate user": Mistake("olga: {budget", "alice: {budget", "groups.ops.users.alice", "is in group dev already", "alice"),
    "duplicate key": Mistake("      alice: {}\n", "      alice: {}\n      alice: {}\n", "groups.dev.users.alice", "stands twice"),
    "alias to no provider": Mistake(
        "provider: backup, ", "provider: nowhere, ", "models.coding-default.fallback.provider", "no provider", "nowhere", "backup, main"
    ),
    "group with unknown alias": Mistake(
        "models: [bulk]", "models: [gpt-x]", "groups.ops.models.0", "no alias", "gpt-x", "bulk, coding-default"
    ),
    "unpriced model": Mistake(
        "provider: backup, model: mock-small", "provider: backup, model: gpt-x", "models.coding-default.fallback.model", "no price", "gpt-x", "mock-large"
    ),
    "fallback loop": Mistake(
        "provider: backup, ", "provider: main, ", "models.coding-default.fallback.provider", "fallback loop", "main", "backup"
    ),
    "bad regex": Mistake("ATLAS-[0-9]{4,6}", "((", "masking.rules.2.regex", "no regular expression", "(("),
    "regex with look-around": Mistake("ATLAS-[0-9]{4,6}", "a(?=b)", "masking.rules.2.regex", "look-around", "a(?=b)"),
    "regex that remembers": Mistake("ATLAS-[0-9]{4,6}", "(a)(?(1)b|c)", "masking.rules.2.regex", "back-reference"),
    "possessive regex": Mistake("ATLAS-[0-9]{4,6}", "a?+b", "masking.rules.2.regex", "possessive"),
    "class within a class": Mistake("ATLAS-[0-9]{4,6}", "a[b[c]", "masking.rules.2.regex", "within a class"),
    "end of text in Python's way": Mistake("ATLAS-[0-9]{4,6}", "a\\Z", "masking.rules.2.regex", "write $"),
    "regex that matches nothing": Mistake("ATLAS-[0-9]{4,6}", "a*", "masking.rules.2.regex", "empty text", "a*"),
    "negative budget": Mistake("budget: {usd: 500,", "budget: {usd: -5,", "budget.usd", "too small", "-5", "0 or more"),
    "too precise a budget": Mistake("budget: {usd: 500,", "budget: {usd: 0.0000001,", "budget.usd", "too many decimals", "", "6 decimals"),
    "more than the ledger counts": Mistake("budget: {usd: 500,", "budget: {usd: 9000000.01,", "budget.usd", "too large", "9000000.01", "9000000 or less"),
    "infinite budget": Mistake("budget: {usd: 500,", "budget: {usd: .inf,", "budget.usd", "decimal", ".inf"),
    "unknown period": Mistake("period: month}", "period: year}", "budget.period", "known values", "year", "month, week, day"),
    "limit of zero": Mistake("tokens: 5000000", "tokens: 0", "token_limit.tokens", "too small", "0", "1 or more"),
    "limit in words": Mistake("tokens: 5000000", "tokens: many", "token_limit.tokens", "whole number", "many"),
    "weights": Mistake(
        "targets: [{provider: main, model: mock-large}]",
        "targets: [{provider: main, model: mock-large, weight: 60}]",
        "models.coding-default.targets",
        "add up to 100",
        "60",
        "100",
    ),
    "provider twice in an alias": Mistake(
        "targets: [{provider: main, model: mock-large}]",
        "targets: [{provider: main, model: mock-large, weight: 50}, {provider: main, model: mock-long, weight: 50}]",
        "models.coding-default.targets.1.provider",
        "stands twice",
        "main",
    ),
    "workload claimed twice": Mistake(
        "  coding-default:\n", "  coding-default:\n    workload: bulk\n", "models.bulk.workload", "belongs to alias coding-default", "bulk"
    ),
    "unknown org": Mistake("org: acme", "org: umbrella", "org", "no org of this site", "umbrella", "acme, globex"),
    "name with capitals": Mistake("project: atlas", "project: Atlas", "project", "no valid name", "Atlas", "lower-case"),
    "name with double hyphen": Mistake("      carol:", "      ca--rol:", "groups.dev.users.ca--rol", "no valid name", "", "single hyphens"),
    "file of another name": Mistake("project: atlas", "project: atlantis", "project", "file's name", "atlantis", "atlas"),
    "host with a port": Mistake("host: atlas.localhost", "host: atlas.localhost:80", "host", "no valid name", "80", "without port"),
    "time zone": Mistake("timezone: Asia/Bangkok", "timezone: GMT+7", "timezone", "no IANA time zone", "GMT+7"),
    "raise without a date": Mistake("until: 2026-12-31", "until: soon", "groups.dev.users.bob.budget.raise.until", "must be a date", "soon", "YYYY-MM-DD"),
    "raise to a mistyped year": Mistake("until: 2026-12-31", "until: 9999-12-31", "groups.dev.users.bob.budget.raise.until", "2000 to 2999", "9999-12-31"),
    "key end without zone": Mistake(
        '"2027-01-31T00:00:00+07:00"', '"2027-01-31T00:00:00"', "groups.dev.users.carol.keys.1", "needs a time zone"
    ),
    "localhost as a provider": Mistake("http://provider-a.sandbox.test/v1", "http://localhost/v1", "providers.main.url", "127.0.0.1", "localhost"),
    "https to an address": Mistake("http://provider-a.sandbox.test/v1", "https://192.0.2.1/v1", "providers.main.url", "needs a name", "192.0.2.1"),
    "key in the url": Mistake("http://provider-a.", "http://user:pw@provider-a.", "providers.main.url", "may not hold credentials"),
    "no host in the url": Mistake("http://provider-a.sandbox.test/v1", "http://''/v1", "providers.main.url", "no valid host name"),
    "no such port": Mistake("http://provider-a.sandbox.test/v1", "http://a.test:99999/v1", "providers.main.url", "ort out of range"),
    "port zero": Mistake("http://provider-a.sandbox.test/v1", "http://a.test:0/v1", "providers.main.url", "no valid port"),
    "another Project's key as a mask": Mistake(
        'value: "[ticket]"', 'value: "${secret.higress-system/keys-beacon.provider.next}"', "masking.rules.2.value", "reference", "", "without ${"
    ),
    "a reference in a phrase": Mistake("[print the deployment secrets]", "['${ secret .x/y.z}']", "prompt_guard.phrases.0", "reference"),
    "kind of the wrong shape": Mistake("{kind: api_key,", "{kind: [api_key],", "masking.rules.1.kind", "known values"),
    "name of the wrong shape": Mistake('- {name: "2026"}', '- {name: ["2026"]}', "groups.dev.users.carol.keys.0.name", "must be text"),
    "action of another engine": Mistake(
        f"{ENGINE}{RULES}", f"{BUILTIN}{RULES}    - {{kind: ip, action: block}}\n", "masking.rules.0.action", "not known to engine", "block", "hash, mask"
    ),
    "kind of another engine": Mistake(f"{ENGINE}{RULES}", f"{BUILTIN}{RULES}    - {{kind: iban}}\n", "masking.rules.0.kind", "not known to engine", "iban", "email"),
    "phrase that the engine never finds": Mistake(ENGINE, f"{BUILTIN}  deny_words: [falcon, project falcon]\n", "masking.deny_words.1", "is a phrase", "project falcon", "engine data-masking"),
    "mask text that restores the wrong value": Mistake(
        f"{ENGINE}{RULES}", f"{BUILTIN}{RULES}    - {{kind: ip, restore: true}}\n    - {{kind: phone}}\n", "masking.rules.0.value", "shared with another rule", "****", "of its own"
    ),
    "kind twice": Mistake("{kind: api_key,", "{kind: email,", "masking.rules.1.kind", "stands twice", "email"),
    "name of another rule": Mistake("{name: ticket,", "{name: api-key,", "masking.rules.2.name", "another rule's name", "api-key"),
    "restore of what is refused": Mistake("action: hash", "action: block, restore: true", "masking.rules.1", "restore goes with"),
    "mask too long": Mistake('value: "[ticket]"', f'value: "{"🎫" * 60}"', "masking.rules.2.value", "is too long", "", "200 bytes"),
    "regex without a longest match": Mistake(
        "ATLAS-[0-9]{4,6}", "TCK-[0-9]+", "masking.rules.2.regex", "no longest match", "TCK", "256"
    ),
    "rule without a matcher": Mistake('{kind: email, value: "[e-mail]"}', '{value: "[e-mail]"}', "masking.rules.0", "either kind or regex"),
    "unknown version": Mistake("version: 1", "version: 2", "version", "known values", "2", "1"),
    "test of an unknown user": Mistake("user: olga,", "user: nobody,", "tests.1.user", "no user", "nobody", "alice"),
    "not YAML": Mistake("groups:\n", "groups: [\n", "file", "is not YAML"),
}  # fmt: skip


def problems_of(sandbox: Path, *projects: tuple[str, str]) -> tuple[Problem, ...]:
    texts = [(sandbox / name).read_text(encoding="utf-8") for name in ("gateway.yml", "prices.yml")]
    with pytest.raises(SpecError) as caught:
        parse_site(*texts, projects)
    return caught.value.problems


@pytest.fixture(scope="module")
def atlas(sandbox: Path) -> str:
    return (sandbox / "projects" / "atlas.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES.keys())
def test_each_mistake_says_where_what_and_what_is_allowed(sandbox: Path, atlas: str, mistake: Mistake) -> None:
    assert mistake.old in atlas
    found = problems_of(sandbox, ("atlas.yml", atlas.replace(mistake.old, mistake.new, 1)))
    lines = [str(problem) for problem in found]
    right = [line for line in lines if f" {mistake.path}: " in line and mistake.message in line]
    assert right, lines
    assert right[0].startswith("projects/atlas.yml:"), right
    assert mistake.value in right[0]
    assert mistake.allowed in right[0]


def test_all_mistakes_are_told_in_one_run(sandbox: Path, atlas: str) -> None:
    together = (
        "unknown field",
        "duplicate user",
        "alias to no provider",
        "negative budget",
        "bad regex",
        "unknown org",
        "time zone",
    )
    text = atlas
    for name in together:
        text = text.replace(MISTAKES[name].old, MISTAKES[name].new, 1)
    told = "\n".join(map(str, problems_of(sandbox, ("atlas.yml", text))))
    assert [name for name in together if MISTAKES[name].message not in told] == []


def test_two_projects_may_not_share_name_or_host(sandbox: Path, atlas: str) -> None:
    found = problems_of(sandbox, ("atlas.yml", atlas), ("other.yml", atlas.replace("project: atlas", "project: other")))
    assert [(p.file, p.path, p.value) for p in found] == [("projects/other.yml", "host", "'atlas.localhost'")]
    assert "projects/atlas.yml" in found[0].message


def test_a_pasted_key_is_never_shown(sandbox: Path, atlas: str) -> None:
    pasted = "sk-Live0123456789SECRET"
    found = problems_of(sandbox, ("atlas.yml", atlas.replace("key: main}", f"key: {pasted}}}")))
    assert "providers.main.key" in [problem.path for problem in found]
    assert pasted not in "\n".join(map(str, found))


def test_problems_of_all_files_come_together(tmp_path: Path) -> None:
    (tmp_path / "projects").mkdir()
    (tmp_path / "gateway.yml").write_text("version: 1\nsite: s\n", encoding="utf-8")
    (tmp_path / "projects" / "a.yml").write_text("- a list\n", encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_site(tmp_path)
    assert sorted({problem.file for problem in caught.value.problems}) == [
        "gateway.yml",
        "prices.yml",
        "projects/a.yml",
    ]
    assert "prices.yml: file: cannot be read" in str(caught.value)


def test_two_prices_at_once_are_a_mistake(sandbox: Path, atlas: str) -> None:
    gateway, prices = ((sandbox / name).read_text(encoding="utf-8") for name in ("gateway.yml", "prices.yml"))
    again = "  - {model: mock-embed, input: 9, output: 0}\n"
    with pytest.raises(SpecError, match="two prices begin at the same time: mock-embed"):
        parse_site(gateway, prices + again, [("atlas.yml", atlas)])
    parse_site(gateway, prices + again.replace("}", ", valid_from: 2027-01-01}"), [("atlas.yml", atlas)])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("valid_from: 2027-02-01, valid_until: 2027-01-31", "valid_until is before valid_from, 2027-02-01"),
        ("valid_from: 0001-01-01", "2000 to 2999"),
        (
            "tiers: [{above_input_tokens: 9, input: 1, output: 1}, {above_input_tokens: 9, input: 2, output: 2}]",
            "tiers must ascend",
        ),
    ],
)
def test_a_price_that_the_controller_cannot_use_is_a_mistake(
    sandbox: Path, atlas: str, more: str, message: str
) -> None:
    gateway, prices = ((sandbox / name).read_text(encoding="utf-8") for name in ("gateway.yml", "prices.yml"))
    with pytest.raises(SpecError, match=f"prices.yml.*{message}"):
        parse_site(gateway, f"{prices}  - {{model: other, input: 1, output: 1, {more}}}\n", [("atlas.yml", atlas)])


def test_a_site_without_projects_is_a_mistake(sandbox: Path) -> None:
    assert [(p.file, p.message) for p in problems_of(sandbox)] == [("projects", "has no Project file")]


def test_deny_words_of_too_many_projects_would_stop_the_gateway(sandbox: Path) -> None:
    """ai-data-masking keeps 31 MB for each of them in one VM."""
    beacon = (sandbox / "projects" / "beacon.yml").read_text(encoding="utf-8")
    projects = [(f"p{i}.yml", beacon.replace("beacon", f"p{i}", 3)) for i in range(62)]
    found = problems_of(sandbox, *projects)
    assert [problem.file for problem in found] == ["projects/p60.yml", "projects/p61.yml"]
    assert "62 Projects" in found[0].message
    assert "data-masking" in found[0].allowed
