"""Somebody else's hands on our objects."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import Client
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.kinds import WASM_PLUGIN, Kind, kind_of
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.ownership import FIELD_MANAGER
from kubernetes import client


def edit_by_hand(
    cluster: Client,
    patch: dict[str, Any],
    kind: Kind = WASM_PLUGIN,
    name: str = "key-auth",
    manager: str = "kubectl-edit",
) -> None:
    """Patch an object as another field manager."""
    path = f"{kind.path(cluster.namespace, name)}?fieldManager={manager}"
    status, answer = _patched(cluster, path, patch, "application/merge-patch+json")
    assert status == 200, answer


def apply_strictly(cluster: Client, item: dict[str, Any]) -> int:
    """The status of a server-side apply of ITEM with strict field validation; nothing is stored."""
    query = f"fieldManager={FIELD_MANAGER}&fieldValidation=Strict&dryRun=All"
    path = f"{kind_of(item).path(cluster.namespace, item['metadata']['name'])}?{query}"
    return _patched(cluster, path, item, "application/apply-patch+yaml")[0]


def _patched(cluster: Client, path: str, patch: dict[str, Any], content: str) -> tuple[int, bytes]:
    api: client.ApiClient = cluster._api
    headers = {"Content-Type": content}
    api.update_params_for_auth(headers, [], ["BearerToken"], path, "PATCH", None)
    answer = api.rest_client.pool_manager.request("PATCH", cluster.host + path, body=json.dumps(patch), headers=headers)
    return answer.status, answer.data
