"""Point 6, and the last of point 5: a policy changes under load, on open connections, or not at all."""

from __future__ import annotations

import fcntl
import http.client
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from .conftest import Caller
from .load import Load
from .sandbox import REPOSITORY, SECONDS, SLOW_TICKS, Play, Sandbox, free_base, is_free, until

BOB_MODELS = "    models: [coding-default, bulk]\n"


def _ask(connection: http.client.HTTPConnection, caller: Caller, consumer: str, model: str) -> tuple[int, str]:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}]})
    connection.request("POST", "/v1/chat/completions", body, dict(caller.headers(consumer)))
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_an_unchanged_site_changes_nothing(site: Sandbox) -> None:
    played = site.play()
    assert (played.code, played.changed) == (0, 0), played.text


def test_a_change_is_in_force_on_open_connections_and_no_request_fails(site: Sandbox, caller: Caller) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", site.base, timeout=60)) as connection:
        assert _ask(connection, caller, "atlas.bob", "coding-default")[0] == 200
        socket = connection.sock
        with Load(caller, "atlas.alice", "bulk").running() as load:
            site.edit("atlas", "workload: bulk", "workload: heavy")
            site.edit("atlas", BOB_MODELS, "    models: [bulk]\n")
            played = site.play()
            assert played.code == 0, played.text
            assert played.changed > 0
            status, text = _ask(connection, caller, "atlas.bob", "coding-default")
        assert connection.sock is socket, "the connection was closed"
    assert (status, json.loads(text)["error"]["code"]) == (403, "model_not_allowed")
    assert set(load.statuses) == {200}, load.statuses
    assert load.statuses[200] > 50


def test_a_new_user_provider_and_alias_come_without_a_failed_request(site: Sandbox, caller: Caller) -> None:
    with Load(caller, "atlas.alice", "bulk").running() as load:
        site.edit("atlas", "      alice: {}\n", "      alice: {}\n      dora: {}\n")
        site.edit(
            "atlas", "providers:\n", 'providers:\n  third: {url: "http://provider-b.sandbox.test/v1", key: third}\n'
        )
        site.edit(
            "atlas",
            "models:\n  coding-default:",
            "models:\n  new:\n    targets: [{provider: third, model: mock-long}]\n  coding-default:",
        )
        site.edit("atlas", BOB_MODELS, "    models: [coding-default, bulk, new]\n")
        played = site.play()
        assert played.code == 0, played.text
        answer = caller.chat("atlas.dora", "new")
        assert (answer.status, answer.json()["model"]) == (200, "mock-long"), answer.text
        site.reset_site()
        assert site.play().code == 0
    assert set(load.statuses) == {200}, load.statuses
    assert caller.chat("atlas.alice", "new").status == 403


def test_check_and_diff_say_what_would_change_and_change_nothing(site: Sandbox, caller: Caller) -> None:
    before = {path: path.read_bytes() for path in _kept(site)}
    site.edit("atlas", BOB_MODELS, "    models: [bulk]\n")
    variables = f"-e sandbox_dir={site.root} -e sandbox_port_base={site.base} -e sandbox_manage_hosts=false -e sandbox_scrape_interval=1s"
    command = [
        "make",
        "-C",
        str(REPOSITORY),
        "site",
        "CHECK=1",
        f"INVENTORY={site.site}",
        f"ARGS={variables} {SLOW_TICKS}",
    ]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    lines = [line.strip() for line in checked.stdout.splitlines()]
    assert "atlas: alice, bob, carol lose coding-default" in lines
    assert caller.chat("atlas.bob", "coding-default").status == 200
    assert {path: path.read_bytes() for path in _kept(site)} == before
    assert Play(0, checked.stdout).changed == 1
    secrets = json.loads((site.root / "secrets.json").read_text("utf-8"))
    for value in (value for kept in secrets.values() for value in kept.values()):
        assert value not in checked.stdout


def test_check_on_a_machine_without_a_sandbox_makes_none(site: Sandbox, tmp_path: Path) -> None:
    fresh = Sandbox(tmp_path / "none", site.site, free_base())
    checked = fresh.play("--check", "--diff")
    assert checked.code == 0, checked.text
    assert "atlas: new Project of acme at atlas.localhost, with alice, bob, carol, olga" in checked.text
    assert not fresh.root.exists()


