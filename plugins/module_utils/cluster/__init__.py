"""Tenants on a Kubernetes API server: read what is live, write what differs in a safe order, verify."""

from .client import Client, Connection, connect
from .errors import ClusterError, Conflict, ConflictsError
from .reconcile import Outcome, Prepared, RefusedError, Wanted, preview, read, reconcile, stored_keys

__all__ = [
    "Client",
    "ClusterError",
    "Conflict",
    "ConflictsError",
    "Connection",
    "Outcome",
    "Prepared",
    "RefusedError",
    "Wanted",
    "connect",
    "preview",
    "read",
    "reconcile",
    "stored_keys",
]
