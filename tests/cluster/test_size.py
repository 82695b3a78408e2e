"""No object above 1 MiB, up to 100,000 consumers; a site that needs more shards is told how many."""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import PolicyError, desired_objects
from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import minted
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Project, Site

from .sites import NOW, project, site

MEBIBYTE = 1024 * 1024
PROJECTS = 2000


@pytest.fixture(scope="module")
def projects() -> list[Project]:
    return [project(f"p{number:04}", 50) for number in range(PROJECTS)]


def sizes(of: Site) -> list[int]:
    return [len(json.dumps(item)) for item in desired_objects(of, minted(of, {}, NOW), now=NOW)]


def test_a_hundred_thousand_consumers_fit_when_the_advice_is_followed(projects: list[Project]) -> None:
    shards: dict[str, int] = {}
    for _ in range(20):
        try:
            found = sizes(site(*projects, shards=shards))
        except PolicyError as error:
            [(plugin, number)] = re.findall(r"shards\.([a-z-]+): .* set it to (\d+)", str(error))
            shards[plugin] = int(number)
            continue
        assert max(found) <= MEBIBYTE
        assert max(shards.values()) <= 64
        return
    raise AssertionError(f"the advice does not end: {shards}")
