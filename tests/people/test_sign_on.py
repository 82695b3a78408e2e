"""A real oauth2-proxy, a real nginx and a real Redis; the issuer signs real tokens (a stand-in for Google's)."""

from pathlib import Path

import pytest
import redis

from .services import Browser, SignOn, sign_on, until

COOKIE = "__Host-sign_on"


def signed_on(browser: Browser) -> Browser:
    answer = browser.sign_on()
    assert answer.status == 302, answer
    assert COOKIE in browser.jar
    return browser


def test_the_identity_headers_arrive_exactly(browser: Browser) -> None:
    seen = signed_on(browser).get("/d/spend?var-project=atlas").seen()

    assert seen.path == "/d/spend?var-project=atlas"
    ours = {k: v for k, v in seen.headers.items() if k.startswith(("x-dev-", "x-webauth-"))}
    assert ours == {
        "x-dev-org": "acme",
        "x-dev-project": "atlas",
        "x-dev-group": "dev",
        "x-dev-user": "alice",
        "x-webauth-user": "alice@acme.example",
        "x-webauth-role": "Viewer",
    }


def test_forged_identity_headers_are_dropped(browser: Browser, site: SignOn) -> None:
    forged = {
        "X-Dev-Org": "globex",
        "X-Dev-Project": "comet",
        "X-Dev-Group": "owners",
        "X-Dev-User": "mallory",
        "x_dev_user": "mallory",
        "X-WebAuth-User": "admin@acme.example",
        "X-WebAuth-Role": "Admin",
        "X-Forwarded-User": "mallory",
        "X-Forwarded-Email": "mallory@acme.example",
        "X-Forwarded-Groups": "ai-admins@acme.example",
        "X-Forwarded-For": "10.1.2.3",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Uri": "https://evil.example/",
        "X-Auth-Request-Email": "mallory@acme.example",
        "X-Scope-OrgID": "comet",
        "X-Grafana-User": "admin",
        "Authorization": "Bearer forged",
    }
    headers = signed_on(browser).get("/", forged).seen().headers

    assert headers["x-dev-user"] == "alice"
    assert headers["x-dev-project"] == "atlas"
    assert headers["x-webauth-role"] == "Viewer"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-host"] == f"localhost:{site.public}"
    assert headers["x-forwarded-proto"] == "http"
    everything = " ".join(f"{k}={v}" for k, v in headers.items())
    for trace in ("mallory", "comet", "globex", "owners", "evil", "10.1.2.3", "ai-admins", "forged"):
        assert trace not in everything
    assert "x_dev_user" not in headers


