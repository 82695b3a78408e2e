"""The command line. The only place with a clock, the environment, files and standard streams."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from . import alerts, check, config, explain, logs, metrics, money, page, report, run, serve, transfer, view
from .errors import ControllerError, SourceError, StoreError, Superseded
from .sources import Prometheus, SourceSettings
from .store import Head, Store

REDIS_URL = "BUDGET_REDIS_URL"
REDIS_PASSWORD = "BUDGET_REDIS_PASSWORD"  # noqa: S105 - the variable's name
METRICS_URL = "BUDGET_METRICS_URL"
METRICS_TENANT = "BUDGET_METRICS_TENANT"
WEBHOOK_URL = "BUDGET_WEBHOOK_URL"
ATTEMPTS = 3
DESCRIPTION = "Dollar budgets on the gateway's token counters."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code (0, or the code of the error, see docs/budget.md)."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except ControllerError as error:
        logs.log("failed", level="error", error=str(error), kind=type(error).__name__)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="budget-controller", description=DESCRIPTION)
    parser.add_argument("--config", type=Path, default=Path("budget.json"), help="the configuration document (JSON)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, work: Callable[[argparse.Namespace], int], help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.set_defaults(command=work)
        return sub

    ticking = command("run", _run, "one tick: book what was used, take back, lease anew")
    ticking.add_argument("--out", type=Path, help="also write report.html, .json, .csv and metrics.prom here")
    showing = command("report", _report, "spent, leased, left and forecast by org, project, group, user and model")
    showing.add_argument("--format", choices=("table", "csv", "json", "html"), default="table")
    explaining = command("explain", _explain, "which budget binds a consumer, why it is refused, when that ends")
    explaining.add_argument("consumer", metavar="CONSUMER", help="PROJECT.USER")
    command("rebuild", _rebuild, "write the ledger anew from the metrics, after Redis was lost")
    command("export", _export, "the ledger as JSON lines on standard output")
    command("import", _import, "replace the ledger by an exported one from standard input")
    command("check", _check, "are prices and budgets sane?")
    serving = command("serve", _serve, "/metrics, /report and /healthz over HTTP, read from the ledger")
    serving.add_argument("--address", default="", help="listen only here; on all addresses by default")
    serving.add_argument("--port", type=int, default=8080)
    return parser


def _run(options: argparse.Namespace) -> int:
    settings, store = _open(options)
    source = _source()
    begun = time.monotonic_ns()
    gc.disable()  # a tick makes hardly any cycles, and walking its many small lists costs more than they hold
    for attempt in range(ATTEMPTS):
        try:
            summary = run.tick(settings, store, source, int(time.time()), _progress())
            break
        except Superseded as error:
            logs.log("superseded", level="warning", attempt=attempt + 1, error=str(error))
            if attempt == ATTEMPTS - 1:
                raise
    spent_ms = (time.monotonic_ns() - begun) // 1_000_000
    store.note_run(spent_ms)
    delivered, waiting = alerts.deliver(store, os.environ.get(WEBHOOK_URL), summary.at)
    logs.log(
        "run",
        at=summary.at,
        milliseconds=spent_ms,
        consumers=summary.active,
        booked_usd=money.usd_exact(summary.booked),
        debited=summary.debited,
        counted=summary.counted,
        undebited=summary.undebited,
        credited=summary.credited,
        granted=summary.granted,
        taken=summary.taken,
        restarts=summary.restarts,
        unpriced=summary.unpriced,
        strangers=len(summary.strangers),
        alerts=delivered,
        alerts_waiting=waiting,
    )
    if options.out is not None:
        shown = view.look(settings, store, _head(store), summary.at)
        _write(options.out / "report.html", page.render(shown))
        _write(options.out / "report.json", report.as_json(shown))
        _write(options.out / "report.csv", report.as_csv(shown))
        _write(options.out / "metrics.prom", metrics.render(shown, spent_ms, waiting))
    return 0


def _report(options: argparse.Namespace) -> int:
    settings, store = _open(options)
    shown = view.look(settings, store, _head(store), int(time.time()), _progress())
    forms = {"table": report.table, "csv": report.as_csv, "json": report.as_json, "html": page.render}
    sys.stdout.write(forms[options.format](shown))
    return 0


def _explain(options: argparse.Namespace) -> int:
    settings, store = _open(options)
    sys.stdout.write(explain.explain(settings, store, options.consumer, int(time.time())))
    return 0


def _rebuild(options: argparse.Namespace) -> int:
    settings, store = _open(options)
    source = _source()
    store.open_ledger()
    head = run.rebuild(settings, store, source, run.ledger_time(source, int(time.time())), _progress())
    logs.log("rebuilt", until=head.cursor)
    return 0


def _export(options: argparse.Namespace) -> int:
    settings, store = _open(options)
    for line in transfer.export(store, settings.site, _progress()):
        sys.stdout.write(line)
    return 0


def _import(options: argparse.Namespace) -> int:
    settings, store = _open(options)
    store.open_ledger()
    logs.log("imported", consumers=transfer.import_(store, sys.stdin, settings.site))
    return 0


def _check(options: argparse.Namespace) -> int:
    errors, warnings = check.check(config.load(options.config), int(time.time()))
    for sentence in errors:
        sys.stdout.write(f"error: {sentence}\n")
    for sentence in warnings:
        sys.stdout.write(f"warning: {sentence}\n")
    sys.stdout.write(f"{len(errors)} errors, {len(warnings)} warnings\n")
    return 1 if errors else 0


def _serve(options: argparse.Namespace) -> int:
    address = (options.address, options.port)
    with serve.server(options.config, _store, address, lambda: int(time.time())) as running:
        running.serve_forever()
    return 0


def _open(options: argparse.Namespace) -> tuple[config.Config, Store]:
    settings = config.load(options.config)
    return settings, _store(settings)


def _store(settings: config.Config) -> Store:
    url = os.environ.get(REDIS_URL)
    if not url:
        raise StoreError(f"the environment variable {REDIS_URL} must hold the Redis URL")
    return Store.connect(url, settings.quota_prefix, password=os.environ.get(REDIS_PASSWORD) or None)


def _source() -> Prometheus:
    url = os.environ.get(METRICS_URL, "").rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise SourceError(f"the environment variable {METRICS_URL} must hold the metrics API's http(s) URL")
    return Prometheus(SourceSettings(url, os.environ.get(METRICS_TENANT) or None))


def _head(store: Store) -> Head:
    head = store.open_ledger()
    if head is None:
        raise ControllerError("there is no ledger yet; `run` makes one")
    return head


def _write(path: Path, text: str) -> None:
    """Replace the file in one step: a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _progress(stream: TextIO | None = None, delay_ns: int = 1_000_000_000) -> Callable[[str, int, int], None]:
    """A bar on a terminal, for work that takes longer than a second; nothing elsewhere."""
    out = stream or sys.stderr
    begun = time.monotonic_ns()

    def show(what: str, done: int, total: int) -> None:
        if not out.isatty() or time.monotonic_ns() - begun < delay_ns:
            return
        filled = 30 * done // max(1, total)
        end = "\n" if done >= total else ""
        out.write(f"\r{what} [{'#' * filled}{'.' * (30 - filled)}] {done}/{total}{end}")
        out.flush()

    return show
