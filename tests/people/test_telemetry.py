"""What Alloy would store: metrics per tenant, log lines without secrets or prompts, spans without URLs."""

import json
from typing import Any

import pytest
import re2  # type: ignore[import-untyped]
import yaml

from tests.hosts.test_roles import CHARTS as CHART_VALUES
from tests.hosts.test_roles import foreign_paths

from .alloy import Block
from .services import TREE
from .telemetry import PROJECTS, render, stored

KEY = "sk-live-0123456789abcdefghij"
MAIL = "somchai.jaidee@example.co.th"
PROMPT = "My national id is 1-2345-67890-12-3, write to " + MAIL


def component(alloy: Block, name: str, label: str) -> Block:
    (found,) = [block for block in alloy.all(name) if block.label == label]
    return found


def access_line(**changes: Any) -> str:
    ai_log = {
        "consumer": "atlas.alice",
        "project": "atlas",
        "group": "dev",
        "user": "alice",
        "model": "gpt-4o-2024-08-06",
        "input_token": 12,
        "output_token": 34,
        "question": PROMPT,
        "answer": "Of course. " + MAIL,
    }
    line = {
        "time": "2026-11-23T09:00:00.123Z",
        "request_id": "8e1b3a52-6a3f-4b0e-9a43-0c1d2e3f4a5b",
        "method": "POST",
        "path": f"/v1/chat/completions?api_key={KEY}",
        "user_agent": f"curl {KEY}",
        "authority": "atlas.localhost",
        "x_forwarded_for": "10.0.0.9",
        "route": "atlas.coding-default",
        "gate": "-",
        "status": 200,
        "flags": "-",
        "upstream": "outbound|443||atlas-a.dns",
        "duration_ms": 812,
        "first_byte_ms": 95,
        # As ai-statistics leaves it: the inside of a JSON string.
        "ai_log": json.dumps(json.dumps(ai_log))[1:-1],
    }
    return json.dumps(line | changes)


def test_the_access_log_keeps_what_operators_need_and_nothing_else(alloy: Block) -> None:
    (entry,) = stored(alloy, access_line())
    assert entry.tenant == "atlas"
    assert entry.labels == {
        "namespace": "higress-system",
        "pod": "p",
        "container": "higress-gateway",
        "project": "atlas",
    }
    assert entry.metadata == {
        "request_id": "8e1b3a52-6a3f-4b0e-9a43-0c1d2e3f4a5b",
        "consumer": "atlas.alice",
        "model": "gpt-4o-2024-08-06",
        "status": "200",
    }
    assert entry.line == (
        "request_id=8e1b3a52-6a3f-4b0e-9a43-0c1d2e3f4a5b route=atlas.coding-default status=200 flags=- gate=- "
        "upstream=outbound|443||atlas-a.dns duration_ms=812 first_byte_ms=95 consumer=atlas.alice group=dev "
        "user=alice model=gpt-4o-2024-08-06 input_token=12 output_token=34"
    )


def test_a_refusal_keeps_its_gate_and_its_project(alloy: Block) -> None:
    (entry,) = stored(alloy, access_line(gate="prompt-guard", status=403, ai_log="-", route="atlas--entry"))
    assert entry.labels["gate"] == "prompt-guard"
    assert entry.tenant == "atlas"
    assert "gate=prompt-guard" in entry.line
    assert "status" not in entry.labels
    assert "consumer=-" in entry.line


@pytest.mark.parametrize("route", ["-", "", None, "Weird Route"])
def test_a_line_of_no_project_is_the_platforms(alloy: Block, route: str | None) -> None:
    (entry,) = stored(alloy, access_line(route=route))
    assert entry.tenant is None


def test_a_label_cannot_be_chosen_by_a_client_or_a_provider(alloy: Block) -> None:
    (entry,) = stored(alloy, access_line(request_id=PROMPT, gate=PROMPT))
    assert set(entry.labels) == {"namespace", "pod", "container", "project"}
    assert "request_id" not in entry.metadata
    assert PROMPT not in entry.stored()


