"""What can go wrong, each with its own exit code. Nothing is half-written when one of these is raised."""

from __future__ import annotations

from collections.abc import Sequence


class ControllerError(Exception):
    """A refusal with a sentence for people and a stable exit code."""

    exit_code = 1


class ConfigError(ControllerError):
    """The configuration is not usable; ``problems`` lists every fault, each as ``path: what is wrong``."""

    exit_code = 3

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep every problem; the message shows them all."""
        self.problems = tuple(problems)
        super().__init__("the configuration has problems:\n  " + "\n  ".join(self.problems))


class SourceError(ControllerError):
    """The metrics API is away, or answers what no counter can be."""

    exit_code = 4


class StoreError(ControllerError):
    """Redis is away, or holds what this program did not write."""

    exit_code = 5


class ClockError(ControllerError):
    """This machine's clock and the metrics API's disagree too much to know which period it is."""

    exit_code = 6


class Superseded(ControllerError):  # noqa: N818 - not a failure: another controller did the work
    """Another run moved the ledger on, or a fail-over moved it back; what this one had not written is void."""

    exit_code = 7
