"""The gate's authorizer: a session cookie in, identity headers out.

nginx asks it for every request (auth_request). It asks oauth2-proxy whose session the cookie is, checks the company's
``hd`` claim, and maps the account. 200 with headers, 401 without a session, 403 with the reason in x-refused, 503 when
oauth2-proxy does not answer: nothing passes by default.
"""

import base64
import binascii
import json
import sys
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .mapping import Account, Refused, Table, identify, load

Answer = tuple[int, Mapping[str, str]]
ASK_SECONDS = 5.0


class SignOnAway(Exception):  # noqa: N818 - named for what happened
    """oauth2-proxy did not answer."""


def authorize(table: Table, answered: Answer) -> Answer:
    """Turn oauth2-proxy's answer into the gate's; both are (status, headers by lower-case name)."""
    status, headers = answered
    if status != 202:
        return (status, {}) if status in {401, 403} else (503, {})
    try:
        person = identify(table, account(headers))
    except Refused as refused:
        return 403, {"x-refused": str(refused)}
    passed = {"set-cookie": headers["set-cookie"]} if "set-cookie" in headers else {}
    return 200, person.headers() | passed


def account(headers: Mapping[str, str]) -> Account:
    """Read the account from oauth2-proxy's answer; a token that cannot be read has no ``hd``."""
    groups = headers.get("x-auth-request-groups", "")
    return Account(
        email=headers.get("x-auth-request-email", ""),
        hd=_hd(headers.get("authorization", "")),
        groups=frozenset(group.strip().lower() for group in groups.split(",") if group.strip()),
    )


def _hd(authorization: str) -> str | None:
    """The token's ``hd``. Its signature is oauth2-proxy's business: it comes from its session store."""
    parts = authorization.removeprefix("Bearer ").split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    hd = claims.get("hd") if isinstance(claims, dict) else None
    return hd.lower() if isinstance(hd, str) else None


def ask(sign_on: str, cookie: str) -> Answer:
    """Ask oauth2-proxy at ``sign_on`` (host:port) whose session this is; raises SignOnAway."""
    connection = HTTPConnection(sign_on, timeout=ASK_SECONDS)
    try:
        connection.request("GET", "/oauth2/auth", headers={"Cookie": cookie})
        response = connection.getresponse()
        response.read()
        return response.status, {name.lower(): value for name, value in response.getheaders()}
    except (OSError, HTTPException) as error:
        raise SignOnAway(str(error)) from error
    finally:
        connection.close()


def handler(table: Table, ask_session: Callable[[str], Answer]) -> type[BaseHTTPRequestHandler]:
    """A request handler for this table; ``ask_session`` takes the Cookie header."""

    class Identity(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            cookie = self.headers.get("Cookie", "")
            try:
                status, headers = authorize(table, ask_session(cookie)) if cookie else (401, {})
            except SignOnAway:
                status, headers = 503, {}
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep no log of its own: the proxy's has every request, without cookies."""

    return Identity


def main(table_file: str, listen: str, sign_on: str) -> None:
    """Serve until killed. ``listen`` and ``sign_on`` are host:port."""
    table = load(Path(table_file).read_text())
    host, _, port = listen.rpartition(":")
    answers = handler(table, lambda cookie: ask(sign_on, cookie))
    ThreadingHTTPServer((host, int(port)), answers).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
