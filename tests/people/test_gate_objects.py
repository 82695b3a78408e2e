"""The gate as Kubernetes objects, as the role gets them from the filter."""

import json
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.opsta.ai_gateway.plugins.filter.sign_on_objects import sign_on_objects

GROUPS = {"ai-atlas-dev@acme.example": {"project": "atlas", "group": "dev"}}
DEPLOYMENT = {
    "namespace": "higress-system",
    "site": "bkk",
    "host": "grafana.acme.example",
    "tls_secret": "gateway-tls",
    "plugins": ["identity-entrance", "key-auth-0"],
    "replicas": 2,
    "nginx_image": "registry/nginx:1",
    "python_image": "registry/python:3",
    "sign_on": "oauth2-proxy:80",
    "grafana": "grafana:80",
    "metrics": "mimir-gateway:80",
    "logs": "loki:3100",
    "readers": ["alloy", "budget-controller"],
}


def objects(**changes: Any) -> dict[str, dict[str, Any]]:
    found = sign_on_objects(
        GROUPS, domains=["acme.example"], projects={"atlas": "acme"}, deployment=DEPLOYMENT | changes
    )
    return {f"{o['kind']}/{o['metadata']['name']}": o for o in found}


def test_every_object_is_labelled_ours() -> None:
    for found in objects().values():
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "opsta-ai-gateway-sign-on", "the Projects' label is theirs"
        assert labels["ai-gateway.opsta.tech/site"] == "bkk"
        assert found["metadata"]["namespace"] == "higress-system"


def test_pods_run_as_nobody_with_limits_and_a_read_only_disk() -> None:
    pod = objects()["Deployment/sign-on-gate"]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in pod["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["resources"]["limits"]["memory"]


def test_only_the_gate_reaches_grafana_and_only_known_apps_reach_data() -> None:
    def callers(app: str) -> list[str]:
        (rule,) = objects()[f"NetworkPolicy/only-callers-of-{app}"]["spec"]["ingress"]
        (source,) = rule["from"]
        found: list[str] = source["podSelector"]["matchExpressions"][0]["values"]
        return found

    assert callers("grafana") == ["sign-on-gate"]
    assert callers("oauth2-proxy") == ["sign-on-gate"]
    assert callers("mimir") == ["alloy", "budget-controller", "mimir", "sign-on-gate"]
    assert callers("loki") == ["alloy", "budget-controller", "loki", "sign-on-gate"]


def test_people_come_in_by_the_gate_alone() -> None:
    ingress = objects()["Ingress/people"]["spec"]
    (rule,) = ingress["rules"]
    assert rule["host"] == "grafana.acme.example"
    assert [path["backend"]["service"] for path in rule["http"]["paths"]] == [
        {"name": "sign-on-gate", "port": {"number": 80}}
    ]
    assert ingress["tls"] == [{"hosts": ["grafana.acme.example"], "secretName": "gateway-tls"}]


def test_no_plugin_of_the_request_chain_is_on_peoples_route() -> None:
    (patch,) = objects()["EnvoyFilter/people"]["spec"]["configPatches"]
    assert patch["match"]["routeConfiguration"]["vhost"]["route"]["name"] == "people"
    filters = patch["patch"]["value"]["typed_per_filter_config"]
    assert set(filters) == {"higress-system.identity-entrance", "higress-system.key-auth-0"}
    assert all(off["disabled"] is True for off in filters.values())


def test_a_new_mapping_is_a_new_pod_and_the_same_one_is_not() -> None:
    def digest(**changes: Any) -> str:
        template = objects(**changes)["Deployment/sign-on-gate"]["spec"]["template"]
        found: str = template["metadata"]["annotations"]["ai-gateway.opsta.tech/config"]
        return found

    assert digest() == digest()
    assert digest() != digest(grafana="grafana-two:80")


def test_the_configmap_is_small() -> None:
    assert len(json.dumps(objects()["ConfigMap/sign-on-gate"])) < 64 * 1024


def test_a_mistake_is_named() -> None:
    with pytest.raises(AnsibleFilterError, match="no Project 'atlas'"):
        sign_on_objects(GROUPS, domains=["acme.example"], projects={"beacon": "acme"}, deployment=DEPLOYMENT)
    with pytest.raises(AnsibleFilterError, match="unexpected keyword argument 'color'"):
        objects(color="red")
