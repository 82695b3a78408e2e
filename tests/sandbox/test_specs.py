"""Every site the spec accepts can be run: rendered for Higress, compiled for the sandbox."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import desired_objects
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.compiler import compile_objects
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.settings import Ports, Settings
from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import minted
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Site, load_site, parse_site

from .sandbox import EXAMPLES

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
BARE = """
version: 1
org: acme
project: bare
host: bare.localhost
providers:
  one: {url: "http://provider-a.sandbox.test/v1", key: one}
models:
  only: {targets: [{provider: one, model: mock-large}]}
groups:
  all: {models: [only], users: {ann: {}}}
"""
SITES = {
    "examples": lambda: load_site(EXAMPLES),
    "a Project that asks for nothing": lambda: _site(("bare.yml", BARE)),
    "shards": lambda: _site(("bare.yml", BARE), more="shards: {key-auth: 3, identity: 2, ai-proxy: 2}\n"),
}


def _site(*projects: tuple[str, str], more: str = "") -> Site:
    gateway = (EXAMPLES / "gateway.yml").read_text("utf-8") + more
    return parse_site(gateway, (EXAMPLES / "prices.yml").read_text("utf-8"), projects)


class _AnyProgram(dict[str, str]):
    """Programs are not read when a policy is compiled; here each is there."""

    def __contains__(self, _: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return f"/sandbox/wasm/{name}.wasm"


@pytest.mark.parametrize("name", SITES)
def test_the_site_compiles(name: str) -> None:
    site = SITES[name]()
    objects = desired_objects(site, minted(site, {}, NOW), now=NOW)
    settings = Settings(Ports.from_base(20000), "/sandbox/envoy", "/sandbox/log", _AnyProgram(), {})
    assert "lds.json" in compile_objects(objects, settings).files
