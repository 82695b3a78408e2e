"""A real Kubernetes control plane on this machine: etcd and kube-apiserver, and on request the parts that turn pods Ready.

It is the same code that k3s runs, with RBAC, admission, server-side apply and strict field validation. It is not a
cluster: there are no containers, no network and no Higress. With ``nodes`` a stand-in (kwok) answers for the kubelets.

From the shell: ``python tests/cluster/apiserver.py start DIRECTORY [--nodes N]`` prints the kubeconfig's path;
``... stop DIRECTORY`` ends exactly the processes that ``start`` began.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self

import urllib3
import yaml
from kubernetes import client, config

BUILD = Path(__file__).resolve().parents[2] / ".build"
PROGRAMS = BUILD / "controlplane"
ETCD = BUILD / "etcd"
HERE = Path(__file__).resolve().parent
READY_SECONDS = 120.0
STOP_SECONDS = 10.0


class StartError(RuntimeError):
    """A part of the control plane did not become ready; the message carries the end of its log."""


@dataclass
class ControlPlane:
    """etcd and kube-apiserver on free ports of 127.0.0.1, their state under ``directory``.

    ``nodes``: with 1 or more also kube-controller-manager, kube-scheduler and kwok with that many nodes.
    """

    directory: Path
    programs: Path = PROGRAMS
    nodes: int = 0
    url: str = ""
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _logs: list[IO[bytes]] = field(default_factory=list)
    _ports: list[socket.socket] = field(default_factory=list)

    @property
    def kubeconfig(self) -> Path:
        """Cluster administrator's kubeconfig."""
        return self.directory / "admin.kubeconfig"

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by program name."""
        return {name: process.pid for name, process in self._processes.items()}

    def start(self) -> Self:
        """Start everything and wait until the API answers; on failure nothing is left running."""
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            self._start_apiserver(self._start_etcd())
            if self.nodes:
                self._start_nodes()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End the processes, last started first, and wait for each."""
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()
        for opened in (self._logs, self._ports):
            while opened:
                opened.pop().close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def kubeconfig_for(self, token: str, name: str) -> Path:
        """Write a kubeconfig that authenticates with ``token`` (for example a service account's)."""
        path = self.directory / f"{name}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(_kubeconfig(self.url, self.directory / "apiserver.crt", token)))
        return path

    def pause(self, program: str) -> None:
        """Freeze one program (SIGSTOP): it holds its connections and answers nothing."""
        self._processes[program].send_signal(signal.SIGSTOP)

    def resume(self, program: str) -> None:
        """Let a frozen program go on."""
        self._processes[program].send_signal(signal.SIGCONT)

    def _port(self) -> int:
        """A TCP port that nobody else gets: it stays bound here, and only a program that shares it may listen there."""
        bound = socket.socket()
        self._ports.append(bound)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])

    def _run(self, name: str, program: Path | str, *arguments: str) -> subprocess.Popen[bytes]:
        log = (self.directory / f"{name}.log").open("ab")
        self._logs.append(log)
        process = subprocess.Popen(
            [str(program), *arguments], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        self._processes[name] = process
        return process

    def _start_etcd(self) -> str:
        url = f"http://127.0.0.1:{self._port()}"
        self._run(
            "etcd", ETCD, f"--data-dir={self.directory / 'etcd'}", f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}", "--socket-reuse-port", "--listen-peer-urls=http://127.0.0.1:0",
            "--log-level=warn",
        )  # fmt: skip
        return url

    def _start_apiserver(self, etcd: str) -> None:
        directory, port, token = self.directory, self._port(), secrets.token_hex(16)
        tokens = directory / "tokens.csv"
        tokens.touch(mode=0o600)
        tokens.write_text(f'{token},admin,admin,"system:masters"\n')
        key = directory / "service-accounts.key"
        if not key.exists():
            subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        self.url = f"https://127.0.0.1:{port}"
        self._run(
            "kube-apiserver", self.programs / "kube-apiserver", f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1", f"--secure-port={port}", "--permit-port-sharing", f"--cert-dir={directory}",
            f"--token-auth-file={tokens}", "--authorization-mode=Node,RBAC",
            "--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", "--allow-privileged=true",
        )  # fmt: skip
        self._wait_ready("kube-apiserver", f"{self.url}/readyz", token)
        self.kubeconfig_for(token, "admin")

    def _start_nodes(self) -> None:
        as_admin = f"--kubeconfig={self.kubeconfig}"
        key = self.directory / "service-accounts.key"
        self._run(
            "kube-controller-manager", self.programs / "kube-controller-manager", as_admin,
            f"--service-account-private-key-file={key}", "--use-service-account-credentials=false",
            "--secure-port=0", "--leader-elect=false", f"--root-ca-file={self.directory / 'apiserver.crt'}",
            # On a busy machine the stand-in for the kubelet is late with its lease; nothing brings its pods back.
            "--node-monitor-grace-period=1h",
        )  # fmt: skip
        self._run(
            "kube-scheduler", self.programs / "kube-scheduler", as_admin, "--secure-port=0", "--leader-elect=false"
        )
        self._run(
            "kwok", self.programs / "kwok", as_admin, f"--config={HERE / 'kwok-stages.yaml'}",
            "--manage-all-nodes=true", "--server-address=127.0.0.1:0",
            # A node that does not say so again and again is given up after 50 s, with its pods.
            "--node-lease-duration-seconds=40",
        )  # fmt: skip
        with config.new_client_from_config(str(self.kubeconfig)) as api:
            core = client.CoreV1Api(api)
            for number in range(self.nodes):
                labels = {"kubernetes.io/hostname": f"node-{number}", "type": "stand-in"}
                core.create_node({"metadata": {"name": f"node-{number}", "labels": labels}})

    def _wait_ready(self, name: str, url: str, token: str) -> None:
        deadline = time.monotonic() + READY_SECONDS
        certificate = self.directory / "apiserver.crt"
        while time.monotonic() < deadline:
            if self._processes[name].poll() is not None:
                break
            if certificate.exists() and _answers(url, certificate, token):
                return
            time.sleep(0.1)
        raise StartError(f"{name} is not ready:\n{self._log_tail(name)}")

    def _log_tail(self, name: str) -> str:
        return "\n".join((self.directory / f"{name}.log").read_text(errors="replace").splitlines()[-20:])


