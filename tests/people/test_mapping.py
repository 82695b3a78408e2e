"""The mapping of Workspace accounts to people of Projects."""

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.opsta.ai_gateway.plugins.filter.sign_on_config import sign_on_config
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sign_on import config, gate, mapping
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sign_on.mapping import Account, Refused, identify

from .services import TABLE


def account(email: str = "alice@acme.example", hd: str | None = "acme.example", *groups: str) -> Account:
    return Account(email, hd, frozenset(groups or ("ai-atlas-dev@acme.example",)))


def test_one_place_gives_the_api_sides_own_values() -> None:
    person = identify(TABLE, account())
    assert person.headers() == {
        "x-dev-org": "acme",
        "x-dev-project": "atlas",
        "x-dev-group": "dev",
        "x-dev-user": "alice",
        "x-webauth-user": "alice@acme.example",
        "x-webauth-role": "Viewer",
        "x-metrics-tenants": "atlas",
        "x-logs-tenants": "atlas",
    }


@pytest.mark.parametrize(
    ("email", "user"),
    [("Ann.Lee@ACME.example", "ann-lee"), ("a_b@acme.example", "a-b"), ("x9@acme.example", "x9")],
)
def test_the_user_is_the_address_in_the_api_sides_letters(email: str, user: str) -> None:
    assert identify(TABLE, account(email)).user == user


@pytest.mark.parametrize(
    "email",
    [
        "a+b@acme.example",
        "-@acme.example",
        "@acme.example",
        "a@b@acme.example",
        "ä@acme.example",
        "alice,eve@acme.example",
    ],
)
def test_an_address_that_makes_no_user_name_is_refused(email: str) -> None:
    with pytest.raises(Refused, match="makes no user name"):
        identify(TABLE, account(email))


@pytest.mark.parametrize(
    ("email", "hd"),
    [
        ("alice@acme.example", None),
        ("alice@acme.example", "evil.example"),
        ("alice@evil.example", "acme.example"),
        ("", None),
    ],
)
def test_address_and_owner_must_both_be_the_companys(email: str, hd: str | None) -> None:
    with pytest.raises(Refused, match="no account of the company"):
        identify(TABLE, account(email, hd))


def test_two_groups_of_one_project_are_refused() -> None:
    with pytest.raises(Refused, match="two groups of atlas"):
        identify(
            TABLE, account("a@acme.example", "acme.example", "ai-atlas-dev@acme.example", "ai-atlas-ops@acme.example")
        )


def test_the_table_survives_its_file() -> None:
    assert mapping.load(mapping.dump(TABLE)) == TABLE


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"g@other.example": {"role": "admin"}}, "another domain"),
        ({"g@acme.example": {"project": "nope", "group": "dev"}}, "no Project 'nope'; there are atlas"),
        ({"g@acme.example": {"project": "atlas"}}, "project and group together"),
        ({"g@acme.example": {}}, "project and group together"),
        ({"g@acme.example": {"role": "root"}}, "no role 'root'; allowed: viewer, editor, admin"),
        ({"g@acme.example": {"role": "admin", "team": "x"}}, "unknown team"),
    ],
)
def test_a_mistake_in_the_inventory_says_where_and_what(groups: dict[str, dict[str, str]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mapping.table(domains=["acme.example"], projects={"atlas": "acme"}, groups=groups)


@pytest.mark.parametrize("status", [200, 302, 404, 500, 502])
def test_an_answer_nobody_knows_lets_nobody_in(status: int) -> None:
    assert gate.authorize(TABLE, (status, {"x-auth-request-email": "alice@acme.example"})) == (503, {})


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer a.b.c", "Bearer ..", "Bearer a.W10.c", "Bearer a.!!.c"])
def test_an_unreadable_token_is_a_private_account(token: str) -> None:
    headers = {"x-auth-request-email": "alice@acme.example", "authorization": token}
    assert gate.account(headers).hd is None
    assert gate.authorize(TABLE, (202, headers))[0] == 403


def test_googles_settings_ask_for_groups_and_only_the_company() -> None:
    text = config.oauth2_proxy(
        config.Settings(
            public_url="https://dash.acme.example",
            address="0.0.0.0:4180",
            provider=config.Google("admin@acme.example", "/google/account.json"),
            client_id="id",
            domains=("acme.example",),
            redis_url="redis://redis:6379",
            trusted_proxies=("127.0.0.1",),
        )
    )
    lines = set(text.splitlines())
    assert 'provider = "google"' in lines
    assert 'email_domains = ["acme.example"]' in lines
    assert 'google_admin_email = "admin@acme.example"' in lines
    assert "&hd=acme.example" in text
    assert "cookie_secure = true" in lines
    assert "whitelist_domains = []" in lines


def test_a_role_gets_the_same_config_from_its_variables() -> None:
    settings = {
        "public_url": "https://dash.acme.example",
        "address": "0.0.0.0:4180",
        "client_id": "id",
        "domains": ["acme.example", "acme.test"],
        "redis_url": "redis://redis:6379",
        "trusted_proxies": ["10.42.0.0/16"],
    }
    google = sign_on_config(settings | {"google": {}})
    assert 'email_domains = ["acme.example", "acme.test"]' in google
    assert "google_admin_email" not in google
    assert 'oidc_issuer_url = "https://id.acme.example"' in sign_on_config(
        settings | {"oidc": {"issuer": "https://id.acme.example"}}
    )
    with pytest.raises(AnsibleFilterError, match="'oidc'"):
        sign_on_config(settings)
    with pytest.raises(AnsibleFilterError, match="unexpected keyword argument 'color'"):
        sign_on_config(settings | {"google": {}, "color": "red"})
