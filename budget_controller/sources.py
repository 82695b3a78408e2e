"""Counters from a Prometheus-compatible API (Prometheus, or Mimir with its tenant header), read as exact integers.

What is asked (see docs/budget.md, "Reading counters"): per gateway process, consumer and model the sum over routes and
clusters, only where it changed, as of one moment; and when processes started, because that is when counters restart.
Facts: instant vectors and matrices of the HTTP API v1 (``/api/v1/query``), values are strings such as ``"1234"``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol
from urllib.parse import urlencode

import urllib3

from .errors import SourceError

#: The labels of a series that name the gateway process: all that are not the meter's own.
Process = tuple[tuple[str, str], ...]
#: process, consumer, model, value
Sample = tuple[Process, str, str, int]

METERS = (
    "usage_input_token",
    "usage_cache_read_token",
    "usage_cache_write_token",
    "usage_output_token",
    "usage_estimated_input_token",
    "usage_estimated_output_token",
)
UPTIME = "envoy_server_uptime"
#: A counter above this is no longer exact in the metrics API, which holds 64-bit floats.
EXACT = 2**53
_SEPARATOR = b',{"metric":'
#: One element of a vector as these APIs write it, labels sorted. What looks otherwise is read as JSON.
_ELEMENT = re.compile(
    r'{"metric":{"ai_consumer":"([^"\\]*)","ai_model":"([^"\\]*)"(|,"[^{}\\]*)},"value":\[[0-9.]+,"([0-9]{1,15})"\]}'
)
_OWN_LABELS = ("ai_route", "ai_cluster", "ai_model", "ai_consumer")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part of the consumers, small enough to be held in memory: those of some projects, or of none of them."""

    projects: frozenset[str]
    others: bool = False

    def matcher(self) -> str:
        """The label matcher; names are ``<project>.<user>`` and a project's name has neither dots nor quotes."""
        return f'ai_consumer{"!~" if self.others else "=~"}"(?:{"|".join(sorted(self.projects))})[.].+"'


def shared_out(consumers: Iterable[str], shards: Sequence[Shard]) -> list[list[str]]:
    """For each shard those of the consumers that are in it. The last shard has those of no Project."""
    number = {project: index for index, shard in enumerate(shards[:-1]) for project in shard.projects}
    parts: list[list[str]] = [[] for _ in shards]
    for consumer in consumers:
        project, _, user = consumer.partition(".")
        parts[number.get(project, -1) if user else -1].append(consumer)
    return parts


class Source(Protocol):
    """What a run needs to know about usage."""

    def disconnect(self) -> None:
        """Open new connections from here on: this process is a fork, and the open ones are its parent's."""

    def clock(self) -> int:
        """The metrics API's own time, in seconds."""

    def uptimes(self, after: int, until: int) -> Mapping[Process, Sequence[tuple[int, int]]]:
        """Samples (time in ms, uptime in s) of every gateway process in (after, until]."""

    def counters(
        self, meter: int, at: int, since: int | None, shard: Shard, born: Mapping[Process, int]
    ) -> Iterator[Sample]:
        """One meter's sums as of ``at`` for the shard's consumers: those changed since ``since``, or all.

        ``born``: when processes that restarted shortly before ``at`` were first seen (ms). What is older is not theirs.
        """

    def totals(self, at: int) -> Mapping[tuple[str, str], tuple[int, int]]:
        """Per project and model: tokens by the usage-guard's reported counters, and by ai-statistics'."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where the metrics API is, its tenant header if any (Mimir), and what the counters' names begin with."""

    url: str
    tenant: str | None = None
    prefix: str = "route_upstream_model_consumer_metric_"


