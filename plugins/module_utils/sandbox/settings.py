"""Where the sandbox lives: what the compiler must know besides the objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

LOOPBACK = "127.0.0.1"

PORT_NAMES = (
    "gateway", "admin", "redis", "prometheus", "provider_a", "provider_b", "authz", "usage", "report",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ports:
    """One port each, counted from a base."""

    gateway: int
    admin: int
    redis: int
    prometheus: int
    provider_a: int
    provider_b: int
    authz: int
    usage: int
    report: int

    @property
    def served(self) -> tuple[int, ...]:
        """Ports on which some service listens from the start."""
        return tuple(port for name, port in asdict(self).items() if name != "report")

    @classmethod
    def from_base(cls, base: int) -> Ports:
        """Ports `base` and up, in the order of PORT_NAMES."""
        return cls(*(base + offset for offset in range(len(PORT_NAMES))))


@dataclass(frozen=True, slots=True)
class Settings:
    """Directories are absolute paths; `programs` maps a plugin's program to its Wasm file.

    `endpoints` stands in for DNS and TLS: a provider's domain on the left is really at the address on the right,
    in plain HTTP.
    """

    ports: Ports
    config_dir: str
    log_dir: str
    programs: Mapping[str, str]
    endpoints: Mapping[str, tuple[str, int]]
    buffer_bytes: int = 12 * 1024 * 1024
    concurrency: int = 2
