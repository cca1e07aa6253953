"""What is written about the project's files is what the models say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from hygge_engine.project.models.documents import EntityDocument, FlowDocument, ProjectDocument
from hygge_engine.project.models.expectations import ExpectationsSettings
from hygge_engine.project.models.polish import PolishSettings
from hygge_engine.project.models.project import (
    DeletesSettings,
    JournalSettings,
    Options,
    SchemaChangesSettings,
    WatermarkSettings,
)
from hygge_engine.project.models.settings import CONNECTIONS, HOMES, JOURNAL_PLACES, STORES, Settings, load_types
from hygge_engine.project.publishing.schema import generate_schemas

REPOSITORY = Path(__file__).parents[2]
CONFIGURATION = (REPOSITORY / "docs/configuration.md").read_text(encoding="utf-8")

# The heading of docs/configuration.md that a model's keys stand below.
HEADINGS: dict[str, list[type[Settings]]] = {
    "## hygge.yml": [ProjectDocument],
    "### options": [Options],
    "### journal": [JournalSettings],
    "## flow.yml": [FlowDocument, EntityDocument],
    "### watermark": [WatermarkSettings],
    "### deletes": [DeletesSettings],
    "### schema_changes": [SchemaChangesSettings],
    "### polish": [PolishSettings],
    "### expectations": [ExpectationsSettings],
}


def registered() -> Iterable[tuple[str, type[Settings]]]:
    load_types()
    yield from (("### connections", model) for model in CONNECTIONS.values())
    yield from ((f"### journal.location: {kind}", model) for kind, model in JOURNAL_PLACES.items())
    yield from ((f"### home: {kind}", model) for kind, model in HOMES.items())
    yield from ((f"### store: {kind}", model) for kind, model in STORES.items())


def documented_keys(heading: str) -> set[str]:
    section = CONFIGURATION.split(f"\n{heading}\n", 1)[1]
    section = re.split(r"\n#{2,3} ", section)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {key for cell in cells for key in re.findall(r"`([a-z_]+)`", cell)}


@pytest.mark.parametrize("heading", HEADINGS)
def test_every_key_is_documented_and_nothing_else(heading: str) -> None:
    assert documented_keys(heading) == {key for model in HEADINGS[heading] for key in model.model_fields}


def test_every_key_of_a_registered_type_is_documented_and_nothing_else() -> None:
    for heading, model in registered():
        assert documented_keys(heading) == set(model.model_fields), heading


@pytest.mark.parametrize("name", ["hygge.json", "flow.json", "entity.json"])
def test_the_published_schemas_are_those_of_the_models(name: str) -> None:
    published = json.loads((REPOSITORY / "docs/schema" / name).read_text(encoding="utf-8"))
    assert published == generate_schemas()[name], "run: python -m hygge_engine.project.schema docs/schema"


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("hygge.yml", "hygge.json"),
        ("flows/flights_to_fabric/flow.yml", "flow.json"),
        ("flows/flights_to_fabric/entities/airlines.yml", "entity.json"),
    ],
)
def test_the_sample_names_its_schema(path: str, schema: str) -> None:
    first = (REPOSITORY / path).read_text(encoding="utf-8").splitlines()[0]
    named = first.partition("$schema=")[2]
    assert ((REPOSITORY / path).parent / named).resolve() == REPOSITORY / "docs/schema" / schema
