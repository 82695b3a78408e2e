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
# The Ingress and, by it, the gateway's name of the route to people's pages.
ROUTE = "people"
PEOPLE_PORT, DATA_PORT, IDENTITY_PORT = 8080, 8081, 8082
# What the authorizer is made of; it needs nothing but these and Python 3.11.
PACKAGE = ("__init__.py", "mapping.py", "gate.py")


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where the gate runs; services are host:port. ``readers``: names of apps that may ask Mimir and Loki too.

    ``host``: what people open; ``plugins``: the gateway's WasmPlugins, all of them for models and none for people.
    """

    namespace: str
    site: str
    host: str
    tls_secret: str
    plugins: tuple[str, ...]
    replicas: int
    nginx_image: str
    python_image: str
    sign_on: str
    grafana: str
    metrics: str
    logs: str
    readers: tuple[str, ...]


def gate_objects(deployment: Deployment, table: Table, package: Mapping[str, str]) -> tuple[Object, ...]:
    """Everything between the gateway's entrance and Grafana. ``package``: the text of each file of PACKAGE."""
    data = {"nginx.conf": gate(_upstreams(deployment)), "table.json": dump(table)}
    data |= {name: package[name] for name in PACKAGE}
    digest = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    return (
        _object(deployment, "v1", "ConfigMap", NAME, data=data),
        _object(deployment, "apps/v1", "Deployment", NAME, spec=_deployment(deployment, digest)),
        _object(deployment, "v1", "Service", NAME, spec=_service()),
        _policy(deployment, "oauth2-proxy", (NAME,)),
        _policy(deployment, "grafana", (NAME,)),
        *(_policy(deployment, app, (NAME, *deployment.readers, app)) for app in ("mimir", "loki", "tempo")),
        _object(deployment, "networking.istio.io/v1alpha3", "EnvoyFilter", ROUTE, spec=_without_plugins(deployment)),
        _object(deployment, "networking.k8s.io/v1", "Ingress", ROUTE, spec=_ingress(deployment)),
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
        # Not the Projects' label: whatever has that one and is in no Project is removed when Projects are applied.
        "app.kubernetes.io/managed-by": "opsta-ai-gateway-sign-on",
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


def _ingress(deployment: Deployment) -> Object:
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": NAME, "port": {"number": 80}}}}
    return {
        "ingressClassName": "higress",
        "tls": [{"hosts": [deployment.host], "secretName": deployment.tls_secret}],
        "rules": [{"host": deployment.host, "http": {"paths": [path]}}],
    }


def _without_plugins(deployment: Deployment) -> Object:
    """Switch the request chain off on people's route: its guards refuse every route that is no Project's.

    Envoy (1.27 on) takes a filter out of a route's chain by this config; Higress names a WasmPlugin's filter
    ``<namespace>.<object>``.
    """
    off = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    filters = {f"{deployment.namespace}.{plugin}": off for plugin in deployment.plugins}
    patch = {
        "applyTo": "HTTP_ROUTE",
        "match": {"context": "GATEWAY", "routeConfiguration": {"vhost": {"route": {"name": ROUTE}}}},
        "patch": {"operation": "MERGE", "value": {"typed_per_filter_config": filters}},
    }
    selector = {"labels": {"higress": f"{deployment.namespace}-higress-gateway"}}
    return {"workloadSelector": selector, "configPatches": [patch]}


def _policy(deployment: Deployment, app: str, callers: tuple[str, ...]) -> Object:
    """Let these apps alone reach ``app``: its headers say who somebody is, so nobody else may set them."""
    chosen = {"matchExpressions": [{"key": "app.kubernetes.io/name", "operator": "In", "values": sorted(set(callers))}]}
    spec = {
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": app}},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": chosen}]}],
    }
    return _object(deployment, "networking.k8s.io/v1", "NetworkPolicy", f"only-callers-of-{app}", spec=spec)
