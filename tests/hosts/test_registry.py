"""The site's registry, a real one (Debian's docker-registry) under the role's own configuration.

Higress's plugins cannot be had here: STAND-IN bytes under their locked names. Our guards are the real ones.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils import bundle, oci, versions

from .conftest import certificate

ROOT = Path(__file__).resolve().parents[2]
GUARDS = {path.stem: path for path in (ROOT / "files/wasm").glob("*.wasm")}
PASSWORD = "a-password-of-this-test"
LOCK = versions.load((ROOT / "versions.yml").read_text())


@dataclass(frozen=True)
class Site:
    """A running registry and the bundle that fills it."""

    port: int
    pem: Path
    bundle: Path

    def registry(self, password: str = PASSWORD) -> oci.Registry:
        return oci.Registry(f"127.0.0.1:{self.port}", username="ai-gateway", password=password, ca_file=str(self.pem))


def module(name: str, options: dict[str, object], python: str = sys.executable) -> dict[str, object]:
    """Run a module of the collection as a task would and return its result."""
    command = [str(Path(sys.executable).with_name("ansible")), "localhost", "-i", "localhost,", "-c", "local"]
    command += [
        "-m",
        f"opsta.ai_gateway.{name}",
        "-a",
        json.dumps(options),
        "-e",
        f"ansible_python_interpreter={python}",
    ]
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
        "PYTHONPATH": str(ROOT / ".build/collections"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
    }
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    result: dict[str, object] = json.loads(done.stdout[done.stdout.index("{") :])
    return result


def stand_in(entry: versions.Entry) -> bytes:
    name = entry.name.encode()
    return b"\0asm\x01\0\0\0\0" + bytes([len(name) + 2, 1]) + b"s" + name


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("registry")
    pem = certificate(directory)
    for name in ("registry.crt", "registry.key"):
        (directory / name).symlink_to(pem)
    account = {"path": str(directory / "htpasswd"), "username": "ai-gateway", "password": PASSWORD, "group": "root"}
    assert module("registry_account", account, "/usr/bin/python3")["changed"] is True
    assert module("registry_account", account, "/usr/bin/python3")["changed"] is False
    template = jinja2.Template((ROOT / "roles/registry/templates/config.yml.j2").read_text())
    written = template.render(ansible_managed="test", registry_data_dir=str(directory / "data"), registry_port=0)
    config = directory / "config.yml"
    config.write_text(written.replace("/etc/docker/registry", str(directory)))
    for entry in LOCK.of_kind("plugin"):
        path = directory / "bundle" / entry.file
        path.parent.mkdir(parents=True, exist_ok=True)
        oci.write_archive(oci.pack_wasm(stand_in(entry)), path)
    bundle.write_checksums(directory / "bundle")
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
    try:
        yield Site(port_of(process, directory / "log"), pem, directory / "bundle")
    finally:
        process.terminate()
        process.wait(30)


def port_of(process: subprocess.Popen[bytes], log: Path) -> int:
    """Where the registry listens, which it says; fails with its log when it ended, or does not listen in a minute."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if said := re.search(r"listening on \S+:(\d+), tls", log.read_text()):
            return int(said[1])
        time.sleep(0.1)
    pytest.fail(log.read_text())


@pytest.fixture(scope="module")
def filled(site: Site) -> dict[str, str]:
    """Digests by repository and tag, as the role's module says after it filled the registry twice."""
    options: dict[str, object] = {
        "registry": f"127.0.0.1:{site.port}",
        "username": "ai-gateway",
        "password": PASSWORD,
        "ca_file": str(site.pem),
        "lock": str(ROOT / "versions.yml"),
        "bundle_dir": str(site.bundle),
        "cache_dir": "/nonexistent",
        "plugins": [entry.name for entry in LOCK.of_kind("plugin")],
        "guards_dir": str(ROOT / "files/wasm"),
        "guards_version": "0.1.0",
    }
    first, second = module("registry_fill", options), module("registry_fill", options)
    assert (first["changed"], second["changed"]) == (True, False)
    digests = first["digests"]
    assert isinstance(digests, dict)
    return digests


def test_every_plugin_is_pulled_back_by_digest_and_matches(site: Site, filled: dict[str, str]) -> None:
    wanted = {f"{entry.repository}:{entry.version}": stand_in(entry) for entry in LOCK.of_kind("plugin")}
    wanted |= {f"plugins/{name}:0.1.0": path.read_bytes() for name, path in GUARDS.items()}
    assert len(GUARDS) >= 5
    assert filled.keys() == wanted.keys()
    pulled = {where: site.registry().pull(where.split(":")[0], digest) for where, digest in filled.items()}
    assert {where: oci.unpack_wasm(image) for where, image in pulled.items()} == wanted
    assert {where: image.digest for where, image in pulled.items()} == filled


def test_wrong_credentials_are_refused(site: Site, filled: dict[str, str]) -> None:
    where, digest = next(iter(filled.items()))
    stranger = site.registry("another")
    with pytest.raises(oci.OciError, match="refused these credentials"):
        stranger.pull(where.split(":")[0], digest)
    with pytest.raises(oci.OciError, match="refused these credentials"):
        stranger.push("plugins/forged", "1", oci.pack_wasm(b"\0asm\x01\0\0\0"))


def test_a_plaintext_pull_is_refused(site: Site, filled: dict[str, str]) -> None:
    where, digest = next(iter(filled.items()))
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.request("GET", f"/v2/{where.split(':')[0]}/manifests/{digest}")
    answer = connection.getresponse()
    assert answer.status == 400
    assert b"schemaVersion" not in answer.read()
    connection.close()


def test_a_registry_of_an_unknown_authority_is_not_believed(site: Site) -> None:
    unknown = oci.Registry(f"127.0.0.1:{site.port}", username="ai-gateway", password=PASSWORD)
    with pytest.raises(oci.OciError, match="certificate"):
        unknown.ping()
