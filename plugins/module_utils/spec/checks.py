"""What a shape cannot say: names that must exist, weights that add up, prices that must be known.

The checks read the plain data, not the models, so that a file with a typo in one place still hears of its
other mistakes in the same run.
"""

from __future__ import annotations

import re
import re._parser as re_parser  # the only width of a regex that the standard library tells
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from .document import Document, Path_, dotted
from .model import Price
from .problems import Problem, shown

# ai-data-masking knows these kinds and actions only (its replace_roles: type replace|hash).
BUILTIN_KINDS = ("api_key", "credit_card", "email", "ip", "phone")
BUILTIN_ACTIONS = ("hash", "mask")
# What ai-data-masking puts in a value's place where a rule does not say.
BUILTIN_MASK = "****"
# For each rule with deny_words ai-data-masking 2.0.3 keeps a dictionary of 31 MB in its one VM, which cannot hold a
# hundred: it would not start, and with it no request would get through.
BUILTIN_DENIERS = 60
# The longest match of a custom regex in engine data-masking, in characters.
LONGEST_MATCH = 256
# The longest text in a value's place in engine data-masking, in bytes.
LONGEST_VALUE = 200


@dataclass(frozen=True)
class SiteFacts:
    """What a Project's checks need to know of the site; None where the site's own file is broken."""

    orgs: tuple[str, ...] | None
    prices: tuple[Price, ...] | None
    masking_engine: str


