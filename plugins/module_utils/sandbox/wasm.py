"""The one change a Higress binary needs before stock Envoy loads it: the name of its ABI export.

Binaries built for Higress export `proxy_abi_version_0_2_100`; stock Envoy knows `proxy_abi_version_0_2_1`.
Only the export section is touched. Layout: WebAssembly core specification, "Binary Format", modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

HIGRESS_ABI = "proxy_abi_version_0_2_100"
ENVOY_ABI = "proxy_abi_version_0_2_1"

_HEADER = b"\0asm\x01\0\0\0"
_EXPORT_SECTION = 7


class NotWasmError(ValueError):
    """The bytes are not a WebAssembly module, or end too early."""


@dataclass(frozen=True, slots=True)
class Export:
    """One entry of the export section; `rest` is its kind and index, still encoded."""

    name: str
    rest: bytes


def export_names(module: bytes) -> tuple[str, ...]:
    """Names a module exports, in its own order."""
    for section, payload in _sections(module):
        if section == _EXPORT_SECTION:
            return tuple(export.name for export in _exports(payload))
    return ()


def for_stock_envoy(module: bytes) -> bytes:
    """Return the module with its ABI export named as stock Envoy expects; a module that needs no change as it is."""
    out = bytearray(_HEADER)
    for section, payload in _sections(module):
        body = _renamed(payload) if section == _EXPORT_SECTION else payload
        out += bytes([section]) + _leb128(len(body)) + body
    return bytes(out)


def _renamed(payload: bytes) -> bytes:
    exports = list(_exports(payload))
    out = bytearray(_leb128(len(exports)))
    for export in exports:
        name = (ENVOY_ABI if export.name == HIGRESS_ABI else export.name).encode()
        out += _leb128(len(name)) + name + export.rest
    return bytes(out)


def _sections(module: bytes) -> Iterator[tuple[int, bytes]]:
    if not module.startswith(_HEADER):
        raise NotWasmError("not a WebAssembly module of version 1")
    at = len(_HEADER)
    while at < len(module):
        section = module[at]
        size, at = _read_leb128(module, at + 1)
        if at + size > len(module):
            raise NotWasmError(f"section {section} ends after the file")
        yield section, module[at : at + size]
        at += size


def _exports(payload: bytes) -> Iterator[Export]:
    count, at = _read_leb128(payload, 0)
    for _ in range(count):
        length, at = _read_leb128(payload, at)
        name = payload[at : at + length].decode()
        start = at + length
        _, at = _read_leb128(payload, start + 1)
        yield Export(name, payload[start:at])


def _leb128(value: int) -> bytes:
    out = bytearray()
    while True:
        low, value = value & 0x7F, value >> 7
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _read_leb128(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data):
            raise NotWasmError("the file ends inside a number")
        byte, at = data[at], at + 1
        result |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return result, at
        shift += 7
