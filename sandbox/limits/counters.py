"""The counters in Redis: one round trip a check, one a batch of debits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis

from .decision import Check

# As the real plugins keep them: a window's value is what is left of it, and it ends by expiring.
_CHECK = """
local out = {}
if ARGV[1] ~= '' then out[1] = redis.call('get', ARGV[1]) else out[1] = false end
for i = 2, #ARGV, 3 do
  local ttl = redis.call('ttl', ARGV[i])
  if ttl < 0 then
    redis.call('set', ARGV[i], ARGV[i + 1], 'EX', ARGV[i + 2])
    out[#out + 1] = tonumber(ARGV[i + 1])
    out[#out + 1] = tonumber(ARGV[i + 2])
  else
    out[#out + 1] = tonumber(redis.call('get', ARGV[i]))
    out[#out + 1] = ttl
  end
end
return out
"""
_DEBIT = """
local spent = tonumber(ARGV[1])
if ARGV[2] ~= '' then redis.call('decrby', ARGV[2], spent) end
for i = 3, #ARGV, 3 do
  if redis.call('ttl', ARGV[i]) < 0 then
    redis.call('set', ARGV[i], ARGV[i + 1] - spent, 'EX', ARGV[i + 2])
  else
    redis.call('decrby', ARGV[i], spent)
  end
end
return 1
"""


class CountersUnavailableError(ConnectionError):
    """Redis cannot be reached, or does not answer in time."""


class Counters:
    """Quota balances and windows; safe to share between tasks. Reconnects by itself."""

    def __init__(self, host: str, port: int, timeout: float) -> None:
        """`timeout`: seconds for one operation, connecting included."""
        self._address = (host, port)
        self._timeout = timeout
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()

    async def read(self, check: Check) -> tuple[bytes | None, Sequence[tuple[int, int]]]:
        """Give the quota's balance and (left, seconds to reset) a window, starting windows that are not there."""
        arguments: list[Any] = [check.quota or ""]
        for counter in check.counters:
            arguments += (counter.key, counter.tokens, counter.seconds)
        balance, *windows = await self._call("EVAL", _CHECK, 0, *arguments)
        return balance, list(zip(windows[::2], windows[1::2], strict=True))

    async def debit(self, tokens: int, quota: str | None, windows: Sequence[Sequence[Any]]) -> None:
        """Take tokens off a balance and off each [key, tokens, seconds] window."""
        flat = [value for window in windows for value in window]
        await self._call("EVAL", _DEBIT, 0, tokens, quota or "", *flat)

    async def _call(self, *command: Any) -> Any:
        try:
            async with asyncio.timeout(self._timeout):
                link = await self._connected()
                return await link.call(command)
        except (OSError, TimeoutError) as error:
            self._drop()
            raise CountersUnavailableError(str(error) or "no answer in time") from error

    async def _connected(self) -> _Link:
        async with self._connecting:
            if self._link is None or self._link.closed:
                loop = asyncio.get_running_loop()
                _, self._link = await loop.create_connection(_Link, *self._address)
            return self._link

    def _drop(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


class _Link(asyncio.Protocol):
    """One pipelined connection. redis-py's client costs several times this on every request of the gateway."""

    def __init__(self) -> None:
        self.closed = False
        self._reader = hiredis.Reader()
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            waiting = self._waiting.popleft()
            if waiting.done():
                continue
            if isinstance(answer, hiredis.ReplyError):
                waiting.set_exception(ConnectionError(str(answer)))
            else:
                waiting.set_result(answer)

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(ConnectionError("the connection was lost"))
        self._waiting.clear()

    async def call(self, command: tuple[Any, ...]) -> Any:
        """Send one command and wait for its answer."""
        if self.closed:
            raise ConnectionError("the connection was lost")
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._transport.write(hiredis.pack_command(command))
        return await waiting

    def close(self) -> None:
        """Give the connection up."""
        self.closed = True
        self._transport.abort()
