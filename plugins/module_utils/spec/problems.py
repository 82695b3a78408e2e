"""What is wrong with a spec, said so that a person can mend it: file, path, value, what is allowed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# A value under one of these fields may be a secret pasted by mistake: it is never shown.
_NEVER_SHOWN = frozenset({"key", "keys"})
_LONGEST_VALUE = 60


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake.

    ``file`` is relative to the site's directory, ``path`` is dotted (``groups.dev.users.bob``), ``line``
    counts from 1 (0: unknown), ``value`` is already fit to be shown, ``allowed`` says what would be right.
    """

    file: str
    line: int
    path: str
    message: str
    value: str = ""
    allowed: str = ""

    def __str__(self) -> str:
        """One line: ``file:line: path: message (got VALUE; allowed: ...)``."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        notes = [
            f"got {self.value}" if self.value else "",
            f"allowed: {self.allowed}" if self.allowed else "",
        ]
        tail = "; ".join(note for note in notes if note)
        return f"{where}: {self.path or 'file'}: {self.message}" + (f" ({tail})" if tail else "")


class SpecError(Exception):
    """Raised once with all problems of all files, sorted by file and line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems)))
        count = len(self.problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the Project specs:\n{lines}")


def shown(value: object, path: str) -> str:
    """VALUE as a person may see it: short, and hidden where a secret may have been pasted."""
    if isinstance(value, dict | list):
        return ""
    if any(part in _NEVER_SHOWN for part in path.split(".")):
        return "a value that is not shown"
    text = "null" if value is None else str(value)
    return repr(text if len(text) <= _LONGEST_VALUE else text[:_LONGEST_VALUE] + "…")
