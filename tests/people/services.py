"""Sign-on's real parts on loopback: oauth2-proxy, the gate (nginx and authorizer) and Redis; Grafana, Mimir and Loki
are one echo, a stand-in that answers with the headers that reached it."""

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

from ansible_collections.opsta.ai_gateway.plugins.module_utils.sign_on import config, mapping
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sign_on.objects import PACKAGE

from tests.sandbox.sandbox import free_base

from . import issuer as issuers

TREE = Path(__file__).parents[2]
OAUTH2_PROXY = TREE / ".build/oauth2-proxy"
CLIENT_SECRET = "client-secret-of-the-stand-in"

TABLE = mapping.table(
    domains=["acme.example"],
    projects={"atlas": "acme", "beacon": "acme", "comet": "globex"},
    groups={
        "ai-atlas-dev@acme.example": {"project": "atlas", "group": "dev"},
        "ai-atlas-ops@acme.example": {"project": "atlas", "group": "ops", "role": "editor"},
        "ai-beacon-all@acme.example": {"project": "beacon", "group": "all"},
        "ai-admins@acme.example": {"role": "admin"},
    },
)


@dataclass(frozen=True)
class SignOn:
    """Everything a test needs; ``public`` is what a browser opens, ``data`` what Grafana's data sources ask."""

    public: int
    data: int
    issuer: issuers.Issuer
    redis_port: int
    cookie_secret: str
    logs: Path

    @property
    def url(self) -> str:
        return f"http://localhost:{self.public}"


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Poll a condition; fail by name at the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def program(name: str, command: list[str], logs: Path, port: int, **environment: str) -> Iterator[None]:
    """Run a program until the block ends; it is there when its port accepts."""
    with (logs / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | environment)
        try:
            until(lambda: accepts(port) or process.poll() is not None, name)
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended: {(logs / f'{name}.log').read_text()[-2000:]}")
            yield
        finally:
            process.terminate()
            process.wait(60)


class _Echo(BaseHTTPRequestHandler):
    """The stand-in for Grafana, Mimir and Loki."""

    def do_GET(self) -> None:
        headers = {k.lower(): v for k, v in self.headers.items()}
        if "Mozilla" in headers.get("user-agent", ""):
            # The picture is kept: what people are is on it, their session is not.
            shown = {k: v for k, v in headers.items() if k.startswith(("x-dev-", "x-webauth-", "x-forwarded-"))}
            kind, text = "text/html", _PAGE.format(seen=json.dumps(shown, indent=2))
        else:
            kind, text = "application/json", json.dumps({"path": self.path, "headers": headers})
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


_PAGE = """<!doctype html><meta charset=utf-8><title>Stand-in for Grafana</title>
<style>body{{font:15px sans-serif;margin:2rem}}pre{{background:#eee;padding:1rem}}</style>
<h1>Stand-in for Grafana</h1><p>What reached it behind sign-on:</p><pre id=seen>{seen}</pre>
<a id=out href="/oauth2/sign_out?rd=/signed-out">sign out</a>"""


