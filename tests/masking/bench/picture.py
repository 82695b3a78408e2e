"""The bench as a picture: CPU per request on a logarithmic scale, one bar per engine and size."""

from __future__ import annotations

import math
from typing import Any

COLOURS = {"none": "#bbbbbb", "data-masking": "#2a7f3f", "ai-data-masking": "#c0504d"}
LEFT, WIDTH, BAR = 190, 560, 16


def _bar(y: int, name: str, milliseconds: float) -> str:
    length = max(2.0, (math.log10(milliseconds) + 2) / 5 * WIDTH)
    return (
        f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{name}</text>'
        f'<rect x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR - 3}" fill="{COLOURS[name]}"/>'
        f'<text x="{LEFT + length + 6:.0f}" y="{y + 12}">{milliseconds:.3g} ms</text>'
    )


def draw(result: dict[str, Any]) -> str:
    """An SVG of the figures of RESULT."""
    parts, y = [], 40
    for part, title in (("alone", "the engine alone"), ("chain", "the whole chain")):
        for size in ("3 KB", "100 KB", "500 KB"):
            parts.append(f'<text x="10" y="{y}" font-weight="bold">{size}, {title}</text>')
            y += 6
            for name in COLOURS:
                parts.append(_bar(y, name, result[part][name][size]["cpu_ms"]))
                y += BAR
            y += 20
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="900" height="{y}" font-family="sans-serif" font-size="12">'
    title = '<text x="10" y="18" font-size="14">CPU of Envoy per request (logarithmic)</text>'
    return f'{head}<rect width="100%" height="100%" fill="white"/>{title}{"".join(parts)}</svg>\n'
