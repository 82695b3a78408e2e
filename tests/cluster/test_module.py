"""The module as Ansible runs it: check and diff tell the truth, secrets do not show, errors are one sentence."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.opsta.ai_gateway.plugins.module_utils.cluster import Client, read, stored_keys
from ansible_collections.opsta.ai_gateway.plugins.module_utils.policy.records import record_name
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Site

from .apiserver import ControlPlane
from .editing import edit_by_hand
from .sites import project, site, with_user

ROOT = Path(__file__).parents[2]
PROVIDER_KEY = "sk-provider-0123456789"


def write_site(directory: Path, of: Site) -> Path:
    """OF as files, as people keep it."""
    (directory / "projects").mkdir(parents=True, exist_ok=True)
    (directory / "gateway.yml").write_text(yaml.safe_dump(of.gateway.model_dump(mode="json", exclude_defaults=True)))
    prices = [{"model": price.model, "input": 1, "output": 2} for price in of.prices]
    (directory / "prices.yml").write_text(yaml.safe_dump({"version": 1, "prices": prices}))
    for old in (directory / "projects").iterdir():
        old.unlink()
    for found in of.projects:
        content = found.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        text = yaml.safe_dump(content).replace("usd: '", "usd: ").replace("0'", "0").replace("5'", "5")
        (directory / "projects" / f"{found.project}.yml").write_text(text)
    return directory


@dataclass(frozen=True)
class Ran:
    """A task's result and everything that Ansible printed at its most talkative."""

    result: dict[str, Any]
    output: str


def run_module(plane: ControlPlane, specs: Path, *flags: str, module: str = "projects", **options: Any) -> Ran:
    """Run the task; no output may hold the provider's key."""
    if module == "projects":
        keys = {path.stem: {"provider.main": PROVIDER_KEY} for path in (specs / "projects").iterdir()}
        options.setdefault("secrets", keys)
    answer = specs / "answer.json"
    keep = {"ansible.builtin.copy": {"content": "{{ answer | to_json }}", "dest": str(answer)}, "check_mode": False}
    task = {
        f"opsta.ai_gateway.{module}": {"directory": str(specs), "kubeconfig": str(plane.kubeconfig), **options},
        "register": "answer",
        "ignore_errors": True,
    }
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "tasks": [task, {**keep, "diff": False, "no_log": True}],
    }
    (specs / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-vvv", "-i", "localhost,", *flags, str(specs / "play.yml")],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )  # fmt: skip
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert PROVIDER_KEY not in output + answer.read_text()
    return Ran(json.loads(answer.read_text()), output)


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    return write_site(tmp_path / "site", site(project("atlas"), project("beacon")))


def test_check_and_diff_say_exactly_what_the_real_run_then_does(
    plane: ControlPlane, cluster: Client, specs: Path
) -> None:
    run_module(plane, specs)
    write_site(specs, site(with_user(project("atlas"), "dev", "zoe"), project("beacon")))
    told = run_module(plane, specs, "--check", "--diff")
    assert "zoe" not in json.dumps(read(cluster, "lab")[("ConfigMap", "higress-system", record_name("atlas"))]["data"])
    done = run_module(plane, specs, "--diff")
    same = ("changed", "changes", "objects", "diff", "kept", "drift", "broken_tests")
    assert [told.result[name] for name in same] == [done.result[name] for name in same]
    assert told.result["changes"] == ["atlas: zoe joins dev and may use coding"]
    assert "zoe joins dev" in told.output
    assert "+ WasmPlugin" not in told.output
    again = run_module(plane, specs, "--check", "--diff")
    assert (again.result["changed"], again.result["objects"]) == (False, [])


def test_no_key_shows_anywhere(plane: ControlPlane, cluster: Client, specs: Path) -> None:
    ran = run_module(plane, specs, "--diff")
    minted = stored_keys(cluster, "lab")["atlas"]["user.user-000.default"]
    assert minted.startswith("sk-")
    for text in (ran.output, json.dumps(ran.result)):
        assert minted not in text
        assert base64.b64encode(minted.encode()).decode() not in text


def test_values_in_a_playbook_do_what_files_do(plane: ControlPlane, cluster: Client, specs: Path) -> None:
    run_module(plane, specs)
    values = {
        "gateway": yaml.safe_load((specs / "gateway.yml").read_text()),
        "prices": yaml.safe_load((specs / "prices.yml").read_text()),
    }
    projects = [yaml.safe_load(path.read_text()) for path in sorted((specs / "projects").iterdir())]
    ran = run_module(plane, specs, directory=None, values=values, projects=projects)
    assert ran.result["changed"] is False


def test_a_mistake_in_a_spec_names_file_path_and_value(plane: ControlPlane, cluster: Client, specs: Path) -> None:
    atlas = specs / "projects" / "atlas.yml"
    atlas.write_text(atlas.read_text().replace("provider: main", "provider: mian", 1))
    ran = run_module(plane, specs)
    assert "projects/atlas.yml" in ran.result["msg"]
    assert "'mian'" in ran.result["msg"]
    assert read(cluster, "lab") == {}


def test_info_tells_projects_and_drift(plane: ControlPlane, cluster: Client, specs: Path) -> None:
    run_module(plane, specs)
    assert run_module(plane, specs, module="projects_info").result["in_sync"] is True
    edit_by_hand(cluster, {"spec": {"failStrategy": "FAIL_OPEN"}})
    info = run_module(plane, specs, module="projects_info").result
    assert info["drift"] == [{"object": "WasmPlugin/key-auth", "field": "spec.failStrategy", "manager": "kubectl-edit"}]
    assert sorted(info["projects"]) == ["atlas", "beacon"]


@pytest.mark.parametrize(
    ("kind", "name"), [("module", "projects"), ("module", "projects_info"), ("filter", "effective_policy")]
)
def test_its_documentation_can_be_read(kind: str, name: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-doc"), "-t", kind, "--json", f"opsta.ai_gateway.{name}"],
        capture_output=True, text=True, check=False, cwd=ROOT,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[f"opsta.ai_gateway.{name}"]["doc"]["options"]
