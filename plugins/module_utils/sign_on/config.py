"""Configs of the parts of sign-on: pure functions from settings to text, without secrets.

Facts: oauth2-proxy 7.15's config file (TOML; secrets come from the environment as OAUTH2_PROXY_CLIENT_SECRET,
OAUTH2_PROXY_COOKIE_SECRET and OAUTH2_PROXY_REDIS_PASSWORD) and nginx's auth_request module.
"""

import json
from dataclasses import dataclass

COOKIE = "__Host-sign_on"  # the prefix makes browsers insist on Secure, Path=/ and no Domain


@dataclass(frozen=True, slots=True)
class Google:
    """Sign-on by Google Workspace. ``admin``: whom the service account acts for when it reads groups.

    Without the two nobody's groups are known, so nobody is in a Project.
    """

    admin: str = ""
    service_account_file: str = ""


@dataclass(frozen=True, slots=True)
class Oidc:
    """Sign-on by any OpenID Connect issuer that puts groups (and Google's ``hd``) in its signed token."""

    issuer: str


@dataclass(frozen=True, slots=True)
class Settings:
    """One site's sign-on. URLs are whole, ``address`` is host:port, times are Go durations such as 1h."""

    public_url: str
    address: str
    provider: Google | Oidc
    client_id: str
    domains: tuple[str, ...]
    redis_url: str
    trusted_proxies: tuple[str, ...]
    session: str = "12h"
    refresh: str = "1h"


def oauth2_proxy(settings: Settings) -> str:
    """The config file of oauth2-proxy, which only signs people on and answers who they are."""
    options: dict[str, str | bool | list[str]] = {
        "http_address": settings.address,
        "redirect_url": f"{settings.public_url}/oauth2/callback",
        "client_id": settings.client_id,
        "email_domains": list(settings.domains),
        "upstreams": ["static://202"],
        "reverse_proxy": True,
        "trusted_proxy_ips": list(settings.trusted_proxies),
        # Only paths of our own may follow a sign-on: no domain is white-listed.
        "whitelist_domains": [],
        "skip_provider_button": True,
        "code_challenge_method": "S256",
        # What the gate reads from /oauth2/auth: address, groups, and the signed token with `hd`.
        "set_xauthrequest": True,
        "set_authorization_header": True,
        "pass_access_token": False,
        "cookie_name": COOKIE,
        "cookie_path": "/",
        "cookie_secure": True,
        "cookie_httponly": True,
        "cookie_samesite": "lax",
        "cookie_expire": settings.session,
        "cookie_refresh": settings.refresh,
        "session_store_type": "redis",
        "redis_connection_url": settings.redis_url,
        # Its request log holds whole URLs; the gate's proxy logs what is needed.
        "request_logging": False,
    }
    options |= _provider(settings)
    # A JSON string, list of strings or boolean is the same text in TOML.
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in sorted(options.items()))


def _provider(settings: Settings) -> dict[str, str | bool | list[str]]:
    match settings.provider:
        case Google(admin=admin, service_account_file=path):
            # `hd` here only picks the account in Google's form; the gate checks the signed claim.
            hint = f"&hd={settings.domains[0]}" if len(settings.domains) == 1 else "&hd=*"
            login = f"https://accounts.google.com/o/oauth2/auth?access_type=offline{hint}"
            directory = {"google_admin_email": admin, "google_service_account_json": path} if admin else {}
            return {"provider": "google", "login_url": login, **directory}
        case Oidc(issuer=issuer):
            return {"provider": "oidc", "oidc_issuer_url": issuer, "scope": "openid email profile groups"}


@dataclass(frozen=True, slots=True)
class Upstreams:
    """Addresses (host:port) that the gate's proxy reaches and listens on."""

    listen: str
    listen_data: str
    sign_on: str
    identity: str
    grafana: str
    metrics: str
    logs: str


# Every header that says who somebody is: cleared on the way in, set from the identity alone.
_PEOPLE_HEADERS = (
    "x-dev-org",
    "x-dev-project",
    "x-dev-group",
    "x-dev-user",
    "x-webauth-user",
    "x-webauth-role",
)
_CLEARED = (
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-groups",
    "x-forwarded-preferred-username",
    "x-forwarded-access-token",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-groups",
    "x-scope-orgid",
    "x-grafana-user",
    "authorization",
)


_REFUSES = """      auth_request_set $refused $upstream_http_x_refused;
      error_page 403 @refused;"""
_REFUSED = """    location @refused {
      default_type text/plain;
      return 403 "$refused\n";
    }"""


