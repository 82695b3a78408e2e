"""`make policy-test`: sends the `tests:` of every Project file to the running sandbox and compares gate and status."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import PolicyTest, SpecError, load_site

TIMEOUT_SECONDS = 30.0


def replay(pool: urllib3.PoolManager, access: Mapping[str, Any], project: str, test: PolicyTest) -> str:
    """What is wrong with the answer to TEST's request; empty when it is as expected."""
    reached = access["projects"][project]
    headers = {
        "Host": reached["host"],
        "Content-Type": "application/json",
        # Without a key of their own (blocked users have one) the request is still sent: key-auth is a gate too.
        "Authorization": f"Bearer {reached['keys'].get(f'{project}.{test.user}', 'no-key')}",
    }
    if test.workload:
        headers["workload"] = test.workload
    body = json.dumps({"model": test.model, "messages": [{"role": "user", "content": test.prompt}]})
    answer = pool.request("POST", f"{access['url']}/v1/chat/completions", body=body, headers=headers)
    found = (answer.status, answer.headers.get("x-gate"))
    expected = (test.expect.status, test.expect.gate)
    # Not every gate of Higress names itself; where the test does not ask for one, the status is enough.
    same = found == expected if test.expect.gate else found[0] == expected[0]
    return "" if same else f"expected {_told(*expected)}, got {_told(*found)}"


def _told(status: int, gate: str | None) -> str:
    return f"{status} by {gate}" if gate else str(status)


def main() -> int:
    """Replay all; 1 when one is not as expected."""
    parser = argparse.ArgumentParser(description="Replay the policy tests of a site's Projects on the running sandbox.")
    parser.add_argument("site", type=Path, help="directory with gateway.yml, prices.yml and projects/")
    parser.add_argument("access", type=Path, help="the sandbox's access.json")
    given = parser.parse_args()
    try:
        site = load_site(given.site)
        access = json.loads(given.access.read_text())
    except (SpecError, OSError) as error:
        print(f"{error}\n(is the sandbox running? `make site` starts it)", file=sys.stderr)
        return 1
    pool = urllib3.PoolManager(timeout=TIMEOUT_SECONDS, retries=False)
    failed = 0
    for project in site.projects:
        for test in project.tests:
            wrong = replay(pool, access, project.project, test)
            failed += bool(wrong)
            print(f"{'FAILED' if wrong else 'ok'}  {project.project}: {test.name}{': ' + wrong if wrong else ''}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
