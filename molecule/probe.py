#!/usr/bin/env python3
"""Ask an API server several times a second whether it is ready, until a file is there; print the longest silence in s.

Arguments: the kubeconfig, the file that ends it, and the seconds after which it ends anyway.
"""

from __future__ import annotations

import base64
import http.client
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml


def context_of(config: dict[str, Any]) -> ssl.SSLContext:
    """TLS with the kubeconfig's authority and administrator."""
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as both:
        both.write(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        both.flush()
        context.load_cert_chain(both.name)
    return context


def ready(server: str, context: ssl.SSLContext) -> bool:
    """Whether a new connection gets the answer; two seconds are waited for it."""
    connection = http.client.HTTPSConnection(server, timeout=2, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().read() == b"ok"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def main() -> None:
    """Ask until somebody wants to know."""
    config, enough = yaml.safe_load(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    server, context = urlsplit(config["clusters"][0]["cluster"]["server"]).netloc, context_of(config)
    last, silence, deadline = time.monotonic(), 0.0, time.monotonic() + float(sys.argv[3])
    while not enough.exists() and time.monotonic() < deadline:
        answered = ready(server, context)
        silence = max(silence, time.monotonic() - last)
        last = time.monotonic() if answered else last
        time.sleep(0.2)
    print(f"{silence:.1f}")


if __name__ == "__main__":
    main()
