"""What a new API server needs before a site can be pushed to it: Higress's namespace and CRDs."""

from __future__ import annotations

from pathlib import Path

import yaml
from kubernetes import client, config, utils

from .apiserver import ControlPlane
from .waiting import wait_until

NAMESPACE = "higress-system"
CRDS = Path(__file__).parent / "crds"


def prepare(running: ControlPlane) -> None:
    """Higress's namespace and CRDs, ready for use."""
    with config.new_client_from_config(str(running.kubeconfig)) as api:
        client.CoreV1Api(api).create_namespace({"metadata": {"name": NAMESPACE}})
        for file in sorted(CRDS.glob("*.yaml")):
            install_definition(api, file)


def install_definition(api: client.ApiClient, file: Path) -> None:
    """Install one CRD and wait until it is served."""
    definition = yaml.safe_load(file.read_text())
    extensions = client.ApiextensionsV1Api(api)
    utils.create_from_dict(api, definition)
    name = definition["metadata"]["name"]
    wait_until(lambda: _established(extensions.read_custom_resource_definition(name)), f"{name} is served")


def _established(definition: object) -> bool:
    conditions = getattr(getattr(definition, "status", None), "conditions", None) or []
    return any(found.type == "Established" and found.status == "True" for found in conditions)
