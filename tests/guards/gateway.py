"""A stock Envoy with the shipped guards, in the order of the chain, between a client and a provider.

Stand-in: Envoy's own api_key_auth for Higress's key-auth.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENVOY = ROOT / ".build/envoy/bin/envoy"
WASM = ROOT / "files/wasm"
START_SECONDS = 60.0

_spec = importlib.util.spec_from_file_location("guards_abi", ROOT / "guards/abi.py")
assert _spec is not None
assert _spec.loader is not None
abi = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(abi)

JSON = dict[str, Any]

# The tag expressions of Higress's gateway: the counters must come apart under these.
STATS_TAGS = [
    {"tag_name": "ai_route", "regex": r"^wasmcustom\.route\.((.*?)\.)upstream\."},
    {"tag_name": "ai_cluster", "regex": r"^wasmcustom\.route\..*?\.?upstream\.((.*?)\.)model\."},
    {"tag_name": "ai_model", "regex": r"^wasmcustom\.route\..*?model\.((.*?)\.)consumer\."},
    {"tag_name": "ai_consumer", "regex": r"^wasmcustom\.route\..*?consumer\.((.*?)\.)metric\."},
]
BUFFER = 20 << 20
# What routes of aliases ask for and take off on the way to the provider, as policy/routes.py renders them.
STEERING = ("x-higress-llm-model", "x-higress-fallback-from")


@dataclass(frozen=True)
class Route:
    """A route: its name, its cluster and the headers it asks for.

    `also`: further headers. `says`: Envoy answers itself, with status and text. `redirects`: the provider's 307 sends the request through the whole chain again. `without`: filters that it skips.
    """

    name: str
    cluster: str
    header: tuple[str, str] | None = None
    also: tuple[tuple[str, str], ...] = ()
    says: tuple[int, str] | None = None
    redirects: bool = False
    without: tuple[str, ...] = ()


def wasm_filter(name: str, binary: Path, config: JSON | str) -> JSON:
    """An Envoy filter with a guard in a VM of its own."""
    value = config if isinstance(config, str) else json.dumps(config)
    return {
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "failure_policy": "FAIL_CLOSED",
                "allow_on_headers_stop_iteration": True,
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": str(binary)}},
                },
                "configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": value},
            },
        },
    }


def key_auth(keys: Mapping[str, str]) -> JSON:
    """The stand-in for key-auth: consumer by key."""
    return {
        "name": "key-auth",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
            "credentials": [{"key": key, "client": consumer} for key, consumer in keys.items()],
            "key_sources": [{"header": "authorization"}, {"header": "x-api-key"}],
            "forwarding": {"header": "x-mse-consumer"},
        },
    }


def _route(route: Route, paths: Sequence[str]) -> list[JSON]:
    asked = [*([route.header] if route.header else []), *route.also]
    headers = [{"name": name, "string_match": {"exact": value}} for name, value in asked]
    action: JSON = {"cluster": route.cluster, "timeout": "20s"}
    if route.redirects:
        action["internal_redirect_policy"] = {
            "redirect_response_codes": [307],
            "response_headers_to_copy": list(STEERING),
        }
    skipped = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    shared: JSON = {"name": route.name, "typed_per_filter_config": dict.fromkeys(route.without, skipped)}
    if route.says:
        status, text = route.says
        shared["direct_response"] = {"status": status, "body": {"inline_string": text}}
    else:
        shared["route"] = action
    if asked:
        shared["request_headers_to_remove"] = list(STEERING)
    return [{"match": {"path": path, "headers": headers}, **shared} for path in paths]


def _cluster(name: str, port: int) -> JSON:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": BUFFER,
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def bootstrap(
    filters: Sequence[JSON], hosts: Mapping[str, Sequence[tuple[Route, Sequence[str]]]], clusters: Mapping[str, int]
) -> JSON:
    """Envoy's configuration: per host its routes with their paths, first match first."""
    router = {
        "name": "envoy.filters.http.router",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
    }
    virtual_hosts = [
        {
            "name": host,
            "domains": [host, f"{host}:*"],
            "routes": [made for route, paths in routes for made in _route(route, paths)],
        }
        for host, routes in hosts.items()
    ]
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "route_config": {"name": "all", "virtual_hosts": virtual_hosts},
        "http_filters": [*filters, router],
    }
    listener = {
        "name": "gateway",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "per_connection_buffer_limit_bytes": BUFFER,
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }
    return {
        "stats_config": {"stats_tags": STATS_TAGS},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {
            "listeners": [listener],
            "clusters": [_cluster(name, port) for name, port in clusters.items()],
        },
    }


