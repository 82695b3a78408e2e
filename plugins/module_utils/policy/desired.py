"""All objects of a site: what Higress is given on a cluster, and what the sandbox compiles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ..members import Tenant, tenant_at
from ..secret import Secrets, check, needed_by
from ..spec import Site
from .budget import budget_objects
from .chain import CHAIN
from .key_auth import key_secret
from .objects import Object, build, encoded
from .plugin import wasm_plugins
from .records import record_objects
from .routes import custom_response_filter, mcp_bridge, routes


@dataclass(frozen=True)
class Policy:
    """A site at a moment, but for its keys: what is known before a cluster has said which keys there are."""

    site: Site
    tenants: tuple[Tenant, ...]
    objects: tuple[Object, ...]


def policy_at(site: Site, now: datetime) -> Policy:
    """The policy of SITE at NOW. Raises PolicyError when an object would be too large."""
    tenants = tuple(tenant_at(project, now) for project in site.projects)
    return Policy(site, tenants, tuple(_objects(site, tenants)))


def with_keys(policy: Policy, secrets: Secrets) -> tuple[Object, ...]:
    """Every object of POLICY, sorted by kind and name. Raises SecretError when a secret is missing or doubled."""
    check(policy.tenants, secrets)
    keys = (_keys(policy.site, tenant, secrets[tenant.project.project]) for tenant in policy.tenants)
    return tuple(sorted((*policy.objects, *keys), key=lambda item: (item["kind"], item["metadata"]["name"])))


def desired_objects(site: Site, secrets: Secrets, *, now: datetime) -> tuple[Object, ...]:
    """Every object of SITE at NOW, sorted by kind and name; the same input gives the same bytes.

    Raises SecretError when a needed secret is missing or doubled, PolicyError when an object would be too large.
    """
    return with_keys(policy_at(site, now), secrets)


def _objects(site: Site, tenants: Sequence[Tenant]) -> Iterator[Object]:
    yield from record_objects(site)
    yield mcp_bridge(site)
    yield custom_response_filter(site)
    yield from budget_objects(site)
    for plugin in CHAIN:
        yield from wasm_plugins(plugin, site, tenants)
    for project in site.projects:
        yield from routes(site, project)


def _keys(site: Site, tenant: Tenant, known: Mapping[str, str]) -> Object:
    project = tenant.project
    data = {name: encoded(known[name]) for name in needed_by(tenant)}
    name = key_secret(project)
    return build("v1", "Secret", name, site.gateway.site, project=project.project, type="Opaque", data=data)
