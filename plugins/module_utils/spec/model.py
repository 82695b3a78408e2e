"""The Project spec, version 1, as frozen models. JSON Schema for editors is generated from them.

Money is USD in Decimals, never floats. Names are DNS-like so that they can stand in Kubernetes objects,
routes, metric labels and Redis keys unchanged.
"""

from __future__ import annotations

import ipaddress
import re
import re._parser as re_parser  # how a regex is made; the standard library has no other way to it
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StringConstraints,
    model_validator,
)

# `--` joins names in object names (`atlas--entry`), so no name may hold it; a dot joins Project and user.
_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
_DOTTED = r"^[a-z0-9]+([.-][a-z0-9]+)*$"
_SECRET_NAME = r"^[a-z0-9]+([-._][a-z0-9]+)*$"  # noqa: S105 -- a pattern, not a secret
_HOST = r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]$"

# A provider may also be a name without a dot, as in a private network.
_PROVIDER_HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]*[a-z0-9])?")

_BACKTRACKING = {"ASSERT", "ASSERT_NOT", "GROUPREF", "GROUPREF_EXISTS", "ATOMIC_GROUP", "POSSESSIVE_REPEAT"}
_NESTED_CLASS = re.compile(r"(?<!\\)(?:\\\\)*\[\^?\]?(?:[^\]\\\[]|\\.)*\[")

# What each pattern means, for messages to people.
PATTERN_HINTS = {
    _NAME: "lower-case letters, digits and single hyphens, e.g. team-a",
    _DOTTED: "lower-case letters, digits, dots and single hyphens, e.g. coding-default",
    _SECRET_NAME: "the name of a secret, e.g. openai-main (never the secret itself)",
    _HOST: "a host name without port, e.g. team.gateway.example",
}

Name = Annotated[str, StringConstraints(pattern=_NAME, max_length=40)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:/@+-]+$")]
AliasName = Annotated[str, StringConstraints(pattern=_DOTTED, max_length=63)]
SecretName = Annotated[str, StringConstraints(pattern=_SECRET_NAME, max_length=63)]
Host = Annotated[str, StringConstraints(pattern=_HOST, max_length=253)]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=63)]


def _exact(value: Any) -> Any:
    """Booleans and floats are no amounts: a float has already lost digits."""
    if isinstance(value, bool | float):
        raise ValueError("must be a decimal number")  # noqa: TRY004 -- pydantic reports ValueError with its path
    return value


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no IANA time zone, such as Asia/Bangkok or UTC") from None
    return value


def _linear_regex(value: str) -> str:
    """Refuses what the guards' engine cannot run: what needs backtracking, and what it would read otherwise."""
    try:
        with warnings.catch_warnings():
            # A bracket or doubled operator in a class: the guards read a class within a class, Python does not.
            warnings.simplefilter("error", FutureWarning)
            parsed = re_parser.parse(value)
    except (re.error, FutureWarning) as error:
        raise ValueError(f"is no regular expression: {error}") from None
    if _BACKTRACKING & {*_operations(parsed)}:
        raise ValueError("uses look-around, a back-reference or a possessive match: the guards' linear engine has none")
    if _NESTED_CLASS.search(value):
        raise ValueError(r"has a [ within a class: write it as \[")
    if "AT_END_STRING" in _operations(parsed):
        raise ValueError(r"uses \Z: write $")
    if re.compile(value).match(""):
        raise ValueError("matches the empty text, so it would match everywhere")
    return value


def _operations(parsed: Any) -> Iterator[str]:
    """Names of all that a parsed regex does, at any depth."""
    if isinstance(parsed, re_parser.SubPattern | tuple | list):
        for part in parsed:
            yield from _operations(part)
    elif hasattr(parsed, "name"):
        yield parsed.name


def _provider_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http:// or https:// URL")
    if not _is_address(parts.hostname) and not _PROVIDER_HOST.fullmatch(parts.hostname):
        raise ValueError("has no valid host name")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("may not hold credentials, a query or a fragment")
    if parts.hostname == "localhost":
        raise ValueError("localhost is dropped by the gateway's registry: write 127.0.0.1 or a name")
    if parts.port == 0:  # a port that is no number raises here
        raise ValueError("has no valid port")
    if parts.scheme == "https" and _is_address(parts.hostname):
        raise ValueError("https needs a name for the certificate, not an address")
    return value.rstrip("/")


