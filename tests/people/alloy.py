"""A stand-in for Alloy, which no package registry here has: reads its syntax and runs the log stages that we use.

Regular expressions are RE2, as in Alloy. What the stages do is written after Alloy's reference of `loki.process`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import re2  # type: ignore[import-untyped]

_TOKEN = re.compile(r'\s+|//[^\n]*|(?P<string>"(?:\\.|[^"\\\n])*")|(?P<word>[A-Za-z_0-9.]+)|(?P<mark>[{}\[\](),=+])')


@dataclass
class Block:
    """A block: its name (``stage.json``), label, attributes by name and inner blocks in order."""

    name: str
    label: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    blocks: list["Block"] = field(default_factory=list)

    def all(self, name: str) -> list["Block"]:
        """Inner blocks of a name."""
        return [block for block in self.blocks if block.name == name]


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        place = 0
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise SyntaxError(f"line {text.count(chr(10), 0, place) + 1}: {text[place : place + 20]!r}")
            if match.lastgroup:
                self.tokens.append(match.group())
            place = match.end()
        self.at = 0

    def take(self, expected: str = "") -> str:
        token = self.tokens[self.at]
        if expected and token != expected:
            raise SyntaxError(f"{expected!r} expected, not {token!r}, after {self.tokens[self.at - 5 : self.at]}")
        self.at += 1
        return token

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def body(self, into: Block, end: str) -> Block:
        while self.peek() != end:
            name = self.take()
            if self.peek() == "=":
                self.take()
                into.attributes[name] = self.value()
            else:
                label = json.loads(self.take()) if self.peek().startswith('"') else ""
                self.take("{")
                into.blocks.append(self.body(Block(name, label), "}"))
                self.take("}")
        return into

    def value(self) -> Any:
        first = self._operand()
        while self.peek() == "+":
            self.take()
            first = f"{first}{self._operand()}"
        return first

    def _operand(self) -> Any:
        token = self.take()
        if token.startswith('"'):
            return json.loads(token)
        if token == "[":
            return self._list("]")
        if token == "{":
            return self._map()
        if self.peek() == "(":
            self.take()
            return f"{token}({', '.join(map(str, self._list(')')))})"
        return {"true": True, "false": False}.get(token, token)

    def _list(self, end: str) -> list[Any]:
        found = []
        while self.peek() != end:
            found.append(self.value())
            if self.peek() == ",":
                self.take()
        self.take(end)
        return found

    def _map(self) -> dict[str, Any]:
        found = {}
        while self.peek() != "}":
            key = self.take()
            self.take("=")
            found[json.loads(key) if key.startswith('"') else key] = self.value()
            if self.peek() == ",":
                self.take()
        self.take("}")
        return found


def parse(text: str) -> Block:
    """Read a whole config; raises SyntaxError."""
    return _Parser(text).body(Block("config"), "")


@dataclass
class Entry:
    """A log line on its way; ``kept`` is False once it is dropped, ``tenant`` None for the writer's own."""

    line: str
    labels: dict[str, str]
    extracted: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    tenant: str | None = None
    kept: bool = True

    def stored(self) -> str:
        """Everything of it that reaches a disk, as one text."""
        return json.dumps([self.line, self.labels, self.metadata, self.tenant])


def run(process: Block, entry: Entry) -> Entry:
    """Send an entry through a ``loki.process`` block."""
    for stage in process.blocks:
        if not entry.kept:
            break
        _STAGES[stage.name](stage, entry)
    return entry


def _match(stage: Block, entry: Entry) -> None:
    selector = re.fullmatch(
        r'\{container(!?=)"([^"]*)"\}(?: (\|~|!~) ("(?:\\.|[^"\\])*"))?', stage.attributes["selector"]
    )
    assert selector, stage.attributes["selector"]
    same = entry.labels["container"] == selector[2]
    matches = same if selector[1] == "=" else not same
    if selector[3]:
        found = bool(re2.search(json.loads(selector[4]), entry.line))
        matches &= found if selector[3] == "|~" else not found
    if not matches:
        return
    if stage.attributes.get("action") == "drop":
        entry.kept = False
    run(stage, entry)


def _json(stage: Block, entry: Entry) -> None:
    source = stage.attributes.get("source")
    text = entry.line if source is None else entry.extracted.get(source, "")
    try:
        document = json.loads(text)
    except (TypeError, ValueError):
        entry.kept = not stage.attributes.get("drop_malformed", False)
        return
    for name, expression in stage.attributes["expressions"].items():
        entry.extracted[name] = document.get(expression or name) if isinstance(document, dict) else None


def _regex(stage: Block, entry: Entry) -> None:
    source = stage.attributes.get("source")
    text = entry.line if source is None else entry.extracted.get(source)
    if not isinstance(text, str):
        return
    match = re2.search(stage.attributes["expression"], text)
    if match:
        entry.extracted |= match.groupdict()


def _replace(stage: Block, entry: Entry) -> None:
    def hidden(match: Any) -> str:
        whole, start = match.group(), match.start()
        for number in range(match.re.groups, 0, -1):
            if match.start(number) >= 0:
                left, right = match.start(number) - start, match.end(number) - start
                whole = whole[:left] + stage.attributes["replace"] + whole[right:]
        return str(whole)

    entry.line = re2.sub(stage.attributes["expression"], hidden, entry.line)


def _template(stage: Block, entry: Entry) -> None:
    def value(match: re.Match[str]) -> str:
        found = entry.extracted.get(match[2])
        return match[3] if match[1] and not found else str("<no value>" if found is None else found)

    text = stage.attributes["template"]
    entry.extracted[stage.attributes["source"]] = re.sub(r'\{\{ (or )?\.(\w+)(?: "([^"]*)")? \}\}', value, text)


def _output(stage: Block, entry: Entry) -> None:
    entry.line = str(entry.extracted[stage.attributes["source"]])


def _chosen(values: Mapping[str, str], entry: Entry) -> dict[str, str]:
    found = {name: entry.extracted.get(source or name) for name, source in values.items()}
    return {name: str(value) for name, value in found.items() if value is not None}


def _labels(stage: Block, entry: Entry) -> None:
    entry.labels |= _chosen(stage.attributes["values"], entry)


def _metadata(stage: Block, entry: Entry) -> None:
    entry.metadata |= _chosen(stage.attributes["values"], entry)


def _tenant(stage: Block, entry: Entry) -> None:
    entry.tenant = entry.extracted.get(stage.attributes["source"]) or entry.tenant


def _label_drop(stage: Block, entry: Entry) -> None:
    for name in stage.attributes["values"]:
        entry.labels.pop(name, None)


def _nothing(_stage: Block, _entry: Entry) -> None:
    """The time and the length of a line are not looked at."""


_STAGES = {
    "stage.match": _match,
    "stage.json": _json,
    "stage.regex": _regex,
    "stage.replace": _replace,
    "stage.template": _template,
    "stage.output": _output,
    "stage.labels": _labels,
    "stage.structured_metadata": _metadata,
    "stage.tenant": _tenant,
    "stage.label_drop": _label_drop,
    "stage.timestamp": _nothing,
    "stage.truncate": _nothing,
}
