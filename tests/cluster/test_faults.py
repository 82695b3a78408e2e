"""An API server that is slow, refuses, breaks off or lacks CRDs: one clear error, and the next run goes on."""

from __future__ import annotations

import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import urllib3
import yaml
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import (
    Client,
    ClusterError,
    Connection,
    connect,
    read,
    reconcile,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.client import CONNECTIONS
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.errors import (
    BusyError,
    MissingKindsError,
    UnauthorizedError,
    UnreachableError,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.kinds import KINDS
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.records import is_record
from kubernetes import client, config

from .apiserver import ControlPlane
from .definitions import CRDS, NAMESPACE, install_definition
from .openness import openings
from .sites import project, site, wanted
from .waiting import wait_until

SITE = site(project("atlas"), project("beacon"))


class _Server(ThreadingHTTPServer):
    # All of a run's connections may come at once.
    request_queue_size = CONNECTIONS


class Proxy:
    """Stands between the client and the real API server and misbehaves as told; plain HTTP on the client's side.

    ``fault`` gets method, path and the number of requests of that method so far; it returns None to pass the
    request on, a status to answer, "hang up", or "lose answer": the request is passed on and its answer dropped.
    """

    def __init__(self, plane: ControlPlane, directory: Path) -> None:
        settings = yaml.safe_load(plane.kubeconfig.read_text())
        self.fault: Callable[[str, str, int], int | str | None] = lambda *_: None
        self.seen: Counter[str] = Counter()
        self._turn = threading.Lock()
        self._upstream = urllib3.PoolManager(ca_certs=str(plane.directory / "apiserver.crt"), maxsize=16)
        self._target = plane.url
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        settings["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._server.server_port}"}
        self.kubeconfig = directory / "proxy.kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(settings))

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._upstream.clear()

    def _decide(self, method: str, path: str) -> int | str | None:
        with self._turn:
            self.seen[method] += 1
            return self.fault(method, path, self.seen[method])

    def _handler(proxy) -> type[BaseHTTPRequestHandler]:  # noqa: N805 -- the class below has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _pass(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                verdict = proxy._decide(self.command, self.path)
                if verdict == "hang up":
                    self.close_connection = True
                    return
                if isinstance(verdict, int):
                    self._answer(verdict, json.dumps({"kind": "Status", "message": "as the test wants"}).encode())
                    return
                headers = {n: v for n, v in self.headers.items() if n.lower() not in ("host", "content-length")}
                answer = proxy._upstream.request(
                    self.command, proxy._target + self.path, body=body or None, headers=headers, retries=False
                )
                if verdict == "lose answer":
                    self.close_connection = True
                    return
                self._answer(answer.status, answer.data)

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                if status == 429:
                    self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PATCH = do_PUT = do_POST = do_DELETE = _pass  # noqa: N815 -- the base class asks for these

        return Handler


@pytest.fixture
def proxy(plane: ControlPlane, tmp_path: Path) -> Iterator[Proxy]:
    found = Proxy(plane, tmp_path)
    yield found
    found.close()


@pytest.fixture
def through(proxy: Proxy) -> Iterator[Client]:
    with connect(Connection(proxy.kubeconfig, attempts=4), NAMESPACE) as found:
        yield found


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_stumbling_api_server_is_asked_again(cluster: Client, proxy: Proxy, through: Client, status: int) -> None:
    asked: Counter[tuple[str, str]] = Counter()

    def twice(method: str, path: str, _number: int) -> int | None:
        asked[method, path] += 1
        return status if asked[method, path] <= 2 else None

    proxy.fault = twice
    assert reconcile(through, wanted(site(project("atlas")))).writes > 0
    proxy.fault = lambda *_: None
    assert reconcile(through, wanted(site(project("atlas")))).writes == 0


def test_a_server_that_stays_busy_is_one_error(cluster: Client, proxy: Proxy, through: Client) -> None:
    proxy.fault = lambda method, _path, _number: 503 if method == "PATCH" else None
    with pytest.raises(BusyError, match="went on answering 503"):
        reconcile(through, wanted(SITE))


@pytest.mark.parametrize("after", [1, 5, 12, 20])
def test_a_connection_lost_midway_is_one_error_and_the_next_run_finishes(
    cluster: Client, proxy: Proxy, through: Client, after: int
) -> None:
    proxy.fault = lambda method, _path, number: "hang up" if method == "PATCH" and number > after else None
    with pytest.raises(UnreachableError, match="connection was lost") as caught:
        reconcile(through, wanted(SITE))
    assert any("run again to go on" in note for note in caught.value.__notes__)
    assert openings(read(cluster, "lab").values()) == []
    assert reconcile(cluster, wanted(SITE)).writes > 0
    assert openings(read(cluster, "lab").values()) == []


def test_an_answer_that_was_lost_after_the_write_does_no_harm(cluster: Client, proxy: Proxy, through: Client) -> None:
    """Each write reaches the server and its answer is lost once: what is sent again must be the same."""
    lost: set[str] = set()

    def lose_first(method: str, path: str, _number: int) -> str | None:
        if method in ("PATCH", "POST", "PUT") and path not in lost:
            lost.add(path)
            return "lose answer"
        return None

    proxy.fault = lose_first
    reconcile(through, wanted(SITE))
    assert openings(read(cluster, "lab").values()) == []


def test_a_refused_connection_says_where(tmp_path: Path, plane: ControlPlane) -> None:
    settings = yaml.safe_load(plane.kubeconfig.read_text())
    # Bound and not listening: refused for as long as the test asks.
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        settings["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "nobody").write_text(yaml.safe_dump(settings))
        with (
            connect(Connection(tmp_path / "nobody", attempts=2), NAMESPACE) as nobody,
            pytest.raises(UnreachableError, match=r"https://127.0.0.1:\d+: the connection was refused"),
        ):
            reconcile(nobody, wanted(SITE))


def test_an_untrusted_certificate_is_named(tmp_path: Path, plane: ControlPlane) -> None:
    settings = yaml.safe_load(plane.kubeconfig.read_text())
    del settings["clusters"][0]["cluster"]["certificate-authority"]
    (tmp_path / "stranger").write_text(yaml.safe_dump(settings))
    with (
        connect(Connection(tmp_path / "stranger", attempts=1), NAMESPACE) as stranger,
        pytest.raises(UnreachableError, match="certificate is not trusted"),
    ):
        reconcile(stranger, wanted(SITE))


def test_unknown_credentials_are_named(plane: ControlPlane) -> None:
    kubeconfig = plane.kubeconfig_for("no-such-token", "stranger")
    with connect(Connection(kubeconfig), NAMESPACE) as stranger, pytest.raises(UnauthorizedError, match="credentials"):
        reconcile(stranger, wanted(SITE))


def test_no_kubeconfig_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"kubeconfig .*nowhere cannot be used"):
        connect(Connection(tmp_path / "nowhere"), NAMESPACE)


def test_a_server_that_hangs_is_one_error_in_time(cluster: Client, plane: ControlPlane) -> None:
    with connect(Connection(plane.kubeconfig, timeout=1.0, attempts=2), NAMESPACE) as impatient:
        plane.pause("kube-apiserver")
        try:
            with pytest.raises(UnreachableError, match="no answer within 1 s"):
                reconcile(impatient, wanted(SITE))
        finally:
            plane.resume("kube-apiserver")
    assert reconcile(cluster, wanted(SITE)).writes > 0


def test_missing_crds_are_all_named_and_nothing_is_written(cluster: Client, plane: ControlPlane) -> None:
    with config.new_client_from_config(str(plane.kubeconfig)) as api:
        extensions = client.ApiextensionsV1Api(api)
        gone = ("mcpbridges.networking.higress.io", "wasmplugins.extensions.higress.io")
        for name in gone:
            extensions.delete_custom_resource_definition(name)
        try:
            wait_until(lambda: set(gone) <= set(_unknown(cluster)), "the CRDs are gone")
            with pytest.raises(MissingKindsError, match=r"mcpbridges.*, wasmplugins.*install Higress's chart"):
                reconcile(cluster, wanted(SITE))
            assert not [item for item in cluster.find(_kind("ConfigMap")) if is_record(item)]
        finally:
            for file in ("extensions.higress.io.yaml", "networking.higress.io.yaml"):
                install_definition(api, CRDS / file)
    wait_until(lambda: not _unknown(cluster), "the CRDs are served again")


def _kind(name: str) -> Any:
    return next(kind for kind in KINDS if kind.name == name)


def _unknown(cluster: Client) -> list[str]:
    found = []
    for name in ("McpBridge", "WasmPlugin"):
        try:
            cluster.find(_kind(name))
        except MissingKindsError:
            found.append(_kind(name).definition)
    return found
