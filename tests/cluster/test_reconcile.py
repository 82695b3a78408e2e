"""Tenants on a real API server: accepted strictly, kept when unchanged, named when contested, pruned with care."""

from __future__ import annotations

import copy
import json
from datetime import timedelta

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import (
    Client,
    Conflict,
    RefusedError,
    preview,
    read,
    reconcile,
    stored_keys,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.errors import ConflictsError, InvalidError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.kinds import (
    CONFIG_MAP,
    INGRESS,
    KINDS,
    WASM_PLUGIN,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.told import result
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import budget
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.plugin import shard_of
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.records import record_name, recorded_texts
from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import SecretError

from .editing import apply_strictly, edit_by_hand
from .sites import NOW, project, site, wanted, with_single_records, with_user

# Where a site that is too large for one ConfigMap keeps the Project's budgets.
BUDGET_PART = f"budget-config-{shard_of('atlas', budget.PARTS) + 1}"
RETIRING = {"name": "default", "not_after": (NOW + timedelta(days=7)).isoformat()}


def versions(cluster: Client) -> dict[tuple[str, str, str], str]:
    return {key: item["metadata"]["resourceVersion"] for key, item in read(cluster, "lab").items()}


def keys_of(cluster: Client, name: str = "atlas") -> dict[str, str]:
    return stored_keys(cluster, "lab")[name]


def test_every_object_is_accepted_with_strict_validation(cluster: Client) -> None:
    outcome = reconcile(cluster, wanted(site(project("atlas"), project("beacon"))))
    live = read(cluster, "lab")
    assert {key[0] for key in live} == {"Secret", "ConfigMap", "McpBridge", "WasmPlugin", "Ingress", "EnvoyFilter"}
    assert outcome.writes == len(live)
    for move in outcome.prepared.transitions:
        assert move.desired
        assert apply_strictly(cluster, move.desired) == 200


def test_strict_validation_is_on(cluster: Client) -> None:
    """Of every apply, whatever it says: an unknown field and a wrong enum are refused, and the message says which."""
    reconcile(cluster, wanted(site(project("atlas"))))
    good = read(cluster, "lab")[("WasmPlugin", "higress-system", "key-auth")]
    for field, value in (("phaze", "AUTHN"), ("phase", "LATER")):
        item = {"apiVersion": good["apiVersion"], "kind": "WasmPlugin", "metadata": {"name": "wrong"}}
        with pytest.raises(InvalidError, match=f"WasmPlugin/wrong.*{field}"):
            cluster.apply({**item, "spec": {field: value}})
        assert apply_strictly(cluster, {**item, "spec": {field: value}}) != 200
    for kind in KINDS:
        item = {"apiVersion": kind.api, "kind": kind.name, "metadata": {"name": "wrong", "labells": {}}}
        with pytest.raises(InvalidError, match=f"{kind.name}/wrong"):
            cluster.apply(item)
    assert all(not cluster.find(kind, name="wrong") for kind in KINDS)


def test_a_second_run_changes_nothing_and_sends_nothing(cluster: Client) -> None:
    spec = wanted(site(project("atlas")))
    reconcile(cluster, spec)
    before = versions(cluster)
    again = reconcile(cluster, spec)
    assert (again.writes, again.prepared.plan.changes) == (0, ())
    assert versions(cluster) == before


@pytest.mark.parametrize(("part_bytes", "budgets"), [(900_000, "budget-config"), (600, BUDGET_PART)])
def test_one_user_more_touches_only_what_names_them(
    cluster: Client, monkeypatch: pytest.MonkeyPatch, part_bytes: int, budgets: str
) -> None:
    monkeypatch.setattr(budget, "PART_BYTES", part_bytes)
    reconcile(cluster, wanted(site(project("atlas"), project("beacon"))))
    before = versions(cluster)
    reconcile(cluster, wanted(site(with_user(project("atlas"), "dev", "zoe"), project("beacon"))))
    after = versions(cluster)
    assert {key[:1] + key[2:] for key in before if before[key] != after[key]} == {
        ("Secret", "keys-atlas"),
        ("WasmPlugin", "key-auth"),
        ("WasmPlugin", "identity"),
        ("ConfigMap", record_name("atlas")),
        ("ConfigMap", budgets),
    }


def test_a_preview_changes_nothing_and_says_what_the_run_does(cluster: Client) -> None:
    reconcile(cluster, wanted(site(project("atlas"))))
    spec = wanted(site(project("atlas", blocked=True), project("beacon")))
    before = versions(cluster)
    told = preview(cluster, spec)
    assert versions(cluster) == before
    assert result(reconcile(cluster, spec).prepared) == result(told)


def test_anothers_edit_is_drift_and_a_conflict_that_names_who(cluster: Client) -> None:
    spec = wanted(site(project("atlas")))
    reconcile(cluster, spec)
    edit_by_hand(cluster, {"spec": {"failStrategy": "FAIL_OPEN"}})
    before = versions(cluster)
    with pytest.raises(ConflictsError, match="kubectl-edit") as caught:
        reconcile(cluster, spec)
    assert caught.value.conflicts == (Conflict("WasmPlugin/key-auth", "spec.failStrategy", "kubectl-edit"),)
    assert versions(cluster) == before
    taken = reconcile(cluster, wanted(site(project("atlas")), force=True))
    assert [change.name for change in taken.prepared.plan.changes] == ["key-auth"]
    assert reconcile(cluster, spec).writes == 0


def test_a_field_somebody_added_is_drift_too(cluster: Client) -> None:
    """`configDisable`-like additions switch a plugin off without touching a field of ours."""
    spec = wanted(site(project("atlas")))
    reconcile(cluster, spec)
    edit_by_hand(cluster, {"spec": {"sha256": "0" * 64}})
    edit_by_hand(cluster, {"metadata": {"annotations": {"higress.io/auth-type": "off"}}}, INGRESS, "atlas--entry")
    with pytest.raises(ConflictsError) as caught:
        reconcile(cluster, spec)
    assert [(found.object, found.field) for found in caught.value.conflicts] == [
        ("Ingress/atlas--entry", "metadata.annotations.higress.io/auth-type"),
        ("WasmPlugin/key-auth", "spec.sha256"),
    ]
    reconcile(cluster, wanted(site(project("atlas")), force=True))
    assert "sha256" not in read(cluster, "lab")[("WasmPlugin", "higress-system", "key-auth")]["spec"]
    assert reconcile(cluster, spec).writes == 0


def test_a_note_of_somebody_else_is_left_alone(cluster: Client) -> None:
    spec = wanted(site(project("atlas")))
    reconcile(cluster, spec)
    edit_by_hand(cluster, {"metadata": {"annotations": {"team/note": "hello"}}})
    assert reconcile(cluster, spec).writes == 0


def test_a_field_or_object_that_is_gone_comes_back(cluster: Client) -> None:
    spec = wanted(site(project("atlas")))
    reconcile(cluster, spec)
    edit_by_hand(cluster, {"spec": {"failStrategy": None}})
    cluster.delete(read(cluster, "lab")[("Ingress", "higress-system", "atlas.coding")])
    repaired = reconcile(cluster, spec)
    assert {change.name for change in repaired.prepared.plan.changes} == {"key-auth", "atlas.coding"}


def test_a_conflict_between_reading_and_writing_is_named_by_the_server(cluster: Client) -> None:
    """An edit that came after the list: the API server's own answer names manager and field."""
    reconcile(cluster, wanted(site(project("atlas"))))
    stale = copy.deepcopy(read(cluster, "lab")[("WasmPlugin", "higress-system", "key-auth")])
    edit_by_hand(cluster, {"spec": {"priority": 7}})
    item = {part: stale[part] for part in ("apiVersion", "kind", "spec")}
    with pytest.raises(ConflictsError) as caught:
        cluster.apply({**item, "metadata": {"name": "key-auth"}})
    assert caught.value.conflicts == (Conflict("WasmPlugin/key-auth", "spec.priority", "kubectl-edit"),)


def test_records_of_the_first_layout_are_taken_over(cluster: Client) -> None:
    """Nothing is told, as nothing changes for people; a Project without a spec is kept as it was recorded."""
    whole = site(project("atlas"), project("beacon", blocked=True), project("comet"))
    reconcile(cluster, wanted(whole))
    before = recorded_texts(read(cluster, "lab").values())
    with_single_records(cluster)
    assert {name for kind, _, name in read(cluster, "lab") if kind == "ConfigMap" and name.startswith("project-")}
    outcome = reconcile(cluster, wanted(site(project("atlas"), project("comet"))))
    assert (outcome.prepared.kept, outcome.prepared.plan.sentences) == (("beacon",), ())
    live = read(cluster, "lab")
    assert {change.kind for change in outcome.prepared.plan.changes} == {"ConfigMap"}
    assert [name for _, _, name in live if name.startswith("project-")] == []
    assert recorded_texts(live.values()) == before
    assert reconcile(cluster, wanted(whole)).writes == 0


def test_without_prune_a_project_without_a_spec_goes_on(cluster: Client) -> None:
    reconcile(cluster, wanted(site(project("atlas"), project("beacon"))))
    outcome = reconcile(cluster, wanted(site(project("atlas"))))
    assert (outcome.writes, outcome.prepared.kept) == (0, ("beacon",))


def test_prune_removes_all_of_a_project_and_only_what_is_ours(cluster: Client) -> None:
    names = ("atlas", "beacon", "comet", "delta", "echo", "foxtrot")
    reconcile(cluster, wanted(site(*map(project, names))))
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "project-theirs"}, "data": {"a": "b"}}
    other_site = copy.deepcopy(theirs)
    other_site["metadata"] = {
        "name": "project-elsewhere",
        "labels": {
            "app.kubernetes.io/managed-by": "opsta-ai-gateway",
            "ai-gateway.opsta.tech/site": "elsewhere",
            "ai-gateway.opsta.tech/project": "elsewhere",
        },
    }
    cluster.create(theirs)
    cluster.create(other_site)
    reconcile(cluster, wanted(site(*map(project, names[:-1])), prune=True))
    assert not [
        key for key, item in read(cluster, "lab").items() if "foxtrot" in json.dumps(item["metadata"]["labels"])
    ]
    assert "foxtrot" not in json.dumps([item.get("spec") for item in read(cluster, "lab").values()])
    assert cluster.get(CONFIG_MAP, "project-theirs")
    assert cluster.get(CONFIG_MAP, "project-elsewhere")