def test_forged_headers_alone_are_no_identity(browser: Browser) -> None:
    answer = browser.get("/", {"X-Forwarded-User": "alice", "X-Dev-User": "alice", "Authorization": "Bearer x.y.z"})
    assert answer.status == 302
    assert "/authorize?" in answer.headers["location"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"email": "alice@other.example", "hd": "other.example"}, "another domain"),
        ({"email": "alice@acme.example.evil.example"}, "a domain that only begins like ours"),
        ({"email_verified": False}, "unverified address"),
        ({"audience": "another-client"}, "a token for another client"),
        ({"lifetime": -60}, "an expired token"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_oauth2_proxy_refuses(browser: Browser, site: SignOn, changes: dict[str, object], reason: str) -> None:
    site.issuer.signs_on(**changes)
    answer = browser.sign_on()
    assert answer.status in {403, 500}, reason
    assert COOKIE not in browser.jar
    assert browser.get("/").status == 302


def test_a_token_signed_by_somebody_else_is_refused(browser: Browser, site: SignOn) -> None:
    site.issuer.wrong_key = True
    assert browser.sign_on().status in {403, 500}
    assert COOKIE not in browser.jar


@pytest.mark.parametrize("hd", [None, "other.example"])
def test_a_private_account_under_a_company_address_is_refused(browser: Browser, site: SignOn, hd: str | None) -> None:
    site.issuer.signs_on(hd=hd)
    browser.sign_on()
    answer = browser.get("/")
    assert answer.status == 403
    assert "no account of the company's Workspace" in answer.body
    assert browser.get("/metrics/api/v1/query", port=site.data).status == 403


def test_nobody_in_no_project_gets_in(browser: Browser, site: SignOn) -> None:
    site.issuer.signs_on(groups=("choir@acme.example",))
    browser.sign_on()
    answer = browser.get("/")
    assert answer.status == 403
    assert "ask its owner to add you" in answer.body


def test_cookies_are_secure_and_for_this_host_only(browser: Browser) -> None:
    signed_on(browser)
    session = [c for c in browser.set if c.startswith(f"{COOKIE}=")]
    csrf = [c for c in browser.set if c.startswith(f"{COOKIE}_csrf")]
    assert session
    assert csrf
    for cookie in (*session, *csrf):
        attributes = {a.lower() for a in cookie.split("; ")[1:]}
        assert {"secure", "httponly", "samesite=lax", "path=/"} <= attributes
        assert not any(a.startswith("domain=") for a in attributes)


def test_the_session_is_in_redis_and_nothing_of_it_readable_there(browser: Browser, site: SignOn) -> None:
    with redis.Redis(port=site.redis_port) as store:
        before = set(store.keys("*"))
        signed_on(browser)
        (added,) = set(store.keys("*")) - before
        value = store.get(added)
        assert value
        assert b"alice" not in value
        assert 0 < store.ttl(added) <= 12 * 3600
        store.delete(added)
    assert browser.get("/").status == 302


def test_sign_out_ends_the_session_also_for_a_kept_cookie(browser: Browser) -> None:
    kept = signed_on(browser).jar[COOKIE]
    answer = browser.get("/oauth2/sign_out?rd=/bye")
    assert answer.status == 302
    assert answer.headers["location"] == "/bye"
    assert COOKIE not in browser.jar
    browser.jar[COOKIE] = kept
    assert browser.get("/").status == 302


@pytest.mark.parametrize("place", [0, 10, -1])
def test_a_tampered_cookie_is_refused(browser: Browser, place: int) -> None:
    value = signed_on(browser).jar[COOKIE]
    place %= len(value)
    other = "B" if value[place] != "B" else "C"
    browser.jar[COOKIE] = value[:place] + other + value[place + 1 :]
    assert browser.get("/").status == 302


def test_an_expired_cookie_is_refused(tmp_path: Path) -> None:
    with sign_on(tmp_path, session="2s") as site:
        kept = ""

        def accepted() -> bool:
            nonlocal kept
            browser = signed_on(Browser(site.public))
            kept = browser.jar[COOKIE]
            return browser.get("/").status == 200

        def refused() -> bool:
            browser = Browser(site.public)
            browser.jar[COOKIE] = kept
            return browser.get("/").status == 302

        until(accepted, "the cookie is never good, not even at once")
        until(refused, "the cookie outlives its time")


def test_a_cookie_of_another_site_is_refused(browser: Browser, tmp_path: Path) -> None:
    with sign_on(tmp_path) as other:
        browser.jar[COOKIE] = signed_on(Browser(other.public)).jar[COOKIE]
    assert browser.get("/").status == 302


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "/%5Cevil.example",
        "\\\\evil.example",
        "/%09/evil.example",
        "http:evil.example",
        "https://localhost@evil.example/",
        "javascript:alert(1)",
    ],
)
@pytest.mark.parametrize("entry", ["start", "sign_out"])
def test_an_open_redirect_goes_nowhere(browser: Browser, entry: str, target: str) -> None:
    if entry == "start":
        start = browser.get(f"/oauth2/start?rd={target}", {"X-Auth-Request-Redirect": target})
        at_issuer = start.headers["location"]
        back = Browser(int(at_issuer.split("/")[2].rpartition(":")[2])).get("/" + at_issuer.split("/", 3)[3])
        answer = browser.get("/" + back.headers["location"].split("/", 3)[3])
    else:
        answer = signed_on(browser).get(f"/oauth2/sign_out?rd={target}", {"X-Auth-Request-Redirect": target})
    assert answer.status == 302
    assert answer.headers["location"] == "/"


def test_sign_on_returns_to_the_page_that_was_asked_for(browser: Browser) -> None:
    answer = browser.sign_on("/d/ai-gateway-spend?var-user=alice&from=now-7d")
    assert answer.headers["location"] == "/d/ai-gateway-spend?var-user=alice&from=now-7d"


