"""The gateway's processes: when each restarted, at which moments its counters must be read, and reading them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from . import ahead, periods
from .sources import METERS, Process, Shard, Source
from .store import GatewayProcess, Head

#: Samples may reach the metrics API late: whatever changed in this many seconds before the last tick is read again.
OVERLAP = 300
#: So long after its sample the metrics API still answers with a counter.
LOOKBACK = 300
#: A process's start, computed from its uptime, may wander by this much (Envoy updates the uptime every 5 s).
UPTIME_JITTER = 10
#: Up to so many shards are not worth a process of their own: one of the site's Projects, one of strangers.
FEW_SHARDS = 2

#: Consumer -> series key (``<life>|<model>``) -> counters
Usage = dict[str, dict[str, list[int]]]
#: The next id of a life, and the processes known
GatewayProcesses = tuple[int, dict[str, GatewayProcess]]
_T = TypeVar("_T")


class Gateways:
    """The processes that HEAD knows, and SOURCE, which shows what they counted.

    ``unsaved``: HEAD has new processes or lives and must be stored before or with the first page that uses them.
    """

    def __init__(self, head: Head, source: Source) -> None:
        self._head, self._source = head, source
        self._shown: set[Process] = set()
        self.unsaved = False
        self.restarts = 0

    def steps(self, at: int, zones: Iterable[str]) -> tuple[list[int], list[int]]:
        """Moments to read the counters at, ascending: where a day ends, a process restarted or ended, and ``at``.

        Also learns the processes. Returned beside: when processes restarted (the first second of the new life).
        """
        cursor = self._head.cursor
        for known in self._head.processes.values():
            known.lives = _still_read(known.lives, (cursor - OVERLAP) * 1000)
        samples = self._source.uptimes(cursor - OVERLAP, at)
        for process, seen in samples.items():
            self._learn(process_name(process), seen)
            self._shown.add(process)
        steps = {m - 1 for m in periods.midnights(cursor, at, zones)}
        restarted = []
        for known in self._head.processes.values():
            for since, _ in known.lives:
                if since > (cursor - OVERLAP) * 1000:
                    restarted.append(since // 1000)
                    steps.add((since - 1) // 1000)
        for seen in samples.values():
            steps.update(_last_before_gap([moment for moment, _ in seen], at))
        return [*sorted(step for step in steps if cursor < step < at), at], restarted

    def read_each(
        self, shards: Sequence[Shard], step: int, since: int | None, beside: Callable[[Shard, Usage], _T]
    ) -> Iterator[tuple[Usage, _T]]:
        """``read`` for each shard, and what ``beside`` makes of it. Many shards are read by another process, one shard
        ahead of the caller; ``beside`` runs there too.
        """
        if len(shards) <= FEW_SHARDS:
            for shard in shards:
                usage = self.read(shard, step, since)
                yield usage, beside(shard, usage)
            return

        def reading() -> Iterator[tuple[Usage, _T, GatewayProcesses]]:
            self._source.disconnect()  # the parent's connections are its own
            for shard in shards:
                usage = self.read(shard, step, since)
                yield usage, beside(shard, usage), (self._head.next_process, self._head.processes)

        for usage, found, (following, processes) in ahead.produce(reading):
            if following != self._head.next_process:
                self._head.next_process, self._head.processes, self.unsaved = following, processes, True
            yield usage, found

    def read(self, shard: Shard, step: int, since: int | None) -> Usage:
        """Consumer -> series key (``<life>|<model>``) -> counters, -1 where nothing changed since ``since``."""
        usage: Usage = {}
        keys: dict[Process, dict[str, str]] = {}
        width, born = len(METERS), self._born(step)
        for meter in range(width):
            last, of_model = None, {}
            for process, consumer, model, value in self._source.counters(meter, step, since, shard, born):
                if process is not last:  # a source tells a process by one tuple; to hash it costs as much as the rest
                    last, of_model = process, keys.setdefault(process, {})
                key = of_model.get(model)
                if key is None:
                    key = of_model[model] = f"{self._life_id(process, step)}|{model}"
                series = usage.get(consumer)
                if series is None:
                    series = usage[consumer] = {}
                values = series.get(key)
                if values is None:
                    values = series[key] = [-1] * width
                values[meter] = value
        return usage

    def _learn(self, name: str, samples: Sequence[tuple[int, int]]) -> None:
        changed = False
        known = self._head.processes.get(name)
        for moment, uptime in samples:
            start = moment // 1000 - uptime
            if known is None:
                known = self._head.processes[name] = GatewayProcess([[0, self._next_process()]])
                changed = True
            elif moment <= known.seen:
                continue
            elif known.seen and (
                uptime < known.uptime
                # A new process is not older than the last look at the one before. One that stands still for longer than
                # UPTIME_JITTER shows an uptime that old, too.
                or (start > known.started + UPTIME_JITTER and uptime <= (moment - known.seen) // 1000 + 1)
            ):
                known.lives.append([moment, self._next_process()])
                self.restarts += 1
                changed = True
            if changed or not known.seen:
                known.started = start
            known.uptime, known.seen = uptime, moment
        self.unsaved |= changed

    def _born(self, step: int) -> dict[Process, int]:
        """Processes whose life before may still be shown as of ``step``: when the present one was first seen (ms)."""
        lives = {process: _life(self._head.processes[process_name(process)], step) for process in self._shown}
        return {process: since for process, (since, _) in lives.items() if since > (step - LOOKBACK) * 1000}

    def _next_process(self) -> int:
        self._head.next_process += 1
        return self._head.next_process - 1

    def _life_id(self, process: Process, step: int) -> str:
        name = process_name(process)
        known = self._head.processes.get(name)
        if known is None:  # a process that shows no uptime: its restarts are seen where a counter falls
            known = self._head.processes[name] = GatewayProcess([[0, self._next_process()]])
            self.unsaved = True
        return str(_life(known, step)[1])


def _life(known: GatewayProcess, step: int) -> list[int]:
    return next((life for life in reversed(known.lives) if life[0] <= step * 1000), known.lives[0])


def _still_read(lives: list[list[int]], after: int) -> list[list[int]]:
    """The lives that a counter as of a moment beyond ``after`` (ms) may belong to, however many they are."""
    return lives[max((index for index, (since, _) in enumerate(lives) if since <= after), default=0) :]


def process_name(process: Process) -> str:
    """A gateway process as text, for the ledger."""
    return ",".join(f"{key}={value}" for key, value in process)


def _last_before_gap(moments: Sequence[int], at: int) -> Iterator[int]:
    """Where scrapes were missed or are overdue: the last second before, when the process could still be read."""
    gaps = [later - earlier for earlier, later in pairwise(moments)]
    usual = min(LOOKBACK * 2000 // 3, *gaps) if gaps else 0  # a gap that no counter can be read across is one too
    for moment, gap in zip(moments, [*gaps, at * 1000 - moments[-1]], strict=True):
        if 2 * gap > 3 * usual or (gap >= usual and moment == moments[-1]):
            yield -(-moment // 1000)