@contextmanager
def echo(port: int) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", port), _Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def sign_on(directory: Path, session: str = "12h") -> Iterator[SignOn]:
    """The whole of sign-on, its files under ``directory``."""
    names = ("public", "data", "sign_on", "identity", "echo", "redis", "issuer")
    ports = dict(zip(names, count(free_base()), strict=False))
    secret = secrets.token_urlsafe(24)  # 32 characters: AES-256
    with ExitStack() as stack:
        enter = stack.enter_context
        issuer = enter(issuers.serving(ports["issuer"]))
        enter(echo(ports["echo"]))
        enter(program("redis", _redis(ports["redis"], directory), directory, ports["redis"]))
        settings = config.Settings(
            public_url=f"http://localhost:{ports['public']}",
            address=f"127.0.0.1:{ports['sign_on']}",
            provider=config.Oidc(issuer.url),
            client_id=issuers.CLIENT_ID,
            domains=tuple(sorted(TABLE.domains)),
            redis_url=f"redis://127.0.0.1:{ports['redis']}",
            trusted_proxies=("127.0.0.1",),
            session=session,
            refresh="0s",  # the stand-in gives no refresh token
        )
        (directory / "oauth2-proxy.cfg").write_text(config.oauth2_proxy(settings))
        enter(
            program(
                "oauth2-proxy",
                [str(OAUTH2_PROXY), "--config", str(directory / "oauth2-proxy.cfg")],
                directory,
                ports["sign_on"],
                OAUTH2_PROXY_CLIENT_SECRET=CLIENT_SECRET,
                OAUTH2_PROXY_COOKIE_SECRET=secret,
            )
        )
        (directory / "table.json").write_text(mapping.dump(TABLE))
        # As on a cluster: the files of the ConfigMap alone, on a stock Python.
        package = directory / "opt/sign_on"
        package.mkdir(parents=True)
        for name in PACKAGE:
            (package / name).write_text((TREE / "plugins/module_utils/sign_on" / name).read_text())
        command = _authorizer(directory, ports)
        enter(program("identity", command, directory, ports["identity"], PYTHONPATH=str(package.parent)))
        (directory / "gate.conf").write_text(config.gate(_upstreams(ports)))
        enter(program("gate", ["nginx", "-c", str(directory / "gate.conf")], directory, ports["public"]))
        yield SignOn(ports["public"], ports["data"], issuer, ports["redis"], secret, directory)


def _redis(port: int, directory: Path) -> list[str]:
    return ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]


def _authorizer(directory: Path, ports: dict[str, int]) -> list[str]:
    listen, ask = f"127.0.0.1:{ports['identity']}", f"127.0.0.1:{ports['sign_on']}"
    return [sys.executable, "-m", "sign_on.gate", str(directory / "table.json"), listen, ask]


def _upstreams(ports: dict[str, int]) -> config.Upstreams:
    def at(name: str) -> str:
        return f"127.0.0.1:{ports[name]}"

    return config.Upstreams(
        listen=at("public"),
        listen_data=at("data"),
        sign_on=at("sign_on"),
        identity=at("identity"),
        grafana=at("echo"),
        metrics=at("echo"),
        logs=at("echo"),
    )


@dataclass(frozen=True)
class Seen:
    """A request as it came out behind sign-on; header names in lower case."""

    path: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; ``cookies`` are whole Set-Cookie values."""

    status: int
    headers: dict[str, str]
    cookies: tuple[str, ...]
    body: str

    def seen(self) -> Seen:
        """What reached the echo."""
        document = json.loads(self.body)
        return Seen(document["path"], document["headers"])


class Browser:
    """A client that keeps cookies as a browser on localhost does (Secure counts as met there) and follows nothing."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.jar: dict[str, str] = {}
        self.set: list[str] = []

    def get(self, path: str, headers: dict[str, str] | None = None, port: int | None = None) -> Answer:
        sent = {"Accept": "text/html"} | (headers or {})
        if self.jar:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        connection = HTTPConnection("127.0.0.1", port or self.port, timeout=60)
        try:
            connection.request("GET", path, headers={"Host": f"localhost:{port or self.port}"} | sent)
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        cookies = tuple(response.headers.get_all("Set-Cookie") or ())
        self.set.extend(cookies)
        for cookie in cookies:
            self._keep(cookie)
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, cookies, body)

    def _keep(self, cookie: str) -> None:
        pair, *attributes = cookie.split("; ")
        name, _, value = pair.partition("=")
        gone = not value or any(a.lower() in {"max-age=0", "max-age=-1"} for a in attributes)
        if gone:
            self.jar.pop(name, None)
        else:
            self.jar[name] = value

    def sign_on(self, path: str = "/") -> Answer:
        """Go the whole way round: our page, the issuer, the callback. Gives the callback's answer."""
        start = self.get(path)
        assert start.status == 302, start
        at_issuer = start.headers["location"]
        issuer_port = int(at_issuer.split("/")[2].rpartition(":")[2])
        back = Browser(issuer_port).get("/" + at_issuer.split("/", 3)[3])
        return self.get("/" + back.headers["location"].split("/", 3)[3])
