"""What is wrong with an object: collected for all objects, then raised once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake: `where` is `Kind namespace/name`, `path` the field, `reason` what Higress would make of it."""

    where: str
    path: str
    reason: str

    def __str__(self) -> str:
        """Give one line for people."""
        return f"{self.where}: {self.path}: {self.reason}"


class ObjectsRefusedError(ValueError):
    """Objects that Higress would drop, ignore or choke on; `problems` holds every one of them, sorted."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(slots=True)
class Problems:
    """A collector handed down while objects are read."""

    found: list[Problem] = field(default_factory=list)

    def at(self, obj: Mapping[str, Any]) -> ProblemsOf:
        """Collect for one object."""
        return ProblemsOf(self, describe(obj))

    def __iter__(self) -> Iterator[Problem]:
        """Walk what was found so far."""
        return iter(self.found)


@dataclass(frozen=True, slots=True)
class ProblemsOf:
    """The collector of one object."""

    problems: Problems
    where: str

    def add(self, path: str, reason: str) -> None:
        """Note one mistake."""
        self.problems.found.append(Problem(self.where, path, reason))

    def unknown(self, path: str, given: Iterable[str], allowed: frozenset[str]) -> None:
        """Note every field that is not one of `allowed`."""
        for name in sorted(set(given) - allowed):
            self.add(f"{path}.{name}".lstrip("."), f"unknown field; allowed: {', '.join(sorted(allowed))}")


def describe(obj: Mapping[str, Any]) -> str:
    """`Kind namespace/name` of an object, as far as it says."""
    metadata = obj.get("metadata") or {}
    return f"{obj.get('kind', '?')} {metadata.get('namespace', '?')}/{metadata.get('name', '?')}"
