#!/usr/bin/python
"""Module sandbox_quota: first quotas, until the budget controller leases them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: sandbox_quota
short_description: Give consumers of the sandbox their first quota
version_added: 0.1.0
description:
  - Each consumer without a balance gets one in tokens, the tightest budget above it at the dearest price it may meet.
    A balance that is there is left alone.
author: Opsta (@opsta)
options:
  site:
    description: Directory with C(gateway.yml), C(prices.yml) and C(projects/*.yml).
    type: path
    required: true
  redis_port:
    description: Port of the sandbox's Redis on this machine.
    type: int
    required: true
attributes:
  check_mode:
    description: Says which consumers would get one.
    support: full
"""

EXAMPLES = r"""
- name: Give consumers their first quota
  opsta.ai_gateway.sandbox_quota:
    site: inventories/sandbox
    redis_port: 18082
"""

RETURN = r"""
seeded:
  description: Tokens given, by consumer.
  type: dict
  returned: success
"""

from datetime import UTC, datetime
from pathlib import Path

import redis
from ansible.module_utils.basic import AnsibleModule
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.quota import give, seeds
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import SpecError, load_site


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "site": {"type": "path", "required": True},
            "redis_port": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        wanted = seeds(load_site(Path(module.params["site"])), datetime.now(UTC))
        with redis.Redis(port=module.params["redis_port"]) as client:
            seeded = give(client, wanted, dry=module.check_mode)
    except SpecError as error:
        module.fail_json(msg=str(error))
    except redis.ConnectionError as error:
        if not module.check_mode:
            module.fail_json(msg=f"Redis cannot be reached: {error}")
        seeded = dict(wanted)
    module.exit_json(changed=bool(seeded), seeded=seeded)


if __name__ == "__main__":
    main()
