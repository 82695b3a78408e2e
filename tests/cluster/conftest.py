"""One real API server for all tests of this room; each test finds Higress's namespace empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import Client, Connection, connect
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.kinds import KINDS, LEASE
from kubernetes import client, config, utils

from .apiserver import ControlPlane
from .waiting import wait_until

NAMESPACE = "higress-system"
CRDS = Path(__file__).parent / "crds"


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("plane")) as running:
        prepare(running)
        yield running


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


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[Client]:
    """A client of an administrator; afterwards everything that was made is gone."""
    with connect(Connection(plane.kubeconfig, timeout=10.0), NAMESPACE) as found:
        yield found
        for kind in (*KINDS, LEASE):
            for item in found.find(kind):
                if item["metadata"]["name"] != "kube-root-ca.crt":
                    found.delete(item)
