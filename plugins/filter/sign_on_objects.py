"""Filter sign_on_objects: sign-on's gate from inventory variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sign_on import mapping
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sign_on.objects import (
    PACKAGE,
    Deployment,
    Object,
    gate_objects,
)

DOCUMENTATION = r"""
name: sign_on_objects
short_description: Kubernetes objects of sign-on's gate
version_added: 0.1.0
description:
  - Gives the ConfigMap, Deployment, Service, NetworkPolicies and Ingress of the gate that stands between people and
    Grafana, and between Grafana and what it shows. docs/sign-on.md says what it does.
author: Opsta (@opsta)
options:
  _input:
    description: Workspace groups and what they are, by address.
    type: dict
    required: true
  domains:
    description: The company's Workspace domains.
    type: list
    elements: str
    required: true
  projects:
    description: All Projects of the site with their org.
    type: dict
    required: true
  deployment:
    description:
      - Where it runs, with C(namespace), C(site), C(replicas), C(nginx_image), C(python_image), the services
        C(sign_on), C(grafana), C(metrics) and C(logs) as host:port, and C(readers), the apps that may read metrics
        and logs themselves.
      - How people reach it, with C(host), C(tls_secret), and C(plugins), the gateway's WasmPlugins, none of which is
        for people.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Put the gate in front of Grafana
  kubernetes.core.k8s:
    definition: >-
      {{ sign_on_groups | opsta.ai_gateway.sign_on_objects(domains=sign_on_domains, projects=orgs, deployment=gate) }}
    apply: true
"""

RETURN = r"""
_value:
  description: The objects, in the order to apply them.
  type: list
  elements: dict
"""


def sign_on_objects(
    groups: Mapping[str, Mapping[str, str]],
    *,
    domains: list[str],
    projects: Mapping[str, str],
    deployment: Mapping[str, Any],
) -> list[Object]:
    """Return the objects; raises AnsibleFilterError that names the mistake."""
    try:
        table = mapping.table(domains=domains, groups=groups, projects=projects)
        lists = {name: tuple(deployment[name]) for name in ("readers", "plugins")}
        where = Deployment(**{**deployment, **lists})
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(str(error)) from error
    here = Path(mapping.__file__).parent
    package = {name: (here / name).read_text(encoding="utf-8") for name in PACKAGE}
    return list(gate_objects(where, table, package))


class FilterModule:
    """The filters of this file, as Ansible looks for them."""

    def filters(self) -> dict[str, Callable[..., list[Object]]]:
        """Return them by name."""
        return {"sign_on_objects": sign_on_objects}
