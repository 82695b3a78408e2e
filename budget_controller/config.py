"""The controller's one configuration document: JSON rendered from the Project specs, version 1.

Parsing reports every fault at once and refuses a version newer than it knows. Amounts are decimals, never floats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from . import money, periods
from .errors import ConfigError
from .prices import Price, PriceBook, Tier, rates

VERSION = 1


@dataclass(frozen=True, slots=True)
class Raise:
    """A temporary budget: ``amount`` instead of the usual limit, before ``until``."""

    amount: int
    until: int
    reason: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent per period, in pico-dollars. ``margin`` of it is never leased (see docs/budget.md)."""

    limit: int
    period: str
    zone: str
    margin: int = 0
    alerts: tuple[int, ...] = ()
    raised: Raise | None = None

    def limit_at(self, at: int) -> int:
        """The limit, or the raised one while that lasts."""
        return self.raised.amount if self.raised and at < self.raised.until else self.limit


@dataclass(frozen=True, slots=True)
class Scope:
    """A level that shares one budget (org, project or group), or only counts when it has none."""

    id: str
    budget: Budget | None
    zone: str


@dataclass(frozen=True, slots=True)
class User:
    """What differs for one user from the group's other members."""

    budget: Budget | None = None
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """The members who share budgets and models; ``scopes`` are group, project and org, inner first."""

    project: str
    name: str
    scopes: tuple[Scope, Scope, Scope]
    member_budget: Budget | None
    models: tuple[str, ...]
    users: Mapping[str, User | None]
    blocked: bool
    zone: str

    @property
    def id(self) -> str:
        """``project/group``."""
        return f"{self.project}/{self.name}"

    def budget_of(self, user: str) -> Budget | None:
        """A member's own budget: the user's, else the group's default for members."""
        own = self.users.get(user)
        return own.budget if own and own.budget else self.member_budget

    def is_blocked(self, user: str) -> bool:
        """Whether a kill switch holds for the member: the user's, the group's or the project's."""
        own = self.users.get(user)
        return self.blocked or bool(own and own.blocked)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the controller knows about the site. Where Redis and the metrics are is the deployment's affair."""

    site: str
    zone: str
    quota_prefix: str
    worst_request_tokens: int
    unattributed_after: int
    orgs: Mapping[str, Scope]
    projects: Mapping[str, Scope]
    groups: tuple[Group, ...]
    book: PriceBook

    def consumers(self) -> Iterator[tuple[str, Group]]:
        """Every consumer's name with its group."""
        for group in self.groups:
            for user in group.users:
                yield f"{group.project}.{user}", group

    def scopes(self) -> dict[str, Scope]:
        """Every level that has a ledger of its own, by id."""
        every = [*self.orgs.values(), *self.projects.values(), *(group.scopes[0] for group in self.groups)]
        return {scope.id: scope for scope in every}

    def zones(self) -> frozenset[str]:
        """Every zone that some budget or level counts its days in."""
        found = {self.zone} | {scope.zone for scope in self.scopes().values()}
        for group in self.groups:
            found.add(group.zone)
            found |= {user.budget.zone for user in group.users.values() if user and user.budget}
        return frozenset(found)


def load(path: Path) -> Config:
    """The configuration in the file, with its Projects from the parts that it names, where it does.

    Part n of ``DIR/budget.json`` is ``DIR-<n>/projects-<n>.json``: a directory is a ConfigMap.
    """

    def part(number: int) -> bytes:
        directory = path.parent.with_name(f"{path.parent.name}-{number}")
        return directory.joinpath(f"projects-{number}.json").read_bytes()

    try:
        return parse(path.read_text(encoding="utf-8"), part)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"$: cannot be read: {error}"]) from None


