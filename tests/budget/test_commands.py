"""Money is never a float, bad input changes nothing, and the commands say what people need."""

from __future__ import annotations

import ast
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Condition, Event, Thread
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import redis
from world import DOCUMENT, Feed, World

import budget_controller
from budget_controller import bundle, check, config, explain, metrics, page, report, run, serve, transfer, view
from budget_controller.cli import main
from budget_controller.errors import ConfigError, SourceError
from budget_controller.money import pico_of_usd, pico_per_token, usd_exact
from budget_controller.sources import _integer, _parsed, _pieces
from budget_controller.store import Head, Store

SOURCES = sorted(Path(budget_controller.__file__).parent.glob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_no_float_and_no_true_division(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text())):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), f"line {node.lineno}"
        assert not (isinstance(node, ast.Name) and node.id == "float"), "float is named"
        assert not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and source.name != "cli.py")


@pytest.mark.parametrize("value", [2.5, True, "NaN", "inf", "-1", "0.0000001", None, "x"])
def test_amounts_that_are_not_exact_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        pico_per_token(value)


def test_amounts_are_exact() -> None:
    assert usd_exact(pico_of_usd("0.1") + pico_of_usd("0.2")) == "0.30"
    assert pico_per_token("0.075") * 3 == 225_000


@pytest.mark.parametrize("text", ["NaN", "-1", "1.5", "+Inf", "x", "1e30"])
def test_garbage_samples_are_refused(text: str) -> None:
    with pytest.raises(SourceError):
        _integer(text, "a series")


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
def test_an_answer_is_read_however_it_is_cut(size: int) -> None:
    rows = [{"metric": {"ai_consumer": f'a.{n}",{{"metric":'}, "value": [n, str(n)]} for n in range(5)]
    document = {"status": "success", "data": {"resultType": "vector", "result": rows}}
    body = json.dumps(document, separators=(",", ":")).encode()
    chunks = (body[i : i + size] for i in range(0, len(body), size))
    assert [element for text in _pieces(chunks) for element in _parsed(text)] == rows
    with pytest.raises(SourceError):
        list(_pieces(iter([body[:-3]])))


def test_a_newer_config_and_every_fault_are_refused() -> None:
    with pytest.raises(ConfigError, match="update the controller"):
        config.parse(json.dumps(DOCUMENT | {"version": 2}))
    with pytest.raises(ConfigError) as caught:
        config.parse(json.dumps({"version": 1, "site": "", "zone": "Mars/Base", "prices": [{"model": "x"}], "y": 1}))
    assert len(caught.value.problems) >= 5


