"""JSON Schema of the three files people write, for their editors."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from .model import Gateway, PriceTable, Project

SCHEMAS: dict[str, type[BaseModel]] = {"project": Project, "prices": PriceTable, "gateway": Gateway}


def schema_text(name: str) -> str:
    """The schema of NAME (``project``, ``prices`` or ``gateway``) as it stands in ``schemas/``."""
    schema = SCHEMAS[name].model_json_schema(by_alias=True, mode="validation")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2, sort_keys=True, default=str) + "\n"


def write_schemas(directory: Path) -> None:
    """Write all schemas into DIRECTORY."""
    for name in SCHEMAS:
        (directory / f"{name}.schema.json").write_text(schema_text(name), encoding="utf-8")