def test_too_large_a_removal_is_refused_names_whom_and_yields_to_the_typed_sentence(cluster: Client) -> None:
    reconcile(cluster, wanted(site(project("atlas"), project("beacon"), project("comet"))))
    before = versions(cluster)
    smaller = site(project("atlas"))
    with pytest.raises(RefusedError, match=r"2 of 3 Projects.*beacon, comet.*exactly: remove beacon comet"):
        reconcile(cluster, wanted(smaller, prune=True))
    assert versions(cluster) == before
    reconcile(cluster, wanted(smaller, prune=True, confirm="remove beacon comet"))
    assert {key[2] for key in read(cluster, "lab") if key[0] == "Secret"} == {"keys-atlas"}


def test_the_whole_site_goes_only_with_its_sentence(cluster: Client) -> None:
    whole = site(project("atlas"))
    reconcile(cluster, wanted(whole))
    with pytest.raises(RefusedError, match="remove site lab"):
        reconcile(cluster, wanted(whole, state="absent"))
    reconcile(cluster, wanted(whole, state="absent", confirm="remove site lab"))
    assert read(cluster, "lab") == {}


def test_keys_are_made_once_and_read_back(cluster: Client) -> None:
    reconcile(cluster, wanted(site(project("atlas"))))
    first = keys_of(cluster)
    # The provider's key came from a vault once; it need not be given again.
    reconcile(cluster, wanted(site(with_user(project("atlas"), "dev", "zoe")), secrets={}))
    second = keys_of(cluster)
    assert {name: second[name] for name in first} == first
    assert len(set(second.values())) == len(second)


