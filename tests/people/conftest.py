"""Sign-on once per run; each test brings its own browser."""

from collections.abc import Iterator

import pytest

from .alloy import Block
from .services import Browser, SignOn, sign_on
from .telemetry import alloy_config


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignOn]:
    with sign_on(tmp_path_factory.mktemp("sign-on")) as running:
        yield running


@pytest.fixture
def browser(site: SignOn) -> Browser:
    site.issuer.signs_on()
    return Browser(site.public)


@pytest.fixture(scope="session")
def alloy() -> Block:
    return alloy_config()
