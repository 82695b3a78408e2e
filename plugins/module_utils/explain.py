"""One user's effective policy: who they are, what they may use, what limits them, and which budget is tightest."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from datetime import datetime

from .spec import Budget, Identity, Project, Site, TokenLimit


@dataclass(frozen=True)
class Effective:
    """A user's policy. ``budgets`` and ``token_limits`` are by level, tightest level first; all must hold."""

    identity: Identity
    host: str
    blocked: bool
    models: dict[str, tuple[str, ...]]
    budgets: dict[str, Budget]
    token_limits: dict[str, TokenLimit]
    masking: str
    prompt_guard: str
    keys: dict[str, datetime | None]


def effective_policy(site: Site, project_name: str, user: str, now: datetime) -> Effective:
    """The policy of USER in Project PROJECT_NAME; KeyError with what is known when either does not exist."""
    names = [project.project for project in site.projects]
    if project_name not in names:
        raise KeyError(f"no Project {project_name!r} on this site; there are: {', '.join(names)}")
    project = site.project(project_name)
    identity = next((found for found in project.identities() if found.user == user), None)
    if identity is None:
        users = ", ".join(found.user for found in project.identities())
        raise KeyError(f"no user {user!r} in Project {project_name}; there are: {users}")
    settings = project.groups[identity.group].user(user)
    return Effective(
        identity=identity,
        host=project.host,
        blocked=project.blocked or settings.blocked or site.gateway.orgs[project.org].blocked,
        models={alias: tuple(answers(project, alias)) for alias in sorted(project.groups[identity.group].models)},
        budgets=dict(_budgets(site, project, identity)),
        token_limits=dict(_token_limits(project, identity)),
        masking=_masking(site, project),
        prompt_guard=_prompt_guard(project),
        keys={key.name: key.not_after for key in settings.keys if key.not_after is None or key.not_after > now},
    )


def answers(project: Project, alias: str) -> Iterator[str]:
    """What answers for ALIAS, in words: ``main: mock-large (80 %)``."""
    settings = project.models[alias]
    for target in settings.targets:
        share = "" if target.weight == 100 else f" ({target.weight} %)"
        yield f"{target.provider}: {target.model}{share}"
    if settings.fallback:
        yield f"{settings.fallback.provider}: {settings.fallback.model} (fallback)"


def _budgets(site: Site, project: Project, identity: Identity) -> Iterator[tuple[str, Budget]]:
    group = project.groups[identity.group]
    levels = {
        f"user {identity.user}": group.user(identity.user).budget,
        f"group {identity.group}": group.budget,
        f"project {identity.project}": project.budget,
        f"org {identity.org}": site.gateway.orgs[identity.org].budget,
    }
    yield from ((name, budget) for name, budget in levels.items() if budget)


def _token_limits(project: Project, identity: Identity) -> Iterator[tuple[str, TokenLimit]]:
    group = project.groups[identity.group]
    levels = {
        f"user {identity.user}": group.user(identity.user).token_limit,
        f"group {identity.group}": group.token_limit,
        f"project {identity.project}": project.token_limit,
    }
    yield from ((name, limit) for name, limit in levels.items() if limit)


def tokens_per(limit: TokenLimit) -> str:
    """LIMIT in words: ``200,000 tokens an hour``."""
    return f"{limit.tokens:,} tokens {'an' if limit.per == 'hour' else 'a'} {limit.per}"


def _masking(site: Site, project: Project) -> str:
    masking = project.masking
    engine = masking.engine or site.gateway.masking_engine
    if engine == "off" or not (masking.rules or masking.deny_words):
        return "off"
    kinds = ", ".join(rule.kind or str(rule.name) for rule in masking.rules)
    mode = f" ({masking.mode})" if engine == "ai-data-masking" else ""
    return f"{engine}{mode}: {kinds or 'no values'}; {_counted(masking.deny_words, 'denied word')}"


def _counted(things: Sized, name: str) -> str:
    return f"{len(things)} {name}" + ("" if len(things) == 1 else "s")


def _prompt_guard(project: Project) -> str:
    guard = project.prompt_guard
    own = f"{_counted(guard.phrases, 'phrase')} and {_counted(guard.patterns, 'pattern')} of its own"
    return f"{'the default list and ' if guard.defaults else ''}{own}"


def as_text(policy: Effective) -> str:
    """POLICY for a terminal."""
    who = policy.identity
    lines = [
        f"{who.consumer}: user {who.user}, group {who.group}, project {who.project}, org {who.org}",
        f"host      {policy.host}" + ("   BLOCKED: every request is refused" if policy.blocked else ""),
        "models    " + "\n          ".join(f"{name} <- {', '.join(how)}" for name, how in policy.models.items()),
        "budgets   "
        + ("\n          ".join(_budget_line(*item) for item in policy.budgets.items()) or "none: no quota"),
        "limits    "
        + (
            "\n          ".join(f"{name}: {tokens_per(limit)}" for name, limit in policy.token_limits.items()) or "none"
        ),
        f"masking   {policy.masking}",
        f"guard     {policy.prompt_guard}",
        "keys      "
        + (", ".join(f"{name} (until {end})" if end else name for name, end in policy.keys.items()) or "none works"),
    ]
    return "\n".join(lines)


def _budget_line(level: str, budget: Budget) -> str:
    raised = f"; {budget.raised.usd:,} USD until {budget.raised.until}: {budget.raised.reason}" if budget.raised else ""
    return f"{level}: {budget.usd:,} USD a {budget.period}{raised}"