def _day(value: date) -> date:
    # A year that is mistyped has no midnight in every time zone.
    if not 2000 <= value.year < 3000:
        raise ValueError("must be a day of the years 2000 to 2999")
    return value


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# The budget controller counts in pico-dollars, in Redis' integers of 64 bits.
MAX_USD = 9_000_000

Usd = Annotated[Decimal, BeforeValidator(_exact), Field(ge=0, le=MAX_USD, decimal_places=6, allow_inf_nan=False)]
Day = Annotated[date, AfterValidator(_day)]
Timezone = Annotated[str, AfterValidator(_zone)]
Regex = Annotated[str, StringConstraints(min_length=1, max_length=1000), AfterValidator(_linear_regex)]
Phrase = Annotated[str, StringConstraints(min_length=2, max_length=200, strip_whitespace=True)]
ProviderUrl = Annotated[str, AfterValidator(_provider_url)]
Percent = Annotated[StrictInt, Field(ge=1, le=1000)]


class _Spec(BaseModel):
    """Frozen, and strict about what it knows: an unknown field is a mistake, not a comment."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, hide_input_in_errors=True)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a request is: {org, project, group, user}. Everything in the product is keyed by it."""

    org: str
    project: str
    group: str
    user: str

    @property
    def consumer(self) -> str:
        """The gateway's consumer name, ``<project>.<user>``."""
        return f"{self.project}.{self.user}"


class TokenLimit(_Spec):
    """At most ``tokens`` (input and output, raw) in each window of one second, minute, hour or day."""

    tokens: StrictInt = Field(ge=1, le=10**12)
    per: Literal["second", "minute", "hour", "day"] = "minute"


class Raise(_Spec):
    """A temporary budget: ``usd`` instead of the usual amount up to and including the day ``until``."""

    usd: Usd
    until: Day
    reason: str = Field(min_length=3, max_length=200)


class Budget(_Spec):
    """At most ``usd`` dollars in each calendar period of the owner's time zone."""

    usd: Usd
    period: Literal["month", "week", "day"] = "month"
    alerts: tuple[Percent, ...] = (80, 100)
    raised: Raise | None = Field(default=None, alias="raise")


class Provider(_Spec):
    """An LLM provider of this Project: where it is, how to speak to it, which secret is its key."""

    type: Literal["openai", "azure", "claude", "gemini", "deepseek", "mistral", "qwen"] = "openai"
    url: ProviderUrl = Field(description="Base URL, e.g. https://api.provider.example/v1")
    key: SecretName = Field(description="Name of the secret that holds the key. Never the key itself.")


class Target(_Spec):
    """One provider's model behind an alias; weights of an alias's targets add up to 100."""

    provider: Name
    model: ModelName
    weight: StrictInt = Field(default=100, ge=1, le=100)


class Alias(_Spec):
    """A model name that people use, and what answers for it."""

    targets: tuple[Target, ...] = Field(min_length=1, max_length=8)
    fallback: Target | None = Field(
        default=None, description="Answers when the targets fail (4xx, 5xx, no connection)."
    )
    workload: HeaderValue | None = Field(
        default=None, description="A request with header `workload: VALUE` is served by this alias."
    )
    timeout_seconds: StrictInt = Field(default=600, ge=1, le=3600)


class Key(_Spec):
    """One credential of a user. Two at a time make a rotation with overlap."""

    name: SecretName
    not_after: datetime | None = Field(default=None, description="The key stops working at this time (with zone).")

    @model_validator(mode="after")
    def _zoned(self) -> Key:
        if self.not_after is not None and self.not_after.tzinfo is None:
            raise ValueError("not_after needs a time zone, e.g. 2026-12-31T17:00:00+07:00")
        return self


class User(_Spec):
    """A person or program; what is not said is taken from the group's defaults for its users."""

    budget: Budget | None = None
    token_limit: TokenLimit | None = None
    keys: tuple[Key, ...] = Field(default=(Key(name="default"),), min_length=1, max_length=4)
    blocked: StrictBool = False


