"""Where the fuzzer begins: the labelled corpus as bodies, texts and streams, and around a planted secret."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from masking.corpus import lines
from masking.world import DONE, chunk

EVERY = 13


def main(directory: Path) -> None:
    """Writes one file per seed and target below DIRECTORY."""
    for number, line in enumerate(list(lines())[::EVERY]):
        message = {"role": "user", "content": line.text}
        call = {"function": {"name": "f", "arguments": json.dumps({"q": line.text})}}
        body = {"model": "m", "messages": [message, {"role": "assistant", "tool_calls": [call]}]}
        half = len(line.text) // 2
        stream = b"".join(chunk({"content": part}) for part in (line.text[:half], line.text[half:])) + DONE
        seeds = {
            "body": json.dumps(body, ensure_ascii=False).encode(),
            "text": b"\x03" + line.text.encode(),
            "events": b"\x04" + stream,
            "leak": bytes([number % 251, number % 241]) + line.text.encode(),
        }
        for target, seed in seeds.items():
            folder = directory / target
            folder.mkdir(parents=True, exist_ok=True)
            (folder / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
