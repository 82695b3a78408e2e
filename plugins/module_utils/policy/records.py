"""What was applied last, in the words of the specs: so the next plan can say in people's terms what changes.

A thousand ConfigMaps, one for each Project, were a quarter of a site's objects and of a first push. So Projects share
a few, each under its own name there; which one depends on its name only.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..spec import Project, Site, SiteRecord
from .objects import LABEL_PROJECT, Object, build
from .plugin import MAX_BYTES, PolicyError, shard_of

SITE_RECORD = "site-record"
PROJECT_RECORDS = "applied-projects-"
#: A Project's change is one write of 50 KB in a site of a thousand, and 500,000 users fit.
SHARDS = 32


def record_objects(site: Site) -> Iterator[Object]:
    """ConfigMaps with SITE as it is applied. Raises PolicyError when one would be too large."""
    shared = SiteRecord(gateway=site.gateway, prices=site.prices)
    yield build("v1", "ConfigMap", SITE_RECORD, site.gateway.site, data={"spec": _text(shared)})
    found: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for project in site.projects:
        found[record_name(project.project)][project.project] = _text(project)
    for name, texts in sorted(found.items()):
        size = sum(map(len, texts.values()))
        if size > MAX_BYTES:
            largest = max(texts, key=lambda project: len(texts[project]))
            raise PolicyError(
                f"projects/{largest}.yml: the record it shares with {len(texts) - 1} other Projects would be "
                f"{size:,} bytes, above {MAX_BYTES:,}; split the Project"
            )
        yield build("v1", "ConfigMap", name, site.gateway.site, data=texts)


def record_name(project: str) -> str:
    """The ConfigMap with the record of PROJECT."""
    return f"{PROJECT_RECORDS}{shard_of(project, SHARDS)}"


def is_record(item: Mapping[str, Any]) -> bool:
    """Whether ITEM says what was applied last: nothing but the next plan reads it."""
    return item["kind"] == "ConfigMap" and (
        item["metadata"]["name"].startswith((SITE_RECORD, PROJECT_RECORDS)) or _is_single(item)
    )


def recorded_texts(objects: Iterable[Object]) -> dict[str, str]:
    """The records of Projects in OBJECTS, by name, unread."""
    found: dict[str, str] = {}
    for item in objects:
        if item["kind"] == "ConfigMap":
            if _is_single(item):
                found.setdefault(item["metadata"]["labels"][LABEL_PROJECT], item["data"]["spec"])
            elif item["metadata"]["name"].startswith(PROJECT_RECORDS):
                found |= item.get("data") or {}
    return found


def recorded_projects(texts: Mapping[str, str]) -> dict[str, Project]:
    """The Projects of TEXTS, by name; a record that this version cannot read counts as absent."""
    result: dict[str, Project] = {}
    for name, text in texts.items():
        try:
            project = Project.model_validate(json.loads(text))
        except ValueError:
            continue
        if project.project == name:
            result[name] = project
    return result


def recorded_site(objects: Iterable[Object]) -> SiteRecord | None:
    """What OBJECTS record of the site; None without a record that this version can read."""
    for item in objects:
        if item["kind"] == "ConfigMap" and item["metadata"]["name"] == SITE_RECORD:
            try:
                return SiteRecord.model_validate(json.loads(item["data"]["spec"]))
            except ValueError:
                return None
    return None


def _text(model: Project | SiteRecord) -> str:
    return json.dumps(model.model_dump(mode="json", by_alias=True, exclude_defaults=True), sort_keys=True)


def _is_single(item: Mapping[str, Any]) -> bool:
    """A record as sites had them at first, ``project-<project>``; the next run takes it over."""
    project = item["metadata"].get("labels", {}).get(LABEL_PROJECT)
    return bool(project) and item["metadata"]["name"] == f"project-{project}" and "spec" in (item.get("data") or {})
