"""Every panel and rule against the sandbox's real Prometheus after real traffic; and what must be found nowhere."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.sandbox.sandbox import until

from .alloy import Block
from .queries import Named, every_query
from .site import Planted, Site, eventually, plant, running, tick, traffic
from .telemetry import stored

# Bringing a site up on a busy machine takes minutes.
pytestmark = pytest.mark.timeout(900)

# What the sandbox has no source of, by the beginning of the metric's name.
NOT_HERE = {
    "kube": "no Kubernetes",
    "container_": "no containers",
    "certmanager_": "no certificates",
    "istio_agent_": "plugins are local files",
    "pilot_": "no control plane of Higress",
    "redis_": "Debian's Redis without an exporter",
    "ai_gateway:guard_config_refused:time": "no config was refused",
}
# What a query asks for that is there under other labels only.
NOT_THERE = {
    'kind="user"': "users' money stands in the controller's report, not in its metrics",
}
METRIC = re.compile(
    r"\b(?:ai_gateway:[\w:]+|(?:aigw|envoy|route|redis|kube|container|certmanager|istio_agent|pilot)_\w+|up)\b"
)

LABELS = {"envoy_cluster_name", "envoy_http_conn_manager_prefix", "envoy_response_code_class"}


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, planted: Planted) -> Iterator[Site]:
    """A sandbox in which people have worked: twice, as a rate needs two looks at a counter."""
    directory = tmp_path_factory.mktemp("site")
    with running(directory) as found:
        tick(found)  # the ledger's first look is its zero
        answered = traffic(found, planted)
        assert answered["answered"] == answered["streamed"] == answered["embedded"] == 200, answered
        assert answered["wrong key"] == 401, answered
        assert answered["wrong model"] == answered["forbidden words"] == 403, answered
        # With the group: until the report was first looked at, the same counter stands under fewer labels.
        first = 'ai_gateway:meter:total{project="comet",group="search"}'
        eventually(lambda: bool(found.query(first)), "first look at the counters")
        again = traffic(found, planted)
        # What a round asks last: then all of both is counted.
        refused = 'sum(ai_gateway:refused:total{gate="prompt_guard"}) == 2'
        eventually(lambda: bool(found.query(refused)), "both rounds' refusals")
        requests = len(answered) + len(again)
        eventually(lambda: len(found.sandbox.logged(since=0)) >= requests, "both rounds in the access log")
        eventually(
            lambda: bool(found.query('sum(rate(ai_gateway:meter:total{project="comet",meter="request"}[1m])) > 0')),
            "second look at the counters",
        )
        tick(found)
        spent = 'ai_gateway:budget:usd{amount="spent",kind="project",project="atlas"} > 0'
        eventually(lambda: bool(found.query(spent)), "the controller's books in Prometheus")
        yield found


def _missing(site: Site, query: Named) -> set[str]:
    """Metrics that a query reads and Prometheus has not."""
    names = set(METRIC.findall(query.expr)) - LABELS
    return {name for name in names if not site.query(f'count({{__name__="{name}"}})')}


def _explained(site: Site, query: Named) -> bool:
    """Whether a query gives data, or is empty for a known reason; fails with what is amiss."""
    if site.query(query.expr):
        return True
    missing = _missing(site, query)
    unknown = {name for name in missing if not name.startswith(tuple(NOT_HERE))}
    assert not unknown, f"no such metric: {unknown}"
    # An alert is silent when all is well; that its metrics are there is what can be shown.
    known = missing or query.source == "alert" or any(part in query.expr for part in NOT_THERE)
    assert known, "its metrics are there, and it gives nothing"
    return True


@pytest.mark.parametrize("query", tuple(every_query()), ids=lambda q: f"{q.source}: {q.name}")
def test_a_query_gives_data_or_is_empty_for_a_known_reason(site: Site, query: Named) -> None:
    # Envoy's histograms come some seconds after its counters, and a rule's rule an evaluation after that.
    until(lambda: _explained(site, query), seconds=60)


def test_every_rule_is_loaded_and_evaluates(site: Site) -> None:
    def it_does() -> bool:
        rules = [rule for group in site.ask("/api/v1/rules")["groups"] for rule in group["rules"]]
        assert {rule["name"] for rule in rules} >= {q.name for q in every_query() if q.source != "panel"}
        # One that was not evaluated yet is "unknown".
        assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
        return True

    until(it_does)


def test_what_nobody_asks_for_is_not_kept(site: Site) -> None:
    # With a thousand Projects the connections of every cluster would be 46 MB a scrape.
    assert site.query('count({__name__=~"envoy_http_downstream_rq_time_bucket"})')
    assert not site.query('count({__name__=~"envoy_cluster_upstream_cx_.*"})')


def test_tokens_are_known_by_everybody_who_used_them(site: Site) -> None:
    found = site.query('sum by (project, user) (ai_gateway:meter:total{meter="request"})')
    people = {(s["metric"]["project"], s["metric"]["user"]) for s in found}
    assert {("atlas", "alice"), ("atlas", "bob"), ("beacon", "tina"), ("comet", "indexer")} <= people
    cached = site.query('sum(ai_gateway:meter:total{meter="cache_read_token",user="alice"})')
    assert float(cached[0]["value"][1]) >= 1400
    estimated = site.query('sum(ai_gateway:meter:total{meter="estimated_output_token"})')
    assert float(estimated[0]["value"][1]) > 0


def test_refusals_are_counted_by_gate(site: Site) -> None:
    found = site.query("sum by (project, gate, status) (ai_gateway:refused:total)")
    counted = {(s["metric"].get("project"), s["metric"]["gate"], s["metric"]["status"]): s["value"][1] for s in found}
    assert counted["atlas", "prompt_guard", "403"] == "2"
    assert counted["atlas", "model_allowlist", "403"] == "2"
    assert counted["atlas", "key_auth", "401"] == "2"


def test_the_gateways_log_tells_who_asked_which_model(site: Site, alloy: Block) -> None:
    lines = (site.directory / "log/access.json").read_text().splitlines()
    entries = [entry for line in lines for entry in stored(alloy, line)]
    told = Counter((e.tenant, e.metadata.get("consumer"), e.metadata.get("model")) for e in entries)
    assert told["atlas", "atlas.alice", "mock-large"], told
    refused = Counter((e.labels["project"], e.labels["gate"]) for e in entries if "gate" in e.labels)
    assert refused["atlas", "prompt-guard"] == 2


# ------------------------------------------------------------------------------------------------------------ leaks

# Where secrets have to be: the providers' and consumers' keys as the gateway is configured, and what tells them to a person.
CONFIGURED = ("secrets.json", "access.json", "summary.txt", "envoy", "objects.json", "wasm", "vault")


def planted_values(site: Site, planted: Planted) -> dict[str, str]:
    secrets = json.loads((site.directory / "secrets.json").read_text())
    values = {f"{project} {name}": str(value) for project, own in secrets.items() for name, value in own.items()}
    values |= {f"key of {c}": k for p in site.sandbox.access["projects"].values() for c, k in p["keys"].items()}
    return values | {
        "wrong key": planted.wrong_key,
        "mail address": planted.email,
        "phone": planted.phone,
        "prompt": planted.secret_words,
    }


def written(directory: Path) -> dict[str, str]:
    """Every text the sandbox has written by running: logs, Redis, Prometheus' disk, its report."""
    texts = {}
    for file in sorted(directory.rglob("*")):
        relative = file.relative_to(directory)
        if file.is_file() and relative.parts[0] not in CONFIGURED:
            with suppress(FileNotFoundError):  # services write files anew and rename them
                texts[str(relative)] = file.read_bytes().decode("utf-8", "replace")
    return texts


def found_in(texts: dict[str, str], values: dict[str, str]) -> list[tuple[str, str]]:
    return [(where, what) for where, text in texts.items() for what, value in values.items() if value in text]


def test_nothing_planted_is_in_a_log_or_on_a_disk(site: Site, planted: Planted) -> None:
    texts = written(site.directory)
    access = texts["log/access.json"]
    assert "atlas.coding-default" in access, "the access log is read"
    assert len(access.splitlines()) >= 26, "all requests are in it"
    assert found_in(texts, planted_values(site, planted)) == []


def test_nothing_planted_is_in_a_metric_or_a_label(site: Site, planted: Planted) -> None:
    labels = site.ask("/api/v1/labels")
    texts = {f"label {name}": json.dumps(site.ask(f"/api/v1/label/{name}/values")) for name in labels}
    assert any("atlas.alice" in text for text in texts.values()), "labels are read"
    assert found_in(texts, planted_values(site, planted)) == []


def test_the_search_finds_what_is_there(site: Site, planted: Planted, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log/plugin.log").write_text(f"wasm log: {planted.prompt}")
    texts = written(tmp_path)
    assert {what for _, what in found_in(texts, planted_values(site, planted))} == {"mail address", "phone", "prompt"}