def _answers(url: str, certificate: Path, token: str) -> bool:
    pool = urllib3.PoolManager(ca_certs=str(certificate), retries=False)
    with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
        answer = pool.request("GET", url, headers={"Authorization": f"Bearer {token}"}, timeout=2.0)
        return bool(answer.status == 200)
    return False


def _kubeconfig(url: str, certificate: Path, token: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(certificate)}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }


def _stop_recorded(directory: Path) -> None:
    record = directory / "pids.json"
    if not record.exists():
        return
    for name, pid in reversed(json.loads(record.read_text()).items()):
        command = Path(f"/proc/{pid}/cmdline")
        # A recorded id may belong to somebody else by now.
        if command.exists() and name.encode() in command.read_bytes():
            os.kill(pid, signal.SIGTERM)
            _wait_gone(pid)
    record.unlink()


def _wait_gone(pid: int) -> None:
    """A program's clients end before it does, so that each can take its leave; one that does not is killed."""
    deadline = time.monotonic() + STOP_SECONDS
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.1)


def main() -> int:
    """Start or stop a control plane that outlives this process."""
    parser = argparse.ArgumentParser(description="A real Kubernetes control plane for tests.")
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--nodes", type=int, default=0, help="stand-in nodes whose pods become Ready")
    arguments = parser.parse_args()
    directory = arguments.directory.resolve()
    _stop_recorded(directory)
    if arguments.action == "start":
        plane = ControlPlane(directory, nodes=arguments.nodes).start()
        (directory / "pids.json").write_text(json.dumps(plane.pids))
        print(plane.kubeconfig)
    return 0


if __name__ == "__main__":
    sys.exit(main())
