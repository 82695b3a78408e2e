"""Dashboards are valid Grafana documents, their PromQL is valid, and they speak of people in the spec's words."""

import json
import os
import re
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboards import DASHBOARDS, Dashboard, render
from dashboards.model import GRID_WIDTH

from .queries import every_query
from .services import TREE

TITLES = {"AI Gateway overview", "Spend", "Platform"}
IDENTITY = ["org", "project", "group", "user", "model"]


@pytest.fixture(params=DASHBOARDS, ids=lambda d: d.uid)
def dashboard(request: pytest.FixtureRequest) -> Dashboard:
    found: Dashboard = request.param
    return found


def panels(dashboard: Dashboard) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = render(dashboard)["panels"]
    return found


def test_the_three_dashboards_are_there() -> None:
    assert {d.title for d in DASHBOARDS} == TITLES


def test_panels_do_not_overlap_and_have_their_own_number(dashboard: Dashboard) -> None:
    found = panels(dashboard)
    assert len({p["id"] for p in found}) == len(found)
    cells = [p["gridPos"] for p in found]
    assert all(c["x"] + c["w"] <= GRID_WIDTH for c in cells)
    for a, b in combinations(cells, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart |= a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart, (a, b)


def test_every_panel_says_what_it_shows_and_in_which_unit(dashboard: Dashboard) -> None:
    for panel in panels(dashboard):
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["targets"]


def test_people_are_chosen_by_the_same_five_names() -> None:
    for dashboard in DASHBOARDS:
        names = [v["name"] for v in render(dashboard)["templating"]["list"] if v["type"] == "query"]
        assert names == ([] if dashboard.title == "Platform" else IDENTITY)


def test_every_variable_of_a_query_is_defined(dashboard: Dashboard) -> None:
    document = render(dashboard)
    defined = {v["name"] for v in document["templating"]["list"]} | {"__rate_interval", "__range", "__all"}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(document)))
    assert used <= defined


def test_every_query_is_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": query.expr}
        for number, query in enumerate(q for q in every_query() if q.source == "panel")
    ]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_the_documents_are_written_and_are_the_same_each_time(tmp_path: Path) -> None:
    for directory in ("one", "two"):
        subprocess.run([sys.executable, "-m", "dashboards", str(tmp_path / directory)], check=True, cwd=TREE)
    first, second = (sorted((tmp_path / d).iterdir()) for d in ("one", "two"))
    assert [f.name for f in first] == sorted(f"{d.uid}.json" for d in DASHBOARDS)
    assert [f.read_bytes() for f in first] == [f.read_bytes() for f in second]
    assert {json.loads(f.read_text())["title"] for f in first} == TITLES


def test_a_role_gets_the_same_documents(tmp_path: Path) -> None:
    ansible = str(Path(sys.executable).with_name("ansible"))
    file = tmp_path / "dashboards.json"
    content = "{{ lookup('opsta.ai_gateway.dashboards', wantlist=true) | to_json }}"
    arguments = json.dumps({"content": content, "dest": str(file), "mode": "0600"})
    interpreter = f"ansible_python_interpreter={sys.executable}"
    environment = os.environ | {
        "ANSIBLE_CONFIG": str(TREE / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(TREE / ".build/collections"),
    }
    command = [
        ansible,
        "localhost",
        "-i",
        "localhost,",
        "-c",
        "local",
        "-m",
        "ansible.builtin.copy",
        "-e",
        interpreter,
        "-a",
        arguments,
    ]
    subprocess.run(command, capture_output=True, cwd=TREE, env=environment, check=True)
    found = json.loads(file.read_text())
    assert [(d["name"], d["title"]) for d in found] == [(d.uid, d.title) for d in DASHBOARDS]
    assert [json.loads(d["json"]) for d in found] == [render(d) for d in DASHBOARDS]


# ----------------------------------------------------------------------------------------------------------- alerts

ALERTS = [
    rule for group in yaml.safe_load((TREE / "rules/alerts.yml").read_text())["groups"] for rule in group["rules"]
]


def anchors() -> set[str]:
    titles = re.findall(r"^#+ (.+)$", (TREE / "docs/runbooks.md").read_text(), re.M)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda a: a["alert"])
def test_an_alert_says_what_happened_and_where_to_read_on(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert len(alert["annotations"]["summary"]) > 20
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    assert page == "docs/runbooks.md"
    assert anchor in anchors()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda a: a["alert"])
def test_an_alert_has_a_unit_test_that_sees_it_fire_and_one_that_sees_it_silent(alert: dict[str, Any]) -> None:
    tests = yaml.safe_load((TREE / "rules/tests/alerts_test.yml").read_text())["tests"]
    cases = [c for t in tests for c in t["alert_rule_test"] if c["alertname"] == alert["alert"]]
    assert [c for c in cases if c["exp_alerts"]], "never seen to fire"
    quiet = [c for c in cases if not c["exp_alerts"]]
    # A test with a second series that must not fire is a silent one too.
    several = [t for t in tests if len(t["input_series"]) > 1 and alert["alert"] in str(t["alert_rule_test"])]
    assert quiet or several, "never seen to be silent"
