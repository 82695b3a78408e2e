"""Wasm programs made ready for stock Envoy: Higress's own from their Python package, ours from files/wasm.

A program's file is named after its content, so a new build is a new configuration and an old one goes on until then.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .wasm import for_stock_envoy

PACKAGE = "gpustack_higress_plugins"


class WrongProgramError(ValueError):
    """A program is not the one that was pinned."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """A Higress program inside a wheel of PACKAGE; `sha256` is of the program as shipped."""

    name: str
    wheel: str
    version: str
    sha256: str

    def read(self, wheels: Path) -> bytes:
        """Give the program's bytes; raises WrongProgramError when they are others."""
        with zipfile.ZipFile(wheels / f"{PACKAGE}-{self.wheel}-py3-none-any.whl") as archive:
            module = archive.read(f"{PACKAGE}/plugins/{self.name}/{self.version}/plugin.wasm")
        found = hashlib.sha256(module).hexdigest()
        if found != self.sha256:
            raise WrongProgramError(f"{self.name} {self.version} has sha256 {found}, not {self.sha256}")
        return module


HIGRESS = (
    Pinned("ai-data-masking", "0.5.1", "2.0.3", "7a3eb957fbf08ccc1138eb8df625a5341e7d915c17b86435a05fbaeda4f6cf75"),
    Pinned("ai-statistics", "0.5.1", "2.0.0", "47029f6c8e84ec0b8bfedcaca89314afcf4fe5b67c5d588704455e511e098808"),
    Pinned("ai-proxy", "0.2.0", "2.0.0", "ca357b9f9a6f8a9ee6d3e59257b5948480db8167a2a8f6bf6e037dc834dde4aa"),
)
"""Real Higress programs that run in stock Envoy; key-auth, ai-quota and ai-token-ratelimit are in no package."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program as shipped: its name, its checksum, and how to read it."""

    name: str
    sha256: str
    read: Callable[[], bytes]


def available(wheels: Path, *others: Path) -> Iterator[Program]:
    """Every program: Higress's, which need not have been fetched yet, and those in other directories."""
    for pinned in HIGRESS:
        yield Program(pinned.name, pinned.sha256, partial(pinned.read, wheels))
    for path in sorted(path for directory in others for path in directory.glob("*.wasm")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        yield Program(path.stem.replace("_", "-"), digest, path.read_bytes)


def install(found: Iterator[Program], target: Path, *, dry: bool) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Put programs into `target`; return name -> file for all, and the names that were (`dry`: would be) new."""
    files: dict[str, str] = {}
    fresh: list[str] = []
    for program in found:
        path = target / f"{program.name}-{program.sha256[:12]}.wasm"
        files[program.name] = str(path)
        if not path.exists():
            fresh.append(program.name)
            if not dry:
                target.mkdir(parents=True, exist_ok=True)
                new = path.with_suffix(".new")
                new.write_bytes(for_stock_envoy(program.read()))
                new.rename(path)
    return files, tuple(fresh)
