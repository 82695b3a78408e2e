"""The inventory of a molecule scenario: the collection's own, as a person copies and edits it (docs/install.md).

    site_directory.py SCENARIO DIRECTORY BUNDLE NAME=ADDRESS ... [later NAME=ADDRESS ...]

Hosts named after `later` are not in the inventory yet; `hosts.whole.yml` beside the directory has them too. What
differs from inventories/SCENARIO: the hosts' addresses and SSH key, the bundle, a provided certificate (nothing can
ask Let's Encrypt here), preflight's limits, which test hosts on one small machine cannot meet, and one Redis.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from locks import documents

ROOT = Path(__file__).resolve().parents[1]
DOMAIN = "ai.example.com"
BALANCER = "198.18.0.1"  # the bridge's own address (test_hosts.py), where molecule/run starts a load balancer


def read(path: Path) -> dict[str, Any]:
    """A YAML file that holds a mapping."""
    return dict(yaml.safe_load(path.read_text()))


def hosts(inventory: dict[str, Any], addresses: dict[str, str], scenario: Path) -> dict[str, Any]:
    """The inventory with the test hosts' addresses; hosts without one are left out."""
    site = inventory["all"]
    site["hosts"] = {name: values for name, values in site["hosts"].items() if name in {*addresses, "localhost"}}
    for name, address in addresses.items():
        site["hosts"][name] = {
            "ansible_host": address,
            "ansible_user": "root",
            "ansible_become": True,
            "ansible_ssh_private_key_file": str(scenario / "key"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={scenario / 'known_hosts'} -o ServerAliveInterval=5",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
    for group in site["children"].values():
        group["hosts"] = {name: None for name in group["hosts"] if name in addresses}
    site["vars"] = {}
    return inventory


def of_the_test(scenario: str, site: Path, addresses: dict[str, str], later: dict[str, str]) -> dict[str, Any]:
    """Variables that only the scenario's own plays read."""
    shell = "k3s kubectl exec --stdin --namespace=higress-system redis-0 --container=redis --"
    return {
        "test_root": str(ROOT),
        "test_scenario": scenario,
        "test_directory": str(site.parent),
        "test_hosts": [sys.executable, str(ROOT / "molecule/test_hosts.py")],
        "test_addresses": [f"{name}={address}" for name, address in addresses.items()],
        "test_later_addresses": [f"{name}={address}" for name, address in later.items()],
        "test_vault_password_file": str(site.parent / "vault-password"),
        "test_redis": shell.split(),
    }


def overrides(site: Path, bundle: Path) -> dict[str, Any]:
    """Variables of the test site that a real one sets otherwise."""
    return {
        "secrets_vault_password_file": str(site.parent / "vault-password"),
        "bundle_dir": str(bundle),
        "cert_manager_mode": "provided",
        "cert_manager_certificate_file": str(site.parent / "certificate.crt"),
        "cert_manager_key_file": str(site.parent / "certificate.key"),
        "oauth2_proxy_client_id": "test-client",
        "oauth2_proxy_client_secret": secrets.token_hex(16),
        "preflight_server_cpus": 1,
        "preflight_server_memory_gib": 2.0,
        "preflight_agent_cpus": 1,
        "preflight_agent_memory_gib": 2.0,
        "preflight_disk_gib": {"/var/lib": 5.0},
        # The hosts share this machine's clock, and its kernel's modules are built in or loaded.
        "preflight_clock_synchronised": False,
        # The other settings belong to this machine, not to a network namespace: a test host may not change them.
        "host_sysctls": {"net.ipv4.ip_forward": "1", "net.bridge.bridge-nf-call-iptables": "1"},
        "tenants_secrets": {
            project: {f"provider.{name}": f"sk-{secrets.token_hex(16)}" for name in names}
            for project, names in provider_keys(site).items()
        },
    }


def with_servers() -> dict[str, Any]:
    """Variables of a test site with several servers."""
    # The stand-in for containers has one Redis.
    return {"k3s_api_endpoint": BALANCER, "redis_mode": "standalone"}


def balancer(servers: list[str]) -> str:
    """The configuration of haproxy in front of servers: the API, and the stand-in's own port for joining."""
    text = "defaults\n mode tcp\n timeout connect 1s\n timeout client 1h\n timeout server 1h\n retries 3\n"
    text += " option redispatch 1\n default-server check inter 1s fall 2 rise 1 on-marked-down shutdown-sessions\n"
    for port in (6443, 9345):
        text += f"listen port-{port}\n bind {BALANCER}:{port}\n balance roundrobin\n"
        text += "".join(f" server s{number} {address}:{port}\n" for number, address in enumerate(servers))
    return text


def provider_keys(site: Path) -> dict[str, set[str]]:
    """Names of the provider keys of each Project."""
    specs = [read(path) for path in sorted((site / "projects").glob("*.yml"))]
    return {spec["project"]: {provider["key"] for provider in spec["providers"].values()} for spec in specs}


def certificate(directory: Path) -> None:
    """Write the wildcard certificate that the site is given."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-days", "90", "-subj", f"/CN={DOMAIN}", "-addext", f"subjectAltName=DNS:{DOMAIN},DNS:*.{DOMAIN}",
            "-keyout", str(directory / "certificate.key"), "-out", str(directory / "certificate.crt"),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip


def main() -> None:
    """Write the site's directory anew."""
    scenario, site, bundle = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    now, _, then = " ".join(sys.argv[4:]).partition(" later ")
    addresses, later = (dict(argument.split("=", 1) for argument in part.split()) for part in (now, then))
    shutil.rmtree(site, ignore_errors=True)
    source = ROOT / "inventories" / scenario
    shutil.copytree(source, site, ignore=shutil.ignore_patterns("state", "secrets.yml"))
    for name in ("prices.yml", "projects"):
        example = ROOT / "inventories/sandbox" / name
        (shutil.copytree if example.is_dir() else shutil.copy)(example, site / name)
    for path in (site / "projects").glob("*.yml"):
        path.write_text(path.read_text().replace(".localhost", f".{DOMAIN}"))
    whole = hosts(read(source / "hosts.yml"), addresses | later, site.parent)
    (site.parent / "hosts.whole.yml").write_text(yaml.safe_dump(whole))
    (site / "hosts.yml").write_text(yaml.safe_dump(hosts(read(source / "hosts.yml"), addresses, site.parent)))
    certificate(site.parent)
    for name, document in documents().items():
        (site.parent / f"versions-{name}.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    values = overrides(site, bundle) | of_the_test(scenario, site, addresses, later)
    if later:
        values |= with_servers()
        servers = whole["all"]["children"]["k3s_servers"]["hosts"]
        (site.parent / "haproxy.cfg").write_text(balancer([(addresses | later)[name] for name in servers]))
    (site / "group_vars/all/test_host.yml").write_text(yaml.safe_dump(values))
    password = site.parent / "vault-password"
    password.touch(mode=0o600)
    password.write_text(secrets.token_hex(16))


if __name__ == "__main__":
    main()
