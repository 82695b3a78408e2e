"""The roles observability and oauth2_proxy against a real API server: what the charts get, and what stands in the cluster."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from dashboards import DASHBOARDS
from tests.hosts.test_roles import CHARTS as CHART_VALUES
from tests.hosts.test_roles import foreign_paths

from .alloy import parse
from .cluster import SECRETS, Cluster, Run, running
from .services import TREE
from .telemetry import stored
from .test_telemetry import access_line

# Two runs of a play with six charts on a busy machine.
pytestmark = pytest.mark.timeout(900)

RELEASES = {
    "mimir": "mimir-distributed",
    "loki": "loki",
    "tempo": "tempo",
    "alloy": "alloy",
    "grafana": "grafana",
    "oauth2-proxy": "oauth2-proxy",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running(tmp_path_factory.mktemp("roles")) as found:
        yield found


@pytest.fixture(scope="module")
def first(cluster: Cluster) -> Run:
    return cluster.play("--diff")


@pytest.fixture(scope="module")
def site(cluster: Cluster, first: Run) -> Cluster:
    assert first.changed
    return cluster


@pytest.mark.parametrize("release", RELEASES)
def test_a_chart_gets_nothing_that_it_does_not_have(site: Cluster, release: str) -> None:
    assert list(foreign_paths(site.values(release), CHART_VALUES[RELEASES[release]], {})) == []


def test_a_second_run_changes_nothing(site: Cluster) -> None:
    second = site.play("--diff")
    assert second.changed == (), second.text


def test_no_secret_is_shown(first: Run) -> None:
    assert [name for name, value in SECRETS.items() if value in first.text] == []


def test_secrets_are_in_no_config_map_but_the_charts_record(site: Cluster) -> None:
    texts = [json.dumps(site.values(release)) for release in RELEASES if release != "mimir"]
    texts += [json.dumps(site.config_map(name)) for name in ("ai-gateway-alloy", "ai-gateway-rules", "sign-on-gate")]
    assert [name for name, value in SECRETS.items() if any(value in text for text in texts)] == []


def test_alloy_gets_the_redaction_and_every_projects_tenant(site: Cluster) -> None:
    values = site.values("alloy")["alloy"]["configMap"]
    config = parse(site.config_map(values["name"])[values["key"]])
    (entry,) = stored(config, access_line())
    assert entry.tenant == "atlas"
    assert {"atlas", "beacon", "comet", "platform"} <= {block.label for block in config.all("prometheus.remote_write")}


def test_mimir_reads_the_sites_rules(site: Cluster) -> None:
    (volume,) = site.values("mimir")["ruler"]["extraVolumes"]
    rules = site.config_map(volume["configMap"]["name"])
    for name, text in rules.items():
        assert yaml.safe_load(text) == yaml.safe_load((TREE / "rules" / name).read_text())
    items = {(item["key"], item["path"]) for item in volume["configMap"]["items"]}
    assert {key for key, _ in items} == set(rules)
    assert ("usage.yml", "atlas/usage.yml") in items


def test_grafana_finds_every_dashboard(site: Cluster) -> None:
    sidecar = site.values("grafana")["sidecar"]["dashboards"]
    assert (sidecar["label"], sidecar["labelValue"]) == ("grafana_dashboard", "1")
    for dashboard in DASHBOARDS:
        ((name, text),) = site.config_map(f"dashboard-{dashboard.uid}").items()
        assert name == f"{dashboard.uid}.json"
        assert json.loads(text)["title"] == dashboard.title


def test_grafana_reads_data_through_the_gate_alone(site: Cluster) -> None:
    grafana = site.values("grafana")
    assert grafana["grafana.ini"]["auth.proxy"]["header_name"] == "X-WebAuth-User"
    sources = grafana["datasources"]["datasources.yaml"]["datasources"]
    assert {source["url"].split("/")[2].split(".")[0] for source in sources} == {"sign-on-gate"}


def test_people_reach_the_gate_and_the_gate_knows_the_sites_projects(site: Cluster) -> None:
    (rule,) = site.read("Ingress", "people")["spec"]["rules"]
    assert rule["host"] == "grafana.ai.example.com"
    assert rule["http"]["paths"][0]["backend"]["service"]["name"] == "sign-on-gate"
    table = json.loads(site.config_map("sign-on-gate")["table.json"])
    assert table["projects"] == ["atlas", "beacon", "comet"]
    assert table["members"] == {"ai-atlas-dev@acme.example": [{"org": "acme", "project": "atlas", "group": "dev"}]}


def test_the_request_chain_is_off_for_people(site: Cluster) -> None:
    (patch,) = site.read("EnvoyFilter", "people")["spec"]["configPatches"]
    filters = patch["patch"]["value"]["typed_per_filter_config"]
    assert {"higress-system.identity-entrance", "higress-system.identity", "higress-system.ai-proxy"} <= set(filters)


def test_oauth2_proxy_signs_on_the_companys_people_and_keeps_no_secret_in_its_config(site: Cluster) -> None:
    values = site.values("oauth2-proxy")
    lines = values["config"]["configFile"].splitlines()
    assert 'email_domains = ["acme.example"]' in lines
    assert 'google_admin_email = "it@acme.example"' in lines
    assert 'redirect_url = "https://grafana.ai.example.com/oauth2/callback"' in lines
    assert values["podLabels"] == {"app.kubernetes.io/part-of": "ai-gateway"}


def test_only_callers_that_are_known_reach_what_believes_headers(site: Cluster) -> None:
    def callers(app: str) -> set[str]:
        spec: dict[str, Any] = site.read("NetworkPolicy", f"only-callers-of-{app}")["spec"]
        assert spec["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": app}
        return {
            name
            for rule in spec["ingress"]
            for source in rule["from"]
            for name in source["podSelector"]["matchExpressions"][0]["values"]
        }

    assert callers("grafana") == callers("oauth2-proxy") == {"sign-on-gate"}
    assert callers("mimir") == {"alloy", "budget-controller", "mimir", "sign-on-gate"}


def test_groups_without_a_way_to_read_them_are_refused(cluster: Cluster) -> None:
    done = cluster.attempt(play="sign-on", oauth2_proxy_google_admin="")
    assert done.returncode
    assert "oauth2_proxy_groups needs oauth2_proxy_google_admin" in done.stdout
