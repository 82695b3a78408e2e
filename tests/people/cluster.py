"""A real Kubernetes API server with stand-in nodes, and the two roles of this room run against it as a site's play does.

The charts are the molecule scenarios' stand-ins: of the locked names and versions, and each records the values it was given.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config

from tests.cluster.apiserver import ControlPlane
from tests.cluster.definitions import prepare

from .services import TREE

NAMESPACE = "higress-system"
PLAYS = {"site": ("observability", "oauth2_proxy"), "sign-on": ("oauth2_proxy",)}
SECRETS = {
    "observability_grafana_password": "grafana-admin-of-the-test",
    "observability_storage_password": "object-store-of-the-test",
    "oauth2_proxy_client_secret": "client-secret-of-the-test",
    "oauth2_proxy_cookie_secret": "cookie-secret-32-characters-long",
    "oauth2_proxy_redis_password": "redis-password-of-the-test",
    "oauth2_proxy_google_service_account": '{"type": "service_account", "private_key": "key-of-the-test"}',
}
VARIABLES: dict[str, Any] = {
    **SECRETS,
    "tenants_directory": str(TREE / "inventories/sandbox"),
    "observability_domain": "ai.example.com",
    "oauth2_proxy_domain": "ai.example.com",
    "oauth2_proxy_email_domains": ["acme.example"],
    "oauth2_proxy_groups": {
        "ai-atlas-dev@acme.example": {"project": "atlas", "group": "dev"},
        "ai-admins@acme.example": {"role": "admin"},
    },
    "oauth2_proxy_client_id": "client-of-the-test",
    "oauth2_proxy_google_admin": "it@acme.example",
    "release_lock": str(TREE / "versions.yml"),
    "oauth2_proxy_lock": str(TREE / "versions.yml"),
}


@dataclass(frozen=True)
class Run:
    """What a run of the play said."""

    changed: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Cluster:
    """A site's cluster; ``directory`` holds the play."""

    kubeconfig: Path
    directory: Path

    def play(self, *arguments: str, **variables: Any) -> Run:
        """Run both roles; fails with the play's own words."""
        done = self.attempt(*arguments, **variables)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        changed = re.findall(r"^TASK \[(.+?)\] \**\n(?:(?!TASK|PLAY).*\n)*?changed: ", done.stdout, re.MULTILINE)
        return Run(tuple(changed), done.stdout + done.stderr)

    def attempt(self, *arguments: str, play: str = "site", **variables: Any) -> subprocess.CompletedProcess[str]:
        """Run both roles (or the play named), however it ends."""
        given = self.directory / "variables.json"
        given.write_text(json.dumps(VARIABLES | {"site_kubeconfig": str(self.kubeconfig)} | variables))
        program = Path(sys.executable).parent / "ansible-playbook"
        return subprocess.run(
            [program, "-i", "localhost,", "-e", f"@{given}", *arguments, self.directory / f"{play}.yml"],
            cwd=TREE,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def read(self, kind: str, name: str) -> dict[str, Any]:
        """An object of the namespace, as the API server has it."""
        with config.new_client_from_config(str(self.kubeconfig)) as api:
            path, plural = _PLURALS[kind]
            found = client.CustomObjectsApi(api).get_namespaced_custom_object(*path, NAMESPACE, plural, name)
        return dict(found)

    def config_map(self, name: str) -> dict[str, str]:
        with config.new_client_from_config(str(self.kubeconfig)) as api:
            return dict(client.CoreV1Api(api).read_namespaced_config_map(name, NAMESPACE).data)

    def values(self, release: str) -> dict[str, Any]:
        """The values that a release was given, as its chart got them."""
        return dict(json.loads(self.config_map(f"{release}-recorded-values")["values"]))


_PLURALS = {
    "Ingress": (("networking.k8s.io", "v1"), "ingresses"),
    "EnvoyFilter": (("networking.istio.io", "v1alpha3"), "envoyfilters"),
    "NetworkPolicy": (("networking.k8s.io", "v1"), "networkpolicies"),
    "Deployment": (("apps", "v1"), "deployments"),
}


def _environment() -> dict[str, str]:
    collections = str(TREE / ".build/collections")
    own = {"ANSIBLE_CONFIG": str(TREE / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "PYTHONPATH": collections}
    return os.environ | own | {"ANSIBLE_COLLECTIONS_PATH": collections}


@contextmanager
def running(directory: Path) -> Iterator[Cluster]:
    """A control plane with one stand-in node, and a bundle of stand-in charts."""
    bundle, debian = directory / "bundle", directory / "debian"
    debian.mkdir(parents=True)
    make: list[str | Path] = [sys.executable, TREE / "molecule/make_bundle.py", bundle, debian]
    subprocess.run(make, env=_environment(), check=True, timeout=600)
    for name, roles in PLAYS.items():
        play = {
            "hosts": "localhost",
            "gather_facts": False,
            "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable},
            "roles": [f"opsta.ai_gateway.{role}" for role in roles],
        }
        (directory / f"{name}.yml").write_text(yaml.safe_dump([play]))
    VARIABLES["release_bundle_dir"] = str(bundle)
    with ControlPlane(directory / "plane", nodes=1) as plane:
        prepare(plane)
        yield Cluster(plane.kubeconfig, directory)
