"""Wasm programs: one export renamed, nothing else touched; what is shipped is what runs on Higress."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.programs import (
    HIGRESS,
    PACKAGE,
    Pinned,
    Program,
    WrongProgramError,
    available,
    install,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.wasm import (
    ENVOY_ABI,
    HIGRESS_ABI,
    NotWasmError,
    export_names,
    for_stock_envoy,
)

from .sandbox import REPOSITORY

NAMES = REPOSITORY / "sandbox" / "names"
HEADER = b"\0asm\x01\0\0\0"


def module(*exports: str) -> bytes:
    """A module of one type, one function and some exports of it, with a section after them."""
    body = bytes([len(exports)]) + b"".join(bytes([len(n)]) + n.encode() + b"\0\0" for n in exports)
    types, functions, code = b"\x01\x04\x01\x60\0\0", b"\x03\x02\x01\0", b"\x0a\x04\x01\x02\0\x0b"
    return HEADER + types + functions + b"\x07" + bytes([len(body)]) + body + code


def test_the_abi_export_is_renamed_and_nothing_else() -> None:
    changed = for_stock_envoy(module("a", HIGRESS_ABI, "z"))
    assert changed == module("a", ENVOY_ABI, "z")
    assert export_names(changed) == ("a", ENVOY_ABI, "z")


def test_a_module_that_needs_no_change_stays_as_it_is() -> None:
    assert for_stock_envoy(module("a", ENVOY_ABI)) == module("a", ENVOY_ABI)


@pytest.mark.parametrize("broken", [b"", b"\x7fELF", HEADER + b"\x07\xff", HEADER + b"\x07\x85\x80"])
def test_what_is_no_module_is_refused(broken: bytes) -> None:
    with pytest.raises(NotWasmError):
        for_stock_envoy(broken)


def test_the_guards_shipped_run_on_higress_and_ours_become_envoys() -> None:
    """Higress stops a program that exports 0_2_1 and pauses on headers: what ships exports 0_2_100."""
    guards = sorted((REPOSITORY / "files" / "wasm").glob("*.wasm"))
    assert len(guards) >= 4
    for guard in guards:
        shipped = guard.read_bytes()
        assert HIGRESS_ABI in export_names(shipped), guard.name
        assert ENVOY_ABI not in export_names(shipped), guard.name
        assert ENVOY_ABI in export_names(for_stock_envoy(shipped))


def test_the_route_names_stand_in_is_what_its_source_says(tmp_path: Path) -> None:
    built = tmp_path / "built.wasm"
    subprocess.run(["wat2wasm", str(NAMES / "route-names.wat"), "-o", str(built)], check=True)
    assert built.read_bytes() == (NAMES / "route-names.wasm").read_bytes()


def test_another_program_than_the_pinned_one_is_refused(tmp_path: Path) -> None:
    pinned = Pinned("ai-proxy", "9.9.9", "2.0.0", HIGRESS[0].sha256)
    with zipfile.ZipFile(tmp_path / f"{PACKAGE}-9.9.9-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{PACKAGE}/plugins/ai-proxy/2.0.0/plugin.wasm", module("a"))
    with pytest.raises(WrongProgramError, match="ai-proxy"):
        pinned.read(tmp_path)


def test_programs_are_named_after_their_content_and_installed_once(tmp_path: Path) -> None:
    found = [_program("guard", module(HIGRESS_ABI))]
    files, fresh = install(iter(found), tmp_path, dry=True)
    assert (fresh, list(tmp_path.iterdir())) == (("guard",), [])
    files, fresh = install(iter(found), tmp_path, dry=False)
    assert (fresh, Path(files["guard"]).read_bytes()) == (("guard",), module(ENVOY_ABI))
    assert install(iter(found), tmp_path, dry=False) == (files, ())
    other, _ = install(iter([_program("guard", module(HIGRESS_ABI, "more"))]), tmp_path, dry=False)
    assert other != files


def test_all_programs_are_known_before_higress_own_are_fetched(tmp_path: Path) -> None:
    """What `--check` says on a machine that has nothing yet is what happens then."""
    (tmp_path / "own_guard.wasm").write_bytes(module("a"))
    files, fresh = install(available(tmp_path, tmp_path), tmp_path / "target", dry=True)
    assert set(fresh) == {"ai-data-masking", "ai-statistics", "ai-proxy", "own-guard"} == set(files)
    with pytest.raises(FileNotFoundError):
        install(available(tmp_path, tmp_path), tmp_path / "target", dry=False)


def _program(name: str, content: bytes) -> Program:
    return Program(name, hashlib.sha256(content).hexdigest(), lambda: content)
