"""A sandbox of the tests' own: the real play, in a directory and on ports of its own."""

from __future__ import annotations

import atexit
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import redis

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "inventories" / "sandbox"
SECONDS = 900
SLOW_TICKS = "-e budget_controller_tick_seconds=86400"
"""One tick of the budget controller when the site comes up: tests set balances themselves."""

T = TypeVar("T")


@dataclass(frozen=True)
class Play:
    """What a run of the play said and did."""

    code: int
    text: str

    @property
    def changed(self) -> int:
        recap = self.text.rsplit("PLAY RECAP", 1)[-1]
        return int(recap.split("changed=")[1].split()[0])


@dataclass(frozen=True)
class Sandbox:
    """A site's copy (`site`), the sandbox made of it (`root`), and the ways in."""

    root: Path
    site: Path
    base: int

    def play(self, *arguments: str) -> Play:
        """Run playbooks/site.yml, as `make site` does."""
        run = subprocess.run(
            [
                str(Path(sys.executable).parent / "ansible-playbook"),
                str(REPOSITORY / "playbooks" / "site.yml"),
                "--inventory",
                str(self.site),
                "--extra-vars",
                json.dumps(
                    {
                        "sandbox_dir": str(self.root),
                        "sandbox_port_base": self.base,
                        "sandbox_manage_hosts": False,
                        "sandbox_scrape_interval": "1s",
                    }
                ),
                "--extra-vars",
                SLOW_TICKS.removeprefix("-e "),
                *arguments,
            ],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(REPOSITORY / ".build" / "collections"),
                "PYTHONPATH": str(REPOSITORY / ".build" / "collections"),
                "ANSIBLE_NOCOLOR": "1",
            },
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return Play(run.returncode, run.stdout + run.stderr)

    @property
    def access(self) -> dict[str, Any]:
        access: dict[str, Any] = json.loads((self.root / "access.json").read_text("utf-8"))
        return access

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.base}"

    def key(self, consumer: str) -> str:
        key: str = self.access["projects"][project_of(consumer)]["keys"][consumer]
        return key

    def host(self, project: str) -> str:
        host: str = self.access["projects"][project]["host"]
        return host

    def redis(self) -> redis.Redis:
        client: redis.Redis = redis.Redis(port=self.base + 2, decode_responses=True)
        return client

    def provider(self, which: str) -> Provider:
        return Provider(self.base + {"a": 4, "b": 5}[which])

    def providers(self) -> tuple[Provider, Provider]:
        return self.provider("a"), self.provider("b")

    def seen(self) -> list[dict[str, Any]]:
        """Everything the providers were sent since the last time they were cleared, in order."""
        entries = [entry for provider in self.providers() for entry in provider.log()]
        return sorted(entries, key=lambda entry: float(entry["at"]))

    def supervise(self, *command: str) -> str:
        run = subprocess.run(
            [str(Path(sys.executable).parent / "supervisorctl"), "-c", str(self.root / "supervisord.conf"), *command],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return run.stdout

    def metrics(self) -> str:
        with closing(http.client.HTTPConnection("127.0.0.1", self.base + 1, timeout=10)) as connection:
            connection.request("GET", "/stats/prometheus")
            return connection.getresponse().read().decode()

    def logged(self, since: float) -> list[dict[str, Any]]:
        """The access log's entries of requests that began since (Unix seconds); the last line may be half written."""
        lines = (self.root / "log" / "access.json").read_bytes().splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith(b"\n")]
        # Envoy tells milliseconds, cut off.
        return [entry for entry in entries if datetime.fromisoformat(entry["time"]).timestamp() > since - 0.001]

    def edit(self, project: str, old: str, new: str) -> None:
        """Change a Project file; what is to be changed must be there once."""
        path = self.site / "projects" / f"{project}.yml"
        text = path.read_text("utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path.name}"
        path.write_text(text.replace(old, new), "utf-8")

    def reset_site(self) -> None:
        """Bring the Project files back: the examples, and the tests' own that mask."""
        shutil.rmtree(self.site / "projects")
        shutil.copytree(EXAMPLES / "projects", self.site / "projects")
        shutil.copytree(Path(__file__).parent / "projects", self.site / "projects", dirs_exist_ok=True)


@dataclass(frozen=True)
class Provider:
    """The mock provider's own ports of call."""

    port: int

    def log(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = json.loads(self._call("GET", "/_log"))
        return entries

    def clear(self) -> None:
        self._call("DELETE", "/_log")
        self._call("DELETE", "/_control")

    def told(self, **script: Any) -> None:
        self._call("PUT", "/_control", json.dumps(script).encode())

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, path, body)
            return connection.getresponse().read()


def until(condition: Callable[[], T], seconds: float = 60) -> T:
    """Poll a condition until it holds; its value. The last failure is the test's."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = condition()
            if value:
                return value
        except (AssertionError, OSError):
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.05)


def project_of(consumer: str) -> str:
    return consumer.partition(".")[0]


def free_base() -> int:
    """Nine free ports in a row, none of which the kernel gives away by itself: the sandbox's own.

    The tenth is a claim on them for as long as this process lives: tests in another one look elsewhere.
    """
    for base in range(28080, 32000, 20):
        claim = socket.socket()
        with suppress(OSError):
            claim.bind(("127.0.0.1", base + 9))
            if all(is_free(base + offset) for offset in range(9)):
                atexit.register(claim.close)
                return base
        claim.close()
    raise AssertionError("no free ports")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def running(root: Path) -> Iterator[Sandbox]:
    """A sandbox of the example site, stopped in the end."""
    sandbox = Sandbox(root / "sandbox", root / "site", free_base())
    shutil.copytree(EXAMPLES, sandbox.site)
    sandbox.reset_site()
    try:
        first = sandbox.play()
        assert first.code == 0, first.text
        (root / "first.txt").write_text(first.text, "utf-8")
        yield sandbox
    finally:
        sandbox.supervise("shutdown")
        until(lambda: is_free(sandbox.base + 1) and is_free(sandbox.base + 2), 180)


def openai_error(body: str) -> Mapping[str, Any]:
    """The OpenAI error object of a refusal; fails when it is none."""
    error: Mapping[str, Any] = json.loads(body)["error"]
    assert {"message", "type", "code", "param"} <= set(error), error
    return error
