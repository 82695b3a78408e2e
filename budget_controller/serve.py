"""The report and the metrics over HTTP, read from the ledger: they tell its age even when no run starts any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from . import config, metrics, page, report, view
from .errors import ConfigError, ControllerError
from .store import Head, Store

#: Opens the ledger that a configuration names.
Opener = Callable[[config.Config], Store]


class _Once:
    """Makes a page once at a time: who asks meanwhile gets the same text.

    In a large site a look at the ledger takes seconds; looks that overlap slow each other, and the next scrape too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, Future[str]] = {}

    def by(self, path: str, make: Callable[[], str]) -> str:
        """The page at ``path``, from ``make`` unless it is being made already; raises what ``make`` raises."""
        with self._lock:
            waiting = self._under_way.get(path)
            page_made = waiting or self._under_way.setdefault(path, Future())
        if waiting is None:
            try:
                page_made.set_result(make())
            except BaseException as error:
                page_made.set_exception(error)
                raise
            finally:
                with self._lock:
                    del self._under_way[path]
        return page_made.result()


def server(path: Path, opener: Opener, address: tuple[str, int], clock: Callable[[], int]) -> ThreadingHTTPServer:
    """A server at ``address``, not yet serving. The configuration at ``path`` is read again when it was replaced."""

    @lru_cache(maxsize=1)
    def opened(_stamp: tuple[int, int]) -> tuple[config.Config, Store]:
        settings = config.load(path)
        return settings, opener(settings)

    def current() -> tuple[config.Config, Store]:
        try:
            stat = path.stat()
        except OSError as error:
            raise ConfigError([f"$: cannot be read: {error}"]) from None
        return opened((stat.st_ino, stat.st_mtime_ns))

    def show() -> view.View:
        settings, store = current()
        return view.look(settings, store, store.open_ledger() or Head(cursor=0), clock())

    def exposition() -> str:
        _, store = current()
        undelivered = sum(alert["delivered"] is None for alert in store.alerts().values())
        return metrics.render(show(), store.run_milliseconds(), undelivered)

    pages: dict[str, tuple[str, Callable[[], str]]] = {
        "/metrics": ("text/plain; version=0.0.4", exposition),
        "/report": ("text/html; charset=utf-8", lambda: page.render(show())),
        "/report.json": ("application/json", lambda: report.as_json(show())),
        "/report.csv": ("text/csv", lambda: report.as_csv(show())),
        "/healthz": ("text/plain", lambda: "ok\n"),
    }

    made = _Once()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = "/report" if self.path == "/" else self.path
            found = pages.get(path)
            if found is None:
                self._answer(404, "text/plain", f"not here; there is {', '.join(pages)}\n")
                return
            kind, make = found
            try:
                self._answer(200, kind, made.by(path, make))
            except ControllerError as error:
                self._answer(503, "text/plain", f"{error}\n")

        def _answer(self, status: int, kind: str, text: str) -> None:
            body = text.encode()
            # Who asked may have gone: a scrape that took too long.
            with suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Requests are not logged."""

    return ThreadingHTTPServer(address, Handler)