def gate(upstreams: Upstreams) -> str:
    """The nginx config of the gate: people's way to Grafana, and Grafana's way to metrics and logs."""
    return f"""# Sign-on's gate: nobody reaches Grafana, and Grafana reaches no data, without an identity.
worker_processes 1;
daemon off;
pid /tmp/sign-on-gate.pid;
error_log /dev/stderr warn;
events {{ worker_connections 1024; }}
http {{
  # No query strings and no headers: a sign-on's code and state pass through here.
  log_format plain '$time_iso8601 $status $request_method $uri $request_time';
  access_log /dev/stdout plain;
  server_tokens off;
  client_body_temp_path /tmp/sign-on-gate-body;
  proxy_temp_path /tmp/sign-on-gate-proxy;
  fastcgi_temp_path /tmp/sign-on-gate-fastcgi;
  uwsgi_temp_path /tmp/sign-on-gate-uwsgi;
  scgi_temp_path /tmp/sign-on-gate-scgi;
  proxy_http_version 1.1;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  # Only a page that a person opens begins a sign-on; a script's call or an icon gets 401.
  map $http_accept $opens_page {{ default 0; ~text/html 1; }}
  # A header whose name has an underscore could pass for one of ours behind us.
  underscores_in_headers off;

  server {{
    listen {upstreams.listen};
    location = /oauth2/auth {{ return 404; }}
    # Where sign-out ends: any other page would begin the next sign-on at once.
    location = /signed-out {{
      default_type text/html;
      return 200 '<!doctype html><title>Signed out</title><p>You are signed out. <a href="/">Sign on</a></p>';
    }}
    location /oauth2/ {{
      proxy_pass http://{upstreams.sign_on};
{_forwarded("      ")}
      proxy_set_header X-Auth-Request-Redirect "";
    }}
{_identity(upstreams)}
    location / {{
      auth_request /_identity;
      error_page 401 = @sign_on;
{_REFUSES}
{_take(_PEOPLE_HEADERS)}
      auth_request_set $refreshed $upstream_http_set_cookie;
      add_header Set-Cookie $refreshed;
{_clear()}
{_give(_PEOPLE_HEADERS)}
{_forwarded("      ")}
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_pass http://{upstreams.grafana};
    }}
    location @sign_on {{
      if ($opens_page = 0) {{ return 401; }}
      # Without the asked-for URL's own parameters: where to go back to is said by us alone.
      rewrite ^ /oauth2/start? break;
      proxy_pass http://{upstreams.sign_on};
{_forwarded("      ")}
      proxy_set_header X-Auth-Request-Redirect $request_uri;
    }}
{_REFUSED}
  }}

  # Grafana's data sources: Grafana sends the reader's session cookie on ("allowed cookies"), so the tenant is the
  # reader's own, whatever a query says. No session, no data.
  server {{
    listen {upstreams.listen_data};
{_identity(upstreams)}
    location / {{ return 404; }}
{_REFUSED}
{_data("metrics", upstreams.metrics, "x-metrics-tenants")}
{_data("logs", upstreams.logs, "x-logs-tenants")}
  }}
}}
"""


def _variable(header: str) -> str:
    return "$" + header.replace("-", "_")


def _forwarded(indent: str) -> str:
    lines = (
        "proxy_set_header Host $http_host;",
        "proxy_set_header X-Real-IP $remote_addr;",
        "proxy_set_header X-Forwarded-For $remote_addr;",
        "proxy_set_header X-Forwarded-Host $http_host;",
        "proxy_set_header X-Forwarded-Proto $scheme;",
        'proxy_set_header X-Forwarded-Uri "";',
    )
    return "\n".join(indent + line for line in lines)


def _identity(upstreams: Upstreams) -> str:
    return f"""    location = /_identity {{
      internal;
      proxy_pass http://{upstreams.identity}/identity;
      proxy_pass_request_body off;
      proxy_pass_request_headers off;
      proxy_set_header Content-Length "";
      proxy_set_header Cookie $http_cookie;
    }}"""


def _take(headers: tuple[str, ...]) -> str:
    return "\n".join(f"      auth_request_set {_variable(h)} $upstream_http_{h.replace('-', '_')};" for h in headers)


def _give(headers: tuple[str, ...]) -> str:
    return "\n".join(f"      proxy_set_header {h} {_variable(h)};" for h in headers)


def _clear() -> str:
    return "\n".join(f'      proxy_set_header {h} "";' for h in _CLEARED)


def _data(path: str, upstream: str, tenants: str) -> str:
    return f"""    location /{path}/ {{
      auth_request /_identity;
{_REFUSES}
{_take((tenants,))}
      proxy_set_header Cookie "";
      proxy_set_header Authorization "";
      proxy_set_header X-Scope-OrgID {_variable(tenants)};
      proxy_pass http://{upstream}/;
    }}"""
