"""A stand-in for Google's OpenID Connect issuer: signs real RS256 tokens, asks nobody for a password.

Who signs on is said by the test beforehand (``Issuer.account``). Tokens, keys, discovery and PKCE are as the
OpenID Connect Core and RFC 7636 want them; there is no consent page and no refresh.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID = "ai-gateway-people"


@dataclass(frozen=True)
class Claims:
    """What the next sign-on's token says."""

    email: str = "alice@acme.example"
    email_verified: bool = True
    hd: str | None = "acme.example"
    groups: tuple[str, ...] = ("ai-atlas-dev@acme.example",)
    audience: str = CLIENT_ID
    lifetime: int = 3600


@dataclass
class Issuer:
    """The running stand-in; ``account`` may be replaced between sign-ons."""

    url: str = ""
    account: Claims = field(default_factory=Claims)
    wrong_key: bool = False
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    other_key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one", "use": "sig"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    tokens: list[str] = field(default_factory=list)

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser goes back to, with a fresh code."""
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, form: dict[str, str]) -> dict[str, Any] | None:
        """The token answer, or None for a wrong code or verifier; a code works once."""
        asked = self.codes.pop(form.get("code", ""), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or challenge != asked.get("code_challenge"):
            return None
        token = self.sign(asked.get("nonce", ""))
        self.tokens.append(token)
        return {
            "access_token": secrets.token_urlsafe(24),
            "token_type": "Bearer",
            "expires_in": 3600,
            "id_token": token,
        }

    def sign(self, nonce: str) -> str:
        now = int(time.time())
        who = self.account
        claims: dict[str, Any] = {
            "iss": self.url,
            "aud": who.audience,
            "sub": hashlib.sha256(who.email.encode()).hexdigest()[:20],
            "iat": now,
            "exp": now + who.lifetime,
            "nonce": nonce,
            "email": who.email,
            "email_verified": who.email_verified,
            "groups": list(who.groups),
        }
        if who.hd is not None:
            claims["hd"] = who.hd
        key = self.other_key if self.wrong_key else self.key
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)

    def signs_on(self, **changes: Any) -> None:
        """Let the next sign-on be Alice's with these differences, its token signed with the right key."""
        self.account = replace(Claims(), **changes)
        self.wrong_key = False


@contextmanager
def serving(port: int) -> Iterator[Issuer]:
    """The stand-in on a loopback port."""
    issuer = Issuer(url=f"http://127.0.0.1:{port}")
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(issuer))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Endpoints(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/.well-known/openid-configuration":
                self._json(200, issuer.discovery())
            elif url.path == "/keys":
                self._json(200, {"keys": [issuer.key.as_dict(private=False)]})
            elif url.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", issuer.authorize(_single(url.query)))
                self.send_header("Content-Length", "0")
                self.end_headers()
            else:
                self._json(404, {})

        def do_POST(self) -> None:
            form = _single(self.rfile.read(int(self.headers["Content-Length"])).decode())
            answer = issuer.token(form)
            self._json(200, answer) if answer else self._json(400, {"error": "invalid_grant"})

        def _json(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Endpoints


def _single(query: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(query).items()}
