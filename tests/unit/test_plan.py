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


def test_one_user_more_changes_no_other_project(site: Site, sandbox: Path) -> None:
    secrets = minted(site, {}, NOW)
    after = edited(sandbox, "      alice: {}\n", "      alice: {}\n      zoe:\n")
    plan = make_plan(
        desired_objects(after, minted(after, secrets, NOW), now=NOW), desired_objects(site, secrets, now=NOW)
    )
    assert {change.action for change in plan.changes} == {"update"}
    fields = [field.field for change in plan.changes for field in change.fields if change.kind == "WasmPlugin"]
    assert not [field for field in fields if "beacon" in field or "comet" in field]