class Group(_Spec):
    """Users who may use the same models; ``budget`` and ``token_limit`` are shared by all of them."""

    models: tuple[AliasName, ...] = Field(min_length=1, description="Aliases of this Project that the group may use.")
    users: dict[Name, User | None] = Field(min_length=1)
    budget: Budget | None = None
    token_limit: TokenLimit | None = None
    user_budget: Budget | None = Field(default=None, description="Each user's own budget, unless the user has one.")
    user_token_limit: TokenLimit | None = None
    blocked: StrictBool = False

    def user(self, name: str) -> User:
        """The user NAME, with the group's defaults filled in."""
        return self.with_defaults(self.users[name] or User())

    def with_defaults(self, user: User) -> User:
        """USER as this group's: its own settings first, then the group's for its users."""
        return user.model_copy(
            update={
                "budget": user.budget or self.user_budget,
                "token_limit": user.token_limit or self.user_token_limit,
                "blocked": user.blocked or self.blocked,
            }
        )


Engine = Literal["ai-data-masking", "data-masking"]
Kind = Literal["email", "phone", "ip", "api_key", "credential", "credit_card", "iban", "national_id"]
Country = Literal["br", "cn", "es", "fr", "gb", "in", "kr", "sg", "th", "us"]


class MaskingRule(_Spec):
    """What to look for (a known kind, or a regex with a name) and what to do with it."""

    kind: Kind | None = None
    name: Name | None = None
    regex: Regex | None = None
    countries: tuple[Country, ...] | None = Field(default=None, description="For national_id; unset: all known.")
    action: Literal["mask", "hash", "block", "report"] = "mask"
    restore: StrictBool = Field(default=False, description="Put the value back in the answer.")
    value: str | None = Field(
        default=None,
        max_length=64,
        description="What stands in place of the value. Not used by data-masking together with restore.",
    )

    @model_validator(mode="after")
    def _one_matcher(self) -> MaskingRule:
        if (self.kind is None) == (self.regex is None):
            raise ValueError("needs either kind or regex")
        if self.regex is not None and self.name is None:
            raise ValueError("a regex needs a name, for counters and messages")
        if self.countries is not None and self.kind != "national_id":
            raise ValueError("countries goes with kind national_id only")
        if self.restore and self.action not in ("mask", "hash"):
            raise ValueError("restore goes with action mask or hash only")
        return self


class Masking(_Spec):
    """Masking of personal data and secrets. ``engine`` unset: the site's."""

    engine: Engine | Literal["off"] | None = None
    mode: Literal["strict", "streaming"] = Field(
        default="strict",
        description="ai-data-masking only. strict masks every shape and holds streamed answers to their end; "
        "streaming lets answers stream and masks string contents only.",
    )
    rules: tuple[MaskingRule, ...] = ()
    deny_words: tuple[Phrase, ...] = ()


class PromptGuard(_Spec):
    """Injection patterns that are refused; ``defaults`` adds the collection's own list."""

    defaults: StrictBool = True
    phrases: tuple[Phrase, ...] = Field(default=(), max_length=500)
    patterns: tuple[Regex, ...] = Field(default=(), max_length=100)


class Expectation(_Spec):
    """What a request of a policy test must meet: a gate that refuses it, or an answer."""

    status: StrictInt = Field(ge=200, le=599)
    gate: str | None = None


class PolicyTest(_Spec):
    """A request and what the policy must make of it; replayed by `make policy-test` and checked by the plan."""

    name: str = Field(min_length=1, max_length=80)
    user: Name
    model: str
    prompt: str = "Say hello."
    workload: HeaderValue | None = None
    expect: Expectation


class Project(_Spec):
    """One tenant: who may use which models, through which providers, for how much."""

    version: Literal[1]
    org: Name
    project: Name
    description: str = Field(default="", max_length=300)
    host: Host = Field(description="The Project's own host name; no other Project may have it.")
    timezone: Timezone = "UTC"
    providers: dict[Name, Provider] = Field(min_length=1)
    models: dict[AliasName, Alias] = Field(min_length=1, description="Aliases: the names people use.")
    groups: dict[Name, Group] = Field(min_length=1)
    budget: Budget | None = None
    token_limit: TokenLimit | None = None
    masking: Masking = Masking()
    prompt_guard: PromptGuard = PromptGuard()
    blocked: StrictBool = False
    tests: tuple[PolicyTest, ...] = ()

    def identities(self) -> tuple[Identity, ...]:
        """Every user of the Project with its group, in the order of names."""
        found = [
            Identity(self.org, self.project, group, user)
            for group, members in self.groups.items()
            for user in members.users
        ]
        return tuple(sorted(found, key=lambda identity: identity.user))


