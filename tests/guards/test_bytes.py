"""The shipped guards are what these sources and Debian's compiler make."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from guards.gateway import ROOT, WASM

BUILD_SECONDS = 1500


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_compiler_is_the_recorded_one() -> None:
    recorded = (WASM / "TOOLCHAIN").read_text().splitlines()
    here = [
        output(*command)
        for command in (("/usr/bin/rustc", "-V"), ("/usr/bin/cargo", "-V"), ("wasm-ld-19", "--version"))
    ]
    assert here == recorded, (
        "THE COMPILER HERE IS ANOTHER THAN THE ONE THAT MADE files/wasm. Its bytes differ, so nothing can be compared. "
        "Run `make guards`, look at what changed, and commit files/wasm."
    )


@pytest.mark.timeout(BUILD_SECONDS)
def test_a_build_gives_the_same_bytes(tmp_path: Path) -> None:
    target = os.environ.get("GUARDS_TARGET", str(tmp_path / "target"))
    subprocess.run([ROOT / "guards/build.sh", tmp_path / "wasm", target], check=True, timeout=BUILD_SECONDS)
    built = {path.name: path.read_bytes() for path in (tmp_path / "wasm").iterdir()}
    shipped = {path.name: path.read_bytes() for path in WASM.iterdir()}
    different = sorted(name for name in built | shipped if built.get(name) != shipped.get(name))
    assert different == [], "sources and files/wasm differ: run `make guards` and commit files/wasm"
