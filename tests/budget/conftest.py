"""A real Redis for the tests of the budget controller: a server of its own on a free port, nothing on disk."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def until(condition: object, seconds: float = 20.0) -> None:
    """Poll ``condition()`` until it holds; fail after the deadline."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    where: Path = tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(where)]
    with subprocess.Popen([*command, "--databases", "4"], stdout=subprocess.DEVNULL) as server:
        probe = redis.Redis(port=port)

        def answers() -> bool:
            try:
                return bool(probe.ping())
            except redis.exceptions.ConnectionError:
                return False

        until(answers)
        probe.close()
        yield port
        server.terminate()


@pytest.fixture
def client(redis_port: int) -> Iterator[redis.Redis]:
    with redis.Redis(port=redis_port) as connection:
        connection.flushdb()
        yield connection
