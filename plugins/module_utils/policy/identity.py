"""Who a request is: headers that claim it are stripped first, and set from the consumer after key-auth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..members import Tenant
from ..spec import Site
from .plugin import Config, Plugin, Rule, no_rules
from .routes import client_routes, fallback_routes

GUARDS_TAG = "0.1.0"
# What steers routing or claims an identity behind the scenes. A client that sends one gets nothing for it.
_STRIPPED = ("x-mse-consumer", "x-hi-original-auth", "x-gate")
_STRIPPED_PREFIXES = ("x-dev-", "x-envoy-", "x-higress-")


def _entrance(_site: Site, _tenants: Sequence[Tenant]) -> Config:
    return {"stage": "entrance", "strip": list(_STRIPPED), "strip_prefixes": list(_STRIPPED_PREFIXES)}


def _assign(_site: Site, _tenants: Sequence[Tenant]) -> Config:
    return {"stage": "assign"}


def _rules(site: Site, tenant: Tenant) -> Iterator[Rule]:
    project = tenant.project
    groups = {name: sorted(group.users) for name, group in sorted(project.groups.items())}
    config: Config = {"org": project.org, "project": project.project, "groups": groups}
    blocked = _blocked(site, tenant)
    config |= {"blocked": blocked} if blocked else {}
    fallbacks = tuple(fallback_routes(project))
    # A redirect to a fallback runs the whole chain again, without the credential: the guard remembers who it let on
    # (in Envoy's own state of the request, out of reach of clients and providers) and takes nothing else there.
    yield Rule(config | ({"remember": True} if fallbacks else {}), routes=tuple(client_routes(project)))
    if fallbacks:
        yield Rule(config | {"redirected": True}, routes=fallbacks)


def _blocked(site: Site, tenant: Tenant) -> Config:
    project = tenant.project
    everybody = project.blocked or site.gateway.orgs[project.org].blocked
    groups = sorted(name for name, group in project.groups.items() if group.blocked or everybody)
    users = sorted(
        member.identity.user
        for member in tenant.members
        if member.settings.blocked and member.identity.group not in groups
    )
    return {name: names for name, names in (("groups", groups), ("users", users)) if names}


ENTRANCE = Plugin("identity-entrance", "identity", GUARDS_TAG, "AUTHN", 1000, no_rules, shared=_entrance)
IDENTITY = Plugin("identity", "identity", GUARDS_TAG, "AUTHN", 300, _rules, shared=_assign, guard=True)