def test_a_given_key_wins(cluster: Client) -> None:
    given = {"atlas": {"provider.main": "sk-provider", "user.user-000.default": "sk-from-the-vault"}}
    reconcile(cluster, wanted(site(project("atlas")), secrets=given))
    assert keys_of(cluster)["user.user-000.default"] == "sk-from-the-vault"


def test_a_key_in_use_is_never_silently_replaced(cluster: Client) -> None:
    reconcile(cluster, wanted(site(project("atlas"))))
    cluster.delete(read(cluster, "lab")[("Secret", "higress-system", "keys-atlas")])
    with pytest.raises(SecretError, match=r"atlas: user\.user-000\.default"):
        reconcile(cluster, wanted(site(project("atlas"))))


def test_a_missing_providers_key_is_asked_for_not_made_up(cluster: Client) -> None:
    with pytest.raises(SecretError, match=r"atlas: provider\.main"):
        reconcile(cluster, wanted(site(project("atlas")), secrets={}))


def test_a_rotation_overlaps_until_the_old_keys_time(cluster: Client) -> None:
    def with_keys(*keys: dict[str, str]) -> dict[str, object]:
        users = {"user-000": {"keys": list(keys)}}
        return {"groups": {"dev": {"models": ["coding"], "users": users}}}

    old, new = RETIRING, {"name": "second"}
    reconcile(cluster, wanted(site(project("atlas", **with_keys({"name": "default"})))))
    first = keys_of(cluster)["user.user-000.default"]
    both = site(project("atlas", **with_keys(old, new)))
    reconcile(cluster, wanted(both))
    keys = keys_of(cluster)
    assert keys["user.user-000.default"] == first
    assert keys["user.user-000.second"] != first
    later = wanted(both, now=NOW + timedelta(days=8))
    reconcile(cluster, later)
    assert "user.user-000.default" not in keys_of(cluster)
    plugin = cluster.get(WASM_PLUGIN, "key-auth")
    assert plugin
    assert "user.user-000.default" not in json.dumps(plugin["spec"])
    assert reconcile(cluster, later).writes == 0
