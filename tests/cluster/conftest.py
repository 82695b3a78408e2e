"""One real API server for all tests of this room; each test finds Higress's namespace empty."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import Client, Connection, connect
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.kinds import KINDS, LEASE

from .apiserver import ControlPlane
from .definitions import NAMESPACE, prepare


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("plane")) as running:
        prepare(running)
        yield running


@pytest.fixture
def cluster(plane: ControlPlane) -> Iterator[Client]:
    """A client of an administrator; afterwards everything that was made is gone."""
    with connect(Connection(plane.kubeconfig), NAMESPACE) as found:
        yield found
        for kind in (*KINDS, LEASE):
            for item in found.find(kind):
                if item["metadata"]["name"] != "kube-root-ca.crt":
                    found.delete(item)
