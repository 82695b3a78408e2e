"""Getting locked files: from a bundle, or from their publishers into a cache.

Programs and charts come over HTTPS; images and plugins by `skopeo copy`, which knows how to log in to a hundred kinds
of registries. A file appears under its name only when its digest was checked.
"""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import tempfile
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

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
        target.write_bytes(_member(entry, _get(entry.source)))
        target.chmod(0o755)
    elif entry.kind == "chart":
        target.write_bytes(_chart(entry))
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


def _get(url: str) -> bytes:
    if not url.startswith("https://"):
        raise FetchError(f"{url}: only https:// sources are taken")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content
    except OSError as error:
        raise FetchError(f"{url} cannot be had: {error}") from None


def _chart(entry: Entry) -> bytes:
    """The packaged chart that the repository's index names; an unpinned one must have the index's digest."""
    index = yaml.load(_get(f"{entry.source}/index.yaml"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    releases = [release for release in index["entries"].get(entry.name, ()) if release["version"] == entry.version]
    if not releases:
        raise FetchError(f"{entry.source} has no chart {entry.name} {entry.version}")
    content = _get(urllib.parse.urljoin(f"{entry.source}/", releases[0]["urls"][0]))
    if not entry.pinned and hashlib.sha256(content).hexdigest() != releases[0].get("digest"):
        raise FetchError(f"{entry.name} {entry.version} has not the digest that {entry.source}/index.yaml names")
    return content


def _member(entry: Entry, content: bytes) -> bytes:
    if entry.checksums and not entry.pinned:
        verify_published(entry, content, _get(entry.checksums).decode())
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