def test_a_port_that_is_taken_is_told_of_and_nothing_is_started(site: Sandbox, tmp_path: Path) -> None:
    other = Sandbox(tmp_path / "other", site.site, site.base)
    played = other.play()
    assert played.code != 0
    assert f"port {site.base} (gateway) is taken by " in played.text
    assert not (other.root / "supervisord.conf").exists()


def _kept(site: Sandbox) -> list[Path]:
    return sorted(
        [*(site.root / "envoy").rglob("*.json"), *site.root.glob("*.json"), *(site.root / "services").iterdir()]
    )


def test_a_policy_that_envoy_refuses_fails_the_play_and_the_old_one_goes_on(site: Sandbox, caller: Caller) -> None:
    """The spec lets a pattern through that the guard's engine does not know: the whole change is taken back."""
    before = {path: path.read_bytes() for path in (site.root / "envoy").rglob("*.json")}
    with Load(caller, "atlas.alice", "bulk").running() as load:
        site.edit("atlas", "  phrases: [print the deployment secrets]\n", "  patterns: ['drop tables (?a:now)']\n")
        site.edit("atlas", BOB_MODELS, "    models: [bulk]\n")
        played = site.play()
    assert played.code != 0
    assert "prompt-guard" in played.text
    assert "config refused" in played.text, played.text
    assert caller.chat("atlas.bob", "coding-default").status == 200
    assert {path: path.read_bytes() for path in (site.root / "envoy").rglob("*.json")} == before
    assert set(load.statuses) == {200}, load.statuses


def test_a_wrong_spec_never_reaches_the_gateway(site: Sandbox, caller: Caller) -> None:
    site.edit("atlas", "host: atlas.localhost", "host: beacon.localhost")
    site.edit("comet", "embed:\n", "embed:\n    colour: red\n")
    played = site.play()
    assert played.code != 0
    assert "atlas.yml" in played.text
    assert "colour" in played.text
    assert caller.chat("atlas.bob", "coding-default").status == 200


def _waiting(lock: Path) -> bool:
    """Whether a process waits for this file's lock (/proc/locks: waiters have an arrow)."""
    file = f":{lock.stat().st_ino} "
    return any("-> FLOCK" in line and file in line for line in Path("/proc/locks").read_text().splitlines())


def test_a_changed_budget_waits_for_the_timers_tick(site: Sandbox) -> None:
    site.edit("atlas", "budget: {usd: 500,", "budget: {usd: 501,")
    lock = site.root / "run/budget.lock"
    with lock.open("w") as ours, ThreadPoolExecutor(1) as pool:
        fcntl.flock(ours, fcntl.LOCK_EX)
        played = pool.submit(site.play)
        until(lambda: _waiting(lock) or played.done(), SECONDS)
        assert not played.done()
        fcntl.flock(ours, fcntl.LOCK_UN)
        assert played.result().code == 0, played.result().text


def test_down_stops_everything_and_site_brings_the_same_state_back(site: Sandbox, caller: Caller) -> None:
    key = site.key("atlas.alice")
    with site.redis() as client:
        client.set("kept", 4711)
    subprocess.run(["make", "-C", str(REPOSITORY), "down", f"SANDBOX={site.root}"], check=True, timeout=SECONDS)
    assert [port for port in range(site.base, site.base + 9) if not is_free(port)] == []
    played = site.play()
    assert played.code == 0, played.text
    assert site.key("atlas.alice") == key
    with site.redis() as client:
        assert client.get("kept") == "4711"
        client.delete("kept")
    assert caller.chat("atlas.alice", "bulk").status == 200
    services = [line.split()[:2] for line in site.supervise("status").splitlines()]
    assert {state for _, state in services} == {"RUNNING"}, services


def test_what_is_private_is_for_the_owner_only(site: Sandbox) -> None:
    for path in [site.root / "secrets.json", site.root / "access.json", site.root / "summary.txt", *_kept(site)]:
        assert path.stat().st_mode & 0o077 == 0, path
    access = site.access
    assert set(access) == {"url", "provider_log_url", "prometheus_url", "redis_url", "projects"}
    assert set(access["projects"]["atlas"]) == {"host", "keys"}
