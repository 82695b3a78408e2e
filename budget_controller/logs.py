"""Structured logs: one JSON object a line on standard error. Nothing that may hold a secret is ever passed in."""

from __future__ import annotations

import json
import sys
from typing import TextIO


def log(event: str, *, level: str = "info", stream: TextIO | None = None, **fields: object) -> None:
    """Write one line; amounts go in as strings, sets as sorted lists."""
    clean = {key: sorted(value) if isinstance(value, set | frozenset) else value for key, value in fields.items()}
    print(json.dumps({"level": level, "event": event, **clean}, default=str), file=stream or sys.stderr)
