"""The gate as Kubernetes objects: plain dicts, the same for the same input."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .config import Upstreams, gate
from .mapping import Table, dump

Object = dict[str, Any]

NAME = "sign-on-gate"
PEOPLE_PORT, DATA_PORT, IDENTITY_PORT = 8080, 8081, 8082
# What the authorizer is made of; it needs nothing but these and Python 3.11.
PACKAGE = ("__init__.py", "mapping.py", "gate.py")


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the gate runs; services are host:port. ``readers``: names of apps that may ask Mimir and Loki too."""

    namespace: str
    site: str
    replicas: int
    nginx_image: str
    python_image: str
    sign_on: str
    grafana: str
    metrics: str
    logs: str
    readers: tuple[str, ...]


def gate_objects(deployment: Deployment, table: Table, package: Mapping[str, str]) -> tuple[Object, ...]:
    """ConfigMap, Deployment, Service and NetworkPolicies. ``package``: the text of each file of PACKAGE."""
    data = {"nginx.conf": gate(_upstreams(deployment)), "table.json": dump(table)}
    data |= {name: package[name] for name in PACKAGE}
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    return (
        _object(deployment, "v1", "ConfigMap", NAME, data=data),
        _object(deployment, "apps/v1", "Deployment", NAME, spec=_deployment(deployment, digest)),
        _object(deployment, "v1", "Service", NAME, spec=_service()),
        _policy(deployment, "grafana", (NAME,)),
        *(_policy(deployment, app, (NAME, *deployment.readers, app)) for app in ("mimir", "loki", "tempo")),
    )


def _upstreams(deployment: Deployment) -> Upstreams:
    return Upstreams(
        listen=str(PEOPLE_PORT),
        listen_data=str(DATA_PORT),
        sign_on=deployment.sign_on,
        identity=f"127.0.0.1:{IDENTITY_PORT}",
        grafana=deployment.grafana,
        metrics=deployment.metrics,
        logs=deployment.logs,
    )


def _object(deployment: Deployment, version: str, kind: str, name: str, **rest: Any) -> Object:
    labels = {
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/managed-by": "opsta-ai-gateway",
        "ai-gateway.opsta.tech/site": deployment.site,
    }
    metadata = {"name": name, "namespace": deployment.namespace, "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata} | rest


def _deployment(deployment: Deployment, digest: str) -> Object:
    chosen = {"app.kubernetes.io/name": NAME}
    template = {
        # A new mapping is a new pod.
        "metadata": {"labels": chosen, "annotations": {"ai-gateway.opsta.tech/config": digest}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [_nginx(deployment), _authorizer(deployment)],
            "volumes": [
                {"name": "files", "configMap": {"name": NAME}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            ],
        },
    }
    return {"replicas": deployment.replicas, "selector": {"matchLabels": chosen}, "template": template}


def _nginx(deployment: Deployment) -> Object:
    return _container(
        "nginx",
        deployment.nginx_image,
        ["nginx", "-c", "/files/nginx.conf"],
        memory="64Mi",
        ports=[{"name": "people", "containerPort": PEOPLE_PORT}, {"name": "data", "containerPort": DATA_PORT}],
        readinessProbe={"httpGet": {"path": "/signed-out", "port": "people"}},
        volumeMounts=[
            {"name": "files", "mountPath": "/files", "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the container's own
        ],
    )


def _authorizer(deployment: Deployment) -> Object:
    identity = f"127.0.0.1:{IDENTITY_PORT}"
    return _container(
        "authorizer",
        deployment.python_image,
        ["python3", "-m", "sign_on.gate", "/files/table.json", identity, deployment.sign_on],
        memory="96Mi",
        env=[{"name": "PYTHONPATH", "value": "/opt"}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        volumeMounts=[
            {"name": "files", "mountPath": "/files", "readOnly": True},
            {"name": "files", "mountPath": "/opt/sign_on", "readOnly": True},
        ],
    )


def _container(name: str, image: str, command: list[str], memory: str, **rest: Any) -> Object:
    return {
        "name": name,
        "image": image,
        "command": command,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    } | rest


def _service() -> Object:
    ports = [
        {"name": "people", "port": 80, "targetPort": "people"},
        {"name": "data", "port": DATA_PORT, "targetPort": "data"},
    ]
    return {"selector": {"app.kubernetes.io/name": NAME}, "ports": ports}


def _policy(deployment: Deployment, app: str, callers: tuple[str, ...]) -> Object:
    """Let these apps alone reach ``app``: its headers say who somebody is, so nobody else may set them."""
    chosen = {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": sorted(set(callers))}]}
    spec = {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": app}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": chosen}]}],
    }
    return _object(deployment, "networking.k8s.io/v1", "NetworkPolicy", f"only-callers-of-{app}", spec=spec)
