"""What can go wrong with an API server, each with one message that says what to do. No message holds a secret."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


class ClusterError(Exception):
    """The API server could not do what was asked; every other error here is one of these."""


class UnreachableError(ClusterError):
    """No answer: refused, lost, timed out, or a certificate that is not trusted."""


class UnauthorizedError(ClusterError):
    """The credentials are not known to the API server."""


class ForbiddenError(ClusterError):
    """The account lacks a permission; the message names verb, resource and account."""


class MissingKindsError(ClusterError):
    """Custom resource definitions are not installed; the message names them."""


class InvalidError(ClusterError):
    """The API server refused an object; the message names the object and the field."""


class BusyError(ClusterError):
    """The API server went on answering 409, 429 or 5xx."""


class LockedError(ClusterError):
    """Another run holds the site, or took it over while this one was writing."""


@dataclass(frozen=True, order=True)
class Conflict:
    """A field of one of our objects that somebody else set.

    ``object`` is ``Kind/name``, ``field`` dotted (``spec.priority``), ``manager`` the field manager as the API
    server knows it (for example ``kubectl-edit``), empty when it is not recorded.
    """

    object: str
    field: str
    manager: str

    def __str__(self) -> str:
        """One line: ``WasmPlugin/key-auth: spec.priority is set by "kubectl-edit"``."""
        return f'{self.object}: {self.field} is set by "{self.manager or "unknown"}"'


class ConflictsError(ClusterError):
    """Other field managers own fields of ours; nothing is taken over unless that was asked for."""

    def __init__(self, conflicts: Iterable[Conflict]) -> None:
        self.conflicts = tuple(sorted(set(conflicts)))
        lines = "\n".join(f"  {conflict}" for conflict in self.conflicts)
        super().__init__(
            f"somebody else changed what this collection owns:\n{lines}\n"
            "Undo it there, or take the fields back with apply_mode: force."
        )
