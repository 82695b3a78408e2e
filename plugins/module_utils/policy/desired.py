"""All objects of a site: what Higress is given on a cluster, and what the sandbox compiles."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from ..members import Tenant, tenant_at
from ..secret import Secrets, check, needed_by
from ..spec import Project, Site, SiteRecord
from .budget import budget_objects
from .chain import CHAIN
from .key_auth import key_secret
from .objects import PROJECT_RECORD, SITE_RECORD, Object, build, encoded
from .plugin import wasm_plugins
from .routes import custom_response_filter, mcp_bridge, routes


def desired_objects(site: Site, secrets: Secrets, *, now: datetime) -> tuple[Object, ...]:
    """Every object of SITE at NOW, sorted by kind and name; the same input gives the same bytes.

    Raises SecretError when a needed secret is missing or doubled, PolicyError when an object would be too large.
    """
    tenants = [tenant_at(project, now) for project in site.projects]
    check(tenants, secrets)
    return tuple(sorted(_objects(site, tenants, secrets), key=lambda item: (item["kind"], item["metadata"]["name"])))


def _objects(site: Site, tenants: Sequence[Tenant], secrets: Secrets) -> Iterator[Object]:
    yield _site_record(site)
    yield mcp_bridge(site)
    yield custom_response_filter(site)
    yield from budget_objects(site)
    for plugin in CHAIN:
        yield from wasm_plugins(plugin, site, tenants)
    for tenant in tenants:
        yield from routes(site, tenant.project)
        yield _spec_record(site, tenant.project)
        yield _keys(site, tenant, secrets[tenant.project.project])


def _site_record(site: Site) -> Object:
    """The orgs, prices and settings of the site as they were applied: the same for what its Projects share."""
    record = SiteRecord(gateway=site.gateway, prices=site.prices)
    text = json.dumps(record.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=True)
    return build("v1", "ConfigMap", SITE_RECORD, site.gateway.site, data={"spec": text})


def _spec_record(site: Site, project: Project) -> Object:
    """The Project as it was applied, so that the next plan can say in people's terms what changes."""
    text = json.dumps(project.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=True)
    name = f"{PROJECT_RECORD}{project.project}"
    return build("v1", "ConfigMap", name, site.gateway.site, project=project.project, data={"spec": text})


def _keys(site: Site, tenant: Tenant, known: Mapping[str, str]) -> Object:
    project = tenant.project
    data = {name: encoded(known[name]) for name in needed_by(tenant)}
    name = key_secret(project)
    return build("v1", "Secret", name, site.gateway.site, project=project.project, type="Opaque", data=data)
