"""The McpBridge object: the services outside the cluster, each with its addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .problem import Problems, ProblemsOf

BLACKHOLE = "blackhole.static"
"""Where routes lead that some plugin must answer or change: nothing listens there."""

_FIELDS = frozenset({"name", "type", "domain", "port", "protocol", "sni"})
_HOSTNAME = re.compile(
    r"(?=.{1,253}$)([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)+"
)


@dataclass(frozen=True, slots=True)
class Service:
    """An upstream: `host` is how Ingresses and plugins name it (`NAME.dns`, `NAME.static`)."""

    host: str
    port: int
    addresses: tuple[tuple[str, int], ...]
    by_dns: bool
    tls: bool
    sni: str | None

    @property
    def cluster(self) -> str:
        """The cluster's name, as plugins see it in `cluster_name`."""
        return f"outbound|{self.port}||{self.host}"


def read_services(objects: Iterable[Mapping[str, Any]], problems: Problems) -> Mapping[str, Service]:
    """All services by host name; the blackhole is always among them."""
    services = {BLACKHOLE: Service(BLACKHOLE, 80, (), by_dns=False, tls=False, sni=None)}
    for obj in objects:
        of = problems.at(obj)
        if (obj.get("metadata") or {}).get("name") != "default":
            of.add("metadata.name", "Higress reads the McpBridge named `default` only")
        for i, registry in enumerate((obj.get("spec") or {}).get("registries") or []):
            service = _read(registry, f"spec.registries[{i}]", of)
            if service is None:
                continue
            if service.host in services and service.host != BLACKHOLE:
                of.add(f"spec.registries[{i}].name", f"{registry['name']!r} is there twice")
            services[service.host] = service
    return services


def _read(registry: Mapping[str, Any], path: str, problems: ProblemsOf) -> Service | None:
    problems.unknown(path, registry, _FIELDS)
    kind, protocol = registry.get("type"), registry.get("protocol", "http")
    if kind not in ("dns", "static"):
        problems.add(f"{path}.type", f"{kind!r} is not one of dns, static: Higress would stop deleting services")
        return None
    if protocol not in ("http", "https"):
        problems.add(
            f"{path}.protocol", f"{protocol!r} is not one of http, https: Higress would stop deleting services"
        )
    port = registry.get("port")
    if not isinstance(port, int) or not 0 < port < 65536:
        problems.add(f"{path}.port", f"{port!r} is no port")
        return None
    domains = [part.strip() for part in str(registry.get("domain", "")).split(",")]
    read = _hostnames if kind == "dns" else _sockets
    addresses = read(domains, port, f"{path}.domain", problems)
    sni = registry.get("sni") or (domains[0] if kind == "dns" and len(domains) == 1 else None)
    return Service(
        host=f"{registry.get('name')}.{kind}",
        port=port,
        addresses=addresses,
        by_dns=kind == "dns",
        tls=protocol == "https",
        sni=sni if protocol == "https" else None,
    )


def _hostnames(domains: list[str], port: int, path: str, problems: ProblemsOf) -> tuple[tuple[str, int], ...]:
    for domain in domains:
        if _is_ip(domain) or not _HOSTNAME.fullmatch(domain):
            problems.add(path, f"{domain!r} is no DNS name with a dot: Higress would silently leave the registry out")
    return tuple((domain, port) for domain in domains)


def _sockets(domains: list[str], _port: int, path: str, problems: ProblemsOf) -> tuple[tuple[str, int], ...]:
    sockets = []
    for domain in domains:
        address, _, port = domain.rpartition(":")
        if not _is_ip(address) or not port.isdigit():
            problems.add(path, f"{domain!r} is not IP:PORT, which a static registry needs")
            continue
        sockets.append((address, int(port)))
    return tuple(sockets)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
