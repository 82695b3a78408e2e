"""A small site that is right, so that each test changes one thing of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import Object, desired_objects
from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import minted
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Site, load_site

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def sandbox() -> Path:
    return ROOT / "inventories" / "sandbox"


@pytest.fixture(scope="session")
def site(sandbox: Path) -> Site:
    return load_site(sandbox)


@pytest.fixture(scope="session")
def objects(site: Site) -> dict[tuple[str, str], Object]:
    found = desired_objects(site, minted(site, {}, NOW), now=NOW)
    return {(item["kind"], item["metadata"]["name"]): item for item in found}