def stock_binary(guard: str, directory: Path) -> Path:
    """The shipped guard with the ABI marker that stock Envoy takes."""
    target = directory / f"{guard}.wasm"
    if not target.exists():
        shipped = (WASM / f"{guard}.wasm").read_bytes()
        target.write_bytes(abi.renamed(shipped, abi.HIGRESS, abi.STOCK))
    return target


@dataclass(frozen=True)
class Reply:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> JSON:
        parsed = json.loads(self.body)
        assert isinstance(parsed, dict)
        return parsed

    @property
    def error(self) -> JSON:
        error = self.json["error"]
        assert isinstance(error, dict)
        return error


class Gateway:
    """A running Envoy. Raises RuntimeError with the end of its log when it does not come up."""

    def __init__(self, config: JSON, directory: Path, concurrency: int = 1) -> None:
        self.log = directory / "envoy.log"
        path = directory / "envoy.json"
        path.write_text(json.dumps(config))
        addresses = directory / "admin"
        addresses.unlink(missing_ok=True)
        command = [str(ENVOY), "-c", str(path), "--concurrency", str(concurrency), "--use-dynamic-base-id"]
        command += ["--admin-address-path", str(addresses), "-l", "warning"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.admin_port = self._admin(addresses)
        self.port = self._listener()

    def _wait(self, probe: Any) -> Any:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                if found := probe():
                    return found
            except OSError:
                pass
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(self.log.read_text()[-3000:])

    def _admin(self, addresses: Path) -> int:
        text: str = self._wait(lambda: addresses.exists() and addresses.read_text())
        return int(text.rsplit(":", 1)[1])

    def _listener(self) -> int:
        def probe() -> int:
            if self.admin("/ready").strip() != "LIVE":
                return 0
            listeners = json.loads(self.admin("/listeners?format=json"))["listener_statuses"]
            return int(listeners[0]["local_address"]["socket_address"]["port_value"]) if listeners else 0

        port: int = self._wait(probe)
        return port

    def admin(self, path: str) -> str:
        # Its thread also compiles the guards.
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=START_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=START_SECONDS)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)

    def send(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None = None,
        chunked: bool = False,
    ) -> Reply:
        """Sends exactly these headers (host included) and reads the whole answer."""
        connection = self.connect()
        try:
            self.begin(connection, method, path, headers, body, chunked=chunked)
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def begin(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes | None,
        *,
        chunked: bool = False,
    ) -> None:
        """Sends the request and leaves the answer to be read."""
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for key, value in headers:
            connection.putheader(key, value)
        if body is not None and not chunked:
            connection.putheader("content-length", str(len(body)))
        if chunked:
            connection.putheader("transfer-encoding", "chunked")
        connection.endheaders()
        if body is None:
            return
        if chunked:
            pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)] + [b""]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        # Refused before the body was read: the answer is there all the same.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send(body)

    def counters(self, kind: str = "usage") -> dict[tuple[str, str, str, str, str], int]:
        """The guards' counters by (name, route, cluster, model, consumer), as Prometheus sees them."""
        found = {}
        for line in self.admin(f"/stats/prometheus?filter={kind}_").splitlines():
            if line.startswith("#") or f"_metric_{kind}_" not in line:
                continue
            name, rest = line.split("{", 1)
            labels, value = rest.rsplit("} ", 1)
            pairs = dict(pair.split("=", 1) for pair in labels.split('",'))
            values = {key: text.strip('"') for key, text in pairs.items()}
            key = (
                name.split("_metric_", 1)[1],
                *(values[f"ai_{k}"] for k in ("route", "cluster", "model", "consumer")),
            )
            found[key] = int(value)
        return found  # type: ignore[return-value]
