"""A Project's people at a moment: who they are, what holds for each, which of their keys still work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from .spec import Group, Identity, Key, Project, User


@dataclass(frozen=True, slots=True)
class Member:
    """One user with the group's defaults filled in, and the keys that work at the moment asked for."""

    identity: Identity
    settings: User
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Tenant:
    """A Project and its people, worked out once: policy modules ask for them again and again."""

    project: Project
    members: tuple[Member, ...]


def tenant_at(project: Project, now: datetime) -> Tenant:
    """PROJECT with its members at NOW, sorted by user."""
    members = (member for name, group in project.groups.items() for member in _members(project, name, group, now))
    return Tenant(project, tuple(sorted(members, key=lambda member: member.identity.user)))


def _members(project: Project, name: str, group: Group, now: datetime) -> Iterator[Member]:
    plain = group.with_defaults(User())
    usual = _working(plain.keys, now)
    for user, own in group.users.items():
        # Most users say nothing of their own and share one object.
        settings, keys = plain, usual
        if own and own.model_fields_set:
            settings = group.with_defaults(own)
            keys = _working(settings.keys, now)
        yield Member(Identity(project.org, project.project, name, user), settings, keys)


def _working(keys: tuple[Key, ...], now: datetime) -> tuple[Key, ...]:
    return tuple(key for key in keys if key.not_after is None or key.not_after > now)
