"""Put compiled files into force: all of them, or none.

Envoy keeps the old version of what it refuses, but the other files of the same change would already hold. So a refusal
takes everything back. Nothing is lost on the way: what requests need is added before it is used and removed after.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .admin import Admin, NotInForceError, stat_of
from .compiler import Compiled
from .files import replace, text_of

_GROWING = ("lds.json", "cds.json")
"""Files whose resources outlive the change: requests under way still use what the new policy no longer has."""

_SECONDS = 600.0
"""A refusal is seen at once; this is for an Envoy that compiles new programs on a busy machine."""
_LOG_LINES = 12
_LOG_SECONDS = 5.0
_PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files are, and the log of the Envoy that reads them."""

    directory: Path
    envoy_log: Path
    admin: Admin

    def differing(self, files: Mapping[str, str]) -> tuple[str, ...]:
        """Files that are not as they should be, and stale ones."""
        wrong = {name for name, text in files.items() if text_of(self.directory / name) != text}
        return tuple(sorted(wrong | set(self.stale(files))))

    def stale(self, files: Mapping[str, str]) -> tuple[str, ...]:
        """Filter files that no policy names any more."""
        found = (f"ecds/{path.name}" for path in (self.directory / "ecds").glob("[!.]*.json"))
        return tuple(sorted(name for name in found if name not in files))


def put_into_force(compiled: Compiled, place: Place) -> tuple[str, ...]:
    """Write what differs and see it in force; return the names of the files that changed.

    Without a running Envoy the files are only written: it reads them when it starts. Raises NotInForceError with
    Envoy's own words when it refuses; then the old files stand again.
    """
    changed = place.differing(compiled.files)
    if not changed:
        return ()
    if not place.admin.answers():
        for name in changed:
            _write(place, name, compiled.files.get(name))
        return changed
    before = {name: text_of(place.directory / name) for name in changed}
    log_size = place.envoy_log.stat().st_size if place.envoy_log.exists() else 0
    try:
        for step in _steps(compiled, before):
            _do(step, place)
    except NotInForceError as error:
        reason = _envoy_says(place.envoy_log, log_size)
        for step in _back(before):
            _do(step, place)
        raise NotInForceError(f"{error}\n{reason}") from error
    return changed


def _steps(compiled: Compiled, before: Mapping[str, str | None]) -> Iterator[Mapping[str, str | None]]:
    """New filters first, then what leads to them, then the changed filters, and last what nobody needs any more."""
    after = {name: compiled.files.get(name) for name in before}
    filters = {name: text for name, text in after.items() if name not in (*_GROWING, "rds.json")}
    yield {name: text for name, text in filters.items() if before[name] is None}
    for name in _GROWING:
        if name in after:
            yield {name: _both(before[name], after[name])}
    yield {name: text for name, text in after.items() if name == "rds.json"}
    yield {name: text for name, text in filters.items() if before[name] is not None and text is not None}
    for name in reversed(_GROWING):
        if name in after:
            yield {name: after[name]}
    yield {name: None for name, text in filters.items() if text is None}


def _back(before: Mapping[str, str | None]) -> Iterator[Mapping[str, str | None]]:
    """Old files again, filters before the listener that names them."""
    yield {name: text for name, text in before.items() if name not in (*_GROWING, "rds.json") and text is not None}
    for name in ("rds.json", "cds.json", "lds.json"):
        if name in before:
            yield {name: before[name]}
    yield {name: None for name, text in before.items() if text is None}


def _both(old: str | None, new: str | None) -> str | None:
    """Return the new resources and those old ones whose names are gone."""
    if old is None or new is None:
        return new
    fresh = json.loads(new)
    names = {resource["name"] for resource in fresh["resources"]}
    kept = [resource for resource in json.loads(old)["resources"] if resource["name"] not in names]
    if not kept:
        return new
    grown = {"version_info": fresh["version_info"] + "+", "resources": fresh["resources"] + kept}
    return json.dumps(grown, ensure_ascii=False, separators=(",", ":"))


def _do(step: Mapping[str, str | None], place: Place) -> None:
    """Write the files of one step, and wait until Envoy goes by those it watches."""
    refused_before = place.admin.refusals()
    watched = {}
    known = place.admin.versions()
    for name, text in step.items():
        if text == text_of(place.directory / name):
            continue
        _write(place, name, text)
        if text is not None and _watched(name, known):
            watched[name] = json.loads(text)["version_info"]
    if watched:
        place.admin.wait(watched, refused_before, _SECONDS)


def _watched(name: str, known: Mapping[str, str]) -> bool:
    return name not in ("bootstrap.json", "authz.json") and stat_of(name) in known


def _write(place: Place, name: str, text: str | None) -> None:
    path = place.directory / name
    if text is None:
        path.unlink(missing_ok=True)
    else:
        replace(path, text)


def _envoy_says(log: Path, start: int) -> str:
    """Envoy's own lines about the refusal; they name plugins and reasons, and never hold a configuration.

    The supervisor writes a line a moment after Envoy has said it; the one that something is rejected comes last.
    """
    deadline = time.monotonic() + _LOG_SECONDS
    while True:
        telling = _telling(log, start)
        if any("rejected" in line for line in telling) or time.monotonic() > deadline:
            return "\n".join(telling[-_LOG_LINES:])
        time.sleep(_PAUSE)


def _telling(log: Path, start: int) -> list[str]:
    if not log.exists():
        return []
    with log.open("rb") as lines:
        lines.seek(start)
        said = [line.decode("utf-8", "replace").strip() for line in lines]
    telling = [line for line in said if any(f"[{level}]" in line for level in ("warning", "error", "critical"))]
    return [line for line in telling if "work-in-progress" not in line]


def versions_on_disk(place: Place) -> dict[str, str]:
    """Version of each file that Envoy watches."""
    names = [
        "cds.json",
        "lds.json",
        "rds.json",
        *(f"ecds/{path.name}" for path in (place.directory / "ecds").glob("[!.]*.json")),
    ]
    texts = {name: text_of(place.directory / name) for name in sorted(names)}
    return {name: json.loads(text)["version_info"] for name, text in texts.items() if text is not None}


def wait_for_disk(place: Place, seconds: float) -> None:
    """Wait until Envoy goes by the files; raises NotInForceError with its own words when it does not."""
    try:
        place.admin.wait(versions_on_disk(place), {}, seconds)
    except NotInForceError as error:
        raise NotInForceError(f"{error}\n{_envoy_says(place.envoy_log, 0)}") from error
