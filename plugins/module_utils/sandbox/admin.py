"""What a running Envoy says of itself, over its admin port."""

from __future__ import annotations

import json
import socket
import time
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.error import URLError

_SOURCES = {
    "cds.json": "cluster_manager.cds",
    "lds.json": "listener_manager.lds",
    "rds.json": "http.gateway.rds.gateway",
}
_PAUSE = 0.05
_PATIENCE = 60.0
"""Seconds for one answer: the thread that gives it also compiles the programs."""


class NotInForceError(RuntimeError):
    """Envoy refused a configuration, or did not take it up in time; `reason` is Envoy's."""


def stat_of(file: str) -> str:
    """The prefix of Envoy's statistics of one watched file."""
    return (
        _SOURCES.get(file)
        or f"extension_config_discovery.http_filter.{file.removeprefix('ecds/').removesuffix('.json')}"
    )


def wait_for_ports(ports: Iterable[int], seconds: float) -> None:
    """Wait until something listens on each; raises NotInForceError with those where nothing does."""
    deadline = time.monotonic() + seconds
    silent = set(ports)
    while silent:
        silent = {port for port in silent if not _listens(port)}
        if silent and time.monotonic() > deadline:
            raise NotInForceError(f"nothing listens on {', '.join(map(str, sorted(silent)))}")
        time.sleep(_PAUSE if silent else 0)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class Admin:
    """Envoy's admin interface."""

    port: int

    def answers(self) -> bool:
        """Whether an Envoy is there."""
        try:
            self._get("/server_info")
        except OSError:
            return False
        return True

    def versions(self) -> Mapping[str, str]:
        """Statistics prefix -> version in force."""
        lines = self._get("/stats?type=TextReadouts").splitlines()
        pairs = (line.split(": ", 1) for line in lines)
        return {
            name.removesuffix(".version_text"): text.strip('"')
            for name, text in pairs
            if name.endswith(".version_text")
        }

    def refusals(self) -> Mapping[str, int]:
        """Statistics prefix -> how many updates were refused so far."""
        stats = json.loads(self._get("/stats?format=json&filter=update_rejected$"))["stats"]
        return {s["name"].removesuffix(".update_rejected"): s["value"] for s in stats if "name" in s}

    def warming(self) -> bool:
        """Whether listeners or clusters are being prepared, so that new ones do not serve yet."""
        stats: list[dict[str, Any]] = json.loads(
            self._get("/stats?format=json&filter=^(listener_manager.total_listeners|cluster_manager)(_|.)warming")
        )["stats"]
        return any(s.get("value") for s in stats)

    def wait(self, wanted: Mapping[str, str], refused_before: Mapping[str, int], seconds: float) -> None:
        """Wait until the versions of all files are in force; raises NotInForceError when one is refused."""
        deadline = time.monotonic() + seconds
        expected = {stat_of(file): version for file, version in wanted.items()}
        missing = dict(expected)
        while time.monotonic() < deadline:
            try:
                versions, refusals = self.versions(), self.refusals()
                missing = {name: version for name, version in expected.items() if versions.get(name) != version}
                refused = [name for name in missing if refusals.get(name, 0) > refused_before.get(name, 0)]
                if refused:
                    raise NotInForceError(f"Envoy refused {', '.join(sorted(refused))}")
                if not missing and not self.warming():
                    return
            except OSError:
                pass
            time.sleep(_PAUSE)
        raise NotInForceError(f"after {seconds:.0f} s not in force: {', '.join(sorted(missing)) or 'still warming'}")

    def _get(self, path: str) -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=_PATIENCE) as answer:
                text: str = answer.read().decode()
                return text
        except URLError as error:
            raise ConnectionError(str(error.reason)) from error
