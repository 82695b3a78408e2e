"""What is read from other programs: h2load's summary, /proc, policy's own errors."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from bench.load import LoadError, parse
from bench.processes import cpu_seconds, pss_kb
from bench.tenants import shards_asked_for

SUMMARY = """
finished in 129.89ms, 15398.24 req/s, 17.72MB/s
requests: 2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx
                     min         max         mean         sd        +/- sd
time for request:       43us      8.31ms       480us       560us    94.65%
"""


def test_a_good_run_is_read() -> None:
    seen = parse(SUMMARY, 2000)
    assert seen.requests == 2000
    assert seen.per_second == pytest.approx(2000 / 0.12989)
    assert seen.mean_ms == pytest.approx(0.48)


@pytest.mark.parametrize(
    ("old", "new"),
    [("2000 2xx, 0 3xx, 0 4xx", "1999 2xx, 0 3xx, 1 4xx"), ("2000 succeeded, 0 failed", "1999 succeeded, 1 failed")],
)
def test_a_refused_request_is_no_figure(old: str, new: str) -> None:
    with pytest.raises(LoadError, match="1999"):
        parse(SUMMARY.replace(old, new), 2000)


def test_fewer_requests_than_asked_for_are_no_figure() -> None:
    with pytest.raises(LoadError):
        parse(SUMMARY, 2001)


def test_no_summary_is_no_figure() -> None:
    with pytest.raises(LoadError, match="no summary"):
        parse("h2load: command line error", 2000)


def test_memory_is_read() -> None:
    assert pss_kb("00400000-7ffc r-- [rollup]\nRss:  900 kB\nPss:                 512 kB\nPss_Anon: 7 kB\n") == 512
    assert pss_kb("") == 0


def test_cpu_of_a_process_is_its_own() -> None:
    before = time.process_time()
    assert before <= cpu_seconds(os.getpid()) <= time.process_time()


def test_a_process_that_is_gone_used_nothing() -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    assert cpu_seconds(done.pid) == 0


def test_shards_are_taken_from_policys_error() -> None:
    message = (
        "gateway.yml: shards.key-auth: one object would be 9,000,000 bytes, above 1,048,576; set it to 12 or more (x)"
    )
    assert shards_asked_for(message) == {"key-auth": 12}
    with pytest.raises(ValueError, match="else"):
        shards_asked_for("something else")
