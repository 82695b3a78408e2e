"""Kubernetes objects as plain dicts, the same way everywhere."""

from __future__ import annotations

import base64
from typing import Any

NAMESPACE = "higress-system"
MANAGED_BY = "opsta-ai-gateway"
LABEL_MANAGED = "app.kubernetes.io/managed-by"
LABEL_SITE = "ai-gateway.opsta.tech/site"
LABEL_PROJECT = "ai-gateway.opsta.tech/project"

Object = dict[str, Any]


def build(api: str, kind: str, name: str, site: str, *, project: str = "", **content: Any) -> Object:
    """One object of ours, labelled with its site and, where it is one Project's, with its Project."""
    labels = {LABEL_MANAGED: MANAGED_BY, LABEL_SITE: site} | ({LABEL_PROJECT: project} if project else {})
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def secret_reference(secret: str, key: str) -> str:
    """How a plugin's config names a Secret's value; Higress replaces it (2.1.11 on), and so does the sandbox."""
    return f"${{secret.{NAMESPACE}/{secret}.{key}}}"


def encoded(value: str) -> str:
    """VALUE as a Secret's ``data`` holds it."""
    return base64.b64encode(value.encode()).decode()
