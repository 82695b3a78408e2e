"""Issue 4's point 2: dollars on the real chain, request by request."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from fractions import Fraction

import chain as chains
import pytest
import yaml
from chain import CACHED, COST, DEAREST, INPUT, OUTPUT, RESTART, TOKENS_IN, TOKENS_OUT, Chain

from tests.sandbox.sandbox import until

#: What a lease counts a request of these tests at.
LEASED = (TOKENS_IN + TOKENS_OUT) * DEAREST
AT_ONCE = 32

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    yield from chains.running(tmp_path_factory.mktemp("chain"))


# -- each level ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "spenders", "named"),
    [
        (("user", "by-user.ann"), ("by-user.ann",), "the budget of ann"),
        (("group", "by-group/all"), ("by-group.ann", "by-group.ben"), "the budget of group by-group/all"),
        (("project", "by-project"), ("by-project.ann", "by-project.ben"), "the budget of project by-project"),
        (("org", "small"), ("by-org-a.ann", "by-org-b.ben"), "the budget of org small"),
    ],
)
def test_each_level_refuses_when_it_is_spent(
    chain: Chain, scope: tuple[str, str], spenders: tuple[str, ...], named: str
) -> None:
    answered = 0
    for _ in range(40):
        now = sum(chain.spend(consumer) for consumer in spenders)
        answered += now
        chain.tick()
        if not now:
            break
    limit = Fraction(chains.SMALL["usd"])
    assert chain.spent(*scope) == answered * COST, "what is booked is what was used"
    assert limit - LEASED < answered * COST, "nobody is refused who could pay for a request"
    assert answered * COST <= limit + len(spenders) * LEASED, "one request in flight each may pass the limit"
    told = chain.explain(spenders[0])
    assert f"REFUSED (403 by ai-quota): {named}" in told or f"until the next run: the lease is used up, {named}" in told
    assert f"of {limit.numerator / limit.denominator:.2f} USD spent this month" in told
    assert "resets 2" in told


def test_a_budget_below_another_is_its_own(chain: Chain) -> None:
    """The group by-group/all is spent or not: the other group of the Project has money of its own."""
    chain.tick()
    assert chain.ask("by-group.cyd").status == 200


# -- concurrency -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("project", "margin"), [("rush", Fraction(0)), ("margin", AT_ONCE * LEASED)])
@pytest.mark.parametrize("user", ["whole", "stream"])
def test_400_requests_32_at_once_against_50(chain: Chain, project: str, margin: Fraction, user: str) -> None:
    limit = 50 * COST + margin
    budget = {"usd": f"{float(limit):.4f}", "margin_usd": f"{float(margin):.4f}"}
    document = chain.changed(project, **{user: budget})
    consumer = f"{project}.{user}"
    chain.tick(document)
    ended = threading.Event()
    codes: set[int] = set()

    def keep_ticking() -> None:
        while not ended.is_set():
            codes.add(chain.command("run", document=document).code)

    ticker = threading.Thread(target=keep_ticking)
    ticker.start()
    try:
        answers = chain.crowd(consumer, 400, AT_ONCE, stream=user == "stream")
    finally:
        ended.set()
        ticker.join()
    assert codes == {0}
    answered = [answer for answer in answers if answer.status == 200]
    assert {answer.status for answer in answers} == {200, 403}
    assert all(answer.code == "quota_exhausted" for answer in answers if answer.status == 403)
    chain.tick(document)
    spent = chain.spent("user", consumer)
    assert spent == len(answered) * COST
    print(f"{project} {user}: {len(answered)} answered, {float(spent):.4f} of {float(limit):.4f} USD")
    assert spent <= limit + max(Fraction(0), AT_ONCE * LEASED - margin)
    if margin:
        assert spent <= limit, "with the margin set nothing is overspent"


# -- what answers say, and do not say --------------------------------------------------------------------------------


def test_cached_tokens_cost_what_the_cache_costs(chain: Chain) -> None:
    chain.tick()
    assert chain.ask("meter.cached", "[[mock: input=1000 cached=800 output=100]]").status == 200
    assert chain.ask("meter.cached", "[[mock: input=900 cached=700 output=50]]", stream=True).status == 200
    chain.tick()
    assert chain.spent("user", "meter.cached") == 400 * INPUT + 1500 * CACHED + 150 * OUTPUT


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_usage_is_estimated(chain: Chain, stream: bool) -> None:
    chain.tick()
    before = chain.spent("user", "meter.silent")
    words = "word_" * 400
    assert chain.ask("meter.silent", f"[[mock: usage=0 say={words}]]", stream=stream).status == 200
    chain.tick()
    charged = chain.spent("user", "meter.silent") - before
    # 2,000 characters in the prompt and 2,000 in the answer; a token is seldom more than 5 of them.
    assert charged >= 400 * INPUT + 400 * OUTPUT
    counted = chain.counters("meter.silent")
    assert chain.spent("user", "meter.silent") == (
        counted.get("estimated_input_token", 0) * INPUT + counted.get("estimated_output_token", 0) * OUTPUT
    )


def test_who_hangs_up_pays_for_what_was_sent(chain: Chain) -> None:
    chain.tick()
    say = "[[mock: chunks=200 delay_ms=20 say=" + "word_" * 200 + "]]"
    assert chain.ask("meter.gone", say, stream=True, read=600).status == 200
    until(lambda: chain.counters("meter.gone").get("estimated_output_token", 0) > 0)
    chain.tick()
    counted = chain.counters("meter.gone")
    booked = chain.spent("user", "meter.gone")
    assert booked == counted["estimated_input_token"] * INPUT + counted["estimated_output_token"] * OUTPUT
    assert booked > 0


# -- failures --------------------------------------------------------------------------------------------------------


def test_a_restart_of_envoy_loses_no_spend(chain: Chain) -> None:
    chain.tick()
    for _ in range(2):
        for _ in range(3):
            assert chain.ask("meter.kept").status == 200
        chain.scraped()
        began = time.time()
        chain.sandbox.supervise("restart", "envoy")
        chain.renewed(began)
        until(lambda: chain.ask("meter.kept").status == 200, RESTART)
    chain.tick()
    assert chain.spent("user", "meter.kept") == 8 * COST


def test_what_was_counted_and_never_scraped_is_held_back(chain: Chain) -> None:
    """Envoy and Prometheus die between two scrapes: Redis knows the debit, and keeps its worth at the worst price.

    A Prometheus that restarted shows what the old Envoy counted for five minutes more: that is not booked again.
    """
    assert chain.ask("meter.kept").status == 200
    chain.tick()
    chain.sandbox.supervise("stop", "prometheus")
    before = chain.line("user", "meter.kept")
    assert chain.ask("meter.kept").status == 200
    until(lambda: chain.debited("meter.kept") == TOKENS_IN + TOKENS_OUT)
    began = time.time()
    chain.sandbox.supervise("restart", "envoy")
    chain.sandbox.supervise("start", "prometheus")
    chain.renewed(began)
    assert chain.query('sum({ai_consumer="meter.kept"})'), "Prometheus still shows the old Envoy's counters"
    chain.tick()
    after = chain.line("user", "meter.kept")
    assert Fraction(after["spent"]) == Fraction(before["spent"])
    assert Fraction(after["waiting"]) == Fraction(before["waiting"]) + LEASED
    until(lambda: chain.ask("meter.kept").status == 200, RESTART)
    chain.tick()
    assert chain.spent("user", "meter.kept") == Fraction(before["spent"]) + COST


def _seconds_of_a_tick(chain: Chain) -> float:
    began = time.monotonic()
    assert chain.command("run").code == 0
    return time.monotonic() - began


def test_a_tick_killed_anywhere_loses_and_doubles_nothing(chain: Chain) -> None:
    chain.tick()
    whole = min(_seconds_of_a_tick(chain) for _ in range(3))
    rng = random.Random(4)
    answered = killed = 0
    for _ in range(25):
        answered += chain.ask("meter.killed").status == 200
        with chain.start("run") as process:
            try:
                process.wait(rng.uniform(0.2, 1) * whole)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.communicate()
    assert killed > 3, "some were killed"
    chain.tick()
    chain.tick()
    assert chain.spent("user", "meter.killed") == answered * COST
    line = chain.line("user", "meter.killed")
    assert Fraction(line["spent"]) + Fraction(line["leased"]) + Fraction(line["waiting"]) <= 5
    assert Fraction(line["waiting"]) == 0


def test_ticks_at_once_are_one_after_the_other(chain: Chain) -> None:
    chain.tick()
    before = chain.spent("user", "meter.killed")
    assert chain.ask("meter.killed").status == 200
    chain.scraped()
    started = [chain.start("run") for _ in range(4)]
    ends = [(process.communicate(timeout=120), process.returncode) for process in started]
    assert {code for _, code in ends} <= {0, 7}
    assert 0 in {code for _, code in ends}
    assert chain.spent("user", "meter.killed") == before + COST


def test_a_flushed_redis_is_rebuilt_from_the_metrics(chain: Chain) -> None:
    chain.tick()
    for _ in range(3):
        assert chain.ask("meter.flushed").status == 200
    chain.tick()
    kinds = [("user", "meter.flushed"), ("user", "meter.cached"), ("project", "meter"), ("org", "small")]
    before = {kind: chain.spent(*kind) for kind in kinds}
    with chain.sandbox.redis() as client:
        client.flushall()
    assert chain.ask("meter.flushed").status == 403, "without a ledger nobody has a lease"
    chain.tick()
    assert {kind: chain.spent(*kind) for kind in kinds} == before
    assert chain.ask("meter.flushed").status == 200
    chain.tick()
    assert chain.spent("user", "meter.flushed") == before["user", "meter.flushed"] + COST


def test_without_metrics_or_redis_nothing_is_written(chain: Chain) -> None:
    chain.tick()

    def state() -> dict[str, str]:
        with chain.sandbox.redis() as client:
            keys = [*sorted(client.keys("chat_quota:*")), "budget:token", "budget:head"]
            return dict(zip(keys, client.mget(keys), strict=True))

    before = state()
    chain.sandbox.supervise("stop", "prometheus")
    try:
        assert chain.command("run").code == 4
        assert state() == before
    finally:
        chain.sandbox.supervise("start", "prometheus")
    until(lambda: chain.query("vector(1)"))
    chain.sandbox.supervise("stop", "redis")
    try:
        assert chain.command("run").code == 5
        assert chain.ask("meter.cached").status in (403, 503), "fail closed"
    finally:
        chain.sandbox.supervise("start", "redis")
    until(lambda: chain.command("run").code == 0, 60)
    assert state().keys() == before.keys()


# -- changes ---------------------------------------------------------------------------------------------------------


def test_a_raise_holds_until_it_ends(chain: Chain) -> None:
    """By the site's own play: the new budget is in force when the play has ended, without waiting for the timer."""
    path = chain.sandbox.site / "projects" / "meter.yml"
    spec = yaml.safe_load(path.read_text("utf-8"))
    small = {"usd": "0.01"}
    spec["groups"]["all"]["users"]["raised"] = {"budget": small}
    path.write_text(yaml.safe_dump(spec), "utf-8")
    chains.play(chain.sandbox)
    while chain.spend("meter.raised"):
        chain.tick()
    spec["groups"]["all"]["users"]["raised"]["budget"] = {
        **small,
        "raise": {"usd": 1, "until": f"{date.today() + timedelta(days=9)}", "reason": "the release"},
    }
    path.write_text(yaml.safe_dump(spec), "utf-8")
    chains.play(chain.sandbox)
    assert chain.ask("meter.raised").status == 200
    assert "raised by" in chain.explain("meter.raised")
    assert "the release" in chain.explain("meter.raised")
    ended = json.loads(chain.document.read_text("utf-8"))
    budget = ended["projects"]["meter"]["groups"]["all"]["users"]["raised"]["budget"]
    budget["raise"]["until"] = "2026-01-01T00:00:00+00:00"
    chain.tick(chain.changed("meter", raised=budget))
    refused = chain.ask("meter.raised")
    assert (refused.status, refused.code) == (403, "quota_exhausted")
