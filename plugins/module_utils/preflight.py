"""What hosts and the inventory must be before anything is installed.

Pure: facts in, every problem out, one line each.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

GIB = 1024**3
_PRIVATE_DOMAINS = (".localhost", ".local", ".test", ".example.com")
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Problem:
    """One thing that stands in the way. `host` is empty for what concerns the whole inventory."""

    host: str
    kind: str
    message: str

    def __str__(self) -> str:
        """The line a person reads."""
        return f"{self.host or 'inventory'}: {self.message}"


@dataclass(frozen=True)
class Needs:
    """What a host of some role must offer. Sizes in bytes, times in seconds."""

    systems: tuple[str, ...]
    architectures: tuple[str, ...]
    cpus: int
    memory: int
    disk: Mapping[str, int]
    ports: tuple[int, ...]
    modules: tuple[str, ...]
    cgroup_controllers: tuple[str, ...]
    resolves: tuple[str, ...]
    clock_synchronised: bool
    max_clock_offset: float
    python: tuple[int, int]


@dataclass(frozen=True)
class Host:
    """What was seen on a host. `listening` maps a TCP port to the program that holds it."""

    name: str
    hostname: str
    system: str
    architecture: str
    cpus: int
    memory: int
    free: Mapping[str, int]
    listening: Mapping[int, str]
    clock_synchronised: bool
    clock_offset: float
    resolved: Mapping[str, bool]
    swap: int
    modules: frozenset[str]
    cgroup_controllers: frozenset[str]
    init: str
    python: tuple[int, int]
    root: bool
    default_route: bool
    machine_id: str
    firewall: str
    own_ports: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Inventory:
    """What hosts.yml and group_vars say.

    `addresses` maps a host to where Ansible reaches it; `secrets` maps a name to
    missing, placeholder or set, never to its value.
    """

    servers: tuple[str, ...]
    agents: tuple[str, ...]
    registries: tuple[str, ...]
    sandboxes: tuple[str, ...]
    addresses: Mapping[str, str]
    api_endpoint: str
    redis_mode: str
    domain: str
    certificate_mode: str
    secrets: Mapping[str, str]
    unpinned: tuple[str, ...]
    bundle: bool
    cluster_cidrs: tuple[str, ...] = ()


def host_from_facts(name: str, facts: Mapping[str, Any]) -> Host:
    """Turn what module preflight_facts returned (JSON: lists, text keys) into a Host."""
    listening = {int(port): program for port, program in facts["listening"].items()}
    return Host(
        name=name,
        **{
            key: facts[key]
            for key in (f.name for f in dataclasses.fields(Host))
            if key not in ("name", "listening", "modules", "cgroup_controllers", "python", "own_ports")
        },
        listening=listening,
        modules=frozenset(facts["modules"]),
        cgroup_controllers=frozenset(facts["cgroup_controllers"]),
        python=(facts["python"][0], facts["python"][1]),
        own_ports=frozenset(facts["own_ports"]),
    )


def judge_host(host: Host, needs: Needs) -> tuple[Problem, ...]:
    """Every problem of one host."""
    return tuple(Problem(host.name, kind, message) for check in _HOST_CHECKS for kind, message in check(host, needs))


def judge_hosts(hosts: Iterable[Host]) -> tuple[Problem, ...]:
    """Problems that only show when hosts are compared."""
    hosts = tuple(hosts)
    problems = []
    for kind, what, value in (
        ("hostname_twice", "the host name", attrgetter("hostname")),
        ("machine_id_twice", "/etc/machine-id (a cloned disk?)", attrgetter("machine_id")),
    ):
        for shared, count in Counter(value(host) for host in hosts).items():
            if shared and count > 1:
                names = ", ".join(host.name for host in hosts if value(host) == shared)
                problems.append(Problem("", kind, f"{names} share {what}; every host needs its own"))
    return tuple(problems)


def judge_inventory(inventory: Inventory) -> tuple[Problem, ...]:
    """Every problem of the inventory itself."""
    return tuple(Problem("", kind, message) for check in _INVENTORY_CHECKS for kind, message in check(inventory))


_Found = Iterator[tuple[str, str]]


def _system(host: Host, needs: Needs) -> _Found:
    if host.system not in needs.systems:
        yield "system", f"runs {host.system}; supported: {', '.join(needs.systems)}"
    if host.architecture not in needs.architectures:
        yield "architecture", f"is {host.architecture}; supported: {', '.join(needs.architectures)}"
    if host.init != "systemd":
        yield "init", f"process 1 is {host.init}, not systemd; use a whole host or virtual machine"
    if host.python < needs.python:
        yield "python", f"has Python {_dotted(host.python)}; Ansible needs {_dotted(needs.python)} or newer"
    if not host.root:
        yield "root", "the login cannot become root; set ansible_become and a password, or log in as root"


def _size(host: Host, needs: Needs) -> _Found:
    if host.cpus < needs.cpus:
        yield "cpu", f"has {host.cpus} CPU cores; {needs.cpus} are needed"
    if host.memory < needs.memory:
        yield "memory", f"has {_gib(host.memory)} of memory; {_gib(needs.memory)} are needed"
    for path, bytes_needed in needs.disk.items():
        free = host.free.get(path, 0)
        if free < bytes_needed:
            yield "disk", f"has {_gib(free)} free under {path}; {_gib(bytes_needed)} are needed"
    if host.swap:
        yield "swap", f"has {_gib(host.swap)} of swap on; turn it off (swapoff -a) and take it out of /etc/fstab"


def _network(host: Host, needs: Needs) -> _Found:
    for port in needs.ports:
        if port in host.listening and port not in host.own_ports:
            yield "port", f"port {port} is taken by {host.listening[port] or 'another program'}; stop it"
    for name in needs.resolves:
        if not host.resolved.get(name, False):
            yield "dns", f"cannot resolve {name}; check /etc/resolv.conf and the DNS records"
    if not host.default_route:
        yield "default_route", "has no default route; k3s picks its node address by it"
    if not host.resolved.get(host.hostname, False):
        yield "hostname_unresolved", f"cannot resolve its own name {host.hostname}; add it to /etc/hosts"
    if not _HOSTNAME.fullmatch(host.hostname):
        yield "hostname", f"its host name {host.hostname!r} is no valid node name (small letters, digits, dashes)"
    if host.firewall:
        yield "firewall", f"{host.firewall} is active and would cut the pods' network; turn it off or open k3s's ports"


def _kernel(host: Host, needs: Needs) -> _Found:
    missing = [name for name in needs.modules if name not in host.modules]
    if missing:
        yield "kernel_module", f"the kernel has no module {', '.join(missing)}; install the distribution's full kernel"
    missing = [name for name in needs.cgroup_controllers if name not in host.cgroup_controllers]
    if missing:
        yield (
            "cgroup",
            f"the cgroup controllers {', '.join(missing)} are off; add cgroup_enable= to the kernel's command line",
        )


def _clock(host: Host, needs: Needs) -> _Found:
    if needs.clock_synchronised and not host.clock_synchronised:
        yield "clock_unsynchronised", "its clock is not synchronised; install and start chrony or systemd-timesyncd"
    elif abs(host.clock_offset) > needs.max_clock_offset:
        yield "clock_offset", f"its clock is {host.clock_offset:+.0f} s off the control machine's; fix its time source"
    if not host.machine_id:
        yield "machine_id", "/etc/machine-id is empty; run systemd-machine-id-setup"


def _servers(inventory: Inventory) -> _Found:
    count = len(inventory.servers)
    if not count:
        yield "servers_none", "group k3s_servers is empty; name one server, or three for high availability"
    elif count % 2 == 0:
        yield "servers_even", f"group k3s_servers has {count} hosts; etcd needs an odd number (1, 3, 5)"
    if count > 1 and not inventory.api_endpoint:
        yield "endpoint", "with several servers k3s_api_endpoint must name their load balancer, virtual IP or DNS name"
    both = sorted(set(inventory.servers) & set(inventory.agents))
    if both:
        yield "server_and_agent", f"{', '.join(both)}: in k3s_servers and k3s_agents at once; a server also runs pods"
    if len(inventory.registries) != 1:
        yield "registry", f"group registry has {len(inventory.registries)} hosts; exactly one keeps the site's images"
    if inventory.sandboxes and inventory.servers:
        yield "sandbox_and_cluster", "groups sandbox and k3s_servers are both filled; use two inventories"


def _addresses(inventory: Inventory) -> _Found:
    for address, count in sorted(Counter(inventory.addresses.values()).items()):
        if count > 1:
            names = ", ".join(sorted(host for host, where in inventory.addresses.items() if where == address))
            yield "address_twice", f"{names} have the same ansible_host {address}"
    for host, address in sorted(inventory.addresses.items()):
        for cidr in inventory.cluster_cidrs:
            if _inside(address, cidr):
                yield (
                    "cidr",
                    f"{host} ({address}) lies in the cluster's own range {cidr}; set another range for k3s",
                )


def _site(inventory: Inventory) -> _Found:
    if inventory.redis_mode == "replication" and len({*inventory.servers, *inventory.agents}) < 3:
        yield "redis_nodes", "redis_mode replication needs three hosts; use standalone on fewer"
    if inventory.certificate_mode in ("staging", "production") and inventory.domain.endswith(
        (".localhost", ".local", ".test", ".example.com")
    ):
        yield (
            "domain",
            f"no authority signs certificates for {inventory.domain}; set base_domain or another mode",
        )
    missing = [name for name, state in sorted(inventory.secrets.items()) if state == "missing"]
    if missing:
        yield "secret_missing", f"secrets {', '.join(missing)} are not set; make them with playbooks/secrets.yml"
    placeholders = [name for name, state in sorted(inventory.secrets.items()) if state == "placeholder"]
    if placeholders:
        yield (
            "secret_placeholder",
            f"secrets {', '.join(placeholders)} are still placeholders; make them with playbooks/secrets.yml",
        )
    if inventory.unpinned and not inventory.bundle:
        yield (
            "unpinned",
            f"versions.yml has no digest for {_some(inventory.unpinned)}: run `make lock`, or set bundle_dir",
        )


_HOST_CHECKS: tuple[Callable[[Host, Needs], _Found], ...] = (_system, _size, _network, _kernel, _clock)
_INVENTORY_CHECKS: tuple[Callable[[Inventory], _Found], ...] = (_servers, _addresses, _site)


def _inside(address: str, cidr: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(cidr)
    except ValueError:
        return False


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
