"""Sends writes in their order, a few at a time, and stops at the first that fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Protocol

from .errors import ClusterError
from .kinds import Object
from .order import Stage, Write

PARALLEL = 12


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
    total, done = sum(map(len, stages)), 0
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="push") as pool:
        for stage in stages:
            try:
                done += _stage(writer, stage, pool, force, keep)
            except ClusterError as error:
                error.add_note(f"stopped in a safe state, {done} of {total} writes were made; run again to go on")
                raise
    return done


def _stage(writer: Writer, stage: Stage, pool: ThreadPoolExecutor, force: bool, keep: Callable[[], None]) -> int:
    def send(write: Write) -> None:
        keep()
        if write.action == "delete":
            writer.delete(write.item)
        else:
            writer.apply(write.item, force=force)

    futures = [pool.submit(send, write) for write in stage]
    try:
        for future in as_completed(futures):
            future.result()
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise
    return len(stage)
