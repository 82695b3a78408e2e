"""The plan as a table: desired, live -> what would be done; and the same in people's terms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.plan import make_plan
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import desired_objects
from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import minted
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Site, parse_site

from .conftest import NOW


def thing(
    kind: str = "ConfigMap", name: str = "a", labels: dict[str, str] | None = None, **content: Any
) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "n", "labels": labels or {}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **content}


def served(item: dict[str, Any]) -> dict[str, Any]:
    """ITEM as an API server gives it back."""
    extra = {"uid": "1", "resourceVersion": "7", "managedFields": [], "annotations": {"other/tool": "x"}}
    return {**item, "metadata": {**item["metadata"], **extra}, "status": {"ok": True}}


RULES = [{"ingress": ["p--entry"], "config": {"allow": ["a"]}}, {"ingress": ["q--entry"], "config": {"allow": ["b"]}}]
TABLE: dict[str, tuple[list[Any], list[Any], list[tuple[Any, ...]]]] = {
    "nothing": ([], [], []),
    "create": ([thing()], [], [("create", "a", [])]),
    "delete": ([], [thing()], [("delete", "a", [])]),
    "unchanged": ([thing(data={"k": "v"})], [thing(data={"k": "v"})], []),
    "unchanged with what a server adds": ([thing(data={"k": "v"})], [served(thing(data={"k": "v"}))], []),
    "a value": ([thing(data={"k": "new"})], [thing(data={"k": "old"})], [("update", "a", [("data.k", "old", "new")])]),
    "a value more": ([thing(data={"k": 1, "l": 2})], [thing(data={"k": 1})], [("update", "a", [("data.l", None, 2)])]),
    "a value less": ([thing(data={})], [thing(data={"k": 1})], [("update", "a", [("data.k", 1, None)])]),
    "our label is gone": ([thing(labels={"x": "1"})], [thing()], [("update", "a", [("labels.x", None, "1")])]),
    "another's label": ([thing()], [thing(labels={"x": "1"})], []),
    "true is not 1": ([thing(data=True)], [thing(data=1)], [("update", "a", [("data", 1, True)])]),
    "a secret is not shown": (
        [thing("Secret", data={"k": "bmV3"})],
        [thing("Secret", data={"k": "b2xk"})],
        [("update", "a", [("data.k", "(a secret, not shown)", "(a secret, not shown)")])],
    ),
    "one new tenant is one difference": (
        [thing(spec={"matchRules": [RULES[0], RULES[1]]})],
        [thing(spec={"matchRules": [RULES[1]]})],
        [("update", "a", [("spec.matchRules.p--entry", None, RULES[0])])],
    ),
    "inside a tenant's rule": (
        [thing(spec={"matchRules": [{"ingress": ["p--entry"], "config": {"allow": ["a", "c"]}}]})],
        [thing(spec={"matchRules": [RULES[0]]})],
        [("update", "a", [("spec.matchRules.p--entry.config.allow.c", None, "c")])],
    ),
    "only the order": (
        [thing(spec=[RULES[0], RULES[1]])],
        [thing(spec=[RULES[1], RULES[0]])],
        [("update", "a", [("spec", [RULES[1], RULES[0]], [RULES[0], RULES[1]])])],
    ),
    "inside a document": (
        [thing(data={"d": '{"users": {"a": {}, "b": {}}}'})],
        [thing(data={"d": '{"users": {"a": {}}}'})],
        [("update", "a", [("data.d.users.b", None, {})])],
    ),
    "a document that only looks otherwise": (
        [thing(data={"d": '{"a": 1}'})],
        [thing(data={"d": '{"a":1}'})],
        [("update", "a", [("data.d", '{"a":1}', '{"a": 1}')])],
    ),
    "a document in place of none": (
        [thing(data={"d": '{"a": 1}'})],
        [thing(data={"d": "{a"})],
        [("update", "a", [("data.d", "{a", '{"a": 1}')])],
    ),
    "entries without a name": (
        [thing(spec=[{"limit": 1}, {"limit": 3}])],
        [thing(spec=[{"limit": 1}, {"limit": 2}])],
        [("update", "a", [("spec.1.limit", 2, 3)])],
    ),
    "same name, other kind": (
        [thing("Secret")],
        [thing("ConfigMap")],
        [("delete", "a", []), ("create", "a", [])],
    ),
}


@pytest.mark.parametrize(("desired", "live", "expected"), TABLE.values(), ids=TABLE.keys())
def test_plan(desired: list[Any], live: list[Any], expected: list[tuple[Any, ...]]) -> None:
    plan = make_plan(desired, live)
    assert [(c.action, c.name, [(f.field, f.old, f.new) for f in c.fields]) for c in plan.changes] == expected
    assert plan.changed == bool(expected)


SENTENCES = {
    "a model is taken away": ("models: [coding-default, bulk]", "models: [bulk]", "atlas: alice, bob, carol lose coding-default"),
    "a model is given": ("    models: [bulk]", "    models: [bulk, coding-default]", "atlas: olga gains coding-default"),
    "a user joins": ("      alice: {}\n", "      alice: {}\n      zoe:\n", "atlas: zoe joins dev and may use bulk, coding-default"),
    "a user leaves": ("      carol:\n        keys:\n", "      dora:\n        keys:\n", "atlas: carol leaves and loses every model"),
    "a budget": ("budget: {usd: 500,", "budget: {usd: 450,", "atlas: budget of the Project: 500 USD a month -> 450 USD a month"),
    "a pool": ("budget: {usd: 300}", "budget: {usd: 1}", "atlas: budget of group dev: 300 USD a month -> 1 USD a month"),
    "a default of several": ("user_budget: {usd: 50}", "user_budget: {usd: 9}", "atlas: budget of alice, carol: 50 USD a month -> 9 USD a month"),
    "a limit": ("tokens: 5000000", "tokens: 7", "atlas: token limit of the Project: 5,000,000 tokens a minute -> 7 tokens a minute"),
    "a block": ("      alice: {}\n", "      alice: {blocked: true}\n", "atlas: alice: blocked, every request is refused"),
    "a key": ('          - {name: "2026"}\n', '          - {name: "2027"}\n', "atlas: carol gets key 2027"),
    "a large budget": ("budget: {usd: 300}", "budget: {usd: 300000}", "300 USD a month -> 300,000 USD a month"),
    "alerts": ("budget: {usd: 500,", "budget: {alerts: [50, 90], usd: 500,", "500 USD a month, alerts at 50, 90 %"),
    "a masking rule": ("    - {kind: email, value: \"[e-mail]\"}\n", "", "atlas: masking.rules.email: removed"),
    "another target": ("    targets: [{provider: main, model: mock-small}]", "    targets: [{provider: backup, model: mock-small}]", "atlas: bulk is answered by backup: mock-small instead of main: mock-small"),
    "an alias' workload": ("    workload: bulk\n", "    workload: night\n", "atlas: models.bulk.workload: bulk -> night"),
    "an alias comes": ("models:\n  coding-default:", "models:\n  fast: {targets: [{provider: main, model: mock-small}]}\n  coding-default:", "atlas: fast is a new alias, answered by main: mock-small"),
    "masking": ("engine: data-masking", "engine: \"off\"", "atlas: masking.engine: data-masking -> off"),
    "a broken test": ("models: [coding-default, bulk]", "models: [bulk]", "test 'alice codes' expects 200, would get 403 by model-allowlist"),
}  # fmt: skip


def edited(sandbox: Path, old: str, new: str) -> Site:
    texts = {name: (sandbox / name).read_text(encoding="utf-8") for name in ("gateway.yml", "prices.yml")}
    projects = [(path.name, path.read_text(encoding="utf-8")) for path in sorted((sandbox / "projects").iterdir())]
    assert any(old in text for _, text in projects)
    changed = [(name, text.replace(old, new, 1) if name == "atlas.yml" else text) for name, text in projects]
    return parse_site(texts["gateway.yml"], texts["prices.yml"], changed)


@pytest.mark.parametrize(("old", "new", "sentence"), SENTENCES.values(), ids=SENTENCES.keys())
def test_people_are_told(sandbox: Path, site: Site, old: str, new: str, sentence: str) -> None:
    secrets = minted(site, {}, NOW)
    after = edited(sandbox, old, new)
    plan = make_plan(
        desired_objects(after, minted(after, secrets, NOW), now=NOW), desired_objects(site, secrets, now=NOW)
    )
    told = [*plan.sentences, *plan.broken]
    assert [line for line in told if sentence in line], told


SITE_SENTENCES = {
    "an org's budget": ("gateway.yml", "{usd: 2000,", "{usd: 3000,", "org acme: budget 2,000 USD a month -> 3,000 USD a month"),
    "an org is blocked": ("gateway.yml", "  globex:\n", "  globex:\n    blocked: true\n", "org globex: blocked, every request of its Projects is refused"),
    "an org's calendar": ("gateway.yml", "timezone: UTC", "timezone: Asia/Tokyo", "org globex: timezone UTC -> Asia/Tokyo"),
    "an org comes": ("gateway.yml", "orgs:\n", "orgs:\n  initech: {}\n", "org initech: new"),
    "a setting": ("gateway.yml", "site: sandbox\n", "site: sandbox\nin_flight_margin: 0.5\n", "the site: in_flight_margin: 0 -> 0.5"),
    "a price": ("prices.yml", "input: 0.02, output: 0", "input: 0.03, output: 0", "price of mock-embed: input 0.02, output 0 -> input 0.03, output 0 (USD"),
    "a price comes": ("prices.yml", "prices:\n", "prices:\n  - {model: new, input: 1, output: 2}\n", "price of new: none -> input 1, output 2"),
}  # fmt: skip


@pytest.mark.parametrize("case", SITE_SENTENCES)
def test_people_are_told_what_changes_for_all(sandbox: Path, site: Site, case: str) -> None:
    file, old, new, sentence = SITE_SENTENCES[case]
    secrets = minted(site, {}, NOW)
    texts = {name: (sandbox / name).read_text(encoding="utf-8") for name in ("gateway.yml", "prices.yml")}
    assert old in texts[file]
    texts[file] = texts[file].replace(old, new, 1)
    projects = [(path.name, path.read_text(encoding="utf-8")) for path in sorted((sandbox / "projects").iterdir())]
    after = parse_site(texts["gateway.yml"], texts["prices.yml"], projects)
    told = make_plan(desired_objects(after, secrets, now=NOW), desired_objects(site, secrets, now=NOW)).sentences
    assert [line for line in told if sentence in line], told
    assert len(told) == 1


def test_a_project_comes_and_goes(site: Site) -> None:
    secrets = minted(site, {}, NOW)
    fewer = site.model_copy(update={"projects": site.projects[:2]})
    all_objects, fewer_objects = (desired_objects(s, secrets, now=NOW) for s in (site, fewer))
    assert make_plan(all_objects, fewer_objects).sentences == (
        "comet: new Project of globex at comet.localhost, with frontend, indexer",
    )
    assert make_plan(fewer_objects, all_objects).sentences == (
        "comet: the Project is removed; frontend, indexer lose access",
    )


def test_tests_of_a_project_that_stays_are_not_told_again(site: Site, sandbox: Path) -> None:
    """Projects share a record: what differs in it is one Project's affair."""
    broken = edited(sandbox, "models: [coding-default, bulk]", "models: [bulk]")
    assert make_plan(desired_objects(broken, minted(broken, {}, NOW), now=NOW), []).broken
    secrets = minted(broken, {}, NOW)
    comet = broken.project("comet").model_copy(update={"blocked": True})
    after = broken.model_copy(update={"projects": (*broken.projects[:2], comet)})
    plan = make_plan(desired_objects(after, secrets, now=NOW), desired_objects(broken, secrets, now=NOW))
    assert all(sentence.startswith("comet: ") for sentence in plan.sentences)
    assert plan.sentences
    assert plan.broken == ()


def test_one_user_more_changes_no_other_project(site: Site, sandbox: Path) -> None:
    secrets = minted(site, {}, NOW)
    after = edited(sandbox, "      alice: {}\n", "      alice: {}\n      zoe:\n")
    plan = make_plan(
        desired_objects(after, minted(after, secrets, NOW), now=NOW), desired_objects(site, secrets, now=NOW)
    )
    assert {change.action for change in plan.changes} == {"update"}
    fields = [field.field for change in plan.changes for field in change.fields if change.kind == "WasmPlugin"]
    assert not [field for field in fields if "beacon" in field or "comet" in field]