@pytest.mark.parametrize(
    "line",
    [
        f"[2026-11-23 09:00:00.1][12][warning][wasm] [external/x.cc:1] wasm log key-auth: unknown credential {KEY}",
        f"2026-11-23T09:00:00.1Z\tinfo\tenvoy wasm external/x.cc:1\twasm log: body is {PROMPT}",
        f"body: {PROMPT}",
        "info secret67890",
        f'  {{"messages": "{PROMPT}"}}',
    ],
)
def test_the_gateways_other_lines_keep_level_and_part_alone(alloy: Block, line: str) -> None:
    (entry,) = stored(alloy, line)
    assert entry.line.endswith("text withheld, see the pod's own log")
    assert KEY not in entry.stored()
    assert MAIL not in entry.stored()
    assert "67890" not in entry.stored()


def test_the_level_of_a_withheld_line_is_kept(alloy: Block) -> None:
    (entry,) = stored(alloy, "[2026-11-23 09:00:00.1][12][warning][wasm] [x.cc:1] wasm log: hello")
    assert entry.line.startswith("warning wasm: text withheld")
    (entry,) = stored(alloy, "2026-11-23T09:00:00.1Z\terror\tenvoy config x.cc:1\trejected")
    assert entry.line.startswith("error config: text withheld")


def test_a_broken_access_line_is_dropped_not_stored(alloy: Block) -> None:
    assert stored(alloy, access_line()[:-9]) == []


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        (f"Authorization: Bearer {KEY}", KEY),
        (f"authorization=Basic {'QWxhZGRpbjpvcGVuIHNlc2FtZQ=='}", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (f'{{"x-api-key": "{KEY}"}}', KEY),
        ("provider said no to sk-proj-AbCdEf0123456789xyz", "sk-proj-AbCdEf0123456789xyz"),
        ("redis://user:hunter2hunter2@redis:6379 is away", "hunter2hunter2"),
        ("password=correct-horse;", "correct-horse"),
        (f"GET /oauth2/callback?code=4/abcdef&state={KEY}", "4/abcdef"),
        ("token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJl", "eyJzdWIiOiIxMjM0NTYifQ"),
        (f"[AuthSuccess] authenticated {MAIL}", MAIL),
        (json.dumps({"level": "error", "messages": [{"role": "user", "content": PROMPT}]}), "67890"),
        (json.dumps({"error": "x", "prompt": PROMPT}), "67890"),
        (json.dumps({"input": [PROMPT]}), "67890"),
        ("cookie: __Host-sign_on=djIuWDE5SWIz", "djIuWDE5SWIz"),
    ],
)
def test_other_pods_lines_lose_what_looks_secret(alloy: Block, line: str, secret: str) -> None:
    (entry,) = stored(alloy, line, container="budget-controller")
    assert secret not in entry.stored()
    assert "***" in entry.line


def test_an_ordinary_line_stays_readable(alloy: Block) -> None:
    line = 'level=info msg="run finished" spent_usd=12.34 consumers=40 seconds=0.8'
    (entry,) = stored(alloy, line, container="budget-controller")
    assert entry.line == line


