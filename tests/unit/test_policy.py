"""What each plugin is given for the example Projects, and what must hold for any site."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import CHAIN, Object, PolicyError, desired_objects
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.plugin import shard_of
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.records import (
    SHARDS,
    record_name,
    record_objects,
    recorded_projects,
    recorded_texts,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.routes import route_names
from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import SecretError, minted
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Group, Site, User

from .conftest import NOW

Objects = dict[tuple[str, str], Object]
PHASES = ("AUTHN", "AUTHZ", "STATS", "UNSPECIFIED_PHASE")


def rules_of(objects: Objects, plugin: str, project: str) -> list[dict[str, Any]]:
    rules = objects["WasmPlugin", plugin]["spec"].get("matchRules", [])
    return [r for r in rules if r.get("ingress", [""])[0].startswith((f"{project}--", f"{project}."))]


def rule(objects: Objects, plugin: str, project: str) -> dict[str, Any]:
    found: dict[str, Any] = rules_of(objects, plugin, project)[0]["config"]
    return found


def test_the_chain_is_the_contracts_order(objects: Objects) -> None:
    plugins = [item["spec"] | item["metadata"] for (kind, _), item in objects.items() if kind == "WasmPlugin"]
    ordered = sorted(plugins, key=lambda spec: (PHASES.index(spec["phase"]), -spec["priority"]))
    assert [spec["name"] for spec in ordered] == [plugin.name for plugin in CHAIN]
    chain = [spec["name"] for spec in ordered]
    contract = [
        "key-auth",
        "ai-data-masking",
        "prompt-guard",
        "model-allowlist",
        "ai-statistics",
        "ai-quota",
        "ai-token-ratelimit-user",
    ]
    assert [name for name in chain if name in contract] == contract
    assert all(spec["failStrategy"] == "FAIL_CLOSE" for spec in ordered)


def test_plugins_are_pulled_with_the_registrys_account(objects: Objects) -> None:
    specs = [item["spec"] for (kind, _), item in objects.items() if kind == "WasmPlugin"]
    assert {spec["imagePullSecret"] for spec in specs} == {"registry-pull"}


def test_programs_that_are_no_images_need_no_account(site: Site) -> None:
    gateway = site.gateway.model_copy(update={"plugin_registry": "file:///opt/plugins"})
    elsewhere = site.model_copy(update={"gateway": gateway})
    found = desired_objects(elsewhere, minted(elsewhere, {}, NOW), now=NOW)
    assert not any("imagePullSecret" in item["spec"] for item in found if item["kind"] == "WasmPlugin")


def test_no_two_plugins_share_phase_and_priority(site: Site) -> None:
    sharded = site.model_copy(
        update={"gateway": site.gateway.model_copy(update={"shards": {p.name: 64 for p in CHAIN}})}
    )
    found = desired_objects(sharded, minted(sharded, {}, NOW), now=NOW)
    places = Counter((o["spec"]["phase"], o["spec"]["priority"]) for o in found if o["kind"] == "WasmPlugin")
    assert max(places.values()) == 1


def test_every_tenant_rule_lists_every_route_of_its_project(site: Site, objects: Objects) -> None:
    for project in site.projects:
        for plugin in ("prompt-guard", "model-allowlist", "usage-guard"):
            (found,) = rules_of(objects, plugin, project.project)
            assert found["ingress"] == route_names(project)
    ingresses = {name for kind, name in objects if kind == "Ingress"}
    assert ingresses == {name for project in site.projects for name in route_names(project)}


def test_only_a_redirect_of_the_gateway_comes_on_a_fallback_route(objects: Objects) -> None:
    (key_auth,) = rules_of(objects, "key-auth", "atlas")
    assert key_auth["ingress"] == ["atlas--entry", "atlas.bulk", "atlas.coding-default"]
    client, redirect = rules_of(objects, "identity", "atlas")
    assert client["ingress"] == key_auth["ingress"]
    assert client["config"]["remember"] is True
    assert (redirect["ingress"], redirect["config"]["redirected"]) == (["atlas.coding-default--fallback"], True)
    assert "remember" not in rule(objects, "identity", "comet")


def test_a_rule_always_has_a_match(objects: Objects) -> None:
    """A matchRule without one drops the whole update on a real Higress."""
    for (kind, name), item in objects.items():
        if kind == "WasmPlugin":
            assert all(r.get("ingress") or r.get("service") for r in item["spec"].get("matchRules", [])), name


def test_keys_of_one_project_are_not_allowed_on_another(objects: Objects) -> None:
    assert rule(objects, "key-auth", "atlas")["allow"] == ["atlas.alice", "atlas.bob", "atlas.carol", "atlas.olga"]
    assert all(name.startswith("comet.") for name in rule(objects, "key-auth", "comet")["allow"])


def test_no_secret_stands_outside_a_secret(site: Site) -> None:
    secrets = minted(site, {}, NOW)
    values = {value for project in secrets.values() for value in project.values()}
    found = desired_objects(site, secrets, now=NOW)
    text = json.dumps([item for item in found if item["kind"] != "Secret"])
    assert not [value for value in values if value in text]


def test_an_expired_key_is_no_credential(site: Site) -> None:
    later = datetime(2027, 2, 1, tzinfo=UTC)
    found = desired_objects(site, minted(site, {}, later), now=later)
    (key_auth,) = [o for o in found if o["metadata"]["name"] == "key-auth"]
    (carol,) = [c for c in key_auth["spec"]["defaultConfig"]["consumers"] if c["name"] == "atlas.carol"]
    assert carol["credentials"] == [
        "Bearer ${secret.higress-system/keys-atlas.user.carol.2026}",
        "${secret.higress-system/keys-atlas.user.carol.2026}",
    ]


def test_missing_and_doubled_keys_are_told_together_without_values(site: Site) -> None:
    secrets = minted(site, {}, NOW)
    secrets["atlas"]["user.bob.default"] = secrets["comet"]["user.indexer.default"] = "sk-the-same"
    del secrets["beacon"]["provider.next"]
    with pytest.raises(SecretError) as caught:
        desired_objects(site, secrets, now=NOW)
    assert "missing: beacon: provider.next" in str(caught.value)
    assert "the same key for atlas: user.bob.default, comet: user.indexer.default" in str(caught.value)
    assert "sk-the-same" not in str(caught.value)


def test_the_allowlist_knows_groups_and_workloads(objects: Objects) -> None:
    found = rule(objects, "model-allowlist", "atlas")
    assert found["groups"] == {"dev": ["bulk", "coding-default"], "ops": ["bulk"]}
    assert found["workloads"] == {"bulk": "bulk"}


def test_limits_are_one_object_per_level(objects: Objects) -> None:
    user = rule(objects, "ai-token-ratelimit-user", "atlas")["rule_items"]
    assert len(user) == 1
    assert user[0]["limit_keys"][0] == {"key": "alice", "token_per_minute": 1000000}
    assert rule(objects, "ai-token-ratelimit-project", "atlas")["rule_items"][0]["limit_keys"] == [
        {"key": "atlas", "token_per_minute": 5000000}
    ]
    refusal = json.loads(rule(objects, "ai-token-ratelimit-group", "comet")["rejected_msg"])["error"]
    assert refusal["code"] == "token_limit_exceeded"
    assert refusal["limit"] == ["200,000 tokens an hour"]
    assert refusal["resets_within_seconds"] == 3600


def with_masking(site: Site, name: str, **changes: Any) -> Site:
    projects = [
        project.model_copy(update={"masking": project.masking.model_copy(update=changes)})
        if project.project == name
        else project
        for project in site.projects
    ]
    return site.model_copy(update={"projects": tuple(projects)})


def made(site: Site) -> Objects:
    found = desired_objects(site, minted(site, {}, NOW), now=NOW)
    return {(item["kind"], item["metadata"]["name"]): item for item in found}


def test_ai_data_maskings_modes(site: Site, objects: Objects) -> None:
    strict = rule(objects, "ai-data-masking", "beacon")
    streaming = rule(made(with_masking(site, "beacon", mode="streaming")), "ai-data-masking", "beacon")
    assert (strict["deny_raw"], strict["deny_openai"]) == (True, False)
    assert (streaming["deny_raw"], streaming["deny_openai"]) == (False, True)
    assert strict["deny_code"] == 403
    assert not rules_of(objects, "ai-data-masking", "atlas") + rules_of(objects, "ai-data-masking", "comet")


def test_data_masking_is_given_the_specs_rules(site: Site, objects: Objects) -> None:
    assert rule(objects, "data-masking", "atlas") == {
        "rules": [
            {"kind": "email", "action": "mask", "value": "[e-mail]"},
            {"kind": "api_key", "action": "hash"},
            {"name": "ticket", "regex": "ATLAS-[0-9]{4,6}", "action": "mask", "value": "[ticket]"},
        ],
        "deny_words": [],
        "hash_key": "${secret.higress-system/keys-atlas.masking.hash}",
        "max_body_bytes": site.gateway.max_body_bytes,
    }
    assert "masking.hash" in objects["Secret", "keys-atlas"]["data"]
    assert "hash_key" not in rule(objects, "data-masking", "comet")


def test_every_project_has_a_rule_of_data_masking_and_other_routes_none(objects: Objects) -> None:
    """A Project that is masked elsewhere has an empty one; a route without any is refused."""
    spec = objects["WasmPlugin", "data-masking"]["spec"]
    assert spec["defaultConfig"] == {"unmatched": "deny"}
    assert [rule(objects, "data-masking", name) for name in ("beacon", "comet")] == [
        {"rules": [], "deny_words": []}
    ] * 2


@pytest.mark.parametrize("engine", ["ai-data-masking", None])
def test_one_word_moves_a_project_to_another_engine(site: Site, engine: str | None) -> None:
    moved = made(with_masking(site, "atlas", engine=engine))
    told = rules_of(moved, "ai-data-masking", "atlas"), rule(moved, "data-masking", "atlas")["rules"]
    assert [bool(rules) for rules in told] == [engine == "ai-data-masking", engine is None]
    before = made(site)
    changed = {key for key, item in moved.items() if key[0] != "Secret" and item != before[key]}
    plugins = {("WasmPlugin", "ai-data-masking"), ("WasmPlugin", "data-masking")} if engine else set()
    assert changed == {("ConfigMap", record_name("atlas"))} | plugins


def test_an_alias_reaches_its_providers(objects: Objects) -> None:
    annotations = objects["Ingress", "beacon.chat--chat-completions"]["metadata"]["annotations"]
    assert annotations["higress.io/destination"] == "90% beacon--stable.dns:80\n10% beacon--next.dns:80"
    assert annotations["higress.io/exact-match-header-x-higress-llm-model"] == "chat"
    rules = {r["service"][0]: r["config"]["provider"] for r in objects["WasmPlugin", "ai-proxy"]["spec"]["matchRules"]}
    assert rules["atlas--main.dns"]["modelMapping"] == {"bulk": "mock-small", "coding-default": "mock-large"}
    assert rules["atlas--backup.dns"]["modelMapping"] == {"coding-default": "mock-small"}


def test_a_blocked_group_and_user_are_named(site: Site) -> None:
    groups = dict(site.project("atlas").groups)
    groups["ops"] = groups["ops"].model_copy(update={"blocked": True})
    groups["dev"] = Group(models=("bulk",), users={"eve": User(blocked=True), "ann": None})
    atlas = site.project("atlas").model_copy(update={"groups": groups})
    changed = site.model_copy(update={"projects": (atlas,)})
    found = desired_objects(changed, minted(changed, {}, NOW), now=NOW)
    objects = {(o["kind"], o["metadata"]["name"]): o for o in found}
    assert rule(objects, "identity", "atlas")["blocked"] == {"groups": ["ops"], "users": ["eve"]}


def test_an_object_above_the_limit_names_the_shards_that_are_needed(site: Site) -> None:
    users = {f"user-{number}": None for number in range(9000)}
    group = Group(models=("bulk",), users=users)
    projects = tuple(
        site.project("atlas").model_copy(
            update={"project": f"p{number}", "host": f"p{number}.test", "groups": {"dev": group}}
        )
        for number in range(2)
    )
    big = site.model_copy(update={"projects": projects})
    with pytest.raises(PolicyError, match=r"shards\.key-auth: one object would be .* set it to \d+ or more"):
        desired_objects(big, minted(big, {}, NOW), now=NOW)


def test_shards_are_stable_and_pass_what_belongs_to_another(site: Site) -> None:
    assert [shard_of(name, 4) for name in ("atlas", "beacon", "comet")] == [
        shard_of(name, 4) for name in ("atlas", "beacon", "comet")
    ]
    gateway = site.gateway.model_copy(update={"shards": {"identity": 3}})
    sharded = site.model_copy(update={"gateway": gateway})
    found = desired_objects(sharded, minted(sharded, {}, NOW), now=NOW)
    shards = [
        o for o in found if o["metadata"]["name"].startswith("identity-") and "entrance" not in o["metadata"]["name"]
    ]
    assert len(shards) == 3
    assert {o["spec"]["defaultConfig"]["unmatched"] for o in shards} == {"pass"}
    routes = [name for o in shards for r in o["spec"].get("matchRules", []) for name in r["ingress"]]
    assert sorted(routes) == sorted(name for project in site.projects for name in route_names(project))


def test_the_same_site_gives_the_same_bytes(site: Site) -> None:
    secrets = minted(site, {}, NOW)
    reordered = site.model_copy(update={"projects": tuple(reversed(site.projects))})
    first, second = (json.dumps(desired_objects(s, secrets, now=NOW)) for s in (site, site))
    assert first == second
    assert {o["metadata"]["name"] for o in desired_objects(reordered, secrets, now=NOW)} == {
        o["metadata"]["name"] for o in desired_objects(site, secrets, now=NOW)
    }


def test_a_blocked_org_is_blocked_at_the_gate(site: Site) -> None:
    orgs = {**site.gateway.orgs, "globex": site.gateway.orgs["globex"].model_copy(update={"blocked": True})}
    blocked = site.model_copy(update={"gateway": site.gateway.model_copy(update={"orgs": orgs})})
    found = desired_objects(blocked, minted(blocked, {}, NOW), now=NOW)
    [identity] = [item for item in found if item["kind"] == "WasmPlugin" and item["metadata"]["name"] == "identity"]
    rules = {rule["config"]["project"]: rule["config"].get("blocked") for rule in identity["spec"]["matchRules"]}
    assert rules == {"atlas": None, "beacon": None, "comet": {"groups": ["search"]}}


def test_what_was_applied_is_recorded_in_a_few_objects(site: Site) -> None:
    """A Project's record has its place by its own name, whoever else comes or goes."""
    many = tuple(site.projects[0].model_copy(update={"project": f"p{number:03}"}) for number in range(200))
    records = list(record_objects(site.model_copy(update={"projects": many})))
    assert len(records) <= SHARDS + 1
    assert recorded_projects(recorded_texts(records)) == {project.project: project for project in many}
    fewer = {item["metadata"]["name"]: item for item in record_objects(site.model_copy(update={"projects": many[1:]}))}
    changed = [item for item in records if fewer.get(item["metadata"]["name"]) != item]
    assert [item["metadata"]["name"] for item in changed] == [record_name("p000")]


def test_a_record_that_is_too_large_names_the_project(site: Site) -> None:
    users = {f"user-{number:06}-{'x' * 40}": None for number in range(20_000)}
    atlas = site.project("atlas")
    groups = atlas.groups | {"dev": atlas.groups["dev"].model_copy(update={"users": users})}
    large = site.model_copy(update={"projects": (atlas.model_copy(update={"groups": groups}),)})
    with pytest.raises(PolicyError, match=r"projects/atlas\.yml: the record .* above 1,048,576"):
        list(record_objects(large))


@pytest.mark.parametrize("text", ["", "{", "{}", '{"version": 9}'])
def test_a_record_that_cannot_be_read_counts_as_absent(text: str) -> None:
    assert recorded_projects({"atlas": text}) == {}
