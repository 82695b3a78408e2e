"""One run at a time: a Lease in the namespace. Two runs with different specs could undo each other's order of writes.

An expiry is judged by watching the Lease stand still for its duration, not by comparing two machines' clocks.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from .client import Client
from .errors import LockedError
from .kinds import LEASE, Object

# A killed run delays the next one by this much.
DURATION_SECONDS = 15
_POLL_SECONDS = 0.5


def lease_name(site: str) -> str:
    """The Lease that stands for SITE."""
    return f"opsta-ai-gateway-{site}"


@dataclass
class SiteLock:
    """The right to write to one site.

    ``sleep`` and ``clock`` (monotonic seconds) are injected for tests.
    """

    client: Client
    site: str
    labels: dict[str, str]
    duration: int = DURATION_SECONDS
    holder: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    _held: Object | None = None
    _renewed: float = 0.0
    _renewing: threading.Lock = field(default_factory=threading.Lock)

    def seen(self) -> str:
        """The Lease's version now; passed to :meth:`acquire` it proves that no run came in between."""
        return _version(self.client.get(LEASE, lease_name(self.site)))

    def acquire(self, seen: str, wait_seconds: float) -> bool:
        """Take the lock, waiting up to WAIT_SECONDS for another holder (or for a dead one's Lease to run out).

        True when nobody held it since SEEN: what was read then is still true. Raises LockedError after the wait.
        """
        deadline = self.clock() + wait_seconds
        version, since = "", self.clock()
        while True:
            found = self.client.get(LEASE, lease_name(self.site))
            if _version(found) != version:
                version, since = _version(found), self.clock()
            stale = self.clock() - since > self.duration
            if (not _holder(found) or stale) and self._take(found):
                return version == seen
            if self.clock() >= deadline:
                raise LockedError(
                    f"another run holds site {self.site} ({_holder(found) or 'unknown'}); "
                    "wait for it, or raise wait_timeout"
                )
            self.sleep(min(_POLL_SECONDS, self.duration / 4))

    def keep(self) -> None:
        """Renew when a third of the duration has passed. Raises LockedError when another run has taken over.

        Safe from several threads: one renews, the others go on meanwhile - but not when the Lease may have run out.
        """
        if not self._renewing.acquire(blocking=self.clock() - self._renewed >= self.duration):
            return
        try:
            due = self.clock() - self._renewed >= self.duration / 3
            if self._held is None or (due and not self._take(self._held)):
                raise LockedError(f"another run took site {self.site} over while this one was writing; run again")
        finally:
            self._renewing.release()

    def release(self) -> None:
        """Give the lock back; if another run has it by now, leave it."""
        if self._held is not None:
            self.client.replace(self._lease(self._held, ""))
            self._held = None

    def _take(self, found: Object | None) -> bool:
        item, asked = self._lease(found, self.holder), self.clock()
        taken = self.client.replace(item) if found else self.client.create(item)
        if taken is None:
            # Refused, or done already: the answer to our first try may have been lost.
            present = self.client.get(LEASE, lease_name(self.site))
            taken = present if _holder(present) == self.holder else None
        self._held, self._renewed = taken, asked if taken else self._renewed
        return taken is not None

    def _lease(self, found: Object | None, holder: str) -> Object:
        metadata: Object = {
            "name": lease_name(self.site),
            "namespace": self.client.namespace,
            "labels": self.labels,
        }
        if found:
            metadata["resourceVersion"] = found["metadata"]["resourceVersion"]
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": holder, "leaseDurationSeconds": self.duration, "renewTime": now}
        return {"apiVersion": LEASE.api, "kind": LEASE.name, "metadata": metadata, "spec": spec}


def _version(lease: Object | None) -> str:
    return str(lease["metadata"]["resourceVersion"]) if lease else ""


def _holder(lease: Object | None) -> str:
    return str((lease or {}).get("spec", {}).get("holderIdentity") or "")
