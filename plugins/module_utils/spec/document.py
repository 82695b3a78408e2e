"""Reads one YAML file without losing what matters: exact decimals, duplicate keys, line numbers.

Scalars follow YAML 1.2's core schema (``no``, ``on`` and ``1:30`` are words, ``0.1`` is a Decimal): what a
person writes is what the models see, and no dollar ever passes through a float.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from .problems import Problem

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# What is longer is no amount that anybody means, and more than Python turns into a number.
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]{1,40}|[0-9]{1,40}(\.[0-9]{0,40})?)([eE][-+]?[0-9]{1,4})?")
_REFERENCE = re.compile(r"\$\{\s*[A-Za-z]+\s*\.")
# Aliases of aliases make a small file endless; a Project of 10,000 users has a tenth of this.
_MOST_VALUES = 500_000
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """A file's content as plain data, with the line of every path and the problems met while reading."""

    file: str
    data: Any
    lines: dict[Path_, int]
    problems: tuple[Problem, ...]

    def line(self, path: Path_) -> int:
        """The line of PATH, or of the nearest parent that has one; 0 in an empty file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 0)


class _TooLargeError(Exception):
    """The file, with its aliases filled in, is larger than any Project."""


@dataclass
class _Reader:
    file: str
    lines: dict[Path_, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    values: int = 0

    def read(self, node: yaml.Node, path: Path_) -> Any:
        self.lines[path] = node.start_mark.line + 1
        self.values += 1
        if self.values > _MOST_VALUES:
            raise _TooLargeError
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*path, index)) for index, child in enumerate(node.value)]
        value = _scalar(node)
        if isinstance(value, str) and _REFERENCE.search(value):
            # A tenant could have another's key put into a phrase or a mask, and read it in an answer.
            message = "would be read as a reference: the gateway puts a Secret's value in the place of ${...}"
            self.problems.append(Problem(self.file, self.lines[path], dotted(path), message, allowed="text without ${"))
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path_) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "a key must be a word")
            elif key in result:
                self._problem(key_node, (*path, key), "stands twice: the first would be lost")
            result[key] = self.read(value_node, (*path, key))
        return result

    def _problem(self, node: yaml.Node, path: Path_, message: str) -> None:
        line = node.start_mark.line + 1
        self.problems.append(Problem(self.file, line, dotted(path), message, allowed="each key once"))


def _scalar(node: yaml.Node) -> Any:
    text = str(node.value)
    if isinstance(node, yaml.ScalarNode) and node.style in ("'", '"', "|", ">"):
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return Decimal(text) if _DECIMAL.fullmatch(text) else text


def dotted(path: Path_) -> str:
    """``("groups", "dev", "models", 0)`` as a person writes it: ``groups.dev.models.0``."""
    return ".".join(str(part) for part in path)


def parse_document(text: str, file: str) -> Document:
    """TEXT of FILE as a :class:`Document`; broken YAML is a problem, not an exception."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = str(getattr(error, "problem", None) or error).splitlines()[0]
        line = mark.line + 1 if mark else 0
        return Document(file, None, {}, (Problem(file, line, "", f"is not YAML: {reason}"),))
    if node is None:
        return Document(file, None, {}, (Problem(file, 0, "", "is empty"),))
    reader = _Reader(file)
    try:
        data = reader.read(node, ())
    except RecursionError:
        return Document(file, None, {}, (Problem(file, 0, "", "is nested too deeply"),))
    except _TooLargeError:
        reason = f"holds more than {_MOST_VALUES:,} values, with its aliases (*name) filled in"
        return Document(file, None, {}, (Problem(file, 0, "", reason),))
    return Document(file, data, reader.lines, tuple(reader.problems))


def read_document(path: Path, root: Path) -> Document:
    """The file at PATH, named relative to ROOT in its problems."""
    name = str(path.relative_to(root))
    try:
        return parse_document(path.read_text(encoding="utf-8"), name)
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        return Document(name, None, {}, (Problem(name, 0, "", reason),))
