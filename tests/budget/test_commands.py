"""Money is never a float, bad input changes nothing, and the commands say what people need."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
import redis
from world import DOCUMENT, Feed, World

import budget_controller
from budget_controller import bundle, check, config, explain, metrics, page, report, run, transfer, view
from budget_controller.cli import main
from budget_controller.errors import ConfigError, SourceError
from budget_controller.money import pico_of_usd, pico_per_token, usd_exact
from budget_controller.sources import _elements, _integer
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
    assert list(_elements(chunks)) == rows
    with pytest.raises(SourceError):
        list(_elements(iter([body[:-3]])))


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


def test_the_zipapp_fits_in_a_config_map() -> None:
    assert len(bundle.bundle()) < bundle.LIMIT
    assert bundle.bundle() == bundle.bundle()
