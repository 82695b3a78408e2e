"""A guard whose config is broken lets nothing through, and says so when it is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from guards.conftest import chain
from guards.gateway import Gateway, bootstrap

BROKEN = {
    "identity_entrance": ['{"stage":"nowhere"}', ""],
    "identity": ['{"stage":"assign","_rules_":[{"project":"p"}]}'],
    "prompt_guard": ['{"_rules_":[{"_match_route_":["r"],"patterns":["("],"max_body_bytes":1}]}'],
    "model_allowlist": [
        '{"_rules_":[{"_match_route_":["r"],"_match_domain_":["d"],"project":"p","groups":{},"max_body_bytes":1}]}'
    ],
    "usage_guard": ['{"_rules_":[{"_match_route_":["r"],"project":"p"}]}', "null"],
}


@pytest.mark.parametrize(("guard", "config"), [(guard, config) for guard, all in BROKEN.items() for config in all])
def test_a_broken_config_is_refused_with_its_reason(binaries: Path, tmp_path: Path, guard: str, config: str) -> None:
    filters = [found for found in chain(binaries, **{guard: config}) if found["name"] == guard.replace("_", "-")]
    with pytest.raises(RuntimeError, match="config refused"):
        Gateway(bootstrap(filters, {"x": []}, {}), tmp_path)