class Prometheus:
    """The HTTP API of Prometheus or Mimir."""

    def __init__(self, settings: SourceSettings, *, timeout: int = 60) -> None:
        """Open no connection yet; ``timeout`` is seconds per request."""
        self._settings = settings
        self._headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        if settings.tenant:
            self._headers["X-Scope-OrgID"] = settings.tenant
        self._http = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=5, read=timeout), retries=urllib3.Retry(2, redirect=0)
        )

    def disconnect(self) -> None:
        """See Source."""
        self._http.clear()

    def clock(self) -> int:
        """See Source."""
        for value in self._stream("time()", None):
            if isinstance(value, str):
                return int(_number(value))
        raise SourceError("the metrics API does not tell its time")

    def uptimes(self, after: int, until: int) -> dict[Process, list[tuple[int, int]]]:
        """See Source."""
        found: dict[Process, list[tuple[int, int]]] = {}
        for element in self._stream(f"{UPTIME}[{max(1, until - after)}s]", until):
            process = _process(element["metric"])
            for moment, value in element["values"]:
                found.setdefault(process, []).append((_milliseconds(moment), _integer(value, process)))
        return found

    def counters(
        self, meter: int, at: int, since: int | None, shard: Shard, born: Mapping[Process, int]
    ) -> Iterator[Sample]:
        """See Source."""
        name = f"{self._settings.prefix}{METERS[meter]}"
        series = f"{name}{{{shard.matcher()}}}"
        # Who scrapes notes the end of a series that it knew. One that restarted, too, leaves the last sample standing.
        older = "".join(
            f" unless (timestamp({name}{{{shard.matcher()},{_matcher(process)}}}) < {first // 1000}.{first % 1000:03})"
            for process, first in born.items()
        )
        summed = f"sum without (ai_route, ai_cluster) ({series}{older})"
        query = summed
        if since is not None:
            before = f"sum without (ai_route, ai_cluster) ({series} offset {max(1, at - since)}s)"
            query = f"{summed} unless ({summed} == {before})"
        processes: dict[str, Process] = {}
        for text in self._texts(query, at):
            elements = _ELEMENT.findall(text)
            if len(elements) != text.count('{"metric":'):
                for element in _parsed(text):
                    labels = element["metric"]
                    consumer, model = (_one_line(labels.get(name, "")) for name in ("ai_consumer", "ai_model"))
                    yield _process(labels), consumer, model, _integer(element["value"][1], (consumer, model))
                continue
            for consumer, model, rest, number in elements:
                process = processes.get(rest)
                if process is None:
                    process = processes[rest] = _process(json.loads(f"{{{rest[1:]}}}"))
                yield process, consumer, model, int(number)

    def totals(self, at: int) -> dict[tuple[str, str], tuple[int, int]]:
        """See Source."""
        found: dict[tuple[str, str], list[int]] = {}
        reported = "|".join(METERS[:4])
        for index, names in enumerate((reported, "input_token|output_token")):
            query = f'sum by (ai_route, ai_model) ({{__name__=~"{self._settings.prefix}({names})"}})'
            for element in self._stream(query, at):
                labels = element["metric"]
                project = labels.get("ai_route", "").partition(".")[0].partition("--")[0]
                pair = found.setdefault((project, labels.get("ai_model", "")), [0, 0])
                pair[index] += _integer(element["value"][1], labels)
        return {key: (pair[0], pair[1]) for key, pair in found.items()}

    def _stream(self, query: str, at: int | None) -> Iterator[Any]:
        """The result's elements."""
        for text in self._texts(query, at):
            yield from _parsed(text)

    def _texts(self, query: str, at: int | None) -> Iterator[str]:
        """The result in pieces of whole elements, so that memory does not grow with the answer."""
        fields = {"query": query} | ({} if at is None else {"time": str(at)})
        try:
            answer = self._http.urlopen(
                "POST",
                f"{self._settings.url}/api/v1/query",
                body=urlencode(fields),
                headers=self._headers,
                preload_content=False,
            )
            try:
                if answer.status != 200:
                    raise SourceError(f"the metrics API answers {answer.status}: {_shorten(answer.read(2000))}")
                yield from _pieces(answer.stream(1 << 20))
            finally:
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise SourceError(f"the metrics API at {self._settings.url} cannot be read: {error}") from error


def _pieces(chunks: Iterator[bytes]) -> Iterator[str]:
    """``data.result`` as texts of elements with commas between.

    Cut where the next element begins: those bytes cannot occur inside a JSON string, where quotes are escaped. What
    comes last is parsed with the outer object around it, which is thereby checked as a whole.
    """
    buffer, outer = b"", b""
    try:
        for chunk in chunks:
            buffer += chunk
            if not outer:
                start = buffer.find(b'"result":[')
                if start < 0:
                    continue
                outer, buffer = buffer[: start + 10], buffer[start + 10 :]
            cut = buffer.rfind(_SEPARATOR)
            if cut > 0:
                yield buffer[:cut].decode()
                buffer = buffer[cut + 1 :]
        document = json.loads(outer + buffer, parse_float=str)
        if document["status"] != "success":
            raise SourceError(f"the metrics API reports: {document.get('error')}")
        result = document["data"]["result"]
        yield ",".join(json.dumps(element, ensure_ascii=False, separators=(",", ":")) for element in result)
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"the metrics API answers what is not a query result: {error!r}") from error


def _parsed(text: str) -> list[Any]:
    try:
        found: list[Any] = json.loads(f"[{text}]", parse_float=str)
    except ValueError as error:
        raise SourceError(f"the metrics API answers what is not a query result: {error!r}") from error
    return found


def _process(labels: Mapping[str, str]) -> Process:
    return tuple(sorted((k, v) for k, v in labels.items() if k != "__name__" and k not in _OWN_LABELS))


def _matcher(process: Process) -> str:
    return ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in process)


def _one_line(name: str) -> str:
    """A name as it is kept: providers choose their models' names, and the ledger's writes are lines."""
    return " ".join(name.splitlines())


def _integer(text: object, what: object) -> int:
    number = _number(text)
    if number < 0 or number != number.to_integral_value() or number > EXACT:
        raise SourceError(f"a counter of {what} is {text!r}: not a whole number from 0 to 2^53")
    return int(number)


def _number(text: object) -> Decimal:
    try:
        number = Decimal(text if isinstance(text, str) else "?")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise SourceError(f"the metrics API gives {text!r} where a number is due")
    return number


def _milliseconds(moment: object) -> int:
    return int(_number(str(moment)) * 1000)


def _shorten(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    return text if len(text) <= 300 else text[:300] + "..."
