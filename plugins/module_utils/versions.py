"""The lock file `versions.yml`: what may be installed, in which version, from where, with which digest.

Pure: text in, frozen models out. `Lock.find` names one entry; `Entry.pinned` says whether its digest is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

KINDS = ("binary", "chart", "image", "plugin")
_SECTIONS = {"binary": "binaries", "chart": "charts", "image": "images", "plugin": "plugins"}
_FIELDS = {
    "binary": ({"version", "url", "checksums"}, {"member", "sha256"}),
    "chart": ({"version", "app", "repository"}, {"sha256"}),
    "image": ({"reference"}, {"digest"}),
    "plugin": ({"reference"}, {"digest"}),
}
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REFERENCE = re.compile(r"(?P<host>[a-z0-9.-]+\.[a-z]+)/(?P<path>[a-z0-9._/-]+):(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]*)")
_MOVING_TAGS = {"latest", "stable", "edge", "main", "master"}


class LockError(Exception):
    """versions.yml cannot be used; `problems` has one line for each thing that is wrong."""

    def __init__(self, problems: list[str]) -> None:
        """Take every problem found, not only the first."""
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


@dataclass(frozen=True)
class Entry:
    """One locked thing. `source` is a URL (binary), a chart repository, or an image reference without digest."""

    kind: str
    name: str
    version: str
    source: str
    checksums: str = ""
    member: str = ""
    sha256: str = ""

    @property
    def pinned(self) -> bool:
        """Whether `make lock` has recorded a digest."""
        return bool(self.sha256)

    @property
    def file(self) -> str:
        """Where the file lies below a bundle or the cache: binaries/k3s-v1.34.4+k3s1, images/redis-v7.0.15.tar."""
        suffix = {"binary": "", "chart": ".tgz", "image": ".tar", "plugin": ".tar"}[self.kind]
        return f"{_SECTIONS[self.kind]}/{self.name}-{self.version}{suffix}"

    @property
    def repository(self) -> str:
        """Repository below the site's own registry, without the publisher's host: grafana/loki."""
        match = _REFERENCE.fullmatch(self.source)
        return match["path"] if match else ""


@dataclass(frozen=True)
class Lock:
    """All entries in the file's order, and the Debian packages of the registry's host."""

    entries: tuple[Entry, ...]
    debian_release: str
    debian_packages: tuple[str, ...]

    def find(self, kind: str, name: str) -> Entry:
        """Return the entry; raises KeyError with the names there are."""
        for entry in self.entries:
            if (entry.kind, entry.name) == (kind, name):
                return entry
        known = ", ".join(entry.name for entry in self.entries if entry.kind == kind)
        raise KeyError(f"versions.yml has no {kind} {name!r}; it has {known}")

    def of_kind(self, kind: str) -> tuple[Entry, ...]:
        """Return every entry of a kind."""
        return tuple(entry for entry in self.entries if entry.kind == kind)

    def unpinned(self) -> tuple[Entry, ...]:
        """Return what `make lock` has still to resolve."""
        return tuple(entry for entry in self.entries if not entry.pinned)


def load(text: str) -> Lock:
    """Read and check versions.yml; raises LockError with every problem."""
    document = yaml.safe_load(text)
    if not isinstance(document, dict) or document.get("schema") != 1:
        raise LockError(["versions.yml: `schema: 1` is missing"])
    problems: list[str] = []
    unknown = set(document) - {"schema", "debian", *_SECTIONS.values()}
    problems += [f"{key}: unknown section" for key in sorted(unknown)]
    entries = [entry for kind in KINDS for entry in _section(kind, document.get(_SECTIONS[kind]), problems)]
    debian = document.get("debian") or {}
    if not isinstance(debian.get("release"), str) or not isinstance(debian.get("packages"), list):
        problems.append("debian: needs `release` and a list `packages`")
    if problems:
        raise LockError(problems)
    return Lock(tuple(entries), debian["release"], tuple(debian["packages"]))


def record(text: str, entry: Entry, sha256: str) -> str:
    """Return versions.yml's TEXT with ENTRY's digest; people's comments and order stay as they are."""
    key, value = ("digest", f"sha256:{sha256}") if entry.kind in ("image", "plugin") else ("sha256", sha256)
    lines = text.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith(f"{_SECTIONS[entry.kind]}:"))
    at = next(number for number in range(at, len(lines)) if lines[number].startswith(f"  {entry.name}:"))
    if lines[at].rstrip().endswith("}"):
        plain = re.sub(rf', {key}: "[^"]*"', "", lines[at].rstrip())
        lines[at] = f'{plain[:-1]}, {key}: "{value}"}}\n'
        return "".join(lines)
    end = next((n for n in range(at + 1, len(lines)) if not lines[n].startswith("    ")), len(lines))
    kept = [line for line in lines[at + 1 : end] if not line.startswith(f"    {key}:")]
    return "".join([*lines[: at + 1], *kept, f"    {key}: {value}\n", *lines[end:]])


