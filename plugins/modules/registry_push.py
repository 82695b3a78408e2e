#!/usr/bin/python
"""Module registry_push: an OCI archive or a Wasm file into the site's own registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_push
short_description: Push an image or a Wasm plugin into the site's registry
version_added: 0.1.0
description:
  - Pushes over TLS with credentials, and only when the tag does not already name the same digest.
  - Pulls what it pushed back by digest and compares every byte.
author: Opsta (@opsta)
options:
  registry:
    description: Address of the registry, host and port.
    type: str
    required: true
  username:
    description: Account that may push.
    type: str
    required: true
  password:
    description: Its password.
    type: str
    required: true
  ca_file:
    description: Certificate of the authority that signed the registry's certificate.
    type: path
  archive:
    description: OCI archive with one image.
    type: path
  wasm:
    description: WebAssembly module, packed into the image form that Higress pulls.
    type: path
  repository:
    description: Repository in the registry, without its host.
    type: str
    required: true
  tag:
    description: Tag that shall name the image.
    type: str
    required: true
attributes:
  check_mode:
    description: Asks the registry what it has, and pushes nothing.
    support: full
  diff_mode:
    description: Shows the tag's digest before and after.
    support: full
"""

EXAMPLES = r"""
- name: Push a guard
  opsta.ai_gateway.registry_push:
    registry: registry.example.com:5000
    username: push
    password: "{{ registry_password }}"
    wasm: files/wasm/identity.wasm
    repository: plugins/identity
    tag: "0.1.0"
"""

RETURN = r"""
digest:
  description: The image's digest.
  returned: success
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opsta.ai_gateway.plugins.module_utils import oci


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "registry": {"type": "str", "required": True},
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "ca_file": {"type": "path"},
            "archive": {"type": "path"},
            "wasm": {"type": "path"},
            "repository": {"type": "str", "required": True},
            "tag": {"type": "str", "required": True},
        },
        mutually_exclusive=[("archive", "wasm")],
        required_one_of=[("archive", "wasm")],
        supports_check_mode=True,
    )
    options = module.params
    registry = oci.Registry(
        options["registry"],
        username=options["username"],
        password=options["password"],
        ca_file=options["ca_file"] or "",
    )
    try:
        image = (
            oci.pack_wasm(Path(options["wasm"]).read_bytes())
            if options["wasm"]
            else oci.read_archive(Path(options["archive"]))
        )
        before = registry.digest(options["repository"], options["tag"])
        if before != image.digest and not module.check_mode:
            registry.push(options["repository"], options["tag"], image)
            registry.pull(options["repository"], image.digest)
    except (oci.OciError, OSError) as error:
        module.fail_json(msg=str(error))
    where = f"{options['repository']}:{options['tag']} "
    module.exit_json(
        changed=before != image.digest,
        digest=image.digest,
        diff={"before": f"{where}{before}\n", "after": f"{where}{image.digest}\n"},
    )


if __name__ == "__main__":
    main()
