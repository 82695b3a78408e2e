"""Where the gateway is and how to call it: for programs (access.json) and for people (the summary)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ..members import tenant_at
from ..secret import Secrets, user_key
from ..spec import Project, Site
from .settings import LOOPBACK, Ports

_EXAMPLES = 5
"""More of them nobody reads; the other keys are in access.json."""


def access(site: Site, secrets: Secrets, ports: Ports, now: datetime) -> dict[str, Any]:
    """Everything a client needs; one key for each user that has one."""
    return {
        "url": f"http://{LOOPBACK}:{ports.gateway}",
        "provider_log_url": f"http://{LOOPBACK}:{ports.provider_a}/_log",
        "prometheus_url": f"http://{LOOPBACK}:{ports.prometheus}",
        "redis_url": f"redis://{LOOPBACK}:{ports.redis}/0",
        "projects": {
            project.project: {"host": project.host, "keys": _keys(project, secrets[project.project], now)}
            for project in site.projects
        },
    }


def _keys(project: Project, secrets: Mapping[str, str], now: datetime) -> dict[str, str]:
    return {
        member.identity.consumer: secrets[user_key(member.identity.user, member.keys[0])]
        for member in tenant_at(project, now).members
        if member.keys
    }


def summary(site: Site, reached: Mapping[str, Any], ports: Ports) -> str:
    """Tell people the URL, and for the first Projects an example key, a curl line and a coding tool's settings each."""
    places = {"Gateway": ports.gateway, "Prometheus": ports.prometheus, "Spend": ports.report}
    parts = ["      ".join(f"{name}  http://{LOOPBACK}:{port}" for name, port in places.items())]
    for project in site.projects[:_EXAMPLES]:
        keys: Mapping[str, str] = reached["projects"][project.project]["keys"]
        for consumer in [c for c in sorted(keys) if not _blocked(project, c)][:1]:
            parts.append(_example(project, consumer, keys[consumer], ports))
    if len(site.projects) > _EXAMPLES:
        parts.append(f"{len(site.projects) - _EXAMPLES} more Projects: their keys are in access.json.")
    parts.append("Mock providers answer: what is real and what stands in is told in docs/sandbox.md.")
    return "\n\n".join(parts) + "\n"


def _blocked(project: Project, consumer: str) -> bool:
    user = consumer.removeprefix(f"{project.project}.")
    return any(user in group.users and group.user(user).blocked for group in project.groups.values())


def _example(project: Project, consumer: str, key: str, ports: Ports) -> str:
    user = consumer.removeprefix(f"{project.project}.")
    alias = next(group.models[0] for group in project.groups.values() if user in group.users)
    base = f"http://{project.host}:{ports.gateway}/v1"
    head = f"-H 'Authorization: Bearer {key}' -H 'Content-Type: application/json'"
    body = f'{{"model": "{alias}", "messages": [{{"role": "user", "content": "Say hello."}}]}}'
    if "embed" in alias:
        body, path = f'{{"model": "{alias}", "input": "hello"}}', "embeddings"
    else:
        path = "chat/completions"
    return "\n".join(
        (
            f"Project {project.project}, as {consumer}:",
            f"  key    {key}",
            f"  curl   curl {base}/{path} {head} -d '{body}'",
            f"  tool   OPENAI_BASE_URL={base} OPENAI_API_KEY={key} model: {alias}",
        )
    )
