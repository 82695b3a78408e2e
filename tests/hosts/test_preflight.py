"""Every kind of bad host and inventory gets its one line, and a good one gets none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.preflight import (
    GIB,
    Host,
    Inventory,
    Needs,
    judge_host,
    judge_hosts,
    judge_inventory,
)

NEEDS = Needs(
    systems=("debian 12",),
    architectures=("x86_64",),
    cpus=4,
    memory=8 * GIB,
    disk={"/var/lib": 40 * GIB},
    ports=(6443,),
    modules=("overlay",),
    cgroup_controllers=("memory",),
    resolves=("registry.example.org",),
    clock_synchronised=True,
    max_clock_offset=5.0,
    python=(3, 9),
)
GOOD = Host(
    name="node1",
    hostname="node1",
    system="debian 12",
    architecture="x86_64",
    cpus=4,
    memory=8 * GIB,
    free={"/var/lib": 50 * GIB},
    listening={22: "sshd"},
    clock_synchronised=True,
    clock_offset=0.2,
    resolved={"registry.example.org": True, "node1": True},
    swap=0,
    modules=frozenset({"overlay"}),
    cgroup_controllers=frozenset({"memory"}),
    init="systemd",
    python=(3, 11),
    root=True,
    default_route=True,
    machine_id="a1",
    firewall="",
)
SITE = Inventory(
    servers=("node1",),
    agents=(),
    registries=("node1",),
    sandboxes=(),
    addresses={"node1": "192.0.2.1"},
    api_endpoint="",
    redis_mode="standalone",
    domain="ai.example.org",
    certificate_mode="production",
    secrets={"k3s_token": "set"},
    unpinned=(),
    bundle=False,
    cluster_cidrs=("10.42.0.0/16",),
)

BAD_HOSTS: list[tuple[str, dict[str, Any]]] = [
    ("system", {"system": "debian 11"}),
    ("architecture", {"architecture": "aarch64"}),
    ("init", {"init": "bash"}),
    ("python", {"python": (3, 7)}),
    ("root", {"root": False}),
    ("cpu", {"cpus": 2}),
    ("memory", {"memory": 4 * GIB}),
    ("disk", {"free": {"/var/lib": GIB}}),
    ("swap", {"swap": GIB}),
    ("port", {"listening": {6443: "nginx"}}),
    ("dns", {"resolved": {"node1": True}}),
    ("default_route", {"default_route": False}),
    ("hostname_unresolved", {"resolved": {"registry.example.org": True}}),
    ("hostname", {"hostname": "Node_1", "resolved": {"registry.example.org": True, "Node_1": True}}),
    ("firewall", {"firewall": "ufw"}),
    ("kernel_module", {"modules": frozenset()}),
    ("cgroup", {"cgroup_controllers": frozenset()}),
    ("clock_unsynchronised", {"clock_synchronised": False}),
    ("clock_offset", {"clock_offset": -90.0}),
    ("machine_id", {"machine_id": ""}),
]
BAD_INVENTORIES: list[tuple[str, dict[str, Any]]] = [
    ("servers_none", {"servers": ()}),
    ("servers_even", {"servers": ("node1", "node2"), "api_endpoint": "api.example.org"}),
    ("endpoint", {"servers": ("node1", "node2", "node3")}),
    ("server_and_agent", {"agents": ("node1",)}),
    ("registry", {"registries": ()}),
    ("sandbox_and_cluster", {"sandboxes": ("laptop",)}),
    ("address_twice", {"addresses": {"node1": "192.0.2.1", "node2": "192.0.2.1"}}),
    ("cidr", {"addresses": {"node1": "10.42.0.9"}}),
    ("redis_nodes", {"redis_mode": "replication"}),
    ("domain", {"domain": "gateway.example.com"}),
    ("secret_missing", {"secrets": {"k3s_token": "missing"}}),
    ("secret_placeholder", {"secrets": {"k3s_token": "placeholder"}}),
    ("unpinned", {"unpinned": ("k3s",)}),
]


def test_a_good_host_and_inventory_have_no_problem() -> None:
    assert judge_host(GOOD, NEEDS) == ()
    assert judge_inventory(SITE) == ()
    assert judge_hosts([GOOD, replace(GOOD, name="node2", hostname="node2", machine_id="b2")]) == ()


@pytest.mark.parametrize(("kind", "change"), BAD_HOSTS, ids=[kind for kind, _ in BAD_HOSTS])
def test_each_bad_host_gets_one_line(kind: str, change: dict[str, Any]) -> None:
    problems = judge_host(replace(GOOD, **change), NEEDS)
    assert [problem.kind for problem in problems] == [kind]
    assert str(problems[0]).startswith("node1: ")
    assert "\n" not in str(problems[0])


@pytest.mark.parametrize(("kind", "change"), BAD_INVENTORIES, ids=[kind for kind, _ in BAD_INVENTORIES])
def test_each_bad_inventory_gets_one_line(kind: str, change: dict[str, Any]) -> None:
    problems = judge_inventory(replace(SITE, **change))
    assert [problem.kind for problem in problems] == [kind]
    assert str(problems[0]).startswith("inventory: ")


@pytest.mark.parametrize("shared", ["hostname", "machine_id"])
def test_hosts_that_share_an_identity_are_named_together(shared: str) -> None:
    other = replace(GOOD, name="node2", hostname="node2", machine_id="b2")
    problems = judge_hosts([GOOD, replace(other, **{shared: getattr(GOOD, shared)})])
    assert [problem.kind for problem in problems] == [f"{shared}_twice"]
    assert "node1, node2" in problems[0].message


def test_all_problems_come_at_once() -> None:
    everything: dict[str, Any] = {}
    for kind, change in BAD_HOSTS:
        if kind not in ("hostname", "clock_offset"):
            everything |= change | ({"resolved": {}} if "resolved" in change else {})
    kinds = {problem.kind for problem in judge_host(replace(GOOD, **everything), NEEDS)}
    assert len(kinds) == 18


def test_a_port_of_our_own_service_is_not_in_the_way() -> None:
    mine = replace(GOOD, listening={6443: "k3s"}, own_ports=frozenset({6443}))
    assert judge_host(mine, NEEDS) == ()


def test_a_bundle_makes_up_for_missing_digests() -> None:
    assert judge_inventory(replace(SITE, unpinned=("k3s",), bundle=True)) == ()
