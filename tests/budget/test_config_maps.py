"""What the policy renders is what the controller reads, however many ConfigMaps it takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import PolicyError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import budget as rendered
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Project, Site, load_site

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
    assert names[0] == "budget-config"
    assert len(names) == 1 + len({rendered.shard_of(project.project, rendered.PARTS) for project in SITE.projects}) > 2
    document = tmp_path / "budget-config" / "budget.json"
    assert config.load(document) == config.parse(json.dumps(rendered.budget_config(SITE)))
    number = names[2].rpartition("-")[2]
    part = tmp_path / names[2] / f"projects-{number}.json"
    part.write_text("{}", "utf-8")
    with pytest.raises(ConfigError, match=rf"parts\.{number}: another version"):
        config.load(document)
    part.unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(document)


def test_one_project_changes_its_own_part_only(monkeypatch: pytest.MonkeyPatch) -> None:
    one = SITE.projects[0]
    many = tuple(one.model_copy(update={"project": f"p{n:03}", "host": f"p{n:03}.test"}) for n in range(100))
    monkeypatch.setattr(rendered, "PART_BYTES", 40_000)

    def objects(*projects: Project) -> dict[str, Any]:
        site = SITE.model_copy(update={"projects": projects})
        return {item["metadata"]["name"]: item["data"] for item in rendered.budget_objects(site)}

    before = objects(*many)
    assert len(before) == 1 + rendered.PARTS
    other = many[7].model_copy(update={"blocked": not many[7].blocked})
    changed = objects(*many[:7], other, *many[8:])
    own = f"budget-config-{rendered.shard_of('p007', rendered.PARTS) + 1}"
    assert {name for name, data in changed.items() if data != before[name]} == {own}
    # One that comes or goes is in the document too, and moves no other.
    fewer = objects(*many[:7], *many[8:])
    assert {name for name, data in fewer.items() if data != before[name]} == {"budget-config", own}


@pytest.mark.parametrize("parts", [["sha"], {"one": ["atlas"]}, {"1": "atlas"}, {"1": [1]}])
def test_parts_that_make_no_sense_are_refused(parts: Any) -> None:
    document = rendered.budget_config(SITE) | {"parts": parts}
    with pytest.raises(ConfigError, match="parts"):
        config.parse(json.dumps(document), lambda _: b'{"atlas": {}}')


def test_what_no_config_map_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendered, "PART_BYTES", 200)
    with pytest.raises(PolicyError, match="split the Project"):
        list(rendered.budget_objects(SITE))
