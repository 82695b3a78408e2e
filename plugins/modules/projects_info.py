#!/usr/bin/python
"""Module projects_info: what a cluster's gateway does now, and where it differs from the specs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: projects_info
short_description: Say which Projects are live on a cluster and how they differ from the specs
version_added: 0.1.0
description:
  - Reads only. Tells drift (fields that somebody else set) and what M(opsta.ai_gateway.projects) would change.
author: Opsta (@opsta)
options:
  directory:
    description: Directory with C(gateway.yml), C(prices.yml) and C(projects/*.yml).
    type: path
    required: true
  kubeconfig:
    description: Path of the kubeconfig; by default C(KUBECONFIG) or C(~/.kube/config).
    type: path
  context:
    description: The kubeconfig's context; by default its current one.
    type: str
  request_timeout:
    description: How long the API server may take for one answer, in seconds.
    type: int
    default: 30
requirements: [kubernetes, pydantic, PyYAML]
attributes:
  check_mode:
    description: Reads only.
    support: full
  diff_mode:
    description: Reads only; the difference is in the result.
    support: none
"""

EXAMPLES = r"""
- name: Look for drift
  opsta.ai_gateway.projects_info:
    directory: "{{ inventory_dir }}"
  register: ai_gateway_state

- name: Nobody changed anything by hand
  ansible.builtin.assert:
    that: not ai_gateway_state.drift
"""

RETURN = r"""
projects:
  description: Live Projects as they were applied last, by name. Secrets are no part of a spec.
  returned: success
  type: dict
in_sync:
  description: Whether the cluster is what the specs say.
  returned: success
  type: bool
changes:
  description: What a run would change, in people's terms.
  returned: success
  type: list
  elements: str
objects:
  description: The objects a run would change, each with its fields.
  returned: success
  type: list
  elements: dict
drift:
  description: Fields of ours that another field manager set, each with object, field and manager.
  returned: success
  type: list
  elements: dict
orphans:
  description: Live Projects that have no spec.
  returned: success
  type: list
  elements: str
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import (
        ClusterError,
        Connection,
        Wanted,
        connect,
    )
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.reconcile import prepare, read
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.told import result
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import NAMESPACE, PolicyError
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.records import (
        recorded_projects,
        recorded_texts,
    )
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import SecretError
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import SpecError, load_site
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

ARGUMENTS: dict[str, Any] = {
    "directory": {"type": "path", "required": True},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "request_timeout": {"type": "int", "default": 30},
}


def look(options: dict[str, Any]) -> dict[str, Any]:
    """The cluster's state against the specs."""
    site = load_site(Path(options["directory"]))
    kubeconfig = Path(options["kubeconfig"]) if options["kubeconfig"] else None
    connection = Connection(kubeconfig, options["context"], timeout=options["request_timeout"])
    with connect(connection, NAMESPACE) as client:
        live = read(client, site.gateway.site)
    prepared = prepare(Wanted(site, datetime.now(UTC), mint="all"), live)
    found = result(prepared)
    records = recorded_projects(recorded_texts(live.values()))
    return {
        "projects": {name: project.model_dump(mode="json", by_alias=True) for name, project in records.items()},
        "in_sync": not found["changed"],
        "changes": found["changes"],
        "objects": found["objects"],
        "drift": found["drift"],
        "orphans": found["kept"],
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    if MISSING:
        module.fail_json(msg=missing_required_lib(str(MISSING.name)), exception=str(MISSING))
    try:
        answer = look(module.params)
    except (ClusterError, SpecError, SecretError, PolicyError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **answer)


if __name__ == "__main__":
    main()
