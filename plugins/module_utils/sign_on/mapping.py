"""The one mapping of Workspace accounts and groups to {org, project, group, user} and a Grafana role."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

# What the API side lets a user be called: lower case, digits and inner dashes; no dots.
_USER = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


class Refused(Exception):  # noqa: N818 - it is an answer, not a failure
    """This account is nobody here; the message says what to do and goes to the person."""


class Role(IntEnum):
    """A Grafana role; the highest of a person's groups counts."""

    VIEWER = 1
    EDITOR = 2
    ADMIN = 3

    @property
    def grafana(self) -> str:
        """The name that Grafana's auth proxy takes."""
        return self.name.capitalize()


@dataclass(frozen=True, slots=True, order=True)
class Membership:
    """A place in a Project, as its file names it."""

    org: str
    project: str
    group: str


@dataclass(frozen=True, slots=True)
class Table:
    """A site's mapping.

    ``domains``: the company's Workspace domains. ``members``: address of a Workspace group -> places in Projects.
    ``roles``: address of a Workspace group -> Grafana role; ADMIN also sees the platform and every Project.
    ``projects``: all Projects of the site.
    """

    domains: frozenset[str]
    members: Mapping[str, tuple[Membership, ...]]
    roles: Mapping[str, Role]
    projects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """What the identity provider says: ``hd`` is the Workspace domain that owns the account, None for a private one."""

    email: str
    hd: str | None
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Person:
    """Who the account is to the gateway; ``memberships`` is sorted and has at most one per Project."""

    email: str
    user: str
    memberships: tuple[Membership, ...]
    role: Role
    metrics_tenants: tuple[str, ...]
    logs_tenants: tuple[str, ...]

    def headers(self) -> dict[str, str]:
        """The identity headers: the API side's names; with several Projects, lists in one common order."""
        return {
            "x-dev-org": ",".join(m.org for m in self.memberships),
            "x-dev-project": ",".join(m.project for m in self.memberships),
            "x-dev-group": ",".join(m.group for m in self.memberships),
            "x-dev-user": self.user,
            "x-webauth-user": self.email,
            "x-webauth-role": self.role.grafana,
            "x-metrics-tenants": "|".join(self.metrics_tenants),
            "x-logs-tenants": "|".join(self.logs_tenants),
        }


# The tenant that holds everything: operators read it instead of every Project's, so nothing is counted twice.
PLATFORM_TENANT = "platform"


def identify(table: Table, account: Account) -> Person:
    """Give the person behind an account; raises Refused with a message for that person."""
    user = _user(table, account)
    memberships = _memberships(table, account)
    role = max((table.roles[g] for g in account.groups if g in table.roles), default=Role.VIEWER)
    projects = tuple(m.project for m in memberships)
    operator = role is Role.ADMIN
    if not projects and not operator:
        raise Refused("you are in no Project: ask its owner to add you to one of its Workspace groups")
    return Person(
        email=account.email.lower(),
        user=user,
        memberships=memberships,
        role=role,
        metrics_tenants=(PLATFORM_TENANT,) if operator else projects,
        logs_tenants=(PLATFORM_TENANT, *table.projects) if operator else projects,
    )


def _user(table: Table, account: Account) -> str:
    local, _, domain = account.email.lower().rpartition("@")
    # The address alone proves nothing: anybody can open a private account under a company's address.
    if domain not in table.domains or account.hd not in table.domains:
        raise Refused("this is no account of the company's Workspace: sign in with that one")
    user = local.replace(".", "-").replace("_", "-")
    if not _USER.fullmatch(user):
        raise Refused(f"{account.email}: this address makes no user name (a-z, 0-9, dashes)")
    return user


def _memberships(table: Table, account: Account) -> tuple[Membership, ...]:
    found = sorted({m for group in account.groups for m in table.members.get(group, ())})
    projects = [m.project for m in found]
    if twice := sorted({p for p in projects if projects.count(p) > 1}):
        raise Refused(f"you are in two groups of {', '.join(twice)}: ask its owner to leave you in one")
    return tuple(found)


def load(text: str) -> Table:
    """Read a table from the JSON that ``dump`` wrote; raises KeyError or ValueError when it is not one."""
    data = json.loads(text)
    return Table(
        domains=frozenset(data["domains"]),
        members={
            address: tuple(Membership(m["org"], m["project"], m["group"]) for m in places)
            for address, places in data["members"].items()
        },
        roles={address: Role[name.upper()] for address, name in data["roles"].items()},
        projects=tuple(data["projects"]),
    )


def dump(table: Table) -> str:
    """Write a table as JSON, the same text for the same table."""
    return json.dumps(
        {
            "domains": sorted(table.domains),
            "members": {
                address: [{"org": m.org, "project": m.project, "group": m.group} for m in places]
                for address, places in table.members.items()
            },
            "roles": {address: role.grafana for address, role in table.roles.items()},
            "projects": list(table.projects),
        },
        indent=2,
        sort_keys=True,
    )


def table(
    *,
    domains: Iterable[str],
    groups: Mapping[str, Mapping[str, str]],
    projects: Mapping[str, str],
) -> Table:
    """Build a site's table from inventory variables.

    ``groups``: address -> {project, group} and/or {role: viewer|editor|admin}; ``projects``: name -> org.
    Raises ValueError naming the address and what is allowed.
    """
    lowered = frozenset(domain.lower() for domain in domains)
    members: dict[str, tuple[Membership, ...]] = {}
    roles: dict[str, Role] = {}
    for address, entry in groups.items():
        _check(address, entry, lowered, projects)
        if "project" in entry:
            members[address.lower()] = (Membership(projects[entry["project"]], entry["project"], entry["group"]),)
        if "role" in entry:
            roles[address.lower()] = Role[entry["role"].upper()]
    return Table(lowered, members, roles, tuple(sorted(projects)))


def _check(address: str, entry: Mapping[str, str], domains: frozenset[str], projects: Mapping[str, str]) -> None:
    where = f"oauth2_proxy_groups[{address!r}]"
    if address.lower().rpartition("@")[2] not in domains:
        raise ValueError(f"{where}: a group of another domain; allowed: {', '.join(sorted(domains))}")
    if unknown := set(entry) - {"project", "group", "role"}:
        raise ValueError(f"{where}: unknown {', '.join(sorted(unknown))}; allowed: project, group, role")
    if ("project" in entry) != ("group" in entry) or not entry:
        raise ValueError(f"{where}: give project and group together, or a role, or all three")
    if "project" in entry and entry["project"] not in projects:
        raise ValueError(f"{where}: no Project {entry['project']!r}; there are {', '.join(sorted(projects))}")
    if "role" in entry and entry["role"].upper() not in Role.__members__:
        raise ValueError(f"{where}: no role {entry['role']!r}; allowed: viewer, editor, admin")
