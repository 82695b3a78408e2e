"""Reading what is right: examples, exact decimals, defaults, the editors' schema."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import Price, Project, Site
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec.document import parse_document
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec.schema import SCHEMAS, schema_text
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError


def test_the_three_examples_differ_in_every_respect(site: Site) -> None:
    projects = site.projects
    assert [project.project for project in projects] == ["atlas", "beacon", "comet"]
    differing = (
        "timezone",
        "models",
        "providers",
        "groups",
        "budget",
        "masking",
        "prompt_guard",
        "token_limit",
        "host",
    )
    same = [name for name in differing if len({repr(getattr(project, name)) for project in projects}) == 1]
    assert same == []


def test_a_users_defaults_come_from_the_group(site: Site) -> None:
    dev = site.project("atlas").groups["dev"]
    assert dev.user("alice").budget == dev.user_budget
    bob = dev.user("bob").budget
    assert bob is not None
    assert (bob.usd, bob.raised and bob.raised.usd) == (Decimal(20), Decimal(80))


def test_amounts_are_the_decimals_that_were_written() -> None:
    document = parse_document("a: 0.1\nb: 1e-6\nc: 0.30000000000000004\n", "x.yml")
    assert document.data == {"a": Decimal("0.1"), "b": Decimal("0.000001"), "c": Decimal("0.30000000000000004")}
    assert not any(isinstance(value, float) for value in document.data.values())


def test_words_stay_words() -> None:
    assert parse_document("a: no\nb: on\nc: 1:30\nd: 'true'\ne: true\nf:\n", "x.yml").data == {
        "a": "no", "b": "on", "c": "1:30", "d": "true", "e": True, "f": None,
    }  # fmt: skip


def test_a_float_is_no_amount() -> None:
    with pytest.raises(ValidationError):
        Price.model_validate({"model": "m", "input": 0.1, "output": Decimal(1)})


def test_models_are_frozen(site: Site) -> None:
    with pytest.raises(ValidationError):
        site.projects[0].project = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_editors_schema_is_in_step(name: str) -> None:
    kept = Path(__file__).parents[2] / "schemas" / f"{name}.schema.json"
    assert kept.read_text(encoding="utf-8") == schema_text(name), "run: make schemas"


def test_the_schema_knows_every_field_of_a_project() -> None:
    assert set(json.loads(schema_text("project"))["properties"]) == set(Project.model_fields)


# Pieces that mean something to a YAML reader, so that chance makes documents and not only words.
PIECES = st.sampled_from(
    [
        *"a1{}[]|>'\"#%~!,\t\0\ufeff\u2028\x85💥\n",
        *(": ", "  ", "- ", "? ", "&x ", "*x", "<<: ", "!!int ", "---\n", "...\n"),
        *("9" * 50, "1e9", "1e99999", "-.5"),
    ]
)


@settings(deadline=None)  # a loaded machine is no mistake of the reader
@given(st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=30).map("".join)))
def test_no_text_crashes_the_reader(text: str) -> None:
    document = parse_document(text, "x.yml")
    assert document.file == "x.yml"
    for problem in document.problems:
        assert problem.message
        assert 0 <= problem.line <= len(text) + 1
    if document.data is None and not document.problems:
        # Nothing but a word for nothing, in whatever dress.
        assert document.lines == {(): document.line(())}


@pytest.mark.parametrize("number", ["9" * 5000, "1e99999999999999999999", "1" * 41, "0." + "3" * 50])
def test_a_number_beyond_all_amounts_is_a_word(number: str) -> None:
    assert parse_document(f"usd: {number}", "x.yml").data == {"usd": number}


@pytest.mark.parametrize(
    "entry", ["*a{below}", "k{number}: *a{below} ", "k: *a{below} "], ids=["list", "keys", "one key"]
)
def test_aliases_of_aliases_end(entry: str) -> None:
    opening, closing = "{}" if ":" in entry else "[]"
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 9):
        inside = ", ".join(entry.format(below=level - 1, number=number) for number in range(10))
        levels.append(f"a{level}: &a{level} {opening}{inside}{closing}")
    [problem] = parse_document("\n".join(levels), "x.yml").problems
    assert "more than 500,000 values" in problem.message