class _Reader:
    """Plain data of one Project, read leniently: what has the wrong shape is empty here and reported elsewhere."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.data: dict[str, Any] = document.data if isinstance(document.data, dict) else {}

    def entries(self, *path: str) -> dict[str, dict[str, Any]]:
        """The mapping at PATH with mappings as values (an empty one for null)."""
        value: Any = self.data
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return {str(k): v if isinstance(v, dict) else {} for k, v in value.items()} if isinstance(value, dict) else {}

    def problem(self, path: Path_, message: str, value: Any = None, allowed: str = "") -> Problem:
        place = dotted(path)
        return Problem(
            self.document.file,
            self.document.line(path),
            place,
            message,
            shown(value, place) if value is not None else "",
            allowed,
        )


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _targets(alias: dict[str, Any]) -> Iterator[tuple[Path_, dict[str, Any]]]:
    for index, target in enumerate(_items(alias.get("targets"))):
        if isinstance(target, dict):
            yield ("targets", index), target
    if isinstance(alias.get("fallback"), dict):
        yield ("fallback",), alias["fallback"]


def _names(known: Any) -> str:
    return ", ".join(sorted(map(str, known))) or "none is defined"


def _file_name(project: _Reader, _: SiteFacts) -> Iterator[Problem]:
    name, stem = project.data.get("project"), PurePath(project.document.file).stem
    if isinstance(name, str) and name != stem:
        yield project.problem(("project",), "must be the file's name", name, stem)


def _known_org(project: _Reader, site: SiteFacts) -> Iterator[Problem]:
    org = project.data.get("org")
    if isinstance(org, str) and site.orgs is not None and org not in site.orgs:
        yield project.problem(("org",), "is no org of this site (gateway.yml)", org, _names(site.orgs))


def _known_providers(project: _Reader, _: SiteFacts) -> Iterator[Problem]:
    providers = project.entries("providers")
    for name, alias in project.entries("models").items():
        for where, target in _targets(alias):
            provider = target.get("provider")
            if isinstance(provider, str) and provider not in providers:
                path = ("models", name, *where, "provider")
                yield project.problem(path, "is no provider of this Project", provider, _names(providers))


def _distinct_providers(project: _Reader, _: SiteFacts) -> Iterator[Problem]:
    for name, alias in project.entries("models").items():
        seen: set[str] = set()
        for where, target in _targets(alias):
            provider = str(target.get("provider"))
            if provider in seen and where == ("fallback",):
                yield project.problem(
                    ("models", name, "fallback", "provider"),
                    "is a fallback loop: the alias would fall back to a provider that has just failed",
                    provider,
                    _names(set(project.entries("providers")) - seen),
                )
            elif provider in seen:
                yield project.problem(
                    ("models", name, *where, "provider"),
                    "stands twice in one alias; list the provider twice under two names for two of its models",
                    provider,
                )
            seen.add(provider)


def _weights(project: _Reader, _: SiteFacts) -> Iterator[Problem]:
    for name, alias in project.entries("models").items():
        targets = [target for target in _items(alias.get("targets")) if isinstance(target, dict)]
        weights = [target.get("weight", 100) for target in targets]
        if targets and all(isinstance(weight, int) for weight in weights) and sum(weights) != 100:
            yield project.problem(("models", name, "targets"), "weights must add up to 100", sum(weights), "100")


def _priced(project: _Reader, site: SiteFacts) -> Iterator[Problem]:
    if site.prices is None:
        return
    for name, alias in project.entries("models").items():
        for where, target in _targets(alias):
            model = target.get("model")
            if isinstance(model, str) and not any(price.covers(model) for price in site.prices):
                yield project.problem(
                    ("models", name, *where, "model"),
                    "has no price, so it could be used for free; add it to prices.yml",
                    model,
                    _names(price.model for price in site.prices),
                )


def _workloads(project: _Reader, _: SiteFacts) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for name, alias in project.entries("models").items():
        workload = alias.get("workload")
        if not isinstance(workload, str):
            continue
        if workload in owners:
            yield project.problem(
                ("models", name, "workload"), f"belongs to alias {owners[workload]} already", workload
            )
        owners[workload] = name


def _group_models(project: _Reader, _: SiteFacts) -> Iterator[Problem]:
    aliases = project.entries("models")
    for name, group in project.entries("groups").items():
        for index, alias in enumerate(_items(group.get("models"))):
            if isinstance(alias, str) and alias not in aliases:
                yield project.problem(
                    ("groups", name, "models", index), "is no alias of this Project", alias, _names(aliases)
                )


def _users_once(project: _Reader, _: SiteFacts) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for group in project.entries("groups"):
        for user in project.entries("groups", group, "users"):
            if user in owners:
                path = ("groups", group, "users", user)
                yield project.problem(path, f"is in group {owners[user]} already", user, "each user in one group")
            owners[user] = group


def _keys_once(project: _Reader, _: SiteFacts) -> Iterator[Problem]:
    for group in project.entries("groups"):
        for user, settings in project.entries("groups", group, "users").items():
            names = Counter(str(key.get("name")) for key in _items(settings.get("keys")) if isinstance(key, dict))
            for name in (name for name, count in names.items() if count > 1):
                yield project.problem(
                    ("groups", group, "users", user, "keys"),
                    f"two keys are named {name}",
                    allowed="each name once",
                )


def _engine(project: _Reader, site: SiteFacts) -> str:
    return str(project.entries().get("masking", {}).get("engine") or site.masking_engine)


def _masking_rules(project: _Reader) -> Iterator[tuple[Path_, dict[str, Any]]]:
    for index, rule in enumerate(_items(project.entries().get("masking", {}).get("rules"))):
        if isinstance(rule, dict):
            yield ("masking", "rules", index), rule


def _kinds_once(project: _Reader, _: SiteFacts) -> Iterator[Problem]:
    seen: set[str] = set()
    for path, rule in _masking_rules(project):
        kind = rule.get("kind")
        if not isinstance(kind, str):
            continue
        if kind in seen:
            yield project.problem((*path, "kind"), "stands twice: the second rule would never match", kind)
        seen.add(kind)


def _rule_names_once(project: _Reader, _: SiteFacts) -> Iterator[Problem]:
    """In counters and placeholders a hyphen is an underscore: `api-key` would be mixed up with the kind api_key."""
    seen: set[str] = set()
    for path, rule in _masking_rules(project):
        name = rule.get("name") or rule.get("kind")
        written = str(name).replace("-", "_")
        if "name" in rule and written in seen:
            yield project.problem((*path, "name"), "is another rule's name already (a hyphen counts as _)", name)
        seen.add(written)


def _builtin_masking(project: _Reader, site: SiteFacts) -> Iterator[Problem]:
    if _engine(project, site) != "ai-data-masking":
        return
    for path, rule in _masking_rules(project):
        for field, known in (("kind", BUILTIN_KINDS), ("action", BUILTIN_ACTIONS)):
            value = rule.get(field)
            if isinstance(value, str) and value not in known:
                yield project.problem((*path, field), "is not known to engine ai-data-masking", value, _names(known))
    yield from _restored_alone(project)
    for index, word in enumerate(_items(project.entries().get("masking", {}).get("deny_words"))):
        if isinstance(word, str) and len(word.split()) > 1:
            yield project.problem(
                ("masking", "deny_words", index),
                "is a phrase, which engine ai-data-masking never finds",
                word,
                "single words, or engine data-masking",
            )


def _restored_alone(project: _Reader) -> Iterator[Problem]:
    """ai-data-masking restores by the mask's text alone, so a text of two rules brings back the wrong value."""
    masks = [
        (path, rule, str(rule.get("value") or BUILTIN_MASK))
        for path, rule in _masking_rules(project)
        if rule.get("action", "mask") == "mask"
    ]
    uses = Counter(mask for _, _, mask in masks)
    for path, rule, mask in masks:
        if rule.get("restore") is True and uses[mask] > 1:
            yield project.problem(
                (*path, "value"),
                "is shared with another rule, so engine ai-data-masking would restore one rule's value for the other's",
                mask,
                "a text of its own where restore is true",
            )