def parse(text: str, part: Callable[[int], bytes] | None = None) -> Config:
    """The configuration of ``text``; ``part`` reads the n-th of its parts. Raises ConfigError naming every fault."""
    document = _object(text)
    version = document.get("version")
    if isinstance(version, int) and version > VERSION:
        raise ConfigError(
            [f"$.version: is {version}, and this controller knows versions up to {VERSION}: update the controller"]
        )
    if part is not None and "parts" in document:
        document["projects"] = _projects(document.pop("parts"), part)
    reader = _Reader()
    config = reader.site(document)
    if reader.problems:
        raise ConfigError(reader.problems)
    return config


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        document = json.loads(text, parse_float=Decimal, parse_constant=str)
    except ValueError as error:
        raise ConfigError([f"$: is not JSON: {error}"]) from None
    if not isinstance(document, dict):
        raise ConfigError(["$: must be an object"])
    return document


def _projects(parts: Any, part: Callable[[int], bytes]) -> dict[str, Any]:
    """The Projects of all parts. While a change is applied, a part of another time may be there: none is believed then.

    Else Projects would seem gone whose part is not there yet, and their leases would be taken back.
    """
    if not isinstance(parts, dict) or not all(number.isdecimal() for number in parts):
        raise ConfigError(["$.parts: must map the numbers of parts to the names of their Projects"])
    found: dict[str, Any] = {}
    for number, names in parts.items():
        projects = _object(part(int(number)))
        if list(projects) != names:
            raise ConfigError([f"$.parts.{number}: another version of this part is there; try again in a while"])
        found |= projects
    return dict(sorted(found.items()))


