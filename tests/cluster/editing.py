"""Somebody else's hands on our objects."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import Client
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.kinds import WASM_PLUGIN, Kind
from kubernetes import client


def edit_by_hand(
    cluster: Client,
    patch: dict[str, Any],
    kind: Kind = WASM_PLUGIN,
    name: str = "key-auth",
    manager: str = "kubectl-edit",
) -> None:
    """Patch an object as another field manager."""
    api: client.ApiClient = cluster._api
    path = f"{kind.path(cluster.namespace, name)}?fieldManager={manager}"
    headers = {"Content-Type": "application/merge-patch+json"}
    api.update_params_for_auth(headers, [], ["BearerToken"], path, "PATCH", None)
    answer = api.rest_client.pool_manager.request("PATCH", cluster.host + path, body=json.dumps(patch), headers=headers)
    assert answer.status == 200, answer.data
