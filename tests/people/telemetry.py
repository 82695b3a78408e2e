"""The templates of telemetry/, rendered as a role does, and what Alloy would store of a line."""

import json
from typing import Any

import jinja2
import yaml

from .alloy import Block, Entry, parse, run
from .services import TREE

PROJECTS = ["atlas", "atlas-x", "beacon"]


def render(name: str, **variables: Any) -> str:
    """Render a template of telemetry/ as Ansible does."""
    root = TREE / "telemetry"
    environment = jinja2.Environment(  # noqa: S701 - this is no HTML
        loader=jinja2.FileSystemLoader([root, root / "values"]), trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["to_json"] = json.dumps
    return environment.get_template(name).render(**variables)


def alloy_config() -> Block:
    """Alloy's config of a site with the Projects above."""
    return parse(
        render(
            "alloy.alloy.j2",
            ansible_managed="rendered in a test",
            observability_namespaces=["higress-system", "redis"],
            observability_projects=PROJECTS,
            observability_scrape_interval="15s",
            observability_metrics_url="http://mimir/api/v1/push",
            observability_logs_url="http://loki/loki/api/v1/push",
            observability_traces_address="tempo:4317",
            observability_scrub=yaml.safe_load((TREE / "telemetry/scrub.yml").read_text()),
        )
    )


def stored(alloy: Block, line: str, container: str = "higress-gateway") -> list[Entry]:
    """What every log pipeline keeps of a line."""
    labels = {"namespace": "higress-system", "pod": "p", "container": container, "job": "j", "instance": "i"}
    entries = [run(process, Entry(line, dict(labels))) for process in alloy.all("loki.process")]
    return [entry for entry in entries if entry.kept]