class _Reader:
    """Turns JSON into the types above and collects what is wrong instead of stopping at it."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        #: What the part being read counts its days in, unless it says otherwise.
        self.zone = "UTC"

    def site(self, doc: dict[str, Any]) -> Config:
        self._known(doc, "$", "version site zone quota_prefix worst_request_tokens unattributed_after_seconds "
                              "orgs projects prices")  # fmt: skip
        if doc.get("version") != VERSION:
            self.problems.append(f"$.version: must be {VERSION}, not {doc.get('version')!r}")
        self.zone = self._zone(doc.get("zone", "UTC"), "$.zone")
        orgs = {
            name: self._scope(f"org:{name}", spec, f"$.orgs.{name}", "budget zone")
            for name, spec in self._mapping(doc.get("orgs", {}), "$.orgs")
        }
        projects: dict[str, Scope] = {}
        groups: list[Group] = []
        for name, spec in self._mapping(doc.get("projects", {}), "$.projects"):
            projects[name], members = self._project(name, spec, orgs)
            groups += members
        return Config(
            site=self._text(doc.get("site"), "$.site"),
            zone=self.zone,
            quota_prefix=self._text(doc.get("quota_prefix", "chat_quota:"), "$.quota_prefix"),
            worst_request_tokens=self._count(doc.get("worst_request_tokens", 200_000), "$.worst_request_tokens"),
            unattributed_after=self._count(doc.get("unattributed_after_seconds", 900), "$.unattributed_after_seconds"),
            orgs=orgs,
            projects=projects,
            groups=tuple(groups),
            book=PriceBook(tuple(self._prices(doc.get("prices", []), "$.prices"))),
        )

    def _project(self, name: str, spec: Any, orgs: dict[str, Scope]) -> tuple[Scope, list[Group]]:
        path = f"$.projects.{name}"
        outer = self.zone
        project = self._scope(f"project:{name}", spec, path, "org budget zone blocked groups")
        groups: list[Group] = []
        if isinstance(spec, dict):
            org = orgs.get(str(spec.get("org")))
            if org is None:
                self.problems.append(f"{path}.org: {spec.get('org')!r} is not one of {sorted(orgs)}")
                org = Scope("org:", None, self.zone)
            self.zone = project.zone if "zone" in spec else outer
            blocked = self._flag(spec.get("blocked", False), f"{path}.blocked")
            seen: dict[str, str] = {}
            for group_name, group in self._mapping(spec.get("groups", {}), f"{path}.groups"):
                where = f"{path}.groups.{group_name}"
                read = self._group(group_name, group, (project, org), where, blocked=blocked)
                for user in read.users:
                    if seen.setdefault(user, group_name) != group_name:
                        self.problems.append(f"{where}.users.{user}: is also in group {seen[user]}")
                groups.append(read)
        self.zone = outer
        return project, groups

    def _group(self, name: str, spec: Any, above: tuple[Scope, Scope], path: str, *, blocked: bool) -> Group:
        project = above[0].id.removeprefix("project:")
        scope = self._scope(f"group:{project}/{name}", spec, path, "budget member_budget blocked models users")
        spec = spec if isinstance(spec, dict) else {}
        models = spec.get("models", [])
        if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
            self.problems.append(f"{path}.models: must be a list of model names")
            models = []
        member = self._budget(spec.get("member_budget"), f"{path}.member_budget")
        return Group(
            project=project,
            name=name,
            scopes=(scope, *above),
            member_budget=member,
            models=tuple(models),
            users=self._users(spec.get("users", {}), f"{path}.users"),
            blocked=self._flag(spec.get("blocked", False), f"{path}.blocked") or blocked,
            zone=member.zone if member else scope.zone,
        )

    def _users(self, spec: Any, path: str) -> dict[str, User | None]:
        if isinstance(spec, list):  # the short form: members without anything of their own
            if all(isinstance(name, str) for name in spec):
                return dict.fromkeys(spec)
            self.problems.append(f"{path}: must name users")
            return {}
        users: dict[str, User | None] = {}
        for name, user in self._mapping(spec, path):
            where = f"{path}.{name}"
            if not self._is_object(user, where):
                continue
            self._known(user, where, "budget blocked")
            budget = self._budget(user.get("budget"), f"{where}.budget")
            users[name] = User(budget, self._flag(user.get("blocked", False), f"{where}.blocked"))
        return users

    def _scope(self, id_: str, spec: Any, path: str, known: str) -> Scope:
        if not self._is_object(spec, path):
            return Scope(id_, None, self.zone)
        self._known(spec, path, known)
        zone = self._zone(spec.get("zone", self.zone), f"{path}.zone")
        budget = self._budget(spec.get("budget"), f"{path}.budget", zone)
        return Scope(id_, budget, budget.zone if budget else zone)

    def _budget(self, spec: Any, path: str, zone: str = "") -> Budget | None:
        if spec is None or not self._is_object(spec, path):
            return None
        self._known(spec, path, "usd period zone margin_usd alerts raise")
        period = spec.get("period", "month")
        if period not in periods.PERIODS:
            self.problems.append(f"{path}.period: {period!r} is not one of {list(periods.PERIODS)}")
            period = "month"
        limit = self._usd(spec.get("usd"), f"{path}.usd")
        margin = self._usd(spec.get("margin_usd", "0"), f"{path}.margin_usd")
        alerts = spec.get("alerts", [])
        if not isinstance(alerts, list) or not all(type(a) is int and 0 < a <= 1000 for a in alerts):
            self.problems.append(f"{path}.alerts: must be a list of whole percents from 1 to 1000")
            alerts = []
        return Budget(
            limit=limit,
            period=period,
            zone=self._zone(spec.get("zone", zone or self.zone), f"{path}.zone"),
            margin=margin,
            alerts=tuple(sorted(set(alerts))),
            raised=self._raise(spec.get("raise"), f"{path}.raise"),
        )

    def _raise(self, spec: Any, path: str) -> Raise | None:
        if spec is None or not self._is_object(spec, path):
            return None
        self._known(spec, path, "usd until reason")
        return Raise(
            self._usd(spec.get("usd"), f"{path}.usd"),
            self._time(spec.get("until"), f"{path}.until") or 0,
            self._text(spec.get("reason"), f"{path}.reason"),
        )

    def _prices(self, spec: Any, path: str) -> Iterator[Price]:
        if not isinstance(spec, list):
            self.problems.append(f"{path}: must be a list")
            return
        taken: dict[tuple[str, int | None], int] = {}
        for index, price in enumerate(spec):
            where = f"{path}[{index}]"
            if not self._is_object(price, where):
                continue
            self._known(price, where, "model pattern input output cache_read cache_write valid_from valid_until tiers")
            read = Price(
                model=self._text(price.get("model"), f"{where}.model"),
                tiers=self._tiers(price, where),
                valid_from=self._time(price.get("valid_from"), f"{where}.valid_from", optional=True),
                valid_until=self._time(price.get("valid_until"), f"{where}.valid_until", optional=True),
                pattern=self._flag(price.get("pattern", False), f"{where}.pattern"),
            )
            if (read.valid_from or 0) >= (read.valid_until or 1 << 62):
                self.problems.append(f"{where}.valid_until: is not after valid_from")
            first = taken.setdefault((read.model, read.valid_from), index)
            if first != index:
                self.problems.append(f"{where}: has the model and start of {path}[{first}]")
            yield read

    def _tiers(self, price: dict[str, Any], path: str) -> tuple[Tier, ...]:
        tiers = [Tier(0, self._rates(price, path))]
        spec = price.get("tiers", [])
        if not isinstance(spec, list):
            self.problems.append(f"{path}.tiers: must be a list")
            spec = []
        for index, tier in enumerate(spec):
            where = f"{path}.tiers[{index}]"
            if not self._is_object(tier, where):
                continue
            self._known(tier, where, "above_input_tokens input output cache_read cache_write")
            above = self._count(tier.get("above_input_tokens"), f"{where}.above_input_tokens")
            if above <= tiers[-1].above:
                self.problems.append(f"{where}.above_input_tokens: must be above the tier before")
            tiers.append(Tier(above, self._rates(tier, where)))
        return tuple(tiers)

    def _rates(self, spec: dict[str, Any], path: str) -> Any:
        def rate(name: str, default: object = None) -> int:
            return self._amount(money.pico_per_token, spec.get(name, default), f"{path}.{name}")

        # Without a rate of their own, cached tokens cost what fresh input costs.
        plain = spec.get("input")
        return rates(rate("input"), rate("output"), rate("cache_read", plain), rate("cache_write", plain))

    def _usd(self, value: object, path: str) -> int:
        return self._amount(money.pico_of_usd, value, path)

    def _amount(self, read: Callable[[object], int], value: object, path: str) -> int:
        try:
            return read(value)
        except ValueError as error:
            self.problems.append(f"{path}: {error}")
            return 0

    def _time(self, value: object, path: str, *, optional: bool = False) -> int | None:
        if value is None and optional:
            return None
        try:
            return periods.parse_time(value if isinstance(value, str) else "")
        except ValueError:
            self.problems.append(f"{path}: {value!r} is not a time like 2026-12-01T00:00:00+07:00")
            return None

    def _zone(self, value: object, path: str) -> str:
        try:
            ZoneInfo(value if isinstance(value, str) else "?")
        except (ZoneInfoNotFoundError, ValueError):
            self.problems.append(f"{path}: {value!r} is not an IANA time zone")
            return "UTC"
        return str(value)

    def _count(self, value: object, path: str) -> int:
        if type(value) is int and value > 0:
            return value
        self.problems.append(f"{path}: must be a whole number above 0")
        return 1

    def _text(self, value: object, path: str) -> str:
        if isinstance(value, str) and value:
            return value
        self.problems.append(f"{path}: must be a text that is not empty")
        return ""

    def _flag(self, value: object, path: str) -> bool:
        if isinstance(value, bool):
            return value
        self.problems.append(f"{path}: must be true or false")
        return False

    def _is_object(self, value: object, path: str) -> bool:
        if isinstance(value, dict):
            return True
        self.problems.append(f"{path}: must be an object")
        return False

    def _mapping(self, value: object, path: str) -> list[tuple[str, Any]]:
        return list(value.items()) if isinstance(value, dict) and self._is_object(value, path) else self._empty(path)

    def _empty(self, path: str) -> list[tuple[str, Any]]:
        self.problems.append(f"{path}: must be an object")
        return []

    def _known(self, spec: dict[str, Any], path: str, known: str) -> None:
        allowed = known.split()
        self.problems += [f"{path}.{key}: is not known; allowed are {allowed}" for key in spec if key not in allowed]
