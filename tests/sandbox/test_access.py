"""What people are told at the end of a play."""

from __future__ import annotations

from datetime import UTC, datetime

from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.access import access, summary
from ansible_collections.opsta.ai_gateway.plugins.module_utils.sandbox.settings import Ports
from ansible_collections.opsta.ai_gateway.plugins.module_utils.secret import minted
from ansible_collections.opsta.ai_gateway.plugins.module_utils.spec import load_site

from .sandbox import EXAMPLES

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
PORTS = Ports.from_base(18080)


def told(copies: int) -> str:
    """The summary of a site with so many copies of the first example."""
    examples = load_site(EXAMPLES)
    projects = tuple(examples.projects[0].model_copy(update={"project": f"p{number}"}) for number in range(copies))
    site = examples.model_copy(update={"projects": projects})
    secrets = minted(site, {}, NOW)
    return summary(site, access(site, secrets, PORTS, NOW), PORTS)


def test_each_project_of_a_few_has_an_example() -> None:
    text = told(5)
    assert all(f"Project p{number}, as p{number}." in text for number in range(5))
    assert "more Projects" not in text


def test_a_thousand_keys_are_not_printed() -> None:
    text = told(1_000)
    assert text.count("OPENAI_API_KEY=") == 5
    assert "995 more Projects: their keys are in access.json." in text
