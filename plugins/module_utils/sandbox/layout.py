"""The sandbox's directory: one place for every path in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths under one absolute directory."""

    root: Path

    def make(self) -> None:
        """Make the directories that services write to; for the owner's eyes only."""
        for name in ("", "envoy", "log", "run", "redis", "prometheus", "prometheus/targets", "services"):
            (self.root / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def envoy(self) -> Path:
        """Envoy's files, as compiled."""
        return self.root / "envoy"

    @property
    def log(self) -> Path:
        """Logs of all services."""
        return self.root / "log"

    @property
    def envoy_log(self) -> Path:
        """What Envoy says."""
        return self.log / "envoy.log"

    @property
    def programs(self) -> Path:
        """Wasm files, ready for stock Envoy."""
        return self.root / "wasm"

    @property
    def secrets(self) -> Path:
        """Minted keys; the owner's eyes only."""
        return self.root / "secrets.json"

    def mounted(self, config_map: str, key: str) -> Path:
        """Where a service finds one entry of a ConfigMap, as in a container it would find a mounted file."""
        return self.root / "configmaps" / config_map / key

    @property
    def objects(self) -> Path:
        """The objects that are in force, to plan the next change against."""
        return self.root / "objects.json"

    @property
    def access(self) -> Path:
        """Where and with which keys to call the gateway."""
        return self.root / "access.json"

    @property
    def summary(self) -> Path:
        """The same for people."""
        return self.root / "summary.txt"
