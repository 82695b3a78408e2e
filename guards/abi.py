#!/usr/bin/env python3
"""Which version of the proxy-wasm ABI a module says it speaks, and how to make it say another.

The `proxy-wasm` crate exports the marker function `proxy_abi_version_0_2_1`. On Higress's Wasm host a module with that
marker that pauses on request headers never gets its body; with `proxy_abi_version_0_2_100` it does. Stock
Envoy only loads the former. The two differ in nothing else that the guards use, so the marker's name in
the export section is changed and all other bytes stay.

The crate also exports every callback, and a host calls each that it finds, for every header block and every chunk of a
body: a call that does nothing costs a microsecond or two. What a guard does not listen to is taken off its exports.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

HIGRESS = "proxy_abi_version_0_2_100"
STOCK = "proxy_abi_version_0_2_1"

_HEADER = b"\0asm\x01\0\0\0"
_EXPORTS = 7


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def _write_number(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _sections(module: bytes) -> list[tuple[int, bytes]]:
    """The sections in order: id and content. Raises ValueError when it is no core Wasm module."""
    if not module.startswith(_HEADER):
        raise ValueError("not a WebAssembly module of version 1")
    sections = []
    at = len(_HEADER)
    while at < len(module):
        kind = module[at]
        size, start = _read_number(module, at + 1)
        at = start + size
        if at > len(module):
            raise ValueError("the module ends within a section")
        sections.append((kind, module[start:at]))
    return sections


def _section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + _write_number(len(content)) + content


def _entries(section: bytes) -> list[tuple[str, bytes]]:
    """The export section's entries: the name, and kind and index as they stand."""
    count, at = _read_number(section, 0)
    entries = []
    for _ in range(count):
        length, at = _read_number(section, at)
        name = section[at : at + length].decode()
        at += length
        _, after = _read_number(section, at + 1)
        entries.append((name, section[at:after]))
        at = after
    return entries


def exports(module: bytes) -> list[str]:
    """The names that a module exports, in order."""
    return [name for kind, content in _sections(module) if kind == _EXPORTS for name, _ in _entries(content)]


def renamed(module: bytes, old: str, new: str) -> bytes:
    """The module with one export renamed, every other section byte for byte. Raises ValueError without it."""
    return _exporting(module, {old: new})


def without(module: bytes, names: Sequence[str]) -> bytes:
    """The module without these exports, every other section byte for byte. Raises ValueError when one is not there."""
    return _exporting(module, dict.fromkeys(names))


def _exporting(module: bytes, changes: Mapping[str, str | None]) -> bytes:
    """The module with exports renamed, or taken off where there is no new name."""
    if missing := sorted(set(changes) - set(exports(module))):
        raise ValueError(f"the module does not export {', '.join(missing)}")
    out = bytearray(_HEADER)
    for kind, content in _sections(module):
        if kind == _EXPORTS:
            wanted = [(changes.get(name, name), rest) for name, rest in _entries(content)]
            kept = [(name.encode(), rest) for name, rest in wanted if name is not None]
            body = b"".join(_write_number(len(name)) + name + rest for name, rest in kept)
            out += _section(kind, _write_number(len(kept)) + body)
        else:
            out += _section(kind, content)
    return bytes(out)


def main() -> None:
    """Copies a module with the marker that the wanted host takes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("host", choices=["higress", "stock"], help="the host that is to load it")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--without", nargs="*", default=[], help="exports to take off")
    args = parser.parse_args()
    old, new = (STOCK, HIGRESS) if args.host == "higress" else (HIGRESS, STOCK)
    args.target.write_bytes(without(renamed(args.source.read_bytes(), old, new), args.without))


if __name__ == "__main__":
    main()
