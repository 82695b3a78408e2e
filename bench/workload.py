"""What is asked: chat requests of a given size, of the kind a coding tool sends."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from .tenants import ALIAS

KILOBYTE = 1000
SIZES_KB = (3, 100, 500)


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of request: a body of `size_kb` kilobytes, its answer whole or streamed."""

    size_kb: int
    streamed: bool = False

    @property
    def name(self) -> str:
        """How tables call it."""
        return f"{self.size_kb} KB{' streamed' if self.streamed else ''}"


LOADS = (*(Load(size) for size in SIZES_KB), Load(SIZES_KB[0], streamed=True))

_SYSTEM = "You are a careful programming assistant. Answer with working code and say what you are not sure of."
# Text as coding tools send it: prose, code, logs, another script, and now and then something to mask.
_LINES = (
    "Please look at the failing test below and tell me which assumption in the parser is wrong.",
    "def merge(left: list[int], right: list[int]) -> list[int]:",
    "    while i < len(left) and j < len(right):",
    '        result.append(left[i] if left[i] <= right[j] else right[j])  # "stable" on purpose',
    "2026-11-23T09:14:07.412Z INFO gateway request finished status=200 duration_ms=184 bytes=20480",
    "The second service answers slowly when the cache is cold; the first one does not.",
    "SELECT project, sum(tokens) FROM usage WHERE day >= date '2026-11-01' GROUP BY project;",
    "ช่วยอธิบายว่าทำไมฟังก์ชันนี้คืนค่าผิดเมื่อรายการว่าง",
    '\tif err := store.Put(ctx, key, value); err != nil {\n\t\treturn fmt.Errorf("put %s: %w", key, err)\n\t}',
    "commit 5f2a9c1d7e60b84f3c2d19a8e7b6054d3f1c2b9a: move the retry loop into the client",
    "version 2.14.3 of the library renamed that option; see section 4.2 of its notes",
)
_SENSITIVE = (
    "Reported by somchai.jaidee@example.com from 192.0.2.45 on Monday.",
    "Call 081-234-5678 if the deployment hangs again.",
    "export PROVIDER_KEY=sk-Zk39vQ81LmXr52TnWb70PdYs",
)
_SENSITIVE_EVERY = 25
"""Lines; one in so many holds something that masking must find."""


def request_body(load: Load) -> bytes:
    """Give the JSON of a chat request, `size_kb` kilobytes to within one line; the same every time."""
    dice = random.Random(load.size_kb)  # noqa: S311 -- variety, not secrecy
    messages = [{"role": "system", "content": _SYSTEM}]
    left = load.size_kb * KILOBYTE - len(_body(messages, load))
    turn = 0
    while left > 0:
        role = "assistant" if turn % 2 else "user"
        text = _turn(dice, min(left, 6 * KILOBYTE))
        messages.append({"role": role, "content": text})
        left = load.size_kb * KILOBYTE - len(_body(messages, load))
        turn += 1
    return _body(messages, load)


def _turn(dice: random.Random, size: int) -> str:
    lines: list[str] = []
    length = 0
    while length < size:
        pool = _SENSITIVE if dice.randrange(_SENSITIVE_EVERY) == 0 else _LINES
        line = f"{dice.choice(pool)} ({dice.randrange(10_000)})"
        lines.append(line)
        length += len(json.dumps(line, ensure_ascii=False).encode())
    return "\n".join(lines)


def _body(messages: list[dict[str, str]], load: Load) -> bytes:
    request = {"model": ALIAS, "messages": messages, "max_tokens": 400, "stream": load.streamed}
    return json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
