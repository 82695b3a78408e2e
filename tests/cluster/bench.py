"""Speed of a site's push on a real API server, beside kubernetes.core on the same objects, in one run.

What is measured: wall time on this machine, which runs client, API server and etcd together, and the processor seconds
of each: what else the machine does stretches the first much and the others little. It begins when the API server is at
rest: for its first seconds one works out its schemas. kubernetes.core is given a sample of the same objects (a loop of
tasks, and one task with a list) and its time is scaled up to all of them; its own start (a play that does nothing) is
taken off first. Ours is timed without Ansible's start, too.
Writes artifacts/cluster/push.json and push.png.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib
import yaml
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import (
    Client,
    Connection,
    connect,
    read,
    reconcile,
)
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster.kinds import KINDS
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Site

from .apiserver import ControlPlane
from .definitions import NAMESPACE, prepare
from .sites import project, site, wanted, with_user
from .waiting import wait_until

matplotlib.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[2]
SHARDS = {"key-auth": 16, "identity": 4, "ai-token-ratelimit-project": 2, "prompt-guard": 2}
LOOP_SAMPLE, BULK_SAMPLE = 30, 500


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result of WORK."""
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def _processor_seconds(pid: int) -> float:
    """What process PID has used so far, in user and kernel mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Meter:
    """Measures a run: wall seconds, and processor seconds of each side."""

    sides: dict[str, int]

    def run(self, work: Callable[[], Any]) -> tuple[dict[str, float], Any]:
        """Seconds of WORK by side (``wall`` among them), and its result."""
        begin = self._now()
        result = work()
        return {name: round(value - begin[name], 2) for name, value in self._now().items()}, result

    def rest(self) -> None:
        """Wait until the API server does next to nothing."""
        wait_until(self._idle, "the API server is at rest")

    def _idle(self) -> bool:
        pid = self.sides["kube-apiserver"]
        before = _processor_seconds(pid)
        time.sleep(1)
        return _processor_seconds(pid) - before < 0.1

    def _now(self) -> dict[str, float]:
        return {"wall": time.perf_counter()} | {name: _processor_seconds(pid) for name, pid in self.sides.items()}


def ours(plane: ControlPlane, client: Client, projects: int, users: int) -> dict[str, Any]:
    """First push, unchanged run and one user more (the best of three each)."""
    meter = Meter({"client": os.getpid(), **plane.pids})
    members = [project(f"p{number:04}", users) for number in range(projects)]
    whole = _site(members)
    meter.rest()
    first, outcome = meter.run(lambda: reconcile(client, wanted(whole)))
    unchanged = [meter.run(lambda: reconcile(client, wanted(whole)))[0] for _ in range(3)]
    joined = []
    for number in range(3, 6):
        members[number] = with_user(members[number], "dev", "zoe")
        grown = wanted(_site(members))
        seconds, change = meter.run(lambda grown=grown: reconcile(client, grown))
        joined.append(seconds)
    live = read(client, "lab")
    sizes = {"/".join(key[::2]): len(json.dumps(item)) for key, item in live.items()}
    return {
        "objects": outcome.writes,
        "by_kind": dict(Counter(key[0] for key in live)),
        "largest_object": max(sizes.items(), key=lambda item: item[1]),
        "first_push_s": first["wall"],
        "unchanged_s": min(seconds["wall"] for seconds in unchanged),
        "one_user_s": min(seconds["wall"] for seconds in joined),
        "seconds_by_side": {"first_push": first, "unchanged": unchanged, "one_user": joined},
        "one_user_writes": change.writes,
    }


def _site(members: list[Any]) -> Site:
    return site(*members, shards=SHARDS)


def sample(client: Client, count: int) -> list[dict[str, Any]]:
    """COUNT live objects without what the server added, in the proportions of the whole site; the few large ones are left out."""
    kinds = Counter({"Ingress": 2, "Secret": 1})
    live = [item for key, item in sorted(read(client, "lab").items())]
    found = []
    for kind, share in kinds.items():
        found += [item for item in live if item["kind"] == kind][: count * share // kinds.total()]
    own = ("name", "namespace", "labels", "annotations")
    return [
        {
            **{part: value for part, value in item.items() if part not in ("metadata", "status")},
            "metadata": {name: item["metadata"][name] for name in own if name in item["metadata"]},
        }
        for item in found
    ]


def clear(client: Client) -> None:
    """Remove every object that the site may have."""
    for kind in KINDS:
        for item in client.find(kind, "app.kubernetes.io/managed-by=opsta-ai-gateway"):
            client.delete(item)


def kubernetes_core(
    plane: ControlPlane, client: Client, directory: Path, objects: list[dict[str, Any]], *, loop: bool
) -> float:
    """Seconds of a play that applies OBJECTS, without the seconds of one that applies none."""
    (directory / "objects.json").write_text(json.dumps(objects))
    task: dict[str, Any] = {
        "kubernetes.core.k8s": {
            "kubeconfig": str(plane.kubeconfig),
            "apply": True,
            "server_side_apply": {"field_manager": "bench"},
            "definition": "{{ item }}" if loop else "{{ objects }}",
        },
        "no_log": True,
    }
    if loop:
        task["loop"] = "{{ objects }}"
    clear(client)
    empty, _ = timed(lambda: _play(directory, []))
    full, _ = timed(lambda: _play(directory, [task]))
    return full - empty


def _play(directory: Path, tasks: list[dict[str, Any]]) -> None:
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "objects": f"{{{{ lookup('ansible.builtin.file', '{directory / 'objects.json'}') | from_json }}}}",
        },
        "tasks": tasks,
    }
    (directory / "play.yml").write_text(yaml.safe_dump([play]))
    subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", str(directory / "play.yml")],
        check=True, capture_output=True, cwd=ROOT, env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )  # fmt: skip


def draw(found: dict[str, Any], path: Path) -> None:
    """Seconds for all objects, logarithmic."""
    names = [
        "kubernetes.core loop (scaled)",
        "kubernetes.core, one task (scaled)",
        "first push",
        "one user more",
        "unchanged",
    ]
    mine = found["ours"]
    values = [found["loop_s"], found["bulk_s"], mine["first_push_s"], mine["one_user_s"], mine["unchanged_s"]]
    figure, panel = plt.subplots(figsize=(10, 4), layout="constrained")
    bars = panel.barh(names, values, color=["#c4572e", "#c4572e", "#1b7f5c", "#1b7f5c", "#1b7f5c"])
    panel.invert_yaxis()
    panel.set_xscale("log")
    panel.set_xlabel("seconds")
    panel.bar_label(bars, [f"{value:,.1f} s" for value in values], padding=3)
    panel.margins(x=0.15)
    panel.set_title(
        f"{found['projects']:,} Projects x {found['users']} users: {mine['objects']:,} objects ({found['machine']})"
    )
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description="Measure pushes to a real API server.")
    parser.add_argument("--projects", type=int, default=1000)
    parser.add_argument("--users", type=int, default=50)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ControlPlane(Path(name) / "plane") as plane:
        prepare(plane)
        with connect(Connection(plane.kubeconfig), NAMESPACE) as client:
            mine = ours(plane, client, given.projects, given.users)
            few, many = sample(client, LOOP_SAMPLE), sample(client, BULK_SAMPLE)
            loop = kubernetes_core(plane, client, Path(name), few, loop=True) / len(few) * mine["objects"]
            bulk = kubernetes_core(plane, client, Path(name), many, loop=False) / len(many) * mine["objects"]
    found = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "load_average": os.getloadavg(),
        "projects": given.projects,
        "users": given.users,
        "ours": mine,
        "loop_s": loop,
        "loop_sample": len(few),
        "bulk_s": bulk,
        "bulk_sample": len(many),
        "ratio_loop": loop / mine["first_push_s"],
        "ratio_bulk": bulk / mine["first_push_s"],
    }
    target = ROOT / "artifacts" / "cluster"
    target.mkdir(parents=True, exist_ok=True)
    (target / "push.json").write_text(json.dumps(found, indent=2) + "\n")
    draw(found, target / "push.png")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
