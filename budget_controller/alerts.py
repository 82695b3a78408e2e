"""Soft thresholds: written once per period with the run's last write, delivered at least once afterwards."""

from __future__ import annotations

import json
from typing import Any

import urllib3

from .money import usd
from .store import Store


def deliver(store: Store, url: str | None, now: int) -> tuple[list[str], int]:
    """POST every alert that was not delivered; returns (ids delivered now, how many wait).

    The body has the alert's id, by which a receiver knows one that comes twice. A webhook that is away stops nothing.
    """
    waiting = {name: alert for name, alert in store.alerts().items() if alert["delivered"] is None}
    done: list[str] = []
    if url is None:
        return done, len(waiting)
    http = urllib3.PoolManager(timeout=urllib3.Timeout(total=10), retries=False)
    for name, alert in sorted(waiting.items()):
        try:
            answer = http.request(
                "POST",
                url,
                body=json.dumps(message(name, alert)).encode(),
                headers={"Content-Type": "application/json"},
            )
        except urllib3.exceptions.HTTPError:
            break
        if answer.status < 300:
            store.mark_alert(name, alert | {"delivered": now})
            done.append(name)
    return done, len(waiting) - len(done)


def message(name: str, alert: dict[str, Any]) -> dict[str, Any]:
    """What a receiver gets."""
    spent, limit = usd(alert["spent"]), usd(alert["limit"])
    return {
        "id": name,
        "text": f"{alert['scope']} has spent {spent} of {limit} USD in {alert['period']}: {alert['percent']} % passed",
        "scope": alert["scope"],
        "period": alert["period"],
        "percent": alert["percent"],
        "spent_usd": spent,
        "limit_usd": limit,
    }
