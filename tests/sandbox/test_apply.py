"""What a play says of a policy that Envoy refuses, whose words come by way of a log."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Timer
from typing import cast

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.admin import Admin, NotInForceError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.apply import Place, put_into_force
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.compiler import Compiled

from .objects import bridge, compiled, simple

SAID = "[1][warning][wasm] the guard's reason\n[1][warning][config] Filesystem config update rejected: that reason\n"


class Refusing:
    """Envoy's admin interface: refuses the first change. The log tells why some time after its statistics do."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.late: Timer | None = None

    def answers(self) -> bool:
        return True

    def versions(self) -> Mapping[str, str]:
        return {"cluster_manager.cds": "1"}

    def refusals(self) -> Mapping[str, int]:
        return {}

    def wait(self, *_: object) -> None:
        if self.late is None:
            self.late = Timer(0.3, self.log.write_text, (SAID, "utf-8"))
            self.late.start()
            raise NotInForceError("Envoy refused cluster_manager.cds")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    admin = Refusing(tmp_path / "envoy.log")
    yield Place(tmp_path / "envoy", admin.log, cast("Admin", admin))
    assert admin.late is not None
    admin.late.join()


def test_the_reason_is_told_though_the_log_has_it_late(place: Place) -> None:
    made: Compiled = compiled(bridge(), simple())
    old = {"version_info": "1", "resources": []}
    place.directory.mkdir()
    (place.directory / "cds.json").write_text(json.dumps(old), "utf-8")
    with pytest.raises(NotInForceError) as refused:
        put_into_force(made, place)
    assert "the guard's reason" in str(refused.value)
    assert json.loads((place.directory / "cds.json").read_text("utf-8")) == old
