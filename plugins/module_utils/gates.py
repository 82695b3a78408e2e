"""One request for each gate of a site, that the gate must refuse; and one that all must let through.

Quotas and token limits refuse by what Redis holds, so their requests name the counter that must be empty meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from .members import Member, Tenant, tenant_at
from .policy.prompt_guard import phrases_of
from .policy.quota import KEY_PREFIX
from .spec import Site, TokenLimit

CHAT = "/v1/chat/completions"
_WINDOW_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
# A key that nobody has, and none at all.
UNKNOWN, NONE = "unknown", ""


@dataclass(frozen=True)
class Request:
    """What is sent, and what the gate must make of it: `status`, told as `gate`'s."""

    name: str
    gate: str
    status: int
    project: str
    host: str
    consumer: str
    model: str
    prompt: str = "Say hello."
    path: str = CHAT
    counter: str = ""


def requests(site: Site, now: datetime) -> tuple[Request, ...]:
    """A request for each gate that this site has, in the order of the chain; the first Project with one shows it."""
    tenants = [tenant_at(project, now) for project in site.projects]
    found: dict[str, Request] = {}
    for tenant in tenants:
        for request in _of_tenant(tenant, tenants):
            found.setdefault(request.name, request)
    return tuple(found[name] for name in _ORDER if name in found)


_ORDER = (
    "a path that is not served", "no key", "an unknown key", "another Project's key", "a blocked user", "an injection",
    "a model that is not the group's", "an empty quota", "the user's token limit", "the group's token limit",
    "the Project's token limit", "an honest request",
)  # fmt: skip


def _of_tenant(tenant: Tenant, tenants: list[Tenant]) -> Iterator[Request]:
    project = tenant.project
    members = [member for member in tenant.members if member.keys and not member.settings.blocked]
    chatting = [member for member in members if _alias(tenant, member)]
    if project.blocked or not chatting:
        return
    honest = chatting[0]

    def request(name: str, gate: str, status: int, **other: str) -> Request:
        sent = {"consumer": honest.identity.consumer, "model": _alias(tenant, honest)} | other
        return Request(name, gate, status, project.project, project.host, **sent)

    yield request("a path that is not served", "identity-entrance", 404, path="/v1/images/generations")
    yield request("no key", "key-auth", 401, consumer=NONE)
    yield request("an unknown key", "key-auth", 401, consumer=UNKNOWN)
    yield from (
        request("another Project's key", "key-auth", 403, consumer=member.identity.consumer)
        for other in tenants
        if other is not tenant
        for member in other.members
        if member.keys
    )
    yield from (
        request("a blocked user", "identity", 403, consumer=member.identity.consumer)
        for member in tenant.members
        if member.keys and member.settings.blocked
    )
    if phrases_of(project):
        yield request("an injection", "prompt-guard", 403, prompt=f"Please {phrases_of(project)[0]}.")
    yield request("a model that is not the group's", "model-allowlist", 403, model="no-such-model--")
    yield request("an empty quota", "ai-quota", 403, counter=KEY_PREFIX + honest.identity.consumer)
    for member in chatting:
        sender = {"consumer": member.identity.consumer, "model": _alias(tenant, member)}
        levels = (
            ("user", member.identity.user, member.settings.token_limit),
            ("group", member.identity.group, project.groups[member.identity.group].token_limit),
            ("project", project.project, project.token_limit),
        )
        for level, value, limit in levels:
            if limit:
                name = f"the {'Project' if level == 'project' else level}'s token limit"
                counter = _window(project.project, level, value, limit)
                yield request(name, f"ai-token-ratelimit-{level}", 429, counter=counter, **sender)
    yield request("an honest request", "", 200)


def _alias(tenant: Tenant, member: Member) -> str:
    """An alias that the member may use for a chat; an embedding model cannot chat."""
    aliases = tenant.project.groups[member.identity.group].models
    return next((alias for alias in aliases if "embed" not in alias), "")


def _window(project: str, level: str, value: str, limit: TokenLimit) -> str:
    seconds = _WINDOW_SECONDS[limit.per]
    return f"higress-token-ratelimit:{project}.{level}:limit_by_header:{seconds}:x-dev-{level}:{value}"
