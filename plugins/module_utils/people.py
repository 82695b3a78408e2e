"""Changes of Projects in people's terms: who gains and loses what, and what it may cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .explain import answers, tokens_per
from .spec import Budget, Org, Price, Project, SiteRecord, TokenLimit
from .verdict import meets, told, verdict

_NAMES_SHOWN = 5
# Told in their own words below; the rest of a Project is told field by field.
_TOLD_APART = frozenset({"budget", "token_limit", "user_budget", "user_token_limit", "blocked"})

Projects = Mapping[str, Project]


def sentences(before: Projects, after: Projects) -> Iterator[str]:
    """One line per difference between two states of a site, sorted by Project."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None and new is not None:
            users = _listed([identity.user for identity in new.identities()])
            yield f"{name}: new Project of {new.org} at {new.host}, with {users}"
        elif new is None and old is not None:
            yield f"{name}: the Project is removed; {_listed([i.user for i in old.identities()])} lose access"
        elif old is not None and new is not None and old != new:
            yield from (f"{name}: {line}" for line in _project(old, new))


def site_sentences(before: SiteRecord | None, after: SiteRecord | None) -> Iterator[str]:
    """What changes for all Projects: orgs, prices, settings. Nothing where either state has no record."""
    if before is None or after is None:
        return
    yield from _orgs(before.gateway.orgs, after.gateway.orgs)
    yield from _prices(before.prices, after.prices)
    was, now = (record.gateway.model_dump(mode="json", exclude={"orgs"}) for record in (before, after))
    yield from (f"the site: {line}" for name in sorted(was) for line in _leaves(was[name], now[name], name))


def _orgs(was: Mapping[str, Org], now: Mapping[str, Org]) -> Iterator[str]:
    for name in sorted(was.keys() | now.keys()):
        old, new = was.get(name), now.get(name)
        if old is None or new is None:
            yield f"org {name}: {'removed' if new is None else 'new'}"
            continue
        if old.budget != new.budget:
            yield f"org {name}: budget {_amount(old.budget)} -> {_amount(new.budget)}"
        if old.blocked != new.blocked:
            now_so = "blocked, every request of its Projects is refused" if new.blocked else "no longer blocked"
            yield f"org {name}: {now_so}"
        if old.timezone != new.timezone:
            yield f"org {name}: timezone {old.timezone} -> {new.timezone}"


def _prices(was: Iterable[Price], now: Iterable[Price]) -> Iterator[str]:
    old, new = _told_prices(was), _told_prices(now)
    for model in sorted(old.keys() | new.keys()):
        if old.get(model) != new.get(model):
            yield f"price of {model}: {old.get(model, 'none')} -> {new.get(model, 'none')} (USD per 1,000,000 tokens)"


def _told_prices(prices: Iterable[Price]) -> dict[str, str]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for price in prices:
        rates = price.model_dump(mode="json", exclude={"model"}, exclude_defaults=True)
        found[price.model].append(", ".join(f"{name} {_short(value)}" for name, value in rates.items()))
    return {model: "; ".join(texts) for model, texts in found.items()}


def broken_tests(before: Projects, after: Projects) -> Iterator[str]:
    """The specs' own policy tests, old and new, that would not hold after the change."""
    for name, project in sorted(after.items()):
        known = before[name].tests if name in before else ()
        for test in dict.fromkeys((*project.tests, *known)):
            found = verdict(project, test)
            if not meets(found, test.expect):
                yield f"{name}: test '{test.name}' expects {told(test.expect)}, would get {told(found)}"


def _project(old: Project, new: Project) -> Iterator[str]:
    yield from _members(old, new)
    yield from _models(old, new)
    yield from _amounts(old, new)
    yield from _blocks(old, new)
    yield from _keys(old, new)
    yield from _answers(old, new)
    yield from _fields(old, new)


def _group_of(project: Project) -> dict[str, str]:
    return {identity.user: identity.group for identity in project.identities()}


def _members(old: Project, new: Project) -> Iterator[str]:
    was, now = _group_of(old), _group_of(new)
    for user in sorted(was.keys() | now.keys()):
        if user not in was:
            yield f"{user} joins {now[user]} and may use {', '.join(sorted(new.groups[now[user]].models))}"
        elif user not in now:
            yield f"{user} leaves and loses every model"
        elif was[user] != now[user]:
            yield f"{user} moves from {was[user]} to {now[user]}"


def _models(old: Project, new: Project) -> Iterator[str]:
    """Who gains or loses which alias, users with the same difference together."""
    changes: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    was, now = _group_of(old), _group_of(new)
    for user in sorted(was.keys() & now.keys()):
        had, has = set(old.groups[was[user]].models), set(new.groups[now[user]].models)
        for alias in sorted(had - has):
            changes["loses", alias].append(user)
        for alias in sorted(has - had):
            changes["gains", alias].append(user)
    for (verb, alias), users in sorted(changes.items()):
        yield f"{_listed(users)} {verb if len(users) == 1 else verb[:-1]} {alias}"


