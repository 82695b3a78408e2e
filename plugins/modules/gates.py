#!/usr/bin/python
"""Module gates: fire gates through the gateway's entrance and tell which held."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gates
short_description: Fire gates through the real entrance and tell which held
version_added: 0.1.0
description:
  - Works out one request for each gate of the site from its specs, sends those that are asked for, and compares status
    and gate of the answers. Keys are read from the cluster's Secrets or the sandbox's access file; none is returned.
  - Quotas and token limits refuse by what Redis holds. Their requests name the counter that must be empty meanwhile;
    the role P(opsta.ai_gateway.gates#role) empties it for that one request and puts it back.
author: Opsta (@opsta)
options:
  directory:
    description: Directory with gateway.yml, prices.yml and projects/.
    type: path
    required: true
  names:
    description: Names of the requests to send; none sends nothing and only tells which there are.
    type: list
    elements: str
    default: []
  access:
    description: The sandbox's access.json. It takes the place of O(kubeconfig) and O(entrance).
    type: path
  kubeconfig:
    description: Kubeconfig of an account that may read the Secrets of the Projects.
    type: path
  entrance:
    description: Address and port of the gateway; TLS with each Project's host name.
    type: str
  ca_file:
    description: Authorities that the gateway's certificate is checked against; unset, the system's.
    type: path
  timeout:
    description: Seconds that an answer may take.
    type: float
    default: 60
attributes:
  check_mode:
    description: Sends nothing.
    support: full
"""

EXAMPLES = r"""
- name: Knock without a key
  opsta.ai_gateway.gates:
    directory: inventories/sandbox
    access: .sandbox/access.json
    names: [no key]
"""

RETURN = r"""
requests:
  description: Every request that this site's gates call for, by name, with gate, status and counter.
  returned: success
  type: list
  elements: dict
held:
  description: Whether each request that was sent was answered as it must be, by name, with what came back.
  returned: success
  type: list
  elements: dict
"""

import base64
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    import urllib3
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.gates import NONE, UNKNOWN, Request, requests
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.members import tenant_at
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import NAMESPACE
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import user_key
    from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Site, SpecError, load_site
    from kubernetes import client, config
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

ARGUMENTS: dict[str, Any] = {
    "directory": {"type": "path", "required": True},
    "names": {"type": "list", "elements": "str", "default": []},
    "access": {"type": "path"},
    "kubeconfig": {"type": "path"},
    "entrance": {"type": "str"},
    "ca_file": {"type": "path"},
    "timeout": {"type": "float", "default": 60.0},
}


def keys_of_cluster(site: Site, kubeconfig: str, now: datetime) -> dict[str, str]:
    """One working key for each consumer, from the Secrets keys-PROJECT."""
    found: dict[str, str] = {}
    with config.new_client_from_config(kubeconfig) as api:
        for project in site.projects:
            secret = client.CoreV1Api(api).read_namespaced_secret(f"keys-{project.project}", NAMESPACE)
            for member in tenant_at(project, now).members:
                for key in member.keys[:1]:
                    value = secret.data[user_key(member.identity.user, key)]
                    found[member.identity.consumer] = base64.b64decode(value).decode()
    return found


def keys_of_sandbox(access: dict[str, Any]) -> dict[str, str]:
    """The same from the sandbox's access file."""
    return {consumer: key for reached in access["projects"].values() for consumer, key in reached["keys"].items()}


def pool_for(options: dict[str, Any], url: str, host: str) -> urllib3.HTTPConnectionPool:
    """Connections to the entrance; with TLS the certificate must be the Project's."""
    timeout = options["timeout"]
    if url:
        return urllib3.connection_from_url(url, timeout=timeout, retries=False)
    address, _, port = options["entrance"].rpartition(":")
    return urllib3.HTTPSConnectionPool(
        address, int(port), timeout=timeout, retries=False, ca_certs=options["ca_file"],
        cert_reqs="CERT_REQUIRED", server_hostname=host, assert_hostname=host,
    )  # fmt: skip


def send(request: Request, keys: dict[str, str], pool: urllib3.HTTPConnectionPool) -> dict[str, Any]:
    """What came back, and whether it is what the gate must say."""
    headers = {"Host": request.host, "Content-Type": "application/json"}
    if request.consumer != NONE:
        key = "sk-of-nobody" if request.consumer == UNKNOWN else keys[request.consumer]
        headers["Authorization"] = f"Bearer {key}"
    body = {"model": request.model, "max_tokens": 5, "messages": [{"role": "user", "content": request.prompt}]}
    answer = pool.request("POST", request.path, body=json.dumps(body), headers=headers)
    gate = answer.headers.get("x-gate") or _gate_told(answer.data)
    # Higress itself answers what has no route; every other refusal names its gate.
    same = answer.status == request.status and (gate == request.gate or answer.status in (200, 404))
    came = f"{answer.status}{' by ' + gate if gate else ''}"
    told = f"held: {came}" if same else f"DID NOT HOLD: {came}, not {request.status} by {request.gate or 'a provider'}"
    return {"name": request.name, "project": request.project, "held": same, "told": told}


def _gate_told(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["gate"])
    except (ValueError, KeyError, TypeError):
        return ""


def run(options: dict[str, Any], *, check: bool) -> dict[str, Any]:
    """The site's requests, and the answers to those that were asked for."""
    now = datetime.now(UTC)
    site = load_site(Path(options["directory"]))
    wanted = requests(site, now)
    chosen = [] if check else [request for request in wanted if request.name in options["names"]]
    answers: list[dict[str, Any]] = []
    if chosen:
        access = json.loads(Path(options["access"]).read_text()) if options["access"] else {}
        keys = keys_of_sandbox(access) if access else keys_of_cluster(site, options["kubeconfig"], now)
        answers = [send(request, keys, pool_for(options, access.get("url", ""), request.host)) for request in chosen]
    return {"requests": [asdict(request) for request in wanted], "held": answers}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        required_one_of=[("access", "kubeconfig")],
        required_by={"kubeconfig": ["entrance"]},
        supports_check_mode=True,
    )
    if MISSING:
        module.fail_json(msg=missing_required_lib(str(MISSING.name)), exception=str(MISSING))
    try:
        answer = run(module.params, check=module.check_mode)
    except (SpecError, OSError, urllib3.exceptions.HTTPError, client.ApiException) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **answer)


if __name__ == "__main__":
    main()
