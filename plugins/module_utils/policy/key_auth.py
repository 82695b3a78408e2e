"""Higress's key-auth: a user's key names its consumer, and only on the routes of its own Project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..members import Tenant
from ..secret import user_key
from ..spec import Project, Site
from .objects import secret_reference
from .plugin import Config, Plugin, Rule
from .routes import client_routes

# key-auth refuses a configuration without consumers, and a shard may have none.
# This one is on no Project's list, and identity knows it neither: its key opens nothing.
_NO_CONSUMER = {"name": "none--", "credentials": ["none--"]}


def key_secret(project: Project) -> str:
    """The Secret with all keys of a Project."""
    return f"keys-{project.project}"


def _shared(_site: Site, tenants: Sequence[Tenant]) -> Config:
    consumers = [consumer for tenant in tenants for consumer in _consumers(tenant)]
    # global_auth false: a route without a rule belongs to another shard. identity refuses what none has checked.
    return {
        "consumers": consumers or [_NO_CONSUMER],
        "keys": ["authorization", "x-api-key"],
        "in_header": True,
        "global_auth": False,
    }


def _consumers(tenant: Tenant) -> Iterator[Config]:
    secret = key_secret(tenant.project)
    for member in tenant.members:
        references = [secret_reference(secret, user_key(member.identity.user, key)) for key in member.keys]
        if references:
            # key-auth compares whole values: one credential as OpenAI clients send it, one as Messages clients do.
            credentials = [text for reference in references for text in (f"Bearer {reference}", reference)]
            yield {"name": member.identity.consumer, "credentials": credentials}


def _rules(_site: Site, tenant: Tenant) -> Iterator[Rule]:
    allowed = [member.identity.consumer for member in tenant.members if member.keys]
    # Not on fallback routes: the credential is gone when the gateway redirects. Only identity lets anybody on, and
    # only on a redirect of a request that it has let on before.
    # An empty list would be taken for "anybody"; `--` stands in no name, so this consumer cannot exist.
    yield Rule({"allow": allowed or ["nobody--"]}, routes=tuple(client_routes(tenant.project)))


KEY_AUTH = Plugin("key-auth", "key-auth", "2.0.0", "AUTHN", 310, _rules, shared=_shared)
