"""The one way in: a site's directory becomes a :class:`Site`, or one error with every problem."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .checks import SiteFacts, check_between, check_project
from .document import Document, parse_document, read_document
from .model import Gateway, PriceTable, Project, Site
from .problems import Problem, SpecError
from .shape import read_shape

GATEWAY, PRICES, PROJECTS = "gateway.yml", "prices.yml", "projects"


def load_site(directory: Path) -> Site:
    """Read ``gateway.yml``, ``prices.yml`` and ``projects/*.yml`` below DIRECTORY.

    Raises SpecError with the problems of all files together.
    """
    found = sorted(path for path in (directory / PROJECTS).glob("*") if path.suffix in (".yml", ".yaml"))
    documents = [read_document(path, directory) for path in (directory / GATEWAY, directory / PRICES, *found)]
    return _site(documents[0], documents[1], tuple(documents[2:]))


def parse_site(gateway: str, prices: str, projects: Iterable[tuple[str, str]]) -> Site:
    """The same from texts; PROJECTS are pairs of file name and text."""
    documents = tuple(parse_document(text, f"{PROJECTS}/{name}") for name, text in projects)
    return _site(parse_document(gateway, GATEWAY), parse_document(prices, PRICES), documents)


def _site(gateway: Document, prices: Document, documents: tuple[Document, ...]) -> Site:
    settings, problems = read_shape(Gateway, gateway)
    table, price_problems = read_shape(PriceTable, prices)
    facts = SiteFacts(
        orgs=tuple(settings.orgs) if settings else None,
        prices=table.prices if table else None,
        masking_engine=settings.masking_engine if settings else "",
    )
    found: list[Problem] = [*gateway.problems, *prices.problems, *problems, *price_problems]
    projects: list[Project] = []
    for document in documents:
        project, shape_problems = read_shape(Project, document)
        found += [*document.problems, *shape_problems, *check_project(document, facts)]
        if project:
            projects.append(project)
    found += check_between(documents, facts)
    if not documents:
        found.append(Problem(PROJECTS, 0, "", "has no Project file", allowed="one .yml file per Project"))
    if found or settings is None or table is None:
        raise SpecError(found)
    return Site(
        gateway=settings,
        prices=table.prices,
        projects=tuple(sorted(projects, key=lambda project: project.project)),
    )
