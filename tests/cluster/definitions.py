"""What a new API server needs before a site can be pushed to it: Higress's namespace and CRDs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config, utils

from .apiserver import ControlPlane
from .waiting import wait_until

NAMESPACE = "higress-system"
CRDS = Path(__file__).parent / "crds"
# Unknown, or known and its store is still being read.
NOT_YET = (404, 429, 503)


def prepare(running: ControlPlane) -> None:
    """Higress's namespace and CRDs, ready for use."""
    with config.new_client_from_config(str(running.kubeconfig)) as api:
        client.CoreV1Api(api).create_namespace({"metadata": {"name": NAMESPACE}})
        for file in sorted(CRDS.glob("*.yaml")):
            install_definition(api, file)


def install_definition(api: client.ApiClient, file: Path) -> None:
    """Install one CRD and wait until it is served."""
    definition = yaml.safe_load(file.read_text())
    utils.create_from_dict(api, definition)
    wait_until(lambda: _served(api, definition["spec"]), f"{definition['metadata']['name']} is served")


def _served(api: client.ApiClient, spec: dict[str, Any]) -> bool:
    """Asked for its objects: what the definition says of itself ("Established") comes before the server goes by it."""
    kinds = client.CustomObjectsApi(api)
    try:
        for version in spec["versions"]:
            kinds.list_cluster_custom_object(spec["group"], version["name"], spec["names"]["plural"])
    except client.ApiException as error:
        if error.status not in NOT_YET:
            raise
        return False
    return True