def test_every_metric_goes_to_the_platform_and_a_projects_own_to_it(alloy: Block) -> None:
    assert (
        "prometheus.remote_write.platform.receiver"
        in component(alloy, "prometheus.relabel", "slim").attributes["forward_to"]
    )

    def tenants(ai_route: str, project: str, kind: str = "", scope: str = "") -> set[str]:
        found = set()
        for name in PROJECTS:
            block = component(alloy, "prometheus.relabel", name.replace("-", "_"))
            (rule,) = block.all("rule")
            assert rule.attributes["action"] == "keep"
            if re2.fullmatch(rule.attributes["regex"], f"{ai_route};{project};{kind};{scope}"):
                (endpoint,) = component(alloy, "prometheus.remote_write", name.replace("-", "_")).all("endpoint")
                found.add(endpoint.attributes["headers"]["X-Scope-OrgID"])
        return found

    assert tenants("atlas.coding-default", "") == {"atlas"}
    assert tenants("atlas--entry", "") == {"atlas"}
    assert tenants("atlas.coding-default--fallback", "") == {"atlas"}
    assert tenants("atlas-x.bulk", "") == {"atlas-x"}
    assert tenants("", "beacon") == {"beacon"}
    assert tenants("", "") == set()
    assert tenants("comet.x", "") == set()
    # The budget controller's gauges.
    assert tenants("", "", "project", "atlas") == {"atlas"}
    assert tenants("", "", "group", "atlas-x/dev") == {"atlas-x"}
    assert tenants("", "", "user", "beacon.tina") == {"beacon"}
    assert tenants("", "", "org", "atlas") == set()


def test_spans_keep_an_allow_list(alloy: Block) -> None:
    block = component(alloy, "otelcol.processor.transform", "allowed")
    spans, events = block.all("trace_statements")
    keep = spans.attributes["statements"][0]
    assert keep.startswith("keep_keys(span.attributes, [")
    for gone in ("http.url", "user_agent", "peer.address", "url.full", "http.request.header", "downstream_cluster"):
        assert gone not in keep
    assert events.attributes["statements"] == ["keep_keys(spanevent.attributes, [])"]
    assert block.all("output")[0].attributes["traces"] == ["otelcol.processor.batch.traces.input"]


def test_every_forward_names_a_component_that_exists(alloy: Block) -> None:
    there = {f"{block.name}.{block.label}" for block in alloy.blocks if block.label}

    def forwards(block: Block) -> set[str]:
        own = {t for key in ("forward_to", "traces") for t in block.attributes.get(key, ())}
        own |= {t for t in [block.attributes.get("targets")] if isinstance(t, str)}
        return own.union(*(forwards(inner) for inner in block.blocks))

    named = {target.rpartition(".")[0] for target in forwards(alloy)}
    assert named
    assert named <= there


def test_the_gateways_log_has_no_field_of_a_clients_text() -> None:
    fields = yaml.safe_load((TREE / "telemetry/access_log.yml").read_text())
    said = " ".join(fields.values()).upper()
    for operator in ("PATH", "USER-AGENT", "AUTHORITY", "FORWARDED", "AUTHORIZATION", "COOKIE", "REFERER", "BODY"):
        assert operator not in said


# ------------------------------------------------------------------------------------------------ values of the charts

SIZES = yaml.safe_load((TREE / "telemetry/sizes.yml").read_text())
OBJECT = {
    "endpoint": "s3.acme.example",
    "region": "th-1",
    "prefix": "site",
    "insecure": False,
    "secret": "object-storage",
}
CHARTS = ("alloy", "loki", "mimir", "tempo", "grafana")
PINNED = {"mimir": "mimir-distributed"}


