"""Which secrets a site needs, and new ones for those that are missing. Values only live in a Secret or a vault."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime

from .members import Tenant, tenant_at
from .spec import Key, Project, Site

# project -> name in the Secret `keys-<project>` -> value
Secrets = Mapping[str, Mapping[str, str]]
# The key of a Project's masking hashes (HMAC), so that a hash tells nothing to who does not have it.
MASKING_HASH = "masking.hash"
_PROVIDER = "provider."
_HOW_TO_GIVE = "\nKeep them in a vault, by Project and name: {atlas: {provider.main: ...}}."


class SecretError(Exception):
    """A secret is missing or shared by two consumers; the message names them, never a value."""


def user_key(user: str, key: Key) -> str:
    """The name of a user's key in its Project's Secret."""
    return f"user.{user}.{key.name}"


def provider_key(name: str) -> str:
    """The name of a provider's key in its Project's Secret."""
    return f"{_PROVIDER}{name}"


def is_provider_key(name: str) -> bool:
    """Whether the secret NAME is given by a provider: nobody else can make one."""
    return name.startswith(_PROVIDER)


def needed(project: Project, now: datetime) -> tuple[str, ...]:
    """Names of all secrets that PROJECT's policy refers to at NOW, sorted."""
    return needed_by(tenant_at(project, now))


def needed_by(tenant: Tenant) -> tuple[str, ...]:
    """The same for a tenant that is worked out already."""
    project = tenant.project
    providers = (provider_key(provider.key) for provider in project.providers.values())
    # Whatever the engine: moving a Project to another engine must need no new secret.
    hashing = (MASKING_HASH,) if any(rule.action == "hash" for rule in project.masking.rules) else ()
    return tuple(sorted({*_user_names(tenant), *providers, *hashing}))


def _user_names(tenant: Tenant) -> Iterator[str]:
    for member in tenant.members:
        for key in member.keys:
            yield user_key(member.identity.user, key)


def minted(site: Site, known: Secrets, now: datetime) -> dict[str, dict[str, str]]:
    """KNOWN secrets, and new random ones where the site needs more. Nothing known is ever replaced."""
    return minted_for((tenant_at(project, now) for project in site.projects), known)


def minted_for(tenants: Iterable[Tenant], known: Secrets) -> dict[str, dict[str, str]]:
    """The same for tenants that are worked out already."""
    result: dict[str, dict[str, str]] = {}
    for tenant in tenants:
        project = tenant.project.project
        have = known.get(project, {})
        result[project] = {name: have.get(name) or f"sk-{secrets.token_urlsafe(32)}" for name in needed_by(tenant)}
    return result


def check(tenants: Iterable[Tenant], known: Secrets) -> None:
    """Raise SecretError where a needed secret is missing, or where two users' keys are the same.

    key-auth refuses its whole configuration for one doubled credential, and with it every plugin's updates.
    """
    owners: defaultdict[str, set[str]] = defaultdict(set)
    missing: list[str] = []
    for tenant in tenants:
        project = tenant.project.project
        have = known.get(project, {})
        missing += [f"{project}: {name}" for name in needed_by(tenant) if not have.get(name)]
        for name in _user_names(tenant):
            owners[have.get(name) or f"{project}: {name}"].add(f"{project}: {name}")
    shared = sorted(", ".join(sorted(names)) for names in owners.values() if len(names) > 1)
    lines = [f"  missing: {name}" for name in missing] + [f"  the same key for {names}" for names in shared]
    if lines:
        raise SecretError(
            "the site's secrets are not complete:\n" + "\n".join(lines) + (_HOW_TO_GIVE if missing else "")
        )