def _amount(value: Budget | TokenLimit | None) -> str:
    if value is None:
        return "none"
    if isinstance(value, TokenLimit):
        return tokens_per(value)
    text = f"{value.usd:,} USD a {value.period}"
    raised = f", {value.raised.usd:,} USD until {value.raised.until} ({value.raised.reason})" if value.raised else ""
    return (
        text
        + raised
        + (f", alerts at {', '.join(map(str, value.alerts))} %" if value.alerts != Budget(usd=value.usd).alerts else "")
    )


def _all_amounts(project: Project) -> dict[str, Budget | TokenLimit | None]:
    found: dict[str, Budget | TokenLimit | None] = {
        "the Project's budget": project.budget,
        "the Project's token limit": project.token_limit,
    }
    for name, group in project.groups.items():
        found[f"group {name}'s budget"] = group.budget
        found[f"group {name}'s token limit"] = group.token_limit
        for user in group.users:
            settings = group.user(user)
            found[f"{user}'s budget"] = settings.budget
            found[f"{user}'s token limit"] = settings.token_limit
    return found


def _amounts(old: Project, new: Project) -> Iterator[str]:
    was, now = _all_amounts(old), _all_amounts(new)
    changes: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for subject in was.keys() & now.keys():
        if was[subject] != now[subject]:
            owner, _, what = subject.rpartition("'s ")
            changes[what, _amount(was[subject]), _amount(now[subject])].append(owner)
    for (what, before, after), owners in sorted(changes.items()):
        yield f"{what} of {_listed(sorted(owners))}: {before} -> {after}"


def _blocked(project: Project) -> set[str]:
    return {
        identity.user
        for identity in project.identities()
        if project.blocked or project.groups[identity.group].user(identity.user).blocked
    }


def _blocks(old: Project, new: Project) -> Iterator[str]:
    was, now = _blocked(old), _blocked(new)
    if now - was:
        yield f"{_listed(sorted(now - was))}: blocked, every request is refused"
    if was - now:
        yield f"{_listed(sorted(was - now))}: no longer blocked"


def _keys(old: Project, new: Project) -> Iterator[str]:
    was, now = _group_of(old), _group_of(new)
    for user in sorted(was.keys() & now.keys()):
        had = {key.name: key.not_after for key in old.groups[was[user]].user(user).keys}
        has = {key.name: key.not_after for key in new.groups[now[user]].user(user).keys}
        for name in sorted(had.keys() | has.keys()):
            if name not in had:
                yield f"{user} gets key {name}"
            elif name not in has:
                yield f"{user}'s key {name} stops working"
            elif had[name] != has[name]:
                yield f"{user}'s key {name}: works until {had[name] or 'removed'} -> {has[name] or 'removed'}"


def _answers(old: Project, new: Project) -> Iterator[str]:
    for alias in sorted(old.models.keys() & new.models.keys()):
        was, now = ", ".join(answers(old, alias)), ", ".join(answers(new, alias))
        if was != now:
            yield f"{alias} is answered by {now} instead of {was}"
    yield from (
        f"{alias} is a new alias, answered by {', '.join(answers(new, alias))}"
        for alias in sorted(new.models.keys() - old.models.keys())
    )
    yield from (f"{alias} is no alias any more" for alias in sorted(old.models.keys() - new.models.keys()))


def _fields(old: Project, new: Project) -> Iterator[str]:
    """Everything else: host, providers, aliases' settings, masking, prompt-guard, tests."""
    was, now = old.model_dump(mode="json", by_alias=True), new.model_dump(mode="json", by_alias=True)
    for name in sorted(set(was) - {"groups", "models"} - _TOLD_APART):
        yield from _leaves(was[name], now[name], name)
    for alias in sorted(was["models"].keys() & now["models"].keys()):
        before, after = was["models"][alias], now["models"][alias]
        for name in sorted(set(before) - {"targets", "fallback"}):
            yield from _leaves(before[name], after[name], f"models.{alias}.{name}")


def _leaves(old: Any, new: Any, path: str) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _leaves(old.get(key), new.get(key), f"{path}.{key}")
    elif _named(old) and _named(new):
        yield from _leaves(_named(old), _named(new), path)
    elif old in (None, []) or new in (None, []):
        yield f"{path}: {'removed' if new in (None, []) else 'added'}"
    else:
        yield f"{path}: {_short(old)} -> {_short(new)}"


def _named(value: Any) -> dict[str, Any]:
    """Entries of a list by what they are called; empty where they are not told apart by it."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return {}
    names = [str(entry.get("name") or entry.get("kind") or "") for entry in value]
    return dict(zip(names, value, strict=True)) if all(names) and len(set(names)) == len(names) else {}


def _short(value: object) -> str:
    if isinstance(value, list):
        return f"{len(value)} entries" if any(isinstance(part, dict) for part in value) else ", ".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed(names: list[str]) -> str:
    if len(names) <= _NAMES_SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMES_SHOWN])} and {len(names) - _NAMES_SHOWN} others"
