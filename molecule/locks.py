"""The lock file of today and those of later days (upgrades.yml), which the scenarios upgrade to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


def documents() -> dict[str, dict[str, Any]]:
    """Lock files by name: `today` is versions.yml."""
    today = yaml.safe_load((ROOT / "versions.yml").read_text())
    later = yaml.safe_load((ROOT / "molecule/upgrades.yml").read_text())
    return {"today": today, **{name: _changed(today, changes) for name, changes in later.items()}}


def _changed(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {key: _changed(document[key], value) for key, value in changes.items() if isinstance(value, dict)}
    return document | changes | both
