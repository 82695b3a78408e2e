"""Higress's key-auth: a user's key names its consumer, and only on the routes of its own Project."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from ..secret import user_key, valid_keys
from ..spec import Project, Site
from .objects import secret_reference
from .plugin import Config, Plugin, Rule


def key_secret(project: Project) -> str:
    """The Secret with all keys of a Project."""
    return f"keys-{project.project}"


def _shared(_site: Site, projects: Sequence[Project], now: datetime) -> Config:
    consumers = [consumer for project in projects for consumer in _consumers(project, now)]
    # global_auth false: a route without a rule belongs to another shard. identity refuses what none has checked.
    return {
        "consumers": consumers,
        "keys": ["authorization", "x-api-key"],
        "in_header": True,
        "global_auth": False,
    }


def _consumers(project: Project, now: datetime) -> Iterator[Config]:
    for identity in project.identities():
        keys = valid_keys(project, identity.group, identity.user, now)
        references = [secret_reference(key_secret(project), user_key(identity.user, key)) for key in keys]
        if references:
            # key-auth compares whole values: one credential as OpenAI clients send it, one as Messages clients do.
            credentials = [text for reference in references for text in (f"Bearer {reference}", reference)]
            yield {"name": identity.consumer, "credentials": credentials}


def _rules(_site: Site, project: Project, now: datetime) -> Iterator[Rule]:
    allowed = [consumer["name"] for consumer in _consumers(project, now)]
    # An empty list would be taken for "anybody"; `--` stands in no name, so this consumer cannot exist.
    yield Rule({"allow": allowed or ["nobody--"]})


KEY_AUTH = Plugin("key-auth", "key-auth", "2.0.0", "AUTHN", 310, _rules, shared=_shared)
