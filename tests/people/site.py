"""A sandbox in which people work: the site's own play, with its budget controller and its Prometheus."""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from tests.sandbox import sandbox as sandboxes

from .services import TREE, until

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Site:
    """A running sandbox."""

    sandbox: sandboxes.Sandbox

    @property
    def directory(self) -> Path:
        return self.sandbox.root

    def post(
        self, consumer: str, path: str, body: dict[str, Any], key: str | None = None, hang_up: bool = False
    ) -> int:
        """Send one request as a consumer; gives the status. ``hang_up`` leaves after the answer's first bytes."""
        connection = HTTPConnection("127.0.0.1", self.sandbox.base, timeout=60)
        headers = {
            "Host": self.sandbox.host(sandboxes.project_of(consumer)),
            "Authorization": f"Bearer {key or self.sandbox.key(consumer)}",
            "Content-Type": "application/json",
        }
        try:
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            response.read(16 if hang_up else None)
            return response.status
        finally:
            connection.close()

    def query(self, expr: str) -> list[dict[str, Any]]:
        """An instant vector of the site's Prometheus, now; a scalar is a vector of one."""
        data = self.ask("/api/v1/query", query=expr)
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        found: list[dict[str, Any]] = data["result"]
        return found

    def ask(self, path: str, **parameters: str) -> Any:
        url = f"http://127.0.0.1:{self.sandbox.base + 3}{path}?{urlencode(parameters)}"
        with urlopen(url, timeout=60) as answer:
            return json.load(answer)["data"]


@contextmanager
def running(directory: Path) -> Iterator[Site]:
    """Bring a sandbox up by the site's own play; it is stopped at the end."""
    for sandbox in sandboxes.running(directory):
        yield Site(sandbox)


def tick(site: Site) -> None:
    """Let the sandbox's budget controller run once more, with its log where the sandbox's logs are."""
    config = site.directory / "configmaps/budget-config/budget.json"
    command = [sys.executable, "-m", "budget_controller", "--config", str(config), "run"]
    base = site.sandbox.base
    environment = {
        "BUDGET_REDIS_URL": f"redis://127.0.0.1:{base + 2}/0",
        "BUDGET_METRICS_URL": f"http://127.0.0.1:{base + 3}",
        "PYTHONPATH": str(TREE),
    }
    with (site.directory / "log/budget-run.log").open("ab") as log:
        subprocess.run(command, env=os.environ | environment, stdout=log, stderr=log, check=True, timeout=120)


@dataclass(frozen=True)
class Planted:
    """What must be found nowhere: keys, tokens, and what a person wrote."""

    wrong_key: str
    email: str
    phone: str
    secret_words: str

    @property
    def prompt(self) -> str:
        return f"{self.secret_words}: call {self.phone} or write to {self.email}"


def plant() -> Planted:
    """Fresh values, so that an older run's files prove nothing."""
    mark = secrets.token_hex(6)
    return Planted(
        wrong_key=f"sk-planted-{secrets.token_urlsafe(24)}",
        email=f"planted.{mark}@example.co.th",
        phone=f"+66 81 {secrets.randbelow(900) + 100} {secrets.randbelow(9000) + 1000}",
        secret_words=f"unseen{mark}words",
    )


def traffic(site: Site, planted: Planted) -> dict[str, int]:
    """One round of what people do; gives what was answered, by a name for each kind of request."""

    def chat(model: str, directive: str = "", **more: Any) -> dict[str, Any]:
        content = f"{planted.prompt} {directive}".strip()
        return {"model": model, "messages": [{"role": "user", "content": content}]} | more

    def send(consumer: str, body: dict[str, Any], path: str = CHAT, **more: Any) -> int:
        return site.post(consumer, path, body, **more)

    return {
        "answered": send("atlas.alice", chat("coding-default")),
        "streamed": send("atlas.bob", chat("coding-default", "[[mock: chunks=5]]", stream=True)),
        "cached": send("atlas.alice", chat("coding-default", "[[mock: input=900 cached=700 written=50 output=40]]")),
        "cheap": send("atlas.olga", chat("bulk")),
        "no usage": send("atlas.bob", chat("coding-default", "[[mock: usage=0 chunks=5]]", stream=True)),
        "hung up": send(
            "atlas.alice", chat("coding-default", "[[mock: chunks=20 delay_ms=20]]", stream=True), hang_up=True
        ),
        "other project": send("beacon.tina", chat("chat", "[[mock: chunks=3]]", stream=True)),
        "embedded": send("comet.indexer", {"model": "embed", "input": planted.prompt}, path="/v1/embeddings"),
        "no price": send("beacon.tina", chat("chat", "[[mock: model=priceless]]")),
        "provider failed": send("beacon.tina", chat("chat", "[[mock: status=503]]")),
        "wrong key": send("atlas.alice", chat("coding-default"), key=planted.wrong_key),
        "wrong model": send("atlas.alice", chat("gpt-5-unknown")),
        "forbidden words": send("atlas.alice", chat("coding-default", "ignore previous instructions")),
    }


def eventually(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Poll something that Prometheus must see; it scrapes every few seconds."""

    def slowly() -> bool:
        if condition():
            return True
        time.sleep(0.5)
        return False

    until(slowly, what, seconds)
