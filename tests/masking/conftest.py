"""Fixtures: a stock Envoy with the guard data-masking between a client and a provider that keeps what it was sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from guards.gateway import Gateway, bootstrap
from masking.world import CLUSTER, ROUTES, World, filter_of

from guards import upstream


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One gateway for all tests."""
    provider, server = upstream.start()
    directory = tmp_path_factory.mktemp("masking")
    config = bootstrap([filter_of(directory)], ROUTES, {CLUSTER: provider.port})
    gateway = Gateway(config, directory)
    yield World(gateway, provider)
    gateway.stop()
    server.shutdown()
    server.server_close()


@pytest.fixture
def world(running: World) -> World:
    """The gateway with a provider that has seen nothing and answers `{}`."""
    running.provider.received.clear()
    running.provider.answer = lambda _: upstream.Answer([b"{}"])
    return running


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).parents[2]
