"""`make lock` against STAND-IN publishers on this machine: what they publish is recorded, what they contradict is not.

Programs and charts come from a TLS server of the test's own; images need skopeo and a registry and are not in here.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils import bundle, versions

from .conftest import CHART, TOOL

ROOT = Path(__file__).resolve().parents[2]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


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


ENVIRONMENT = {
    "PYTHONPATH": str(ROOT / ".build/collections"),
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".build/collections"),
}


def play(directory: Path, path: Path, pem: Path) -> str:
    """Run playbooks/bundle.yml and return its output; fails with it."""
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local"]
    command += [str(ROOT / "playbooks/bundle.yml"), "-e", f"bundle_dir={directory}", "-e", f"bundle_lock={path}"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}"]
    environment = os.environ | ENVIRONMENT | {"SSL_CERT_FILE": str(pem)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def lock(path: Path, pem: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "commands/lock.py"), str(path)],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | ENVIRONMENT | {"SSL_CERT_FILE": str(pem)},
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


def test_a_bundle_is_made_once_and_serves_without_any_network(
    tmp_path: Path, publisher: tuple[str, dict[str, bytes], Path]
) -> None:
    base, served, pem = publisher
    path, directory = write_lock(tmp_path, base), tmp_path / "bundle"
    assert lock(path, pem).returncode == 0
    play(directory, path, pem)
    assert bundle.check_all(directory) == 2
    served.clear()
    options = f"kind=binary name=tool lock={path} bundle_dir={directory} cache_dir={tmp_path}/nothing"
    # A namespace without any interface: a download could not even begin.
    command = ["unshare", "--map-root-user", "--net", str(Path(sys.executable).with_name("ansible"))]
    command += ["localhost", "-i", "localhost,", "-c", "local", "-m", "opsta.ai_gateway.artifact", "-a", options]
    command += ["-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | ENVIRONMENT, cwd=ROOT)
    assert sha256(TOOL) in done.stdout, done.stdout + done.stderr
    assert not (tmp_path / "nothing").exists()
    assert "changed=0" in play(directory, path, pem)
    (directory / "charts/app-2.0.0.tgz").write_bytes(b"damaged")
    with pytest.raises(bundle.BundleError, match="damaged"):
        bundle.check_all(directory)


@pytest.mark.parametrize(
    "entry", versions.load((ROOT / "versions.yml").read_text()).entries, ids=lambda e: f"{e.kind}-{e.name}"
)
def test_every_entry_of_the_projects_lock_can_be_recorded_again_and_again(entry: versions.Entry) -> None:
    text = (ROOT / "versions.yml").read_text()
    once = versions.record(text, entry, "a" * 64)
    assert versions.load(once).find(entry.kind, entry.name).sha256 == "a" * 64
    assert versions.record(versions.record(once, entry, "b" * 64), entry, "a" * 64) == once
