#!/usr/bin/python
"""Module artifact: one locked thing as a file on the control machine."""

from __future__ import annotations

DOCUMENTATION = r"""
module: artifact
short_description: Fetch a binary, chart, image or plugin that versions.yml locks
version_added: 0.1.0
description:
  - Takes the file from an air-gap bundle, or downloads it into a cache, and checks its digest either way.
  - Refuses to download what versions.yml does not pin. A bundle's own checksums pin what it carries.
  - Runs on the control machine.
author: Opsta (@opsta)
options:
  kind:
    description: What sort of thing it is.
    type: str
    required: true
    choices: [binary, chart, image, plugin]
  name:
    description: Its name in versions.yml.
    type: str
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
attributes:
  check_mode:
    description: Nothing is downloaded in check mode; a bundle and the cache are still checked.
    support: full
  diff_mode:
    description: There is no difference to show.
    support: none
"""

EXAMPLES = r"""
- name: Fetch k3s
  opsta.ai_gateway.artifact:
    kind: binary
    name: k3s
    lock: versions.yml
    bundle_dir: /srv/bundle
    cache_dir: ~/.cache/opsta-ai-gateway/artifacts
"""

RETURN = r"""
path:
  description: The file on the control machine.
  returned: success
  type: str
sha256:
  description: Digest of the file; empty in check mode when it would be downloaded.
  returned: success
  type: str
version:
  description: The locked version.
  returned: success
  type: str
source:
  description: Where the publisher keeps it.
  returned: success
  type: str
repository:
  description: For images and plugins, the repository below the site's own registry.
  returned: success
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opsta.ai_gateway.plugins.module_utils import bundle, fetch, versions


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "kind": {"type": "str", "required": True, "choices": list(versions.KINDS)},
            "name": {"type": "str", "required": True},
            "lock": {"type": "path", "required": True},
            "bundle_dir": {"type": "path"},
            "cache_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        entry = versions.load(Path(options["lock"]).read_text()).find(options["kind"], options["name"])
        if options["bundle_dir"]:
            path, changed = fetch.from_bundle(entry, Path(options["bundle_dir"])), False
        else:
            path, changed = fetch.from_publisher(entry, Path(options["cache_dir"]), dry_run=module.check_mode)
    except (versions.LockError, bundle.BundleError, fetch.FetchError, KeyError, OSError) as error:
        module.fail_json(msg=error.args[0] if isinstance(error, KeyError) else str(error))
    module.exit_json(
        changed=changed,
        path=str(path),
        sha256=bundle.sha256(path) if path.is_file() else "",
        version=entry.version,
        source=entry.source,
        repository=entry.repository,
    )


if __name__ == "__main__":
    main()
