#!/usr/bin/python
"""Module registry_fill: everything that a site runs, into its own registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_fill
short_description: Push locked images, plugins and our guards into the site's registry
version_added: 0.1.0
description:
  - Takes each locked image and plugin from the bundle, or downloads it, checks its digest, and pushes it over TLS.
  - Packs every C(*.wasm) of O(guards_dir) into the image form that Higress pulls, and pushes it.
  - Pushes only what the registry does not have under that tag, and reads back by digest what it pushed.
  - Runs on the control machine.
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
    required: true
  lock:
    description: Path of versions.yml.
    type: path
    required: true
  bundle_dir:
    description: Directory of an air-gap bundle. When given, nothing is downloaded.
    type: path
  cache_dir:
    description: Directory that keeps downloads.
    type: path
    required: true
  images:
    description: Images, by their names in versions.yml.
    type: list
    elements: str
    default: []
  plugins:
    description: Higress's plugins, by their names in versions.yml.
    type: list
    elements: str
    default: []
  guards_dir:
    description: Directory with our own plugins.
    type: path
    required: true
  guards_version:
    description: Tag of our own plugins.
    type: str
    required: true
attributes:
  check_mode:
    description: Asks the registry what it has, downloads and pushes nothing.
    support: full
  diff_mode:
    description: Shows the digests behind each tag before and after.
    support: full
"""

EXAMPLES = r"""
- name: Fill the registry
  opsta.ai_gateway.registry_fill:
    registry: registry.example.org:5000
    username: push
    password: "{{ registry_password }}"
    ca_file: state/registry-ca.crt
    lock: versions.yml
    cache_dir: ~/.cache/opsta-ai-gateway/artifacts
    images: [grafana]
    guards_dir: files/wasm
    guards_version: 0.1.0
"""

RETURN = r"""
digests:
  description: Digest by repository and tag.
  returned: success
  type: dict
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opsta.ai_gateway.plugins.module_utils import bundle, fetch, oci, versions


def _wanted(options: dict[str, Any], dry_run: bool) -> Iterator[tuple[str, oci.Image | None]]:
    """Tag (repository:version) and image; None for what a dry run would download first."""
    lock = versions.load(Path(options["lock"]).read_text())
    names = [("image", name) for name in options["images"]] + [("plugin", name) for name in options["plugins"]]
    for kind, name in names:
        entry = lock.find(kind, name)
        if options["bundle_dir"]:
            path = fetch.from_bundle(entry, Path(options["bundle_dir"]))
        else:
            path, _ = fetch.from_publisher(entry, Path(options["cache_dir"]), dry_run=dry_run)
        yield f"{entry.repository}:{entry.version}", oci.read_archive(path) if path.is_file() else None
    for wasm in sorted(Path(options["guards_dir"]).glob("*.wasm")):
        yield f"plugins/{wasm.stem}:{options['guards_version']}", oci.pack_wasm(wasm.read_bytes())


def _fill(registry: oci.Registry, options: dict[str, Any], dry_run: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Push what differs; returns the digests behind each tag before and after."""
    before, after = {}, {}
    for where, image in _wanted(options, dry_run):
        repository, tag = where.rsplit(":", 1)
        before[where] = registry.digest(repository, tag)
        after[where] = image.digest if image else "(to be downloaded)"
        if image and before[where] != image.digest and not dry_run:
            registry.push(repository, tag, image)
            registry.pull(repository, image.digest)
    return before, after


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "registry": {"type": "str", "required": True},
            "username": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "ca_file": {"type": "path", "required": True},
            "lock": {"type": "path", "required": True},
            "bundle_dir": {"type": "path"},
            "cache_dir": {"type": "path", "required": True},
            "images": {"type": "list", "elements": "str", "default": []},
            "plugins": {"type": "list", "elements": "str", "default": []},
            "guards_dir": {"type": "path", "required": True},
            "guards_version": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    registry = oci.Registry(
        options["registry"], username=options["username"], password=options["password"], ca_file=options["ca_file"]
    )
    try:
        before, after = _fill(registry, options, module.check_mode)
    except (versions.LockError, bundle.BundleError, fetch.FetchError, oci.OciError, KeyError, OSError) as error:
        module.fail_json(msg=error.args[0] if isinstance(error, KeyError) else str(error))
    changed = before != after
    lines = {
        name: "".join(f"{k} {v}\n" for k, v in sorted(d.items())) for name, d in (("before", before), ("after", after))
    }
    module.exit_json(changed=changed, digests=after, diff=lines)


if __name__ == "__main__":
    main()
