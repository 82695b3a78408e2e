"""A metrics API made of generated data: it answers the controller's queries as Prometheus would, from memory.

Stands in for Prometheus or Mimir in the benchmark only. ``POST /round`` with ``active=N`` lets every n-th consumer
use all models once; ``GET /api/v1/query`` understands the three kinds of queries that the controller makes.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

PER_PROJECT = 100
#: input, cache read, output: what one round adds per model; the other counters do not move
STEP = {"usage_input_token": 700, "usage_cache_read_token": 4000, "usage_output_token": 300}
MODELS = tuple(f"model-{n}" for n in range(5))


class Data:
    """Counters of all consumers: how often each was active."""

    def __init__(self, consumers: int) -> None:
        self.consumers = consumers
        self.rounds = [0] * consumers
        self.active: range = range(0)
        self.ready: dict[tuple[str, str], bytes] = {}
        self.begun = int(time.time()) - 3600

    def play(self, active: int) -> None:
        self.active = range(0, self.consumers, self.consumers // active) if active else range(0)
        self.ready = {}
        for index in self.active:
            self.rounds[index] += 1
        for project in range(-(-self.consumers // PER_PROJECT)):
            first = project * PER_PROJECT
            names = [i for i in range(first, min(first + PER_PROJECT, self.consumers)) if i in self.active]
            for meter, step in STEP.items():
                self.ready[f"p{project}", meter] = b",".join(
                    b'{"metric":{"ai_consumer":"p%d.u%d","ai_model":"%b","instance":"10.0.0.1:15020","job":"gateway"},'
                    b'"value":[%d,"%d"]}' % (project, i, model.encode(), int(time.time()), step * self.rounds[i])
                    for i in names
                    for model in MODELS
                )

    def answer(self, query: str, at: int) -> list[bytes]:
        now = int(time.time())
        if query == "time()":
            return [b'{"status":"success","data":{"resultType":"scalar","result":[%d,"%d"]}}' % (now, now)]
        if at < self.begun:  # the site is new: there is no history
            return [vector("vector", b"")]
        if query.startswith("envoy_server_uptime"):
            samples = [[now - back, str(now - back - self.begun)] for back in (45, 30, 15, 0)]
            labels = {"__name__": "envoy_server_uptime", "instance": "10.0.0.1:15020", "job": "gateway"}
            return [vector("matrix", json.dumps({"metric": labels, "values": samples}).encode())]
        meter = re.search(r"metric_(\w+)\{ai_consumer=~\"\(\?:([^)]*)\)", query)
        if meter is None:
            return [vector("vector", b"")]
        parts = (self.ready.get((project, meter[1]), b"") for project in meter[2].split("|"))
        return [b'{"status":"success","data":{"resultType":"vector","result":[', *joined(parts), b"]}}"]


def joined(parts: object) -> list[bytes]:
    found = [part for part in parts if part]  # type: ignore[attr-defined]
    return [piece for part in found for piece in (b",", part)][1:]


def vector(kind: str, body: bytes) -> bytes:
    return b'{"status":"success","data":{"resultType":"%b","result":[%b]}}' % (kind.encode(), body)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--consumers", type=int, required=True)
    options = parser.parse_args()
    data = Data(options.consumers)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            fields = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            if self.path == "/round":
                data.play(int(fields["active"][0]))
                parts = [b"ok"]
            else:
                parts = data.answer(fields["query"][0], int(fields.get("time", ["0"])[0]))
            self.send_response(200)
            self.send_header("Content-Length", str(sum(map(len, parts))))
            self.end_headers()
            for part in parts:
                self.wfile.write(part)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
