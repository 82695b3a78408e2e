"""The bundle of the molecule scenarios: of the same files and names as a real one, with STAND-IN content.

    make_bundle.py DIRECTORY DEBIAN_PACKAGES

Real in it: helm and the Debian packages. Stand-ins: k3s (stand_in/k3s), charts (of the locked names and versions; they
record the values they were given, carry the CRDs and make workloads without containers), images and plugins (of the
locked names, with made-up bytes).
"""

from __future__ import annotations

import io
import shutil
import sys
import tarfile
from pathlib import Path

import locks
import yaml
from ansible_collections.opsta.ai_gateway.plugins.module_utils import bundle, oci, versions

ROOT = Path(__file__).resolve().parents[1]
HELM = ROOT / ".build/controlplane/helm"
RECORD = """apiVersion: v1
kind: ConfigMap
metadata: {name: "{{ .Release.Name }}-recorded-values", namespace: "{{ .Release.Namespace }}"}
data: {values: {{ toJson .Values | quote }}}
"""
WORKLOAD = """apiVersion: apps/v1
kind: %(kind)s
metadata: {name: %(name)s, namespace: "{{ .Release.Namespace }}", labels: {app: %(name)s}}
spec:
  %(extra)s
  selector: {matchLabels: {app: %(name)s}}
  template:
    metadata: {labels: {app: %(name)s}}
    spec:
      containers: [{name: stand-in, image: "stand-in.invalid/%(name)s:1"}]
---
apiVersion: v1
kind: Service
metadata: {name: %(name)s, namespace: "{{ .Release.Namespace }}"}
spec: {selector: {app: %(name)s}, ports: [{port: 80}]}
"""
# What each chart (or, for Redis, its operator) brings to life, by kind and name.
WORKLOADS = {
    "cert-manager": [("Deployment", "cert-manager"), ("Deployment", "cert-manager-webhook")],
    "redis-operator": [("Deployment", "redis-operator")],
    "redis": [("StatefulSet", "redis")],
    "redis-replication": [("StatefulSet", "redis")],
    "redis-sentinel": [("StatefulSet", "redis-sentinel-sentinel")],
    "higress-core": [("Deployment", "higress-gateway"), ("Deployment", "higress-controller")],
    "grafana": [("Deployment", "grafana")],
    "loki": [("StatefulSet", "loki")],
    "tempo": [("StatefulSet", "tempo")],
    "mimir-distributed": [("Deployment", "mimir-distributor"), ("Deployment", "mimir-gateway")],
    "alloy": [("DaemonSet", "alloy")],
    "oauth2-proxy": [("Deployment", "oauth2-proxy")],
}
HIGRESS_CONFIG = """apiVersion: v1
kind: ConfigMap
metadata: {name: higress-config, namespace: "{{ .Release.Namespace }}"}
data:
  higress: {{ dict "downstream" .Values.downstream "upstream" .Values.upstream | toYaml | quote }}
  mesh: {{ toYaml .Values.meshConfig | quote }}
"""


def crd(group: str, kind: str, plural: str, scope: str) -> dict[str, object]:
    """Definition of a kind that takes anything."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def chart_files(entry: versions.Entry, app: str) -> dict[str, str]:
    """Files of a stand-in chart, by path."""
    files = {
        "Chart.yaml": yaml.safe_dump(
            {
                "apiVersion": "v2",
                "name": entry.name,
                "version": entry.version,
                "appVersion": app,
                "description": "STAND-IN",
            }
        ),
        "values.yaml": "{}\n",
        "templates/recorded.yaml": RECORD,
    }
    for kind, name in WORKLOADS[entry.name]:
        extra = f"serviceName: {name}" if kind == "StatefulSet" else "minReadySeconds: 0"
        files[f"templates/{name}.yaml"] = WORKLOAD % {"kind": kind, "name": name, "extra": extra}
    if entry.name == "higress-core":
        files["templates/higress-config.yaml"] = HIGRESS_CONFIG
        for path in (ROOT / "tests/cluster/crds").glob("*.yaml"):
            files[f"crds/{path.name}"] = path.read_text()
    if entry.name == "redis-operator":
        group = "redis.redis.opstreelabs.in"
        kinds = (("Redis", "redis"), ("RedisReplication", "redisreplications"), ("RedisSentinel", "redissentinels"))
        crds = [crd(group, kind, plural, "Namespaced") for kind, plural in kinds]
        files["crds/crds.yaml"] = yaml.safe_dump_all(crds)
    if entry.name == "cert-manager":
        group = "cert-manager.io"
        crds = [
            crd(group, "Certificate", "certificates", "Namespaced"),
            crd(group, "ClusterIssuer", "clusterissuers", "Cluster"),
        ]
        files["crds/crds.yaml"] = yaml.safe_dump_all(crds)
    return files


def write_chart(entry: versions.Entry, app: str, path: Path) -> None:
    """Package a stand-in chart."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in chart_files(entry, app).items():
            member = tarfile.TarInfo(f"{entry.name}/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def main() -> None:
    """Write every file that the locks of today and later name, then the checksums."""
    target, debian = Path(sys.argv[1]), Path(sys.argv[2])
    for document in locks.documents().values():
        write_files(versions.load(yaml.safe_dump(document)), document["charts"], target)
    shutil.copytree(debian, target / "debian", dirs_exist_ok=True)
    bundle.write_checksums(target)


def write_files(lock: versions.Lock, charts: dict[str, dict[str, str]], target: Path) -> None:
    """Write what a lock names and is not there yet."""
    for entry in lock.entries:
        path = target / entry.file
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "chart":
            write_chart(entry, charts[entry.name]["app"], path)
        elif entry.kind in ("image", "plugin"):
            content = f"stand-in for {entry.source}".encode()
            oci.write_archive(oci.pack_wasm(b"\0asm\x01\0\0\0\0" + bytes([len(content) + 2, 1]) + b"s" + content), path)
        elif entry.name == "helm":
            shutil.copy(HELM, path)
        else:
            write_k3s(entry, path)


def write_k3s(entry: versions.Entry, path: Path) -> None:
    """Write the k3s stand-in under the locked version."""
    if entry.name == "k3s":
        path.write_text((ROOT / "molecule/stand_in/k3s").read_text().replace("@VERSION@", entry.version))
        path.chmod(0o755)
    else:
        path.write_text("stand-in: no images\n")


if __name__ == "__main__":
    main()
