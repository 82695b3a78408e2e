"""`make policy-test` on a cluster: keys from the real API server, requests to a gateway's address.

The gateway is a stand-in that knows the keys and answers what a test tells it; the real one is in tests/sandbox.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import Client, reconcile, stored_keys
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Site

from .apiserver import ControlPlane
from .sites import project, site, wanted
from .test_module import write_site

ROOT = Path(__file__).parents[2]
TESTS = [
    {"name": "a user codes", "user": "user-000", "model": "coding", "expect": {"status": 200}},
    {
        "name": "no other model",
        "user": "user-001",
        "model": "gpt",
        "workload": "night",
        "expect": {"status": 403, "gate": "model-allowlist"},
    },
]


@dataclass
class StandInGateway:
    """Answers 200 for the model `coding`, else a gate's 403; keeps what it was asked."""

    gate: str = "model-allowlist"
    url: str = ""
    asked: list[tuple[Mapping[str, str], dict[str, Any]]] = field(default_factory=list)

    @contextmanager
    def serving(self, certificate: Path | None = None, key: Path | None = None) -> Iterator[StandInGateway]:
        asked, gate = self.asked, self.gate

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append((dict(self.headers), body))
                allowed = body["model"] == "coding"
                self.send_response(200 if allowed else 403)
                if not allowed and gate:
                    self.send_header("x-gate", gate)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            if certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(certificate, key)
                server.socket = context.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
            try:
                yield self
            finally:
                server.shutdown()
                thread.join()


@pytest.fixture
def applied(cluster: Client) -> Site:
    """A site with tests, on the cluster."""
    found = site(project("atlas", tests=TESTS))
    reconcile(cluster, wanted(found))
    return found


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "commands" / "policy_test.py", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=ROOT)


def test_each_test_is_sent_with_its_users_key_and_host(
    cluster: Client, plane: ControlPlane, applied: Site, tmp_path: Path
) -> None:
    with StandInGateway().serving() as gateway:
        done = run(write_site(tmp_path, applied), "--gateway", gateway.url, "--kubeconfig", plane.kubeconfig)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        f"ok  atlas: a user codes\nok  atlas: no other model\n2 of 2 policy tests hold at {gateway.url}\n"
    )
    keys = stored_keys(cluster, "lab")["atlas"]
    sent = [
        (headers["Host"], headers["Authorization"], headers.get("workload"), body) for headers, body in gateway.asked
    ]
    said = [{"role": "user", "content": "Say hello."}]
    assert sent == [
        (
            "atlas.example.test",
            f"Bearer {keys['user.user-000.default']}",
            None,
            {"model": "coding", "messages": said},
        ),
        (
            "atlas.example.test",
            f"Bearer {keys['user.user-001.default']}",
            "night",
            {"model": "gpt", "messages": said},
        ),
    ]


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ("prompt-guard", "expected 403 by model-allowlist, got 403 by prompt-guard"),
        ("", "expected 403 by model-allowlist, got 403, and no gate says that it was it"),
    ],
)
def test_another_gate_than_expected_is_red(
    plane: ControlPlane, applied: Site, tmp_path: Path, gate: str, sentence: str
) -> None:
    with StandInGateway(gate=gate).serving() as gateway:
        done = run(write_site(tmp_path, applied), "--gateway", gateway.url, "--kubeconfig", plane.kubeconfig)
    assert done.returncode == 1
    assert f"FAILED  atlas: no other model: user-001 asked gpt with workload night: {sentence}\n" in done.stdout
    assert "1 of 2 policy tests hold" in done.stdout


def test_https_is_checked_for_the_projects_host(plane: ControlPlane, applied: Site, tmp_path: Path) -> None:
    certificate, key = tmp_path / "host.crt", tmp_path / "host.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=atlas",
         "-addext", "subjectAltName=DNS:atlas.example.test"],
        check=True, capture_output=True,
    )  # fmt: skip
    directory = write_site(tmp_path / "site", applied)
    with StandInGateway().serving(certificate, key) as gateway:
        arguments = (directory, "--gateway", gateway.url, "--kubeconfig", plane.kubeconfig)
        trusted = run(*arguments, "--authority", certificate)
        strange = run(*arguments)
    assert trusted.returncode == 0, trusted.stderr
    assert strange.returncode == 1
    assert "CERTIFICATE_VERIFY_FAILED" in strange.stderr


def test_a_gateway_that_does_not_answer_is_one_sentence(plane: ControlPlane, applied: Site, tmp_path: Path) -> None:
    done = run(write_site(tmp_path, applied), "--gateway", "http://127.0.0.1:9", "--kubeconfig", plane.kubeconfig)
    assert done.returncode == 1
    assert done.stderr.startswith("http://127.0.0.1:9 does not answer: ")
    assert "Traceback" not in done.stderr


def test_a_sandbox_that_never_ran_is_one_sentence(applied: Site, tmp_path: Path) -> None:
    done = run(write_site(tmp_path, applied), "--sandbox", tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "no sandbox has run there" in done.stderr
