"""OCI artifacts: reading and making image layouts, and pushing them to the site's own registry.

The distribution API is small enough to speak directly (standard library only), so the install side needs no skopeo.
Higress pulls a Wasm plugin as an image whose single layer is a tar.gz with `plugin.wasm` in its root (the "compat"
variant of Istio's Wasm image specification).
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import ssl
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_TIMEOUT_S = 60


class OciError(Exception):
    """A layout or a registry did not do what was asked; the message names it, never a credential."""


def digest_of(content: bytes) -> str:
    """`sha256:<hex>` of the bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Image:
    """One manifest and the blobs it names, by digest."""

    manifest: bytes
    media_type: str
    blobs: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """The manifest's digest: what a pull by digest names."""
        return digest_of(self.manifest)


def pack_wasm(wasm: bytes) -> Image:
    """Make the image of a Wasm plugin. The same bytes always give the same digest (no times, no owners)."""
    if not wasm.startswith(b"\0asm"):
        raise OciError("not a WebAssembly module")
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("plugin.wasm")
        member.size, member.mode = len(wasm), 0o644
        archive.addfile(member, io.BytesIO(wasm))
    layer = gzip.compress(tar.getvalue(), mtime=0)
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(tar.getvalue())]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, config),
            "layers": [_descriptor(LAYER, layer)],
        }
    )
    return Image(manifest, MANIFEST, {digest_of(config): config, digest_of(layer): layer})


def unpack_wasm(image: Image) -> bytes:
    """Return the module inside a Wasm plugin's image."""
    layer = json.loads(image.manifest)["layers"][0]["digest"]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(image.blobs[layer]))) as archive:
        member = archive.extractfile("plugin.wasm")
        if member is None:
            raise OciError("the image has no plugin.wasm")
        return member.read()


def read_archive(path: Path) -> Image:
    """Read an OCI archive (`skopeo copy ... oci-archive:PATH`) with one image; every digest in it is checked."""
    with tarfile.open(path) as archive:
        files = {m.name.removeprefix("./"): m for m in archive.getmembers() if m.isfile()}

        def content(name: str) -> bytes:
            stream = archive.extractfile(files[name]) if name in files else None
            if stream is None:
                raise OciError(f"{path} is no OCI archive: it has no {name}")
            return stream.read()

        def blob(digest: str) -> bytes:
            data = content("blobs/" + digest.replace(":", "/"))
            if digest_of(data) != digest:
                raise OciError(f"{path} is damaged: {digest} has other content")
            return data

        listed = json.loads(content("index.json"))["manifests"]
        if len(listed) != 1 or listed[0].get("mediaType") == INDEX:
            raise OciError(f"{path}: one image of one architecture is expected")
        manifest = blob(listed[0]["digest"])
        return Image(manifest, listed[0].get("mediaType", MANIFEST), {d: blob(d) for d in _named_blobs(manifest)})


def write_archive(image: Image, path: Path) -> None:
    """Write an image as an OCI archive, the counterpart of `read_archive`."""
    index = _json(
        {
            "schemaVersion": 2,
            "manifests": [{"mediaType": image.media_type, "digest": image.digest, "size": len(image.manifest)}],
        }
    )
    files = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": index}
    files |= {f"blobs/{d.replace(':', '/')}": data for d, data in {**image.blobs, image.digest: image.manifest}.items()}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(files[name]), 0o644
            archive.addfile(member, io.BytesIO(files[name]))


def _named_blobs(manifest: bytes) -> tuple[str, ...]:
    document = json.loads(manifest)
    return tuple(dict.fromkeys([document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]))


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


class Registry:
    """A registry over TLS. `address` is host:port; `ca_file` the authority that signed its certificate."""

    def __init__(self, address: str, *, username: str, password: str, ca_file: str = "") -> None:
        """Keep what a request needs; nothing is sent yet."""
        self._base = f"https://{address}/v2/"
        token = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._authorization = f"Basic {token}"
        self._tls = ssl.create_default_context(cafile=ca_file or None)

    def ping(self) -> None:
        """Log in; raises OciError when the registry refuses or cannot be reached."""
        self._call("GET", "")

    def digest(self, repository: str, tag: str) -> str:
        """Digest behind a tag; empty when there is none."""
        status, headers, _ = self._call("HEAD", f"{repository}/manifests/{tag}", accept=True, allow=(404,))
        return headers.get("Docker-Content-Digest", "") if status == 200 else ""

    def push(self, repository: str, tag: str, image: Image) -> None:
        """Upload what is missing, then the manifest: a push that is cut off leaves the old tag whole."""
        for digest, content in image.blobs.items():
            status, _, _ = self._call("HEAD", f"{repository}/blobs/{digest}", allow=(404,))
            if status == 404:
                self._upload(repository, digest, content)
        self._call("PUT", f"{repository}/manifests/{tag}", body=image.manifest, content_type=image.media_type)

    def pull(self, repository: str, digest: str) -> Image:
        """Pull by digest; every byte is checked against it."""
        _, headers, manifest = self._call("GET", f"{repository}/manifests/{digest}", accept=True)
        blobs = {d: self._call("GET", f"{repository}/blobs/{d}")[2] for d in _named_blobs(manifest)}
        for wanted, content in {**blobs, digest: manifest}.items():
            if digest_of(content) != wanted:
                raise OciError(f"{repository}@{digest}: {wanted} came back with other content")
        return Image(manifest, headers.get("Content-Type", MANIFEST), blobs)

    def _upload(self, repository: str, digest: str, content: bytes) -> None:
        _, headers, _ = self._call("POST", f"{repository}/blobs/uploads/")
        location = urllib.parse.urljoin(self._base, headers["Location"])
        separator = "&" if urllib.parse.urlsplit(location).query else "?"
        self._call(
            "PUT",
            f"{location}{separator}digest={urllib.parse.quote(digest, safe='')}",
            body=content,
            content_type="application/octet-stream",
        )

    def _call(  # noqa: PLR0913 (one request has that many parts)
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        content_type: str = "",
        accept: bool = False,
        allow: tuple[int, ...] = (),
    ) -> tuple[int, Message, bytes]:
        request = urllib.request.Request(urllib.parse.urljoin(self._base, path), data=body, method=method)  # noqa: S310
        request.add_header("Authorization", self._authorization)
        if content_type:
            request.add_header("Content-Type", content_type)
        if accept:
            request.add_header("Accept", f"{MANIFEST}, {_DOCKER_MANIFEST}")
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=self._tls) as answer:  # noqa: S310
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                if error.code in allow:
                    return error.code, error.headers, b""
            raise OciError(_explain(self._base, method, path, error.code)) from None
        except (urllib.error.URLError, OSError) as error:
            raise OciError(f"the registry {self._base} cannot be reached: {error}") from None


def _explain(base: str, method: str, path: str, code: int) -> str:
    if code in (401, 403):
        return f"the registry {base} refused these credentials ({code})"
    return f"the registry {base} answered {code} to {method} {path}"
