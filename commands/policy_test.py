"""`make policy-test`: sends the `tests:` of every Project file to a running gateway and compares gate and status.

The gateway is the sandbox's (its access.json says where it is and what the keys are), or a cluster's: its address, and
a kubeconfig that may read the keys. The requests are real: on a cluster they reach the providers and cost what they
cost.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import (
    ClusterError,
    Connection,
    connect,
    stored_keys,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.members import tenant_at
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy import NAMESPACE
from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import user_key
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import (
    PolicyTest,
    Project,
    Site,
    SpecError,
    load_site,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec.model import Expectation
from ansible_collections.opsta.ai_gateway.plugins.module_utils.verdict import told

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True)
class Gateway:
    """Where requests go (``url`` without a path), and each consumer's key. ``authority``: a CA's file, for https."""

    url: str
    keys: Mapping[str, str]
    authority: str | None = None

    def answer(self, project: Project, test: PolicyTest) -> Expectation:
        """Which gate answers TEST's request, with which status. Raises urllib3's HTTPError when nothing answers."""
        headers = {
            "Host": project.host,
            "Content-Type": "application/json",
            # Without a key of their own the request is still sent: key-auth is a gate too.
            "Authorization": f"Bearer {self.keys.get(f'{project.project}.{test.user}', 'no-key')}",
        }
        if test.workload:
            headers["workload"] = test.workload
        body = json.dumps({"model": test.model, "messages": [{"role": "user", "content": test.prompt}]})
        with self._pool(project.host) as pool:
            found = pool.request("POST", "/v1/chat/completions", body=body, headers=headers)
        return Expectation(status=found.status, gate=found.headers.get("x-gate"))

    def _pool(self, host: str) -> urllib3.HTTPConnectionPool:
        place = urlsplit(self.url)
        settings: dict[str, Any] = {"timeout": TIMEOUT_SECONDS, "retries": False}
        if place.scheme == "https":
            # The address is the gateway's, the certificate is the Project's host's.
            names: dict[str, Any] = {"server_hostname": host, "assert_hostname": host, "ca_certs": self.authority}
            return urllib3.HTTPSConnectionPool(str(place.hostname), place.port or 443, **settings, **names)
        return urllib3.HTTPConnectionPool(str(place.hostname), place.port or 80, **settings)


def sandbox(directory: Path) -> Gateway:
    """The gateway of the sandbox in DIRECTORY. Raises OSError when it has never run."""
    access = json.loads((directory / "access.json").read_text())
    keys = {name: key for project in access["projects"].values() for name, key in project["keys"].items()}
    return Gateway(access["url"], keys)


def cluster(url: str, site: Site, connection: Connection, authority: str | None) -> Gateway:
    """The gateway at URL with the keys of the cluster that CONNECTION reaches. Raises ClusterError."""
    with connect(connection, NAMESPACE) as client:
        stored = stored_keys(client, site.gateway.site)
    now = datetime.now(UTC)
    keys = {
        member.identity.consumer: stored.get(project.project, {}).get(
            user_key(member.identity.user, member.keys[0]), ""
        )
        for project in site.projects
        for member in tenant_at(project, now).members
        if member.keys
    }
    return Gateway(url, keys, authority)


def wrong(gateway: Gateway, project: Project, test: PolicyTest) -> str:
    """What is wrong with the answer to TEST's request; empty when it is as expected."""
    found, expected = gateway.answer(project, test), test.expect
    # A gate of the provider, or of something before the gateway, has no name: where a test asks for one it is missed.
    if found.status == expected.status and expected.gate in (None, found.gate):
        return ""
    workload = f" with workload {test.workload}" if test.workload else ""
    named = "" if found.gate or found.status < 400 else ", and no gate says that it was it"
    return f"{test.user} asked {test.model}{workload}: expected {told(expected)}, got {told(found)}{named}"


def replay(site: Site, gateway: Gateway) -> int:
    """Send all tests of SITE, say what came of each, and return how many are not as expected."""
    failed = total = 0
    for project in site.projects:
        for test in project.tests:
            problem = wrong(gateway, project, test)
            total += 1
            failed += bool(problem)
            print(f"{'FAILED' if problem else 'ok'}  {project.project}: {test.name}{': ' + problem if problem else ''}")
    print(f"{total - failed} of {total} policy tests hold at {gateway.url}" if total else "no Project has tests:")
    return failed


def main() -> int:
    """Replay all; 1 when one is not as expected or the gateway is not reached."""
    parser = argparse.ArgumentParser(description="Replay the policy tests of a site's Projects on a running gateway.")
    parser.add_argument("site", type=Path, help="directory with gateway.yml, prices.yml and projects/")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--sandbox", type=Path, metavar="DIRECTORY", help="of a sandbox that runs")
    where.add_argument("--gateway", metavar="URL", help="a cluster's gateway, such as https://192.0.2.11")
    parser.add_argument("--kubeconfig", type=Path, help="of the cluster, to read keys; default: kubectl's own")
    parser.add_argument("--context", help="the kubeconfig's context")
    parser.add_argument("--authority", help="CA certificate of the gateway's https; default: the system's")
    given = parser.parse_args()
    try:
        site = load_site(given.site)
        connection = Connection(given.kubeconfig, given.context)
        gateway = sandbox(given.sandbox) if given.sandbox else cluster(given.gateway, site, connection, given.authority)
        return 1 if replay(site, gateway) else 0
    except (SpecError, ClusterError) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error}\n(no sandbox has run there: `make site` starts one)", file=sys.stderr)
    except urllib3.exceptions.HTTPError as error:
        print(f"{gateway.url} does not answer: {error}\n(does it run? `make site` starts the sandbox)", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
