"""Where a site's specs come from: a directory, or values a playbook holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ..spec import Site, load_site, parse_site


def site_from(directory: str | None, values: Mapping[str, Any] | None, projects: Sequence[Mapping[str, Any]]) -> Site:
    """The site of DIRECTORY, or of VALUES (``gateway`` and ``prices``) and PROJECTS. Raises SpecError."""
    if directory:
        return load_site(Path(directory))
    given = values or {}
    texts = [(f"{found.get('project', number)}.yml", _text(found)) for number, found in enumerate(projects)]
    return parse_site(_text(given.get("gateway")), _text(given.get("prices")), texts)


def _text(value: Any) -> str:
    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