def test_a_page_that_was_asked_for_cannot_name_another_place(browser: Browser) -> None:
    answer = browser.sign_on("/d/ai-gateway-spend?rd=https://evil.example/")
    assert answer.headers["location"] == "/"


def test_a_script_without_a_session_begins_no_sign_on(browser: Browser) -> None:
    answer = browser.get("/api/dashboards/uid/x", {"Accept": "application/json"})
    assert answer.status == 401
    assert browser.jar == {}


def test_a_callback_without_the_browser_that_began_it_is_refused(browser: Browser, site: SignOn) -> None:
    at_issuer = browser.get("/").headers["location"]
    back = Browser(int(at_issuer.split("/")[2].rpartition(":")[2])).get("/" + at_issuer.split("/", 3)[3])
    victim = Browser(site.public)
    answer = victim.get("/" + back.headers["location"].split("/", 3)[3])
    assert answer.status == 403
    assert COOKIE not in victim.jar


def test_the_authorizers_own_address_is_not_open_to_people(browser: Browser) -> None:
    signed_on(browser)
    assert browser.get("/_identity").status == 404
    assert browser.get("/oauth2/auth").status == 404


def test_data_is_the_readers_own(browser: Browser, site: SignOn) -> None:
    site.issuer.signs_on(groups=("ai-atlas-ops@acme.example", "ai-beacon-all@acme.example"))
    signed_on(browser)
    forged = {"X-Scope-OrgID": "comet", "X-Grafana-User": "admin"}

    metrics = browser.get("/metrics/prometheus/api/v1/query?query=up", forged, port=site.data).seen()
    assert metrics.path == "/prometheus/api/v1/query?query=up"
    assert metrics.headers["x-scope-orgid"] == "atlas|beacon"
    assert "cookie" not in metrics.headers
    assert "authorization" not in metrics.headers
    logs = browser.get("/logs/loki/api/v1/query", forged, port=site.data).seen()
    assert logs.headers["x-scope-orgid"] == "atlas|beacon"
    page = browser.get("/").seen().headers
    assert page["x-dev-project"] == "atlas,beacon"
    assert page["x-dev-group"] == "ops,all"
    assert page["x-webauth-role"] == "Editor"


def test_an_operator_sees_the_platform(browser: Browser, site: SignOn) -> None:
    site.issuer.signs_on(groups=("ai-admins@acme.example",))
    signed_on(browser)
    metrics = browser.get("/metrics/x", port=site.data).seen().headers
    logs = browser.get("/logs/x", port=site.data).seen().headers
    assert metrics["x-scope-orgid"] == "platform"
    assert logs["x-scope-orgid"] == "platform|atlas|beacon|comet"
    assert browser.get("/").seen().headers["x-webauth-role"] == "Admin"


def test_no_session_no_data(site: SignOn) -> None:
    stranger = Browser(site.data)
    for path in ("/metrics/x", "/logs/x"):
        assert stranger.get(path, {"X-Scope-OrgID": "atlas", "Cookie": f"{COOKIE}=forged"}).status == 401
    assert stranger.get("/x").status == 404


def test_no_secret_reaches_a_log(browser: Browser, site: SignOn) -> None:
    signed_on(browser).get("/d/x?token=in-a-query")
    cookie = browser.jar[COOKIE]
    browser.get("/oauth2/sign_out")

    def logs() -> str:
        return "".join(file.read_text(errors="replace") for file in site.logs.glob("*.log"))

    until(lambda: "GET /d/x " in logs() and "GET /oauth2/sign_out" in logs(), "the requests in the logs")
    secrets = [site.cookie_secret, "client-secret-of-the-stand-in", cookie, site.issuer.tokens[-1], "in-a-query"]
    assert [s for s in secrets if s in logs()] == []


def test_no_secret_is_in_a_config(site: SignOn) -> None:
    for name in ("oauth2-proxy.cfg", "gate.conf", "table.json"):
        text = (site.logs / name).read_text()
        assert site.cookie_secret not in text
        assert "client-secret-of-the-stand-in" not in text
