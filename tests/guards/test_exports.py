"""What ships runs on Higress's Wasm host, and a rename makes it run on stock Envoy."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from guards.gateway import WASM, abi

GUARDS = sorted(WASM.glob("*.wasm"))
REQUEST = {"proxy_on_request_headers", "proxy_on_request_body", "proxy_on_request_trailers"}
ANSWER = {"proxy_on_response_headers", "proxy_on_response_body"}
# What a host calls during a request; each call costs, so a guard exports what it listens to and nothing more.
HEARD = {
    "identity": {"proxy_on_request_headers", *ANSWER},
    "prompt-guard": REQUEST,
    "model-allowlist": REQUEST,
    "usage-guard": {*REQUEST, *ANSWER, "proxy_on_response_trailers", "proxy_on_done"},
    "data-masking": {*REQUEST, *ANSWER, "proxy_on_done"},
}


def test_all_guards_are_shipped() -> None:
    assert {"identity", "prompt-guard", "model-allowlist", "usage-guard"} <= {path.stem for path in GUARDS}


@pytest.mark.parametrize("path", GUARDS, ids=lambda path: path.stem)
def test_the_marker_is_higress_s(path: Path) -> None:
    markers = [name for name in abi.exports(path.read_bytes()) if name.startswith("proxy_abi_version_")]
    assert markers == [abi.HIGRESS]


@pytest.mark.parametrize("path", GUARDS, ids=lambda path: path.stem)
def test_a_guard_hears_what_it_listens_to_and_nothing_more(path: Path) -> None:
    calls = ("proxy_on_request_", "proxy_on_response_", "proxy_on_done", "proxy_on_log")
    assert {name for name in abi.exports(path.read_bytes()) if name.startswith(calls)} == HEARD[path.stem]


@pytest.mark.parametrize("path", GUARDS, ids=lambda path: path.stem)
def test_no_path_of_the_building_machine_is_in_it(path: Path) -> None:
    module = path.read_bytes()
    assert b"/.cargo/" not in module
    assert b"/root/" not in module
    assert b"/home/" not in module


def test_the_checksums_are_those_of_the_files() -> None:
    lines = (WASM / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split() for line in lines)}
    assert listed == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in GUARDS}


@pytest.mark.parametrize("path", GUARDS, ids=lambda path: path.stem)
def test_renaming_there_and_back_gives_the_same_bytes(path: Path) -> None:
    shipped = path.read_bytes()
    stock = abi.renamed(shipped, abi.HIGRESS, abi.STOCK)
    assert abi.STOCK in abi.exports(stock)
    assert abi.HIGRESS not in abi.exports(stock)
    assert abi.renamed(stock, abi.STOCK, abi.HIGRESS) == shipped


def test_a_rename_past_a_length_boundary_keeps_the_module_whole() -> None:
    # One section of 125 bytes: the longer name pushes its length, and the name's own, past one LEB128 byte.
    name = b"m" * 119
    section = b"\x01" + bytes([len(name)]) + name + b"\x00\x05"
    module = b"\0asm\x01\0\0\0" + b"\x07" + bytes([len(section)]) + section + b"\x0a\x01\x00"
    longer = abi.renamed(module, name.decode(), "n" * 300)
    assert abi.exports(longer) == ["n" * 300]
    assert longer.endswith(b"\x00\x05\x0a\x01\x00")
    assert abi.renamed(longer, "n" * 300, name.decode()) == module


@pytest.mark.parametrize("module", [b"", b"\x7fELF", b"\0asm\x01\0\0\0\x07\x7f\x00"])
def test_what_is_no_module_is_refused(module: bytes) -> None:
    with pytest.raises(ValueError, match="module"):
        abi.renamed(module, abi.STOCK, abi.HIGRESS)


def test_what_is_taken_off_is_gone_and_all_else_stays() -> None:
    shipped = (WASM / "usage-guard.wasm").read_bytes()
    names = abi.exports(shipped)
    less = abi.without(shipped, ["proxy_on_response_trailers", "proxy_on_done"])
    assert abi.exports(less) == [name for name in names if name not in {"proxy_on_response_trailers", "proxy_on_done"}]
    assert abi.without(shipped, []) == shipped
    with pytest.raises(ValueError, match="does not export proxy_on_done"):
        abi.without(less, ["proxy_on_done"])
