"""Which secrets a site needs, and new ones for those that are missing. Values only live in a Secret or a vault."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime

from .spec import Key, Project, Site

# project -> name in the Secret `keys-<project>` -> value
Secrets = Mapping[str, Mapping[str, str]]


class SecretError(Exception):
    """A secret is missing or shared by two consumers; the message names them, never a value."""


def user_key(user: str, key: Key) -> str:
    """The name of a user's key in its Project's Secret."""
    return f"user.{user}.{key.name}"


def provider_key(name: str) -> str:
    """The name of a provider's key in its Project's Secret."""
    return f"provider.{name}"


def valid_keys(project: Project, group: str, user: str, now: datetime) -> tuple[Key, ...]:
    """The user's keys that still work at NOW."""
    keys = project.groups[group].user(user).keys
    return tuple(key for key in keys if key.not_after is None or key.not_after > now)


def needed(project: Project, now: datetime) -> tuple[str, ...]:
    """Names of all secrets that Project's policy refers to at NOW, sorted."""
    return tuple(sorted({*_user_names(project, now), *(provider_key(p.key) for p in project.providers.values())}))


def _user_names(project: Project, now: datetime) -> Iterator[str]:
    for identity in project.identities():
        for key in valid_keys(project, identity.group, identity.user, now):
            yield user_key(identity.user, key)


def minted(site: Site, known: Secrets, now: datetime) -> dict[str, dict[str, str]]:
    """KNOWN secrets, and new random ones where the site needs more. Nothing known is ever replaced."""
    result: dict[str, dict[str, str]] = {}
    for project in site.projects:
        have = known.get(project.project, {})
        result[project.project] = {
            name: have.get(name) or f"sk-{secrets.token_urlsafe(32)}" for name in needed(project, now)
        }
    return result


def check(site: Site, known: Secrets, now: datetime) -> None:
    """Raise SecretError where a needed secret is missing, or where two users' keys are the same.

    key-auth refuses its whole configuration for one doubled credential, and with it every plugin's updates.
    """
    owners: defaultdict[str, set[str]] = defaultdict(set)
    missing: list[str] = []
    for project in site.projects:
        have = known.get(project.project, {})
        missing += [f"{project.project}: {name}" for name in needed(project, now) if not have.get(name)]
        for name in _user_names(project, now):
            owners[have.get(name, name)].add(f"{project.project}: {name}")
    shared = sorted(", ".join(sorted(names)) for names in owners.values() if len(names) > 1)
    lines = [f"  missing: {name}" for name in missing] + [f"  the same key for {names}" for names in shared]
    if lines:
        raise SecretError("the site's secrets are not complete:\n" + "\n".join(lines))
