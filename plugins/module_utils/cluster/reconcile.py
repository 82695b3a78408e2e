"""From a site's specs to a cluster that does what they say: read, plan, guard, lock, write, verify."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from ..plan import Change, FieldChange, Key, Plan, key_of, make_plan
from ..policy import Policy, policy_at, with_keys
from ..policy.objects import LABEL_MANAGED, LABEL_PROJECT, LABEL_SITE, MANAGED_BY
from ..policy.records import recorded_projects, recorded_texts
from ..secret import SecretError, Secrets, is_provider_key, minted_for, needed
from ..spec import Project, Site
from .client import Client, missing_kinds
from .errors import ClusterError, Conflict, ConflictsError, MissingKindsError
from .garbage import paused_collection
from .kinds import KINDS, SECRET, Kind, Object, name_of
from .lock import SiteLock
from .order import Stage, Transition, stages
from .ownership import conflicts, intruding_fields, owned, unchanged
from .push import Writer, push

Objects = Mapping[Key, Object]
# Up to here a request for each object costs less than the list of all.
_FEW = 20


class RefusedError(ClusterError):
    """The run would do what was not asked for in so many words; nothing was written."""


@dataclass(frozen=True)
class Wanted:
    """What a run shall make true.

    ``secrets``: keys given by the caller, by Project and name; the others are read back from the cluster or
    minted (``mint``: "own" all that no provider gives; "all": for a comparison only, stand-ins for every other too).
    ``prune``: remove Projects that have no spec any more; else they are kept as recorded.
    ``prune_limit``: the largest share of Projects, in percent, that goes without ``confirm``. ``force``: take
    back fields that other managers set. ``wait_seconds``: how long to wait for another run.
    """

    site: Site
    now: datetime
    secrets: Secrets = field(default_factory=dict, repr=False)
    state: Literal["present", "absent"] = "present"
    prune: bool = False
    prune_limit: int = 20
    confirm: str = ""
    force: bool = False
    mint: Literal["own", "none", "all"] = "own"
    wait_seconds: float = 60.0


@dataclass(frozen=True)
class Prepared:
    """What one run would do: the plan for people, the objects' transitions, and who else had a hand in them."""

    plan: Plan
    transitions: tuple[Transition, ...]
    conflicts: tuple[Conflict, ...]
    kept: tuple[str, ...]

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The writes in their order."""
        return stages(self.transitions)


@dataclass(frozen=True)
class Outcome:
    """What a run did (or, in check mode, would do); ``writes`` is the number of requests that change something."""

    prepared: Prepared
    writes: int


def labels(site: str) -> dict[str, str]:
    """The labels by which objects of SITE are ours."""
    return {LABEL_MANAGED: MANAGED_BY, LABEL_SITE: site}


def read(client: Client, site: str, kinds: Sequence[Kind] = KINDS) -> dict[Key, Object]:
    """All our objects of SITE: one list per kind, at once. Raises MissingKindsError with every kind that is unknown."""
    selector = ",".join(f"{name}={value}" for name, value in labels(site).items())
    missing: list[Kind] = []

    def listed(kind: Kind) -> list[Object]:
        try:
            return client.find(kind, selector)
        except MissingKindsError:
            missing.append(kind)
            return []

    with ThreadPoolExecutor(len(kinds)) as pool:
        found = [item for items in pool.map(listed, kinds) for item in items]
    if missing:
        raise MissingKindsError(missing_kinds([kind for kind in kinds if kind in missing]))
    return {key_of(item): item for item in found}


def prepare(wanted: Wanted, live: Objects, ahead: Policy | None = None) -> Prepared:
    """The plan from LIVE to WANTED. Pure but for new random keys; raises RefusedError, SecretError or PolicyError.

    AHEAD: the policy of WANTED's own Projects, where the caller has worked it out already.
    """
    desired, kept = _desired(wanted, live, ahead)
    keys = sorted(desired.keys() | live.keys())
    pairs = [(desired.get(key), live.get(key)) for key in keys]
    differing = [(new, old) for new, old in pairs if not (new and old and unchanged(new, old))]
    plan = make_plan(
        [new for new, _ in differing if new],
        [owned(new, old) if new else old for new, old in differing if old],
    )
    plan = _with_intrusions(plan, differing)
    changed = {(change.kind, change.name) for change in plan.changes}
    found = [c for new, old in differing if new and old for c in conflicts(new, old)]
    moves = [Transition(new, old) for new, old in differing]
    return Prepared(plan, tuple(m for m in moves if (m.kind, m.name) in changed), tuple(sorted(found)), kept)


def _with_intrusions(plan: Plan, differing: Iterable[tuple[Object | None, Object | None]]) -> Plan:
    """PLAN with the annotations that somebody added: they steer the gateway, but are no field of ours to compare."""
    told = {(change.kind, change.name) for change in plan.changes}
    more = [
        Change("update", new["kind"], new["metadata"]["name"], _project_of(new), tuple(fields), new)
        for new, old in differing
        if new and old and (new["kind"], new["metadata"]["name"]) not in told
        if (
            fields := [
                FieldChange(".".join(field), "(set by somebody else)", None) for field in intruding_fields(new, old)
            ]
        )
    ]
    return replace(plan, changes=tuple(sorted((*plan.changes, *more), key=lambda change: (change.kind, change.name))))


@paused_collection()
def preview(client: Client, wanted: Wanted) -> Prepared:
    """What :func:`reconcile` would do now. Sends nothing that changes anything; raises what it would raise."""
    with ThreadPoolExecutor(1) as pool:
        live = pool.submit(read, client, wanted.site.gateway.site)
        # While the API server makes its lists.
        ahead = policy_at(wanted.site, wanted.now) if wanted.state == "present" else None
        prepared = prepare(wanted, live.result(), ahead)
    _check_conflicts(prepared, wanted)
    return prepared


@paused_collection()
def reconcile(client: Client, wanted: Wanted, *, writer: Writer | None = None, lock: SiteLock | None = None) -> Outcome:
    """Make WANTED true and check that it is. Raises ClusterError, with a note of how far it came.

    Killed anywhere, the cluster is left in a state where no route answers without its policy, and the next run
    goes on. WRITER and LOCK are for tests.
    """
    site = wanted.site.gateway.site
    lock = lock or SiteLock(client, site, labels(site))
    seen = lock.seen()
    prepared = preview(client, wanted)
    if not prepared.transitions:
        return Outcome(prepared, 0)
    unmoved = lock.acquire(seen, wanted.wait_seconds)
    try:
        if not unmoved:
            prepared = preview(client, wanted)
        writes = _write(client, writer or client, wanted, prepared, lock.keep)
        if writes:
            _verify(client, wanted, prepared)
    finally:
        lock.release()
    return Outcome(prepared, writes)


def _write(client: Client, writer: Writer, wanted: Wanted, prepared: Prepared, keep: Callable[[], None]) -> int:
    if wanted.force:
        for move in prepared.transitions:
            fields = intruding_fields(move.desired, move.live) if move.desired and move.live else []
            if move.live and fields:
                client.remove_fields(move.live, fields)
    return push(writer, prepared.stages, force=wanted.force, keep=keep)


def _verify(client: Client, wanted: Wanted, prepared: Prepared) -> None:
    """What was written is what is there: read again, and nothing may be left to do for these objects."""
    live = _read_again(client, wanted.site.gateway.site, prepared.transitions)
    wrong = []
    for move in prepared.transitions:
        item = live.get(key_of(move.desired or move.live or {}))
        if move.desired is None:
            wrong += [name_of(item)] if item else []
        elif item is None or not _same(move.desired, item):
            wrong.append(name_of(move.desired))
    if wrong:
        raise ClusterError(f"written, but not in force: {', '.join(sorted(wrong))}; is somebody else writing them?")


def _read_again(client: Client, site: str, transitions: Sequence[Transition]) -> dict[Key, Object]:
    """The objects of TRANSITIONS: a few one by one, many by the lists of their kinds."""
    kinds = [kind for kind in KINDS if any(move.kind == kind.name for move in transitions)]
    if len(transitions) > _FEW:
        return read(client, site, kinds)
    found = [
        item
        for kind in kinds
        for move in transitions
        if move.kind == kind.name
        for item in client.find(kind, name=move.name)
    ]
    return {key_of(item): item for item in found}


def _same(desired: Object, live: Object) -> bool:
    return unchanged(desired, live) or not make_plan([desired], [owned(desired, live)]).changed


def _check_conflicts(prepared: Prepared, wanted: Wanted) -> None:
    if prepared.conflicts and not wanted.force:
        raise ConflictsError(prepared.conflicts)


def _desired(wanted: Wanted, live: Objects, ahead: Policy | None = None) -> tuple[dict[Key, Object], tuple[str, ...]]:
    recorded = _Records(live)
    there = _projects(live.values()) | recorded.names
    if wanted.state == "absent":
        _confirmed(wanted.confirm, f"remove site {wanted.site.gateway.site}", there, len(there))
        return {}, ()
    leaving = sorted(there - {project.project for project in wanted.site.projects})
    kept: tuple[Project, ...] = ()
    if wanted.prune:
        _check_prune(wanted, leaving, len(there))
    else:
        kept = _kept(wanted.site, leaving, recorded)
    policy = ahead if ahead and not kept else policy_at(_with(wanted.site, kept), wanted.now)
    desired = with_keys(policy, _secrets(wanted, policy, recorded, live))
    return {key_of(item): item for item in desired}, tuple(project.project for project in kept)


def _with(site: Site, kept: Sequence[Project]) -> Site:
    projects = tuple(sorted((*site.projects, *kept), key=lambda project: project.project))
    return site.model_copy(update={"projects": projects})


class _Records:
    """The Projects as they were applied last, read when asked for: parsing a thousand of them takes a second."""

    def __init__(self, live: Objects) -> None:
        self._texts = recorded_texts(live.values())

    @property
    def names(self) -> frozenset[str]:
        """The Projects that have a record."""
        return frozenset(self._texts)

    def get(self, project: str) -> Project | None:
        """The record of PROJECT, None where there is none that this version can read."""
        text = self._texts.get(project)
        return None if text is None else recorded_projects({project: text}).get(project)


def _projects(items: Iterable[Object]) -> set[str]:
    return {name for item in items if (name := _project_of(item))}


def _project_of(item: Object) -> str:
    return str(item["metadata"].get("labels", {}).get(LABEL_PROJECT, ""))


def _check_prune(wanted: Wanted, leaving: Sequence[str], total: int) -> None:
    if leaving and len(leaving) * 100 > wanted.prune_limit * total:
        _confirmed(wanted.confirm, f"remove {' '.join(leaving)}", leaving, total)


def _confirmed(given: str, asked: str, names: Iterable[str], total: int) -> None:
    if given != asked:
        gone = sorted(names)
        raise RefusedError(
            f"{len(gone)} of {total} Projects would be removed: {', '.join(gone)}. Nothing was changed. "
            f"If that is meant, set confirm to exactly: {asked}"
        )


def _kept(site: Site, leaving: Sequence[str], recorded: _Records) -> tuple[Project, ...]:
    """Projects without a spec, as the cluster recorded them: pruning is off, so they stay and stay guarded."""
    found = {name: recorded.get(name) for name in leaving}
    hosts = {project.host for project in site.projects}
    lost = [
        name
        for name, project in found.items()
        if project is None or project.host in hosts or project.org not in site.gateway.orgs
    ]
    if lost:
        raise RefusedError(
            f"without a spec and not to be kept: {', '.join(lost)} "
            "(no readable record, or its host is another Project's now, or its org is gone). "
            "Give the spec back or set prune: true."
        )
    return tuple(project for project in found.values() if project)


def stored_keys(client: Client, site: str) -> dict[str, dict[str, str]]:
    """The keys that the cluster holds for SITE, by Project and name."""
    return _stored(read(client, site, (SECRET,)).values())


def _stored(live: Iterable[Object]) -> dict[str, dict[str, str]]:
    result: dict[str, dict[str, str]] = {}
    for item in live:
        project = _project_of(item)
        if item["kind"] == "Secret" and project and item["metadata"]["name"] == f"keys-{project}":
            result[project] = {name: _decoded(value) for name, value in (item.get("data") or {}).items()}
    return result


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _secrets(wanted: Wanted, policy: Policy, recorded: _Records, live: Objects) -> Secrets:
    stored = _stored(live.values())
    known = {
        name: {**stored.get(name, {}), **wanted.secrets.get(name, {})}
        for name in (tenant.project.project for tenant in policy.tenants)
    }
    fresh = minted_for(policy.tenants, known)
    if wanted.mint == "all":
        return fresh
    _check_lost(known, fresh, recorded, wanted.now)
    if wanted.mint == "none":
        return known
    # A provider's key comes from the provider: where it is missing, the policy says so.
    return {
        project: {name: value for name, value in names.items() if not is_provider_key(name) or name in known[project]}
        for project, names in fresh.items()
    }


def _check_lost(known: Secrets, fresh: Secrets, recorded: _Records, now: datetime) -> None:
    """A key that people already use is never silently replaced by a FRESH one."""
    lost: list[str] = []
    for project, names in fresh.items():
        missing = {name for name in names if not known[project].get(name)}
        record = recorded.get(project) if missing else None
        lost += [f"{project}: {name}" for name in missing & set(needed(record, now) if record else ())]
    if lost:
        raise SecretError(
            "keys that are in use are gone from the cluster:\n  "
            + "\n  ".join(sorted(lost))
            + "\nGive them as secrets, or give a user's key a new name to hand out a new one."
        )
