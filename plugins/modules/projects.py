#!/usr/bin/python
"""Module projects: a site's Project specs become what the gateway on a cluster does."""

from __future__ import annotations

DOCUMENTATION = r"""
module: projects
short_description: Make a cluster's AI gateway do what the Project specs say
version_added: 0.1.0
description:
  - Turns all Project specs of a site into Higress's objects (the same that the sandbox uses) and makes them true on
    a Kubernetes API server by server-side apply with a field manager of its own.
  - An unchanged site costs one list per kind and sends nothing. Only objects that differ are written, in an order
    in which no route ever answers without its policy. A run that is killed leaves a safe state; the next one goes on.
  - Runs on the control machine; the nodes need nothing.
author: Opsta (@opsta)
options:
  directory:
    description: Directory with C(gateway.yml), C(prices.yml) and C(projects/*.yml). Or give O(values) and O(projects).
    type: path
  values:
    description: The contents of C(gateway.yml) and C(prices.yml), instead of O(directory).
    type: dict
    suboptions:
      gateway:
        description: What C(gateway.yml) holds.
        type: dict
        required: true
      prices:
        description: What C(prices.yml) holds.
        type: dict
        required: true
  projects:
    description: Project specs, instead of O(directory).
    type: list
    elements: dict
  secrets:
    description:
      - "Keys by Project and name, from vault or sops, such as C({atlas: {provider.main: ...}})."
      - A user's key that is not given is read back from the cluster; a provider's key must be given once.
    type: dict
    default: {}
  mint_keys:
    description: Make random keys for users and for masking's hashes that have none yet. What exists is never replaced.
    type: bool
    default: true
  kubeconfig:
    description: Path of the kubeconfig; by default C(KUBECONFIG) or C(~/.kube/config).
    type: path
  context:
    description: The kubeconfig's context; by default its current one.
    type: str
  state:
    description: V(absent) removes everything that this collection made for the site (see O(confirm)).
    type: str
    choices: [present, absent]
    default: present
  prune:
    description:
      - Remove Projects that have no spec any more. Only what this collection made for this site is ever removed.
      - When V(false) such Projects go on as they were applied last, and are named in RV(kept).
    type: bool
    default: false
  prune_limit:
    description: The largest share of a site's Projects, in percent, that may go without O(confirm).
    type: int
    default: 20
  confirm:
    description: The sentence that the module asks for when more than O(prune_limit) or the whole site would go.
    type: str
    default: ""
  apply_mode:
    description:
      - What to do with fields of ours that another field manager set to something else.
      - V(respect) stops before anything is written and names object, field and manager; V(force) takes them back.
    type: str
    choices: [respect, force]
    default: respect
  wait:
    description: Wait for another run that holds the site. When V(false), fail at once.
    type: bool
    default: true
  wait_timeout:
    description: How long to wait for it, in seconds.
    type: int
    default: 60
  request_timeout:
    description: How long the API server may take for one answer, in seconds.
    type: int
    default: 30
requirements: [kubernetes, pydantic, PyYAML]
attributes:
  check_mode:
    description: Says exactly what a run would do, and fails where it would.
    support: full
  diff_mode:
    description: Changes in people's terms, then objects and fields. Secrets are never shown.
    support: full
"""

EXAMPLES = r"""
- name: Apply all Projects of the site
  opsta.ai_gateway.projects:
    directory: "{{ inventory_dir }}"
    secrets: "{{ vault_ai_gateway_secrets }}"
    prune: true

- name: Take back what somebody changed by hand
  opsta.ai_gateway.projects:
    directory: "{{ inventory_dir }}"
    apply_mode: force
"""

RETURN = r"""
changes:
  description: What changes, in people's terms.
  returned: success
  type: list
  elements: str
  sample: ["atlas: zoe joins dev and may use coding-default"]
objects:
  description: The objects that change, each with its fields.
  returned: success
  type: list
  elements: dict
broken_tests:
  description: Policy tests of the specs that do not hold with these specs.
  returned: success
  type: list
  elements: str
kept:
  description: Projects without a spec that are kept because O(prune) is off.
  returned: success
  type: list
  elements: str
drift:
  description: Fields of ours that another field manager had set, with its name.
  returned: success
  type: list
  elements: dict
writes:
  description: Requests that changed something on the API server.
  returned: when not in check mode
  type: int
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
        preview,
        reconcile,
    )
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.sources import site_from
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.told import result, written
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import NAMESPACE, PolicyError
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import SecretError
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import SpecError
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

ARGUMENTS: dict[str, Any] = {
    "directory": {"type": "path"},
    "values": {
        "type": "dict",
        "options": {"gateway": {"type": "dict", "required": True}, "prices": {"type": "dict", "required": True}},
    },
    "projects": {"type": "list", "elements": "dict"},
    "secrets": {"type": "dict", "default": {}, "no_log": True},
    "mint_keys": {"type": "bool", "default": True, "no_log": False},
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "prune": {"type": "bool", "default": False},
    "prune_limit": {"type": "int", "default": 20},
    "confirm": {"type": "str", "default": ""},
    "apply_mode": {"type": "str", "choices": ["respect", "force"], "default": "respect"},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 60},
    "request_timeout": {"type": "int", "default": 30},
}


def run(options: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """Make the cluster do what OPTIONS say, or only tell it when CHECK."""
    wanted = Wanted(
        site=site_from(options["directory"], options["values"], options["projects"] or ()),
        now=datetime.now(UTC),
        secrets=options["secrets"],
        state=options["state"],
        prune=options["prune"],
        prune_limit=options["prune_limit"],
        confirm=options["confirm"],
        force=options["apply_mode"] == "force",
        mint="own" if options["mint_keys"] else "none",
        wait_seconds=options["wait_timeout"] if options["wait"] else 0,
    )
    kubeconfig = Path(options["kubeconfig"]) if options["kubeconfig"] else None
    connection = Connection(kubeconfig, options["context"], timeout=options["request_timeout"])
    with connect(connection, NAMESPACE) as client:
        return result(preview(client, wanted)) if check else written(reconcile(client, wanted))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        mutually_exclusive=[("directory", "values"), ("directory", "projects")],
        required_together=[("values", "projects")],
        required_one_of=[("directory", "values")],
    )
    if MISSING:
        module.fail_json(msg=missing_required_lib(str(MISSING.name)), exception=str(MISSING))
    try:
        answer = run(module.params, check=module.check_mode)
    except (ClusterError, SpecError, SecretError, PolicyError) as error:
        module.fail_json(msg="\n".join([str(error), *getattr(error, "__notes__", [])]))
    for test in answer["broken_tests"]:
        module.warn(f"policy test: {test}")
    for name in answer["kept"]:
        module.warn(f"{name} has no spec any more; it is kept as it was applied last (prune: true removes it)")
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