class PriceTier(_Spec):
    """Other rates for requests whose whole input is above ``above_input_tokens`` tokens."""

    above_input_tokens: StrictInt = Field(ge=1)
    input: Usd
    output: Usd
    cache_read: Usd | None = None
    cache_write: Usd | None = None


class Price(_Spec):
    """USD per 1,000,000 tokens of one provider's model, or of all that match a pattern with one ``*``."""

    model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:/@+-]+\*?$", max_length=128)]
    input: Usd
    output: Usd
    cache_read: Usd | None = Field(default=None, description="Unset: the price of fresh input.")
    cache_write: Usd | None = Field(default=None, description="Unset: the price of fresh input.")
    valid_from: Day | None = None
    valid_until: Day | None = Field(default=None, description="The last day of this price.")
    tiers: tuple[PriceTier, ...] = ()

    @model_validator(mode="after")
    def _ends_after_it_begins(self) -> Price:
        if self.valid_from and self.valid_until and self.valid_until < self.valid_from:
            raise ValueError(f"valid_until is before valid_from, {self.valid_from}")
        return self

    @model_validator(mode="after")
    def _tiers_ascend(self) -> Price:
        above = [tier.above_input_tokens for tier in self.tiers]
        if any(later <= earlier for earlier, later in pairwise(above)):
            raise ValueError("tiers must ascend: each above_input_tokens above the one before")
        return self

    def covers(self, model: str) -> bool:
        """Whether this entry prices MODEL, by its name or by its pattern."""
        if self.model.endswith("*"):
            return model.startswith(self.model[:-1])
        return model == self.model


class PriceTable(_Spec):
    """The site's prices.yml."""

    version: Literal[1]
    prices: tuple[Price, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_price_at_a_time(self) -> PriceTable:
        starts = [(price.model, price.valid_from) for price in self.prices]
        twice = sorted({model for model, start in starts if starts.count((model, start)) > 1})
        if twice:
            raise ValueError(f"two prices begin at the same time: {', '.join(twice)}; give one a valid_from")
        return self


class Org(_Spec):
    """An organisation: the level above its Projects."""

    budget: Budget | None = None
    timezone: Timezone = "UTC"
    blocked: StrictBool = False


class Redis(_Spec):
    """Where plugins find Redis: a service of the gateway's registry."""

    service: str = Field(default="redis.static", pattern=r"^[a-z0-9.-]+$")
    port: StrictInt = Field(default=6379, ge=1, le=65535)
    password_secret: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9.-]+/[a-z0-9.-]+\.[A-Za-z0-9._-]+$",
        description="namespace/secret.key",
    )


class Gateway(_Spec):
    """The site's gateway.yml: what is the same for all Projects."""

    version: Literal[1]
    site: Name
    orgs: dict[Name, Org] = Field(min_length=1)
    masking_engine: Engine = "data-masking"
    plugin_registry: str = Field(
        default="oci://registry.ai-gateway.internal:5000/plugins", pattern=r"^(oci|https|file)://[^\s]+$"
    )
    tls_secret: Name | None = Field(default=None, description="Secret with the hosts' certificate; unset: no TLS here.")
    redis: Redis = Redis()
    max_body_bytes: StrictInt = Field(default=10 * 1024 * 1024, ge=1024, le=100 * 1024 * 1024)
    in_flight_margin: Usd = Field(
        default=Decimal(0), description="USD held back under every budget for requests that are under way."
    )
    shards: dict[Name, Annotated[StrictInt, Field(ge=1, le=64)]] = Field(
        default={},
        description="Objects per plugin. A change cuts streams once, so it is the site's decision.",
    )


class SiteRecord(_Spec):
    """What all Projects of a site share: gateway.yml and prices.yml as they were applied."""

    gateway: Gateway
    prices: tuple[Price, ...]


class Site(_Spec):
    """All of a site's policy, complete and consistent."""

    gateway: Gateway
    prices: tuple[Price, ...]
    projects: tuple[Project, ...]

    def project(self, name: str) -> Project:
        """The Project NAME; KeyError when there is none."""
        for project in self.projects:
            if project.project == name:
                return project
        raise KeyError(name)
