"""`make lock` against STAND-IN publishers on this machine: what they publish is recorded, what they contradict is not.

Programs and charts come from a TLS server of the test's own; images need skopeo and a registry and are not in here.
"""

from __future__ import annotations

import datetime
import hashlib
import http.server
import ipaddress
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.opsta.ai_gateway.plugins.module_utils import versions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ROOT = Path(__file__).resolve().parents[2]
TOOL, CHART = b"a program", b"a packaged chart"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def certificate(directory: Path) -> Path:
    """A certificate for 127.0.0.1 that is its own authority, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in publisher")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "publisher.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[tuple[str, dict[str, bytes], Path]]:
    """Address of a stand-in publisher, the files that it serves (a test may change them), its certificate."""
    served: dict[str, bytes] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = served.get(self.path)
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *_: object) -> None:
            pass

    pem = certificate(tmp_path)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"https://127.0.0.1:{server.server_port}"
    served["/tool"] = TOOL
    served["/sums.txt"] = f"{sha256(TOOL)}  tool\n".encode()
    release = {"version": "2.0.0", "urls": ["files/app-2.0.0.tgz"], "digest": sha256(CHART)}
    served["/charts/index.yaml"] = yaml.safe_dump({"entries": {"app": [release]}}).encode()
    served["/charts/files/app-2.0.0.tgz"] = CHART
    yield base, served, pem
    server.shutdown()
    server.server_close()


def write_lock(directory: Path, base: str) -> Path:
    path = directory / "versions.yml"
    path.write_text(f"""# People's words stay.
schema: 1
binaries:
  tool:
    version: v1
    url: {base}/tool
    checksums: {base}/sums.txt
charts:
  app: {{version: 2.0.0, app: "2", repository: "{base}/charts"}}
images: {{}}
plugins: {{}}
debian: {{release: bookworm, packages: []}}
""")
    return path


def lock(path: Path, pem: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "commands/lock.py"), str(path)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"SSL_CERT_FILE": str(pem), "PYTHONPATH": str(ROOT / ".build/collections")},
    )


def test_digests_are_recorded_and_comments_stay(tmp_path: Path, publisher: tuple[str, dict[str, bytes], Path]) -> None:
    base, _, pem = publisher
    path = write_lock(tmp_path, base)
    assert lock(path, pem).returncode == 0
    recorded = versions.load(path.read_text())
    assert recorded.find("binary", "tool").sha256 == sha256(TOOL)
    assert recorded.find("chart", "app").sha256 == sha256(CHART)
    assert recorded.unpinned() == ()
    assert path.read_text().startswith("# People's words stay.\n")
    before = path.read_text()
    assert lock(path, pem).stdout == ""
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("file", "kind", "name"), [("/tool", "binary", "tool"), ("/charts/files/app-2.0.0.tgz", "chart", "app")]
)
def test_what_contradicts_its_publisher_is_not_recorded(
    tmp_path: Path, publisher: tuple[str, dict[str, bytes], Path], file: str, kind: str, name: str
) -> None:
    base, served, pem = publisher
    served[file] = b"somebody else's"
    path = write_lock(tmp_path, base)
    done = lock(path, pem)
    assert done.returncode == 1
    assert f"{kind} {name}" in done.stderr
    assert [entry.name for entry in versions.load(path.read_text()).unpinned()] == [name]


@pytest.mark.parametrize(
    "entry", versions.load((ROOT / "versions.yml").read_text()).entries, ids=lambda e: f"{e.kind}-{e.name}"
)
def test_every_entry_of_the_projects_lock_can_be_recorded_again_and_again(entry: versions.Entry) -> None:
    text = (ROOT / "versions.yml").read_text()
    once = versions.record(text, entry, "a" * 64)
    assert versions.load(once).find(entry.kind, entry.name).sha256 == "a" * 64
    assert versions.record(versions.record(once, entry, "b" * 64), entry, "a" * 64) == once
