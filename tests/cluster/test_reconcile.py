"""Tenants on a real API server: accepted strictly, told truthfully, kept when unchanged, named when contested."""

from __future__ import annotations

from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import (
    Client,
    read,
    reconcile,
)

from .sites import project, site, wanted


def test_every_object_is_accepted_with_strict_validation(cluster: Client) -> None:
    outcome = reconcile(cluster, wanted(site(project("atlas"), project("beacon"))))
    live = read(cluster, "lab")
    assert {key[0] for key in live} == {"Secret", "ConfigMap", "McpBridge", "WasmPlugin", "Ingress", "EnvoyFilter"}
    assert outcome.writes == len(live)


def test_a_second_run_changes_nothing_and_sends_nothing(cluster: Client) -> None:
    spec = wanted(site(project("atlas")))
    reconcile(cluster, spec)
    before = {key: item["metadata"]["resourceVersion"] for key, item in read(cluster, "lab").items()}
    again = reconcile(cluster, spec)
    after = {key: item["metadata"]["resourceVersion"] for key, item in read(cluster, "lab").items()}
    assert (again.writes, again.prepared.plan.changes) == (0, ())
    assert after == before