def _section(kind: str, section: object, problems: list[str]) -> Iterator[Entry]:
    if not isinstance(section, dict):
        problems.append(f"{_SECTIONS[kind]}: missing, or not a mapping of names")
        return
    for name, fields in section.items():
        where = f"{_SECTIONS[kind]}.{name}"
        found = _field_problems(kind, where, name, fields)
        problems += found
        if not found:
            yield _entry(kind, name, fields)


def _field_problems(kind: str, where: str, name: object, fields: object) -> list[str]:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return [f"{where}: not a name (lower case letters, digits, dots, dashes)"]
    if not isinstance(fields, dict):
        return [f"{where}: not a mapping"]
    needed, optional = _FIELDS[kind]
    problems = [f"{where}.{key}: missing" for key in sorted(needed - set(fields))]
    problems += [f"{where}.{key}: unknown" for key in sorted(set(fields) - needed - optional)]
    problems += [f"{where}.{key}: not a text" for key in sorted(fields) if not isinstance(fields[key], str)]
    if problems:
        return problems
    return _value_problems(where, fields)


def _value_problems(where: str, fields: Mapping[str, str]) -> list[str]:
    problems = []
    if "reference" in fields:
        match = _REFERENCE.fullmatch(fields["reference"])
        if not match:
            return [f"{where}.reference: write host/path:tag, got {fields['reference']!r}"]
        if match["tag"] in _MOVING_TAGS:
            problems.append(f"{where}.reference: the tag {match['tag']!r} moves; name a version")
    if fields.get("version") in _MOVING_TAGS:
        problems.append(f"{where}.version: {fields['version']!r} moves; name a version")
    for key in ("url", "checksums", "repository"):
        if key in fields and not fields[key].startswith("https://"):
            problems.append(f"{where}.{key}: only https:// sources are taken")
    if "sha256" in fields and not _SHA256.fullmatch(fields["sha256"]):
        problems.append(f"{where}.sha256: write 64 hexadecimal digits, or leave the field out until `make lock`")
    if "digest" in fields and not _SHA256.fullmatch(fields["digest"].removeprefix("sha256:")):
        problems.append(f"{where}.digest: write sha256: and 64 hexadecimal digits, or leave it out until `make lock`")
    return problems


def _entry(kind: str, name: str, fields: Mapping[str, Any]) -> Entry:
    if kind in ("image", "plugin"):
        tag = fields["reference"].rsplit(":", 1)[1]
        return Entry(kind, name, tag, fields["reference"], sha256=fields.get("digest", "").removeprefix("sha256:"))
    return Entry(
        kind,
        name,
        fields["version"],
        fields.get("url") or fields["repository"],
        checksums=fields.get("checksums", ""),
        member=fields.get("member", ""),
        sha256=fields.get("sha256", ""),
    )
