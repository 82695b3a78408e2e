"""Sends writes in their order, a few at a time, and stops at the first that fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Protocol

from .errors import ClusterError
from .kinds import Object
from .order import Stage, Write

PARALLEL = 24


class Writer(Protocol):
    """What changes the cluster; the client, or a test's."""

    def apply(self, item: Object, *, force: bool = False) -> None:
        """Make ``item`` true."""

    def delete(self, item: Object) -> None:
        """Remove ``item``."""


def push(writer: Writer, stages: Sequence[Stage], *, force: bool, keep: Callable[[], None]) -> int:
    """Send all writes of STAGES and return how many. KEEP is called before each, from the thread that sends it.

    Raises the first failure once the writes that were under way have ended, saying how far the run came; what was
    not sent is sent by the next run.
    """
    sender = _Sender(writer, force, keep)
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="push") as pool:
        for stage in stages:
            try:
                sender.send(stage, pool)
            except ClusterError as error:
                total = sum(map(len, stages))
                error.add_note(
                    f"stopped in a safe state, {sender.done} of {total} writes were made; run again to go on"
                )
                raise
    return sender.done


@dataclass
class _Sender:
    writer: Writer
    force: bool
    keep: Callable[[], None]
    _made: list[None] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def done(self) -> int:
        """How many writes were made."""
        return len(self._made)

    def send(self, stage: Stage, pool: ThreadPoolExecutor) -> None:
        """All writes of STAGE, one share for each thread: to hand over thousands one by one costs a core's tenth."""
        shares = [share for number in range(PARALLEL) if (share := stage[number::PARALLEL])]
        try:
            for future in as_completed([pool.submit(self._share, share) for share in shares]):
                future.result()
        except BaseException:
            self._stop.set()
            raise

    def _share(self, writes: Stage) -> None:
        for write in writes:
            if self._stop.is_set():
                return
            try:
                self._send(write)
            except BaseException:
                self._stop.set()
                raise
            self._made.append(None)

    def _send(self, write: Write) -> None:
        self.keep()
        if write.action == "delete":
            self.writer.delete(write.item)
        else:
            self.writer.apply(write.item, force=self.force)
