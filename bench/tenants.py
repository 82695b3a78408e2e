"""The site that is loaded while measuring: any number of Projects of one shape, two of which are called."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import Object, PolicyError, desired_objects
from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import Secrets, minted, user_key
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Key, Site, parse_site
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec.model import MAX_USD

PROVIDER_DOMAIN = "provider.bench.test"
USERS = 50
ALIAS = "coding-default"
# Far above what a run can use: a refusal would be measured as a fast answer.
_NO_LIMIT = {"tokens": 10**12, "per": "day"}
# Policy is worked out for a moment; which one makes no difference here.
_NOW = datetime(2026, 11, 23, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls in a measurement: a user of a Project with this masking engine (or with `off`)."""

    project: str
    engine: str

    @property
    def host(self) -> str:
        """The Project's own host, by which the gateway tells Projects apart."""
        return f"{self.project}.bench.test"

    @property
    def user(self) -> str:
        """The Project's last user, so that a search from the first one shows its length."""
        return f"user-{USERS - 1:02d}"

    @property
    def consumer(self) -> str:
        """The gateway's name for the user."""
        return f"{self.project}.{self.user}"


# By name behind all others: where a plugin searches its rules in order, this shows its worst case.
BUILT_IN = Caller("with-ai-data-masking", "ai-data-masking")
OWN = Caller("with-data-masking", "data-masking")
UNMASKED = Caller("without-masking", "off")
CALLERS = (BUILT_IN, OWN, UNMASKED)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A site's objects, its callers' keys by Project, and the objects per plugin that its size asks for."""

    objects: tuple[Object, ...]
    keys: Mapping[str, str]
    shards: Mapping[str, int]


def bench_site(projects: int, shards: Mapping[str, int]) -> Site:
    """Give a site with this many Projects, the callers' included, of USERS users each."""
    engines = {caller.project: caller.engine for caller in CALLERS}
    names = [*(f"team-{number:04d}" for number in range(projects - len(CALLERS))), *engines]
    texts = [(f"{name}.yml", json.dumps(_project(name, engines.get(name, BUILT_IN.engine)))) for name in names]
    gateway = {
        "version": 1,
        "site": "bench",
        "orgs": {"acme": {"budget": {"usd": MAX_USD}}},
        "masking_engine": BUILT_IN.engine,
        "shards": dict(shards),
    }
    prices = {"version": 1, "prices": [{"model": "mock-*", "input": 1, "output": 2}]}
    return parse_site(json.dumps(gateway), json.dumps(prices), texts)


def secrets_for(site: Site) -> Secrets:
    """New secrets for a site."""
    return minted(site, {}, _NOW)


def objects_of(site: Site, secrets: Secrets) -> tuple[Object, ...]:
    """Render a site as the play does."""
    return desired_objects(site, secrets, now=_NOW)


def render(projects: int) -> Rendered:
    """Render a site of this many Projects, split into no more shards than its size asks for."""
    shards: dict[str, int] = {}
    while True:
        site = bench_site(projects, shards)
        secrets = secrets_for(site)
        try:
            objects = objects_of(site, secrets)
        except PolicyError as error:
            shards |= shards_asked_for(str(error))
        else:
            names = {caller.project: user_key(caller.user, Key(name="default")) for caller in CALLERS}
            return Rendered(objects, {project: secrets[project][name] for project, name in names.items()}, shards)


def shards_asked_for(message: str) -> dict[str, int]:
    """Read from policy's own error which plugin needs how many objects."""
    found = re.search(r"shards\.([a-z0-9-]+): .* set it to (\d+) or more", message)
    if found is None:
        raise ValueError(message)
    return {found[1]: int(found[2])}


def _project(name: str, engine: str) -> Mapping[str, Any]:
    """A coding team: a model, a bulk workload, masking, limits at every level."""
    return {
        "version": 1,
        "org": "acme",
        "project": name,
        "host": f"{name}.bench.test",
        "providers": {"main": {"url": f"http://{PROVIDER_DOMAIN}/v1", "key": "main"}},
        "models": {
            ALIAS: {"targets": [{"provider": "main", "model": "mock-large"}]},
            "bulk": {"workload": "bulk", "targets": [{"provider": "main", "model": "mock-small"}]},
        },
        "budget": {"usd": MAX_USD},
        "token_limit": _NO_LIMIT,
        "groups": {
            "dev": {
                "models": [ALIAS, "bulk"],
                "token_limit": _NO_LIMIT,
                "user_token_limit": _NO_LIMIT,
                "users": {f"user-{number:02d}": {} for number in range(USERS)},
            }
        },
        "masking": {
            "engine": engine,
            "mode": "streaming",
            "rules": [
                {"kind": "email", "value": "[e-mail]"},
                {"kind": "phone", "value": "[phone]"},
                {"kind": "ip", "value": "[address]"},
                {"kind": "api_key", "action": "hash"},
            ],
        },
    }
