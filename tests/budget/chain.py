"""The whole chain for the budget controller's tests: the site's own play, with Projects of these tests, and its tools.

Real are Envoy, the guards, ai-statistics, ai-proxy, Redis, Prometheus and the controller's command; ai-quota's check and
debit and the providers are the sandbox's stand-ins. The timer stands still: the tests run every tick themselves.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from tests.sandbox.sandbox import EXAMPLES, Sandbox, free_base, is_free, until

MODULE = "ansible_collections.opsta.ai_gateway.budget_controller"
METER = "route_upstream_model_consumer_metric_usage_"
CHAT = "/v1/chat/completions"
ENTRY = re.compile(rf"^{METER}(\w+){{(.*)}} (\d+)$", re.MULTILINE)

#: USD per token of mock-large; the dearest is what a lease is worth
INPUT, OUTPUT, CACHED = Fraction("2.5") / 10**6, Fraction(10) / 10**6, Fraction("0.25") / 10**6
DEAREST = OUTPUT

#: One request of these tests: what the provider reports, and what it costs.
TOKENS_IN, TOKENS_OUT = 1000, 100
COST = TOKENS_IN * INPUT + TOKENS_OUT * OUTPUT
SAY = f"[[mock: input={TOKENS_IN} output={TOKENS_OUT}]]"

#: Seconds until Envoy answers again: it compiles every guard anew.
RESTART = 400

SMALL = {"usd": "0.05"}

#: The zone in which it is noon now: no period ends while these tests run. (Its name has the sign of POSIX.)
NOON = f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"


def project(name: str, groups: dict[str, Any], org: str = "plain", **more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "org": org,
        "project": name,
        "host": f"{name}.localhost",
        "timezone": NOON,
        "providers": {"main": {"url": "http://provider-a.sandbox.test/v1", "key": "main"}},
        "models": {"chat": {"targets": [{"provider": "main", "model": "mock-large"}]}},
        "masking": {"engine": "off"},
        "groups": {group: {"models": ["chat"], **content} for group, content in groups.items()},
        **more,
    }


def users(*names: str, **each: Any) -> dict[str, Any]:
    return {"users": {name: dict(each) for name in names}}


ORGS = {"plain": {"timezone": NOON}, "small": {"timezone": NOON, "budget": SMALL}}
PROJECTS = (
    project("by-user", {"all": users("ann", budget=SMALL) | {"budget": {"usd": 5}}}),
    project("by-group", {"all": users("ann", "ben") | {"budget": SMALL}, "rest": users("cyd", budget={"usd": 5})}),
    project("by-project", {"one": users("ann"), "two": users("ben")}, budget=SMALL),
    project("by-org-a", {"all": users("ann", budget={"usd": 5})}, org="small"),
    project("by-org-b", {"all": users("ben")}, org="small"),
    project("rush", {"all": users("whole", "stream") | {"user_budget": {"usd": "0.175"}}}),
    project("margin", {"all": users("whole", "stream") | {"user_budget": {"usd": "0.527"}}}),
    project(
        "meter", {"all": users("cached", "silent", "gone", "kept", "killed", "raised", "flushed", budget={"usd": 5})}
    ),
)


@dataclass(frozen=True)
class Answer:
    status: int
    gate: str
    text: str

    @property
    def code(self) -> str:
        code: str = json.loads(self.text)["error"]["code"]
        return code


@dataclass(frozen=True)
class Tick:
    """How a command of the controller ended; ``last`` is its last log line."""

    code: int
    out: str
    log: str

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.log.splitlines()[-1])
        return found


@dataclass(frozen=True)
class Chain:
    sandbox: Sandbox
    scratch: Path

    # -- people ------------------------------------------------------------------------------------------------------

    def ask(self, consumer: str, say: str = SAY, *, stream: bool = False, read: int | None = None) -> Answer:
        """One request; ``read`` bytes of the answer, then hang up."""
        body = {"model": "chat", "stream": stream, "messages": [{"role": "user", "content": f"hello {say}"}]}
        headers = {
            "host": self.sandbox.host(consumer.partition(".")[0]),
            "authorization": f"Bearer {self.sandbox.key(consumer)}",
            "content-type": "application/json",
        }
        with closing(HTTPConnection("127.0.0.1", self.sandbox.base, timeout=60)) as connection:
            connection.request("POST", CHAT, json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read(read).decode()
            return Answer(answer.status, answer.headers.get("x-gate") or "", text)

    def crowd(self, consumer: str, requests: int, at_once: int, *, stream: bool) -> list[Answer]:
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(lambda _: self.ask(consumer, stream=stream), range(requests)))

    def spend(self, consumer: str) -> int:
        """Ask one after the other, each when the one before is debited, until refused; how many were answered."""
        answered, left = 0, self.balance(consumer)
        while (answer := self.ask(consumer)).status == 200:
            answered += 1
            left -= TOKENS_IN + TOKENS_OUT
            until(lambda left=left: self.balance(consumer) == left)
        assert (answer.status, answer.gate, answer.code) == (403, "ai-quota", "quota_exhausted"), answer
        return answered

    # -- the controller ----------------------------------------------------------------------------------------------

    @property
    def document(self) -> Path:
        return self.sandbox.root / "configmaps" / "budget-config" / "budget.json"

    def changed(self, name: str, **budgets: Any) -> Path:
        """A copy of the document in which users of one Project have budgets of their own."""
        document = json.loads(self.document.read_text("utf-8"))
        for group in document["projects"][name]["groups"].values():
            for user, budget in budgets.items():
                group["users"][user] = {"budget": budget}
        path = self.scratch / f"{name}.json"
        path.write_text(json.dumps(document), "utf-8")
        return path

    def start(self, *arguments: str, document: Path | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", MODULE, "--config", str(document or self.document), *arguments]
        environment = {
            **os.environ,
            "BUDGET_REDIS_URL": f"redis://127.0.0.1:{self.sandbox.base + 2}/0",
            "BUDGET_METRICS_URL": f"http://127.0.0.1:{self.sandbox.base + 3}",
        }
        return subprocess.Popen(
            command,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )

    def command(self, *arguments: str, document: Path | None = None) -> Tick:
        with self.start(*arguments, document=document) as process:
            out, log = process.communicate(timeout=120)
        return Tick(process.returncode, out, log)

    def tick(self, document: Path | None = None) -> dict[str, Any]:
        """One tick after Prometheus has read what Envoy counts."""
        self.scraped()
        ended = self.command("run", document=document)
        assert ended.code == 0, ended.log
        return ended.last

    def explain(self, consumer: str, document: Path | None = None) -> str:
        return self.command("explain", consumer, document=document).out

    def line(self, kind: str, name: str) -> dict[str, Any]:
        report = json.loads(self.command("report", "--format", "json").out)
        (found,) = [line for line in report["lines"] if (line["kind"], line["name"]) == (kind, name)]
        return dict(found)

    def spent(self, kind: str, name: str) -> Fraction:
        return Fraction(self.line(kind, name)["spent"])

    # -- what Envoy counts -------------------------------------------------------------------------------------------

    def counters(self, consumer: str = "") -> dict[str, int]:
        """Envoy's own counters by meter, of one consumer or all."""
        found: dict[str, int] = {}
        for meter, labels, value in ENTRY.findall(self.sandbox.metrics()):
            if not consumer or f'ai_consumer="{consumer}"' in labels:
                found[meter] = found.get(meter, 0) + int(value)
        return found

    def query(self, query: str, **options: object) -> list[Any]:
        url = f"http://127.0.0.1:{self.sandbox.base + 3}/api/v1/query?{urlencode({'query': query, **options})}"
        with urlopen(url, timeout=60) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
        return found

    def started(self) -> float:
        """When Envoy started, in Unix seconds as Prometheus has it as of a whole second, as ticks ask; 0 while it has none.

        Up to six seconds late: Envoy renews its uptime every five, and tells whole ones.
        """
        shown = self.query("timestamp(envoy_server_uptime) - envoy_server_uptime", time=int(time.time()))
        return float(shown[0]["value"][1]) if shown else 0

    def renewed(self, since: float) -> None:
        """Wait until Prometheus has read an Envoy that started after ``since`` (Unix seconds)."""
        until(lambda: self.started() > since, RESTART)

    def scraped(self) -> None:
        """Wait until Prometheus shows what Envoy counts, and Envoy counts no more, as of a whole second: so ticks ask.

        Only what the last scrape brought is looked at: a Prometheus that restarted shows an old Envoy's counters too.
        """

        def agree() -> bool:
            now = int(time.time())
            [uptime] = self.query("envoy_server_uptime[1m]", time=now) or [None]
            shown = self.query(f'{{__name__=~"{METER}.*"}}[1m]', time=now)
            last = [series["values"][-1] for series in shown]
            read = sum(int(value) for moment, value in last if uptime and moment == uptime["values"][-1][0])
            return uptime is not None and sum(self.counters().values()) == read

        until(agree)

    # -- what Redis holds --------------------------------------------------------------------------------------------

    def balance(self, consumer: str) -> int:
        with self.sandbox.redis() as client:
            return int(client.get(f"chat_quota:{consumer}") or 0)

    def debited(self, consumer: str) -> int:
        with self.sandbox.redis() as client:
            return int(client.get(f"budget:left:{consumer}") or 0) - self.balance(consumer)


def running(root: Path) -> Iterator[Chain]:
    """A sandbox of these tests' Projects, by the site's own play; stopped in the end."""
    site = root / "site"
    shutil.copytree(EXAMPLES, site, ignore=shutil.ignore_patterns("projects"))
    (site / "projects").mkdir()
    gateway = yaml.safe_load((site / "gateway.yml").read_text("utf-8"))
    (site / "gateway.yml").write_text(yaml.safe_dump(gateway | {"orgs": ORGS}), "utf-8")
    for each in PROJECTS:
        (site / "projects" / f"{each['project']}.yml").write_text(yaml.safe_dump(each), "utf-8")
    sandbox = Sandbox(root / "sandbox", site, free_base())
    chain = Chain(sandbox, root)
    try:
        play(sandbox)
        yield chain
    finally:
        sandbox.supervise("shutdown")
        until(lambda: is_free(sandbox.base + 1) and is_free(sandbox.base + 2), 180)


def play(sandbox: Sandbox) -> str:
    """Run the site's play with the timer standing still after its first tick."""
    ran = sandbox.play("--extra-vars", json.dumps({"budget_controller_tick_seconds": 86_400}))
    assert ran.code == 0, ran.text
    return ran.text
