"""The account of roles/tenants can do all that a run does, and nothing more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import (
    Client,
    Connection,
    connect,
    read,
    reconcile,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.errors import ForbiddenError, InvalidError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.kinds import KINDS, Kind
from kubernetes import client, config, utils

from .apiserver import ControlPlane
from .definitions import NAMESPACE
from .sites import project, site, wanted
from .waiting import wait_until

ACCESS = Path(__file__).parents[2] / "roles" / "tenants" / "files" / "access.yaml"
ACCOUNT = "ai-gateway-tenants"
ALLOWED = ("patch", "extensions.higress.io", "wasmplugins", NAMESPACE)
OURS = {"app.kubernetes.io/managed-by": "opsta-ai-gateway"}


@pytest.fixture(scope="module")
def token(plane: ControlPlane) -> str:
    """A token of the account, once it may do what its role says: until then everything is refused anyway."""
    with config.new_client_from_config(str(plane.kubeconfig)) as api:
        for item in yaml.safe_load_all(ACCESS.read_text()):
            utils.create_from_dict(api, item)
        asked = {"spec": {"expirationSeconds": 3600}}
        answer = client.CoreV1Api(api).create_namespaced_service_account_token(ACCOUNT, NAMESPACE, asked)
    found = str(answer.status.token)
    wait_until(lambda: _allowed(plane, found, ALLOWED), "the role is in force")
    return found


@pytest.fixture
def account(plane: ControlPlane, cluster: Client, token: str) -> Iterator[Client]:
    with connect(Connection(plane.kubeconfig_for(token, "tenants")), NAMESPACE) as found:
        wait_until(lambda: _refused(found, cluster, config_map("probe", {})), "the admission policy is in force")
        yield found


def config_map(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"a": "b"}}


def secret(name: str, of_type: str = "Opaque") -> dict[str, Any]:
    metadata = {"name": name, "labels": OURS}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": of_type, "data": {}}


def _refused(account: Client, cluster: Client, item: dict[str, Any]) -> bool:
    try:
        account.apply(item)
    except (ForbiddenError, InvalidError):
        return True
    cluster.delete(item)
    return False


def test_it_can_do_a_whole_run_and_take_it_back(account: Client) -> None:
    whole = site(project("atlas"), project("beacon"))
    assert reconcile(account, wanted(whole)).writes > 0
    assert reconcile(account, wanted(whole)).writes == 0
    assert reconcile(account, wanted(site(project("atlas")), prune=True, prune_limit=100)).writes > 0
    reconcile(account, wanted(site(project("atlas")), state="absent", confirm="remove site lab"))
    assert read(account, "lab") == {}


@pytest.mark.parametrize(
    "item",
    [
        config_map("somebody-elses", {}),
        config_map("helm-release", {"app.kubernetes.io/managed-by": "Helm"}),
        secret("registry-credentials"),
        secret("keys-atlas", "kubernetes.io/service-account-token"),
    ],
    ids=lambda item: f"{item['kind']} {item['metadata']['name']} {item.get('type', '')}",
)
def test_it_cannot_make_what_is_not_ours(account: Client, cluster: Client, item: dict[str, Any]) -> None:
    if item.get("type", "").startswith("kubernetes.io"):
        item["metadata"]["annotations"] = {"kubernetes.io/service-account.name": ACCOUNT}
    assert _refused(account, cluster, item)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_it_cannot_change_take_over_or_delete_others_objects(account: Client, cluster: Client, kind: Kind) -> None:
    theirs: dict[str, Any] = {"apiVersion": kind.api, "kind": kind.name, "metadata": {"name": "theirs", "labels": {}}}
    if kind.name == "Ingress":
        theirs["spec"] = {"defaultBackend": {"service": {"name": "theirs", "port": {"number": 80}}}}
    stored = cluster.create(theirs)
    assert stored
    # Why a Secret is refused is not repeated: the server's message could quote it.
    reason = "details are not shown" if kind.name == "Secret" else "ai-gateway-tenants may only touch"
    with pytest.raises((ForbiddenError, InvalidError), match=reason):
        account.apply({**theirs, "metadata": {"name": "theirs", "labels": OURS}}, force=True)
    with pytest.raises((ForbiddenError, InvalidError), match=reason):
        account.delete(stored)
    assert cluster.get(kind, "theirs") == stored


ELSEWHERE = [
    ("get", "", "secrets", NAMESPACE),
    ("watch", "", "secrets", NAMESPACE),
    ("update", "", "secrets", NAMESPACE),
    ("deletecollection", "", "secrets", NAMESPACE),
    ("list", "", "secrets", "default"),
    ("list", "", "secrets", ""),
    ("patch", "extensions.higress.io", "wasmplugins", "default"),
    ("patch", "extensions.higress.io", "wasmplugins/status", NAMESPACE),
    ("create", "", "pods", NAMESPACE),
    ("list", "", "pods", NAMESPACE),
    ("create", "", "pods/exec", NAMESPACE),
    ("create", "", "serviceaccounts/token", NAMESPACE),
    ("delete", "coordination.k8s.io", "leases", NAMESPACE),
    ("create", "rbac.authorization.k8s.io", "rolebindings", NAMESPACE),
    ("patch", "rbac.authorization.k8s.io", "roles", NAMESPACE),
    ("escalate", "rbac.authorization.k8s.io", "roles", NAMESPACE),
    ("impersonate", "", "users", ""),
    ("list", "", "nodes", ""),
    ("patch", "admissionregistration.k8s.io", "validatingadmissionpolicies", ""),
    ("create", "apps", "deployments", NAMESPACE),
]


@pytest.mark.parametrize("request_", ELSEWHERE, ids=" ".join)
def test_it_is_allowed_nothing_else(plane: ControlPlane, token: str, request_: tuple[str, str, str, str]) -> None:
    assert not _allowed(plane, token, request_)


def test_the_question_above_can_be_answered_with_yes(plane: ControlPlane, token: str) -> None:
    assert _allowed(plane, token, ALLOWED)


def _allowed(plane: ControlPlane, token: str, request: tuple[str, str, str, str]) -> bool:
    verb, group, resource, namespace = request
    name, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": name, "subresource": subresource, "namespace": namespace}
    with config.new_client_from_config(str(plane.kubeconfig_for(token, "tenants"))) as api:
        review = {"spec": {"resourceAttributes": attributes}}
        return bool(client.AuthorizationV1Api(api).create_self_subject_access_review(review).status.allowed)


def test_a_missing_permission_is_named(plane: ControlPlane, cluster: Client) -> None:
    with config.new_client_from_config(str(plane.kubeconfig)) as api:
        core = client.CoreV1Api(api)
        core.create_namespaced_service_account(NAMESPACE, {"metadata": {"name": "nobody"}})
        answer = core.create_namespaced_service_account_token(
            "nobody", NAMESPACE, {"spec": {"expirationSeconds": 3600}}
        )
        kubeconfig = plane.kubeconfig_for(str(answer.status.token), "nobody")
    with (
        connect(Connection(kubeconfig), NAMESPACE) as nobody,
        pytest.raises(ForbiddenError, match=r'serviceaccount:higress-system:nobody" cannot get resource "leases"'),
    ):
        reconcile(nobody, wanted(site(project("atlas"))))