def test_commands_fail_clearly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis_port: int) -> None:
    path = tmp_path / "budget.json"
    path.write_text(json.dumps(DOCUMENT))
    monkeypatch.setenv("BUDGET_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("BUDGET_METRICS_URL", "http://127.0.0.1:1")
    assert main(["--config", str(path), "run"]) == SourceError.exit_code
    assert main(["--config", str(path), "report"]) == 5
    assert main(["--config", str(tmp_path / "none"), "check"]) == ConfigError.exit_code


def test_people_see_what_binds(client: redis.Redis) -> None:
    settings, world = config.parse(json.dumps(DOCUMENT)), World(client)
    store = Store(client, "chat_quota:")
    world.scrape()
    run.tick(settings, store, Feed(world), world.now)
    while world.ask("comet.eve", "m1", (0, 0, 0, 250, 0, 0), hold=False):
        world.finish(world.requests[-1])
    world.wait(15)
    world.scrape()
    run.tick(settings, store, Feed(world), world.now)
    text = explain.explain(settings, store, "comet.eve", world.now)
    assert "REFUSED (403 by ai-quota): the budget of eve is used up" in text
    assert "0.0800 of 0.08 USD spent this day" in text
    assert "resets 2026-12-01T00:00+07:00" in text
    head = store.open_ledger()
    assert isinstance(head, Head)
    shown = view.look(settings, store, head, world.now)
    assert "comet.eve" in report.table(shown)
    assert '"spent": "0.08"' in report.as_json(shown)
    assert "user,comet.eve,day,0.08,0.08" in report.as_csv(shown)
    assert "<svg" in page.render(shown)
    assert "prefers-color-scheme:dark" in page.render(shown)
    assert f"last_success_timestamp_seconds {world.now}" in metrics.render(shown, 1500, 0)
    lines = list(transfer.export(store, settings.site))
    before = store.pools(["group:comet/all"])["group:comet/all"]
    assert transfer.import_(store, lines, settings.site) == 5
    after = store.pools(["group:comet/all"])["group:comet/all"]
    assert {k: v for k, v in after.items() if k[:2] != "r:"} == {k: v for k, v in before.items() if k[:2] != "r:"}
    assert check.check(settings, world.now)[0] == []


@pytest.fixture(scope="session")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("zipapp") / "budget-controller.pyz"
    path.write_bytes(bundle.bundle())
    return path


def test_the_zipapp_fits_in_a_config_map(zipapp: Path) -> None:
    assert zipapp.stat().st_size < bundle.LIMIT
    assert bundle.bundle() == zipapp.read_bytes()


@pytest.mark.parametrize("python", sorted({os.path.realpath(sys.executable), "/usr/bin/python3"}))
def test_the_zipapp_needs_a_python_and_nothing_else(zipapp: Path, tmp_path: Path, python: str) -> None:
    """Debian's own Python is 3.11.2, older than the one that redis's asynchronous client is content with."""
    path = tmp_path / "budget.json"
    path.write_text(json.dumps(DOCUMENT))
    command = [python, "-I", str(zipapp), "--config", str(path), "check"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "0 errors" in ran.stdout


def test_metrics_name_the_users_who_spent_and_the_unpriced_models(client: redis.Redis) -> None:
    settings, world = config.parse(json.dumps(DOCUMENT)), World(client)
    store = Store(client, "chat_quota:")
    world.scrape()
    run.tick(settings, store, Feed(world), world.now)
    assert world.ask("atlas.alice", "m9", (10, 0, 0, 20, 0, 0), hold=False)
    world.finish(world.requests[-1])
    world.wait(15)
    world.scrape()
    run.tick(settings, store, Feed(world), world.now)
    world.wait(15)
    run.tick(settings, store, Feed(world), world.now)
    head = store.open_ledger()
    assert head is not None
    shown = metrics.render(view.look(settings, store, head, world.now), 0, 0).splitlines()
    assert 'aigw_budget_unpriced_model_tokens{model="m9"} 30' in shown, "also after a run that saw no more of it"
    assert 'aigw_budget_spent_usd{kind="user",name="atlas.alice",period="month"} 0.0003' in shown
    assert not [line for line in shown if 'kind="user",name="atlas.bob"' in line]
    assert (
        'aigw_budget_consumer_info{consumer="atlas.bob",org="acme",project="atlas",group="dev",user="bob"} 1' in shown
    )
    world.wait(90_000)
    world.scrape()
    run.tick(settings, store, Feed(world), world.now)
    later = store.open_ledger()
    assert later is not None
    assert later.unpriced == {}


@contextmanager
def served(path: Path, client: redis.Redis, clock: Callable[[], int] = lambda: 0) -> Iterator[ThreadingHTTPServer]:
    server = serve.server(path, lambda settings: Store(client, settings.quota_prefix), ("127.0.0.1", 0), clock)
    with server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


@contextmanager
def serving(path: Path, client: redis.Redis) -> Iterator[Callable[[str], str]]:
    with served(path, client) as server:
        yield lambda page: urlopen(f"http://127.0.0.1:{server.server_address[1]}{page}").read().decode()


def test_the_report_follows_a_new_configuration(client: redis.Redis, tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    path.write_text(json.dumps(DOCUMENT))
    with serving(path, client) as get:
        assert get("/healthz") == "ok\n"
        assert '"name": "atlas"' in get("/report.json")
        new = tmp_path / "new.json"
        new.write_text(json.dumps(DOCUMENT | {"projects": {}}))
        new.replace(path)
        assert '"name": "atlas"' not in get("/report.json")
        path.unlink()
        with pytest.raises(HTTPError, match="503"):
            get("/metrics")


def test_a_page_is_made_once_at_a_time(client: redis.Redis, tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    path.write_text(json.dumps(DOCUMENT))
    changed = Condition()
    inside: list[int] = [0]
    alone = []

    def look() -> int:
        with changed:
            inside[0] += 1
            changed.notify_all()
            alone.append(not changed.wait_for(lambda: inside[0] > 1, timeout=0.5))
            inside[0] -= 1
        return 0

    with served(path, client, look) as server, ThreadPoolExecutor(8) as pool:
        url = f"http://127.0.0.1:{server.server_address[1]}/report.json"
        answers = list(pool.map(lambda _: urlopen(url).read(), range(8)))
    assert len(set(answers)) == 1
    assert alone
    assert all(alone)


def test_who_asked_and_went_away_is_no_error(client: redis.Redis, tmp_path: Path) -> None:
    path = tmp_path / "budget.json"
    path.write_text(json.dumps(DOCUMENT))
    looking, gone, handled = Event(), Event(), Event()
    errors: list[object] = []

    def look() -> int:
        looking.set()
        gone.wait(10)
        return 0

    with served(path, client, look) as server:
        server.handle_error = lambda *what: errors.append(what)  # type: ignore[method-assign]
        end = server.shutdown_request
        server.shutdown_request = lambda asked: (end(asked), handled.set())  # type: ignore[method-assign]
        with socket.create_connection(("127.0.0.1", server.server_address[1])) as caller:
            # Closed so, the connection is reset.
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert looking.wait(10)
        gone.set()
        assert handled.wait(10)
    assert errors == []
