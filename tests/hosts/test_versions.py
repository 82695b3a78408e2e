"""The lock is read strictly, and nothing unpinned or damaged is ever taken."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.opsta.ai_gateway.plugins.module_utils import bundle, fetch, oci, versions

ROOT = Path(__file__).resolve().parents[2]
LOCK = yaml.safe_load((ROOT / "versions.yml").read_text())
WASM = b"\0asm\x01\0\0\0"


def changed(**sections: object) -> str:
    return yaml.safe_dump({**LOCK, **sections})


def test_the_projects_own_lock_is_valid() -> None:
    lock = versions.load((ROOT / "versions.yml").read_text())
    assert {entry.kind for entry in lock.entries} == set(versions.KINDS)
    assert lock.find("image", "grafana").repository == "grafana/grafana"
    assert lock.find("chart", "loki").file == "charts/loki-18.11.0.tgz"


def test_every_chart_names_images_of_its_own_version() -> None:
    lock = versions.load((ROOT / "versions.yml").read_text())
    images = {entry.name: entry.version.removeprefix("v") for entry in lock.of_kind("image")}
    for chart, image in (
        ("grafana", "grafana"),
        ("loki", "loki"),
        ("tempo", "tempo"),
        ("alloy", "alloy"),
        ("mimir-distributed", "mimir"),
        ("higress-core", "higress-gateway"),
        ("cert-manager", "cert-manager-controller"),
        ("redis-operator", "redis-operator"),
        ("oauth2-proxy", "oauth2-proxy"),
    ):
        assert images[image] == LOCK["charts"][chart]["app"].removeprefix("v"), chart


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (changed(schema=2), "schema: 1"),
        (changed(extras={}), "extras: unknown section"),
        (changed(images={"a": {"reference": "docker.io/a/b:latest"}}), "moves"),
        (changed(images={"a": {"reference": "b:1"}}), "write host/path:tag"),
        (changed(images={"a": {"reference": "docker.io/a/b:1", "digest": ""}}), "leave it out"),
        (changed(charts={"a": {"version": "1", "app": "1", "repository": "http://x"}}), "only https"),
        (changed(binaries={"a": {"version": "1"}}), "binaries.a.url: missing"),
        (changed(binaries={"A": {}}), "not a name"),
        (changed(plugins=None), "plugins: missing"),
    ],
)
def test_a_wrong_lock_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(versions.LockError, match=re.escape(says)):
        versions.load(text)


def entry(kind: str = "binary", sha256: str = "") -> versions.Entry:
    source = "docker.io/x/tool:1" if kind == "image" else "https://example.invalid/tool"
    return versions.Entry(kind, "tool", "1", source, sha256=sha256)


def make_bundle(root: Path, content: bytes = b"tool") -> Path:
    file = root / "binaries/tool-1"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    bundle.write_checksums(root)
    return root


def test_what_is_unpinned_is_not_downloaded(tmp_path: Path) -> None:
    with pytest.raises(fetch.FetchError, match="make lock"):
        fetch.from_publisher(entry(), tmp_path)


def test_a_bundle_pins_what_the_lock_does_not(tmp_path: Path) -> None:
    assert fetch.from_bundle(entry(), make_bundle(tmp_path)).read_bytes() == b"tool"


def test_a_bundle_is_written_once(tmp_path: Path) -> None:
    assert not bundle.write_checksums(make_bundle(tmp_path))


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    (make_bundle(tmp_path) / "binaries/tool-1").write_bytes(b"other")
    with pytest.raises(bundle.BundleError, match="is damaged"):
        fetch.from_bundle(entry(), tmp_path)


def test_a_bundle_of_other_versions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bundle.BundleError, match="locked is"):
        fetch.from_bundle(entry(sha256="0" * 64), make_bundle(tmp_path))


def test_a_directory_without_checksums_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(bundle.BundleError, match="is no bundle"):
        fetch.from_bundle(entry(), tmp_path)


def test_a_cached_file_that_changed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binaries").mkdir()
    (tmp_path / "binaries/tool-1").write_bytes(b"other")
    with pytest.raises(fetch.FetchError, match="is not what versions"):
        fetch.from_publisher(entry(sha256="0" * 64), tmp_path)


def test_a_dry_run_downloads_nothing(tmp_path: Path) -> None:
    path, would = fetch.from_publisher(entry(sha256="0" * 64), tmp_path / "cache", dry_run=True)
    assert would
    assert not path.exists()
    assert not (tmp_path / "cache").exists()


def test_an_image_archive_must_hold_the_locked_digest(tmp_path: Path) -> None:
    image = oci.pack_wasm(WASM)
    (tmp_path / "images").mkdir()
    oci.write_archive(image, tmp_path / "images/tool-1.tar")
    bundle.write_checksums(tmp_path)
    assert fetch.from_bundle(entry("image", image.digest.removeprefix("sha256:")), tmp_path)
    with pytest.raises(fetch.FetchError, match=image.digest):
        fetch.from_bundle(entry("image", "0" * 64), tmp_path)


def test_packing_a_plugin_is_deterministic_and_reversible(tmp_path: Path) -> None:
    image = oci.pack_wasm(WASM)
    assert image.digest == oci.pack_wasm(WASM).digest
    oci.write_archive(image, tmp_path / "plugin.tar")
    assert oci.unpack_wasm(oci.read_archive(tmp_path / "plugin.tar")) == WASM


def test_the_publishers_list_must_name_the_download() -> None:
    with pytest.raises(fetch.FetchError, match="is not in"):
        fetch.verify_published(entry(), b"tool", f"{'0' * 64}  tool\n")
