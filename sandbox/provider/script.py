"""What the mock provider is told to do: by a directive in the prompt, or for all requests by `PUT /_control`.

A directive is `[[mock: NAME=VALUE ...]]` anywhere in the request's text:
`status=503` (an error of that status), `chunks=20` (pieces of the answer), `delay_ms=20` (between pieces),
`first_ms=200` (before the first), `hangup=3` (drop the connection after so many pieces), `usage=0` (leave usage out),
`cached=1000` (input tokens read from a cache), `written=50` (written to it), `input=N`, `output=N` (token counts),
`model=NAME` (the model the answer names), `say=TEXT` (answer, underscores are spaces).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

_DIRECTIVE = re.compile(r"\[\[mock:\s*([^\]]*)\]\]")
_PAIR = re.compile(r"(\w+)=(\S+)")


@dataclass(frozen=True, slots=True)
class Script:
    """How to answer; numbers are counts, or milliseconds where the name says so."""

    status: int = 200
    chunks: int = 0
    delay_ms: int = 0
    first_ms: int = 0
    hangup: int = -1
    usage: int = 1
    cached: int = 0
    written: int = 0
    input: int = -1
    output: int = -1
    model: str = ""
    say: str = ""

    def told(self, orders: Mapping[str, str | int]) -> Script:
        """Return the script with some orders changed; raises ValueError for one that is not known."""
        kinds = {field.name: str(field.type) for field in fields(self)}
        unknown = set(orders) - set(kinds)
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(kinds)}")
        changed: dict[str, Any] = {k: int(v) if kinds[k] == "int" else str(v) for k, v in orders.items()}
        return replace(self, **changed)

    def in_prompt(self, text: str) -> Script:
        """Return the script with the directives of a prompt."""
        script = self
        for directive in _DIRECTIVE.findall(text):
            script = script.told(dict(_PAIR.findall(directive)))
        return script
