"""Files that are replaced whole: readers, Envoy among them, see the old text or the new one."""

from __future__ import annotations

import os
from pathlib import Path

PRIVATE = 0o600


def text_of(path: Path) -> str | None:
    """Return the file's text, None when there is none."""
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        return None


def replace(path: Path, text: str) -> None:
    """Put `text` in the place of a file, readable by its owner only, by renaming."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    new = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "w", encoding="utf-8") as out:
        out.write(text)
    new.rename(path)


def replace_if_changed(path: Path, text: str, *, dry: bool = False) -> bool:
    """Replace a file unless it says that already; tell whether it did (`dry`: would)."""
    if text_of(path) == text:
        return False
    if not dry:
        replace(path, text)
    return True
