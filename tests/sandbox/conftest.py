"""One sandbox for all tests that need a running one."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .sandbox import SECONDS, Sandbox, project_of, running

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """Status, headers (lower case) and text of an answer."""

    status: int
    headers: dict[str, str]
    text: str

    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True)
class Caller:
    """Calls the gateway as a Project's user."""

    sandbox: Sandbox

    def send(self, method: str, path: str, headers: Headers, body: bytes = b"") -> Answer:
        """Send headers as they are given, doubled ones too."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.sandbox.base, timeout=60)) as connection:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in [*headers, ("content-length", str(len(body)))]:
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read().decode())

    def headers(self, consumer: str, key: str | None = None) -> Headers:
        """A request's usual headers; `key` "" leaves the key out."""
        given = self.sandbox.key(consumer) if key is None else key
        usual = [("host", self.sandbox.host(project_of(consumer))), ("content-type", "application/json")]
        return [*usual, ("authorization", f"Bearer {given}")] if given else usual

    def post(self, consumer: str, body: Any, path: str = "/v1/chat/completions", *more: tuple[str, str]) -> Answer:
        """Post a body, bytes as they are, with some more headers."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.send("POST", path, [*self.headers(consumer), *more], content)

    def chat(self, consumer: str, model: str, text: Any = "hello", **more: Any) -> Answer:
        return self.post(consumer, {"model": model, "messages": [{"role": "user", "content": text}], **more})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Plays, and an Envoy that compiles its programs, take their time on a busy machine."""
    for item in items:
        if item.path.parent == Path(__file__).parent and "sandbox" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    yield from running(tmp_path_factory.mktemp("sandbox"))


@pytest.fixture
def caller(sandbox: Sandbox) -> Caller:
    """Providers forgot what they were sent and told; every consumer has quota."""
    for provider in sandbox.providers():
        provider.clear()
    with sandbox.redis() as client:
        for key in client.keys("higress-token-ratelimit:*"):
            client.delete(key)
        for key in client.keys("chat_quota:*"):
            client.set(key, 10**9)
    return Caller(sandbox)


@pytest.fixture
def site(caller: Caller) -> Iterator[Sandbox]:
    """The running sandbox, whose Project files and policy are as they were when the test is over."""
    sandbox = caller.sandbox
    in_force = (sandbox.root / "objects.json").read_bytes()
    yield sandbox
    sandbox.reset_site()
    if (sandbox.root / "objects.json").read_bytes() != in_force:
        assert sandbox.play().code == 0