def _guard_masking(project: _Reader, site: SiteFacts) -> Iterator[Problem]:
    if _engine(project, site) != "data-masking":
        return
    for path, rule in _masking_rules(project):
        yield from _bounded_rule(project, path, rule)
        value = rule.get("value")
        if isinstance(value, str) and len(value.encode()) > LONGEST_VALUE:
            yield project.problem((*path, "value"), "is too long", value, f"at most {LONGEST_VALUE} bytes")


def _bounded_rule(project: _Reader, path: Path_, rule: dict[str, Any]) -> Iterator[Problem]:
    """A stream is held back no longer than the longest match, so there must be one."""
    regex = rule.get("regex")
    if not isinstance(regex, str):
        return
    try:
        longest = int(re_parser.parse(regex).getwidth()[1])
    except re.error:
        return
    if longest > LONGEST_MATCH:
        message = "has no longest match that a stream could be held back for"
        yield project.problem(
            (*path, "regex"), message, regex, f"at most {LONGEST_MATCH} characters, e.g. [0-9]{{1,20}}"
        )


def _tests(project: _Reader, _: SiteFacts) -> Iterator[Problem]:
    users = {user for group in project.entries("groups") for user in project.entries("groups", group, "users")}
    for index, test in enumerate(_items(project.data.get("tests"))):
        user = test.get("user") if isinstance(test, dict) else None
        if isinstance(user, str) and user not in users:
            yield project.problem(("tests", index, "user"), "is no user of this Project", user, _names(users))


_CHECKS: tuple[Callable[[_Reader, SiteFacts], Iterator[Problem]], ...] = (
    _file_name,
    _known_org,
    _known_providers,
    _distinct_providers,
    _weights,
    _priced,
    _workloads,
    _group_models,
    _users_once,
    _keys_once,
    _kinds_once,
    _rule_names_once,
    _builtin_masking,
    _guard_masking,
    _tests,
)


def check_project(document: Document, site: SiteFacts) -> Iterator[Problem]:
    """Everything that is inconsistent inside one Project's document."""
    project = _Reader(document)
    for check in _CHECKS:
        yield from check(project, site)


def check_between(documents: tuple[Document, ...], site: SiteFacts) -> Iterator[Problem]:
    """What Projects may not share or be too many of."""
    yield from _owned_once(documents)
    yield from _builtin_deniers(documents, site)


def _builtin_deniers(documents: tuple[Document, ...], site: SiteFacts) -> Iterator[Problem]:
    projects = (_Reader(document) for document in documents)
    deniers = [
        project
        for project in projects
        if _engine(project, site) == "ai-data-masking" and project.entries().get("masking", {}).get("deny_words")
    ]
    for project in deniers[BUILTIN_DENIERS:]:
        yield project.problem(
            ("masking", "deny_words"),
            f"{len(deniers)} Projects have deny_words in engine ai-data-masking, whose memory holds those of about "
            f"{BUILTIN_DENIERS}",
            allowed="engine data-masking, or no deny_words here",
        )


def _owned_once(documents: tuple[Document, ...]) -> Iterator[Problem]:
    """A name and a host are one Project's: the gateway would let the older one win, silently."""
    for field in ("project", "host"):
        owners: dict[str, str] = {}
        for document in documents:
            project = _Reader(document)
            value = project.data.get(field)
            if not isinstance(value, str):
                continue
            if value in owners:
                yield project.problem((field,), f"belongs to {owners[value]} already", value, f"a {field} of its own")
            owners.setdefault(value, document.file)
