"""Precision and recall of an engine on the corpus, told by what the provider received."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from masking.bench.engines import mark
from masking.corpus import Label, Line
from masking.world import KINDS, World

_MARK = re.compile("|".join(re.escape(mark(kind)) for kind in KINDS))
# A found span may be this many characters longer than the value it covers and still be right.
SLACK = 12


@dataclass
class Score:
    """Counts per kind."""

    wanted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    missed: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def recall(self, kind: str) -> float:
        """Share of the values of KIND of which no character reached the provider."""
        return self.found[kind] / max(1, self.wanted[kind])

    def precision(self, kind: str) -> float:
        """Share of the spans masked as KIND that were values."""
        return self.right[kind] / max(1, self.right[kind] + self.wrong[kind])


def spans(original: str, masked: str) -> list[Label]:
    """Where the marks of MASKED stood in ORIGINAL."""
    pattern, at = "", 0
    kinds = []
    for match in _MARK.finditer(masked):
        pattern += re.escape(masked[at : match.start()]) + "(.+?)"
        kinds.append(match.group()[1:-1])
        at = match.end()
    aligned = re.fullmatch(pattern + re.escape(masked[at:]), original, re.DOTALL)
    if aligned is None:
        raise ValueError(f"changed outside of a mark: {original!r} -> {masked!r}")
    return [Label(*aligned.span(i + 1), kind) for i, kind in enumerate(kinds)]


def score(world: World, corpus: Sequence[Line]) -> Score:
    """Sends every line as a message of its own."""
    result = Score()
    for line in corpus:
        body = {"model": "m", "messages": [{"role": "user", "content": line.text}]}
        received = world.received(body)
        try:
            content = json.loads(received)["messages"][0]["content"]
        except json.JSONDecodeError:
            # The engine changed a byte that it must not: the provider refuses the request, so nothing leaks of it.
            result.broken.append(received)
            continue
        compare(line, spans(line.text, content), result)
    return result


def compare(line: Line, found: Sequence[Label], result: Score) -> None:
    """Adds one line's outcome."""
    masked = {i for span in found for i in range(span.start, span.end)}
    for label in line.labels:
        result.wanted[label.kind] += 1
        if masked >= set(range(label.start, label.end)):
            result.found[label.kind] += 1
        else:
            result.missed.append(f"{label.kind}: {line.text}")
    for span in found:
        meant = [label for label in line.labels if label.start < span.end and span.start < label.end]
        length = sum(label.end - label.start for label in meant)
        if meant and span.end - span.start <= length + SLACK:
            result.right[span.kind] += 1
        else:
            result.wrong[span.kind] += 1
            result.false.append(f"{span.kind} {line.text[span.start : span.end]!r}: {line.text}")
