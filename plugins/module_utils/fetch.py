"""Getting locked files: from a bundle, or from their publishers into a cache.

Programs come over HTTPS; charts by `helm pull`, images and plugins by `skopeo copy`: their own clients know how to log
in to a hundred kinds of registries. A file appears under its name only when its digest was checked.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import tempfile
import urllib.request
from pathlib import Path

from . import bundle, oci
from .versions import Entry

_TIMEOUT_S = 900


class FetchError(Exception):
    """A file cannot be had, or is not what the lock names; the message says which and what to do."""


def from_bundle(entry: Entry, directory: Path) -> Path:
    """Return the checked file of a bundle."""
    if entry.kind in ("image", "plugin"):
        path = bundle.take(directory, entry.file)
        _check_image(entry, path)
        return path
    return bundle.take(directory, entry.file, entry.sha256)


def from_publisher(entry: Entry, cache: Path, *, dry_run: bool = False) -> tuple[Path, bool]:
    """Return the checked file in the cache, and whether it was downloaded (or, in a dry run, would be)."""
    if not entry.pinned:
        raise FetchError(
            f"{entry.kind} {entry.name} {entry.version} has no digest in versions.yml, so it is not installed: "
            "run `make lock` on a machine with internet and commit the result, or set bundle_dir"
        )
    path = cache / entry.file
    if path.is_file():
        check(entry, path)
        return path, False
    if not dry_run:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            fetched = download(entry, Path(scratch))
            check(entry, fetched)
            fetched.replace(path)
    return path, True


def check(entry: Entry, path: Path) -> None:
    """Compare a file with its lock; raises FetchError."""
    if entry.kind in ("image", "plugin"):
        _check_image(entry, path)
    elif bundle.sha256(path) != entry.sha256:
        raise FetchError(
            f"{path} is not what versions.yml names ({entry.name} {entry.version}): remove it and try again"
        )


def download(entry: Entry, scratch: Path) -> Path:
    """Download one thing, unchecked, into an empty directory."""
    target = scratch / "artifact"
    if entry.kind == "binary":
        with urllib.request.urlopen(entry.source, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            target.write_bytes(_member(entry, answer.read()))
        target.chmod(0o755)
    elif entry.kind == "chart":
        _run(
            [
                "helm",
                "pull",
                entry.name,
                "--repo",
                entry.source,
                "--version",
                entry.version,
                "--destination",
                str(scratch),
            ]
        )
        next(scratch.glob("*.tgz")).replace(target)
    else:
        # By tag: the copy is turned into OCI's form, whose digest is the locked one, and a publisher does not know it.
        platform = ["--override-os", "linux", "--override-arch", "amd64"]
        _run(["skopeo", "copy", *platform, f"docker://{entry.source}", f"oci-archive:{target}"])
    return target


def published_sha256(entry: Entry, content: Path) -> str:
    """Digest of a downloaded file as the lock should record it, after comparing with the publisher's own list."""
    if entry.kind in ("image", "plugin"):
        return oci.read_archive(content).digest.removeprefix("sha256:")
    return bundle.sha256(content)


def verify_published(entry: Entry, content: bytes, listing: str) -> None:
    """Compare a download (the archive, when there is one) with the publisher's list of digests; raises FetchError."""
    found = hashlib.sha256(content).hexdigest()
    if found not in listing.split():
        raise FetchError(f"{entry.name} {entry.version}: {found} is not in {entry.checksums}")


def _member(entry: Entry, content: bytes) -> bytes:
    if entry.checksums and not entry.pinned:
        with urllib.request.urlopen(entry.checksums, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            verify_published(entry, content, answer.read().decode())
    if not entry.member:
        return content
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        with tarfile.open(fileobj=file) as archive:
            member = archive.extractfile(entry.member)
            if member is None:
                raise FetchError(f"{entry.source} has no {entry.member}")
            return member.read()


def _check_image(entry: Entry, path: Path) -> None:
    found = oci.read_archive(path).digest
    if entry.pinned and found != f"sha256:{entry.sha256}":
        raise FetchError(f"{path} holds {found}, versions.yml names sha256:{entry.sha256}")


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
    except FileNotFoundError:
        raise FetchError(f"the control machine has no {command[0]}: install it, or set bundle_dir") from None
    except subprocess.CalledProcessError as error:
        raise FetchError(f"{command[0]} failed: {error.stderr.strip().splitlines()[-1:]}") from None
