"""What the policy renders is what the controller reads, however many ConfigMaps it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import PolicyError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import budget as rendered
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Site, load_site

from budget_controller import check, config
from budget_controller.errors import ConfigError

SITE = load_site(Path(__file__).parents[2] / "inventories" / "sandbox")
NOW = 1_795_000_000


def mount(site: Site, where: Path) -> list[str]:
    """Write the ConfigMaps as a Pod sees them, a directory each; their names."""
    objects: list[dict[str, Any]] = list(rendered.budget_objects(site))
    for item in objects:
        assert (item["kind"], item["metadata"]["namespace"]) == ("ConfigMap", "higress-system")
        directory = where / item["metadata"]["name"]
        directory.mkdir()
        for name, text in item["data"].items():
            (directory / name).write_text(text, "utf-8")
    return [item["metadata"]["name"] for item in objects]


def consumers(site: Site) -> set[str]:
    return {identity.consumer for project in site.projects for identity in project.identities()}


def test_the_example_site_is_one_config_map_and_sane(tmp_path: Path) -> None:
    assert mount(SITE, tmp_path) == ["budget-config"]
    found = config.load(tmp_path / "budget-config" / "budget.json")
    assert {name for name, _ in found.consumers()} == consumers(SITE)
    assert check.check(found, NOW)[0] == []


def test_a_large_site_is_split_by_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "PART_BYTES", 1200)
    names = mount(SITE, tmp_path)
    assert names[:2] == ["budget-config", "budget-config-1"]
    assert len(names) > 2
    assert {name for name, _ in config.load(tmp_path / "budget-config" / "budget.json").consumers()} == consumers(SITE)
    part = tmp_path / "budget-config-2" / "projects-2.json"
    part.write_text(part.read_text("utf-8").replace('"blocked":false', '"blocked":true', 1), "utf-8")
    with pytest.raises(ConfigError, match=r"parts\[1\]: another version"):
        config.load(tmp_path / "budget-config" / "budget.json")
    part.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / "budget-config" / "budget.json")


def test_what_no_config_map_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "PART_BYTES", 200)
    with pytest.raises(PolicyError, match="split the Project"):
        list(rendered.budget_objects(SITE))
    monkeypatch.setattr(rendered, "PART_BYTES", 1200)
    monkeypatch.setattr(rendered, "MAX_PARTS", 1)
    with pytest.raises(PolicyError, match="the controller reads 1"):
        list(rendered.budget_objects(SITE))
