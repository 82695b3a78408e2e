"""Sites made in memory with the collection's own models: as large as a test needs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import Client, Wanted, read
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.objects import build
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.records import PROJECT_RECORDS, recorded_texts
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Gateway, Price, Project, Site

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


def project(name: str, users: int = 3, **changes: Any) -> Project:
    """A Project with two groups, one provider and one alias; CHANGES replace its fields."""
    names = [f"user-{number:03}" for number in range(users)]
    content: dict[str, Any] = {
        "version": 1,
        "org": "acme",
        "project": name,
        "host": f"{name}.example.test",
        "providers": {"main": {"url": "https://api.provider.example/v1", "key": "main"}},
        "models": {"coding": {"targets": [{"provider": "main", "model": "large"}]}},
        "groups": {
            "dev": {"models": ["coding"], "users": dict.fromkeys(names[::2]), "budget": {"usd": 50}},
            "ops": {"models": ["coding"], "users": dict.fromkeys(names[1::2] or ["nobody"]), "budget": {"usd": 5}},
        },
        "token_limit": {"tokens": 100000},
    }
    return Project.model_validate(content | changes)


def site(*projects: Project, shards: dict[str, int] | None = None) -> Site:
    """A site of PROJECTS."""
    return Site(
        gateway=Gateway.model_validate({"version": 1, "site": "lab", "orgs": {"acme": {}}, "shards": shards or {}}),
        prices=(Price.model_validate({"model": "large", "input": 1, "output": 2}),),
        projects=tuple(sorted(projects, key=lambda found: found.project)),
    )


def wanted(of: Site, **changes: Any) -> Wanted:
    """OF as a run shall make it true, with every provider's key given."""
    keys = {
        found.project: {f"provider.{p.key}": "sk-provider" for p in found.providers.values()} for found in of.projects
    }
    return Wanted(**({"site": of, "now": NOW, "secrets": keys} | changes))


def with_user(of: Project, group: str, user: str) -> Project:
    """OF with one user more."""
    members = of.groups[group]
    joined = members.model_copy(update={"users": {**members.users, user: None}})
    return of.model_copy(update={"groups": {**of.groups, group: joined}})


def with_single_records(cluster: Client) -> None:
    """The site of CLUSTER as runs left it at first: a record for each Project, ``project-<project>``."""
    live = [item for item in read(cluster, "lab").values() if item["metadata"]["name"].startswith(PROJECT_RECORDS)]
    for name, text in recorded_texts(live).items():
        cluster.apply(build("v1", "ConfigMap", f"project-{name}", "lab", project=name, data={"spec": text}))
    for item in live:
        cluster.delete(item)
