"""The air-gap bundle: a directory with one `checksums.sha256` that pins every file in it, as sha256sum writes it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

CHECKSUMS = "checksums.sha256"
_LINE = re.compile(r"(?P<sum>[0-9a-f]{64}) [ *](?P<file>\S.*)")


class BundleError(Exception):
    """The bundle is not whole: the message names the file and what to do."""


def sha256(path: Path) -> str:
    """Digest of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_checksums(bundle: Path) -> dict[str, str]:
    """File (below the bundle) -> digest; raises BundleError for a missing or malformed list."""
    listing = bundle / CHECKSUMS
    if not listing.is_file():
        raise BundleError(f"{bundle} is no bundle: {CHECKSUMS} is missing; make one with playbooks/bundle.yml")
    sums: dict[str, str] = {}
    for number, line in enumerate(listing.read_text().splitlines(), 1):
        match = _LINE.fullmatch(line)
        if not match:
            raise BundleError(f"{listing}:{number}: not a line of sha256sum")
        sums[match["file"]] = match["sum"]
    return sums


def write_checksums(bundle: Path, *, dry_run: bool = False) -> bool:
    """Pin every file of the bundle; returns whether the list changed (or, in a dry run, would)."""
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    text = "".join(f"{sha256(path)}  {path.relative_to(bundle)}\n" for path in files)
    listing = bundle / CHECKSUMS
    if listing.is_file() and listing.read_text() == text:
        return False
    if not dry_run:
        listing.write_text(text)
    return True


def check_all(bundle: Path, below: str = "") -> int:
    """Check every file in a directory of the bundle and return how many; raises BundleError at a bad one."""
    sums = read_checksums(bundle)
    listed = {file for file in sums if not below or file.startswith(below + "/")}
    present = {str(path.relative_to(bundle)) for path in (bundle / below).rglob("*") if path.is_file()} - {CHECKSUMS}
    for file in sorted(present - listed):
        raise BundleError(f"{bundle / file} is not in the bundle's {CHECKSUMS}: somebody put it there afterwards")
    for file in sorted(listed):
        take(bundle, file)
    return len(listed)


def take(bundle: Path, file: str, expected: str = "") -> Path:
    """Return the path of a file whose digest matches the bundle's list, and the lock's when it has one."""
    sums = read_checksums(bundle)
    path = bundle / file
    if file not in sums or not path.is_file():
        raise BundleError(f"the bundle {bundle} has no {file}: it was made from another versions.yml; make it anew")
    found = sha256(path)
    if found != sums[file]:
        raise BundleError(f"{path} is damaged: sha256 {found}, the bundle's list says {sums[file]}")
    if expected and found != expected:
        raise BundleError(f"{path} is not what versions.yml names: sha256 {found}, locked is {expected}")
    return path