def values(chart: str, size: str, object_storage: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(
        render(
            f"{chart}.yml.j2",
            size=SIZES[size],
            observability_object_storage=object_storage,
            observability_storage_class="local-path",
            observability_metrics_retention="400d",
            observability_metrics_series_limit=300000,
            observability_logs_retention="30d",
            observability_traces_retention="168h",
            observability_minio_password="from-the-vault",
            observability_alertmanager_url="",
            observability_projects=PROJECTS,
            observability_grafana_admin_secret="grafana-admin",
            observability_grafana_url="https://dash.acme.example",
            observability_gate_addresses=["10.42.0.0/16"],
            observability_gate_data_url="http://sign-on-gate:8081",
            observability_scrape_interval="15s",
        )
    )
    return document


def mebibytes(text: str) -> int:
    return int(text[:-2]) * {"Mi": 1, "Gi": 1024}[text[-2:]]


def memory(size: str, what: str) -> int:
    """MiB over the whole site; Alloy runs once per node."""
    table = SIZES[size]
    nodes = {"small": 1, "large": 3}[size]
    parts = [(part.get("replicas", 1), part) for part in table["mimir"].values()]
    parts += [(table[name]["replicas"], table[name]) for name in ("grafana", "loki", "tempo")]
    parts += [(nodes, table["alloy"]), (1, table["grafana_sidecar"])]
    return sum(count * mebibytes(part[what]["memory"]) for count, part in parts)


def test_the_small_size_leaves_half_of_a_node_of_8_gib_to_the_gateway() -> None:
    assert memory("small", "request") <= 2 * 1024
    assert memory("small", "limit") <= 4.5 * 1024


def test_the_large_size_leaves_half_of_three_nodes_of_16_gib() -> None:
    assert memory("large", "request") <= 12 * 1024
    assert memory("large", "limit") <= 24 * 1024


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("object_storage", [{}, OBJECT], ids=["local", "object"])
def test_data_is_kept_as_long_as_the_inventory_says(size: str, object_storage: dict[str, Any]) -> None:
    loki = values("loki", size, object_storage)
    assert loki["loki"]["limits_config"]["retention_period"] == "30d"
    assert loki["loki"]["compactor"]["retention_enabled"] is True
    assert loki["singleBinary"]["persistence"]["enabled"] is True
    assert loki["loki"]["schemaConfig"]["configs"][0]["object_store"] == ("s3" if object_storage else "filesystem")
    tempo = values("tempo", size, object_storage)
    assert tempo["tempo"]["retention"] == "168h"
    assert tempo["persistence"]["enabled"] is True
    assert tempo["tempo"]["storage"]["trace"]["backend"] == ("s3" if object_storage else "local")
    mimir = values("mimir", size, object_storage)
    assert mimir["mimir"]["structuredConfig"]["limits"]["compactor_blocks_retention_period"] == "400d"
    assert mimir["minio"]["enabled"] is not bool(object_storage)
    assert mimir["ingester"]["persistentVolume"]["enabled"] is True


@pytest.mark.parametrize("size", SIZES)
def test_tenants_are_kept_apart_and_only_the_gate_says_which(size: str) -> None:
    mimir, loki = values("mimir", size, {}), values("loki", size, {})
    assert mimir["mimir"]["structuredConfig"]["multitenancy_enabled"] is True
    assert loki["loki"]["auth_enabled"] is True
    grafana = values("grafana", size, {})
    sources = grafana["datasources"]["datasources.yaml"]["datasources"]
    assert {s["uid"] for s in sources} == {"metrics", "logs"}
    assert all(s["url"].startswith("http://sign-on-gate:8081/") for s in sources)
    assert all(s["jsonData"]["keepCookies"] == ["__Host-sign_on"] for s in sources)
    assert grafana["grafana.ini"]["auth.proxy"]["enabled"] is True
    assert grafana["grafana.ini"]["auth"]["disable_login_form"] is True


@pytest.mark.parametrize("size", SIZES)
def test_every_project_has_its_rules_and_only_the_platform_alerts(size: str) -> None:
    (volume,) = values("mimir", size, {})["ruler"]["extraVolumes"]
    paths = {item["path"] for item in volume["configMap"]["items"]}
    assert paths == {"platform/usage.yml", "platform/alerts.yml", *(f"{p}/usage.yml" for p in PROJECTS)}


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("object_storage", [{}, OBJECT], ids=["local", "object"])
def test_every_value_exists_in_the_pinned_chart(chart: str, size: str, object_storage: dict[str, Any]) -> None:
    pinned = CHART_VALUES[PINNED.get(chart, chart)]
    assert list(foreign_paths(values(chart, size, object_storage), pinned, {})) == []


def test_mimirs_config_and_with_it_a_password_is_a_secret() -> None:
    assert values("mimir", "small", {})["configStorageType"] == "Secret"


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("size", SIZES)
def test_no_secret_stands_in_values_with_object_storage(chart: str, size: str) -> None:
    text = json.dumps(values(chart, size, OBJECT))
    assert "from-the-vault" not in text
