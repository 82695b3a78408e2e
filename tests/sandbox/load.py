"""People who go on asking while something changes: none of them may notice."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from .conftest import Caller


class Load:
    """Four connections that ask, one request after another, and count what came back."""

    def __init__(self, caller: Caller, consumer: str, model: str, content: str = "hello") -> None:
        self.url = f"{caller.sandbox.url}/v1/chat/completions"
        self.headers = dict(caller.headers(consumer))
        self.body = json.dumps({"model": model, "messages": [{"role": "user", "content": content}]})
        self.statuses: Counter[int] = Counter()
        self._stop = threading.Event()

    def _run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=4)) as session:
            await asyncio.gather(*(self._one(session) for _ in range(4)))

    async def _one(self, session: aiohttp.ClientSession) -> None:
        while not self._stop.is_set():
            try:
                async with session.post(self.url, data=self.body, headers=self.headers) as answer:
                    await answer.read()
                    self.statuses[answer.status] += 1
            except aiohttp.ClientError:
                self.statuses[0] += 1
            await asyncio.sleep(0.05)

    @contextmanager
    def running(self) -> Iterator[Load]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(60)
