"""In which order objects are written, so that no state in between is open. Pure.

Three rules: what guards a route is there before the route and goes after it; what a plugin refers to (a Secret's
key, an upstream) is there before the reference and goes after it; a rule that moves between two objects of a
plugin is in both for a moment, never in neither. The last two need some objects twice: first *widened* (new and
old together), at the end as they shall be.

A plugin's reference to a missing key would be left as text, and that text is known: it must never stand.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..policy.records import is_record
from .kinds import Object

_PHASES = {"AUTHN": 0, "AUTHZ": 1, "STATS": 2}


@dataclass(frozen=True)
class Write:
    """One request that changes the cluster: apply ``item`` (as it shall be) or delete it (as it was read)."""

    action: Literal["apply", "delete"]
    item: Object


Stage = tuple[Write, ...]


@dataclass(frozen=True)
class Transition:
    """One object's way: ``desired`` None to remove it, ``live`` None to create it."""

    desired: Object | None
    live: Object | None

    @property
    def kind(self) -> str:
        """The object's kind."""
        return str(self.item["kind"])

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.item["metadata"]["name"])

    @property
    def item(self) -> Object:
        """The object as it shall be, or as it was where it goes."""
        found = self.desired or self.live
        if found is None:
            raise ValueError("a transition needs an object")
        return found


def stages(transitions: Sequence[Transition]) -> tuple[Stage, ...]:
    """The writes of TRANSITIONS; writes of one stage may run together, a stage begins when the former is done."""
    kinds: defaultdict[str, list[Transition]] = defaultdict(list)
    for transition in transitions:
        kinds[transition.kind].append(transition)
    maps, bridges, secrets = kinds["ConfigMap"], kinds["McpBridge"], kinds["Secret"]
    records = [found for found in maps if is_record(found.item)]
    settings = [found for found in maps if not is_record(found.item)]
    found: list[Iterable[Write]] = [
        _deletes(kinds["EnvoyFilter"]),
        _deletes(kinds["Ingress"]),
        [*_early(secrets, _wide_secret), *_applies(settings), *_early(bridges, _wide_bridge)],
        *_plugins(kinds["WasmPlugin"]),
        _applies(kinds["Ingress"]),
        _applies(kinds["EnvoyFilter"]),
        _deletes(kinds["WasmPlugin"]),
        # Written when it is true (an interrupted run is told again), and before keys go: a key that a Project's record
        # names and the cluster has lost is an alarm.
        _applies(records),
        # After the new ones: a record may have another place than it had.
        _deletes(maps),
        [*_late(secrets, _wide_secret), *_late(bridges, _wide_bridge), *_deletes(secrets), *_deletes(bridges)],
    ]
    return tuple(stage for writes in found if (stage := tuple(writes)))


def _applies(transitions: Iterable[Transition]) -> Iterator[Write]:
    return (Write("apply", found.desired) for found in transitions if found.desired)


def _deletes(transitions: Iterable[Transition]) -> Iterator[Write]:
    return (Write("delete", found.live) for found in transitions if found.live and not found.desired)


def _wide_secret(desired: Object, live: Object) -> Object:
    return {**desired, "data": {**(live.get("data") or {}), **desired.get("data", {})}}


def _wide_bridge(desired: Object, live: Object) -> Object:
    wanted = desired["spec"]["registries"]
    names = {registry["name"] for registry in wanted}
    leaving = [registry for registry in live.get("spec", {}).get("registries", ()) if registry["name"] not in names]
    return {**desired, "spec": {**desired["spec"], "registries": [*wanted, *leaving]}}


def _content(item: Object) -> Any:
    return item.get("spec"), item.get("data")


def _early(transitions: Iterable[Transition], widen: Any) -> Iterator[Write]:
    """What is new must be there early; what leaves stays."""
    for found in transitions:
        if found.desired and found.live:
            wide = widen(found.desired, found.live)
            leaves = _content(wide) != _content(found.desired)
            if not leaves or _content(wide) != _content(found.live):
                yield Write("apply", wide)
        elif found.desired:
            yield Write("apply", found.desired)


def _late(transitions: Iterable[Transition], widen: Any) -> Iterator[Write]:
    for found in transitions:
        if found.desired and found.live and _content(widen(found.desired, found.live)) != _content(found.desired):
            yield Write("apply", found.desired)


def family(name: str) -> str:
    """The plugin that a WasmPlugin object belongs to: ``key-auth`` for its shard ``key-auth-3``."""
    return re.sub(r"-[0-9]+$", "", name)


def _plugins(transitions: Sequence[Transition]) -> Iterator[Iterable[Write]]:
    """All plugins together (no route has come yet), but a rule's new place first, then both, then only the new one."""
    families: defaultdict[str, list[Transition]] = defaultdict(list)
    for found in transitions:
        families[family(found.name)].append(found)
    first: list[Write] = []
    both: list[Write] = []
    last: list[Write] = []
    for members in sorted(families.values(), key=_place):
        moving = _moving_routes(members)
        first += _applies(found for found in members if not found.live)
        both += [
            Write("apply", _wide_plugin(found.desired, found.live, moving))
            for found in members
            if moving and found.desired and found.live
        ]
        (last if moving else first).extend(_applies(found for found in members if found.live))
    yield from (first, both, last)


def _place(members: Sequence[Transition]) -> tuple[int, int, str]:
    """A plugin's place in the request chain: identity and key-auth come first there, and here."""
    item = next((found.desired for found in members if found.desired), None)
    spec: Mapping[str, Any] = item["spec"] if item else {}
    return _PHASES.get(str(spec.get("phase")), 3), -int(spec.get("priority", 0)), members[0].name


def _routes(item: Object | None) -> set[str]:
    rules = item.get("spec", {}).get("matchRules", ()) if item else ()
    return {route for rule in rules for route in (*rule.get("ingress", ()), *rule.get("service", ()))}


def _moving_routes(members: Iterable[Transition]) -> frozenset[str]:
    """Routes whose rule leaves one object of the plugin and appears in another."""
    pairs = [(_routes(found.live), _routes(found.desired)) for found in members]
    left = {route for before, after in pairs for route in before - after}
    joined = {route for before, after in pairs for route in after - before}
    return frozenset(left & joined)


def _wide_plugin(desired: Object, live: Object, moving: frozenset[str]) -> Object:
    """DESIRED with LIVE's rules for routes that are on their way to another object of the same plugin."""
    mine = _routes(desired)
    rules = [
        rule
        for rule in live["spec"].get("matchRules", ())
        if moving & set(rule.get("ingress", ()) or rule.get("service", ())) - mine
    ]
    spec = {**desired["spec"], "matchRules": [*desired["spec"].get("matchRules", ()), *rules]}
    consumers = _wide_consumers(desired["spec"], live["spec"])
    if consumers:
        spec["defaultConfig"] = {**desired["spec"]["defaultConfig"], "consumers": consumers}
    return {**desired, "spec": spec}


def _wide_consumers(desired: Mapping[str, Any], live: Mapping[str, Any]) -> list[Any]:
    """key-auth's table, which its rules refer to, must hold the moving rules' consumers too."""
    wanted = desired.get("defaultConfig", {}).get("consumers", [])
    names = {consumer["name"] for consumer in wanted}
    present = live.get("defaultConfig", {}).get("consumers", [])
    return [*wanted, *(consumer for consumer in present if consumer["name"] not in names)]
