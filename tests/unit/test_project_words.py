"""Whatever value is at whatever key: its fault is reported in the words of those who write the files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from hygge_engine.errors import ConfigurationError
from hygge_engine.project import load_project
from hygge_engine.project.models.documents import FlowDocument, ProjectDocument
from hygge_engine.project.models.project import OPTIONAL_SECTIONS
from hygge_engine.project.models.settings import CONNECTIONS, HOMES, STORES, Settings, load_types

# Pydantic's and Python's, which are in no file.
FOREIGN_WORDS = re.compile(
    r"Input should|Value error|pydantic|constrained|literal\[|union|tuple|\bdict\b|\bstr\b|\bint\b|NoneType|"
    r"Extra inputs|Field required|ensure this|(list|model|string|float|bool|value)_(type|parsing|error)|Traceback"
)

VALUES = ["[]", "{}", '""', "1e400", "-99999999999999999999", "{a: {b: [c]}}", "[null, x]"]

load_types()


def fields(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys of a model, and those of the models within."""
    for name, info in model.model_fields.items():
        yield (*path, name)
        for inner in (info.annotation, *get_args(info.annotation)):
            if isinstance(inner, type) and issubclass(inner, Settings) and len(path) < 2:
                yield from fields(inner, (*path, name))


def nested(path: tuple[str, ...], value: str) -> str:
    return value if not path else f"{{{path[0]}: {nested(path[1:], value)}}}"


def sections() -> Iterator[tuple[str, type[BaseModel], str]]:
    """A section's name, its model, and the ``type`` that it needs."""
    for kind in ("adls", "mssql"):  # what the others have, these have, too
        yield "home", HOMES[kind], kind
    for kind in ("mssql", "onelake", "open_mirroring", "sqlite"):
        yield "store", STORES[kind], kind
    for kind, connection in sorted(CONNECTIONS.items()):
        yield "connection", connection, kind
    for name, model in OPTIONAL_SECTIONS.items():
        yield name, model, ""
    yield "flow", FlowDocument, ""
    yield "hygge", ProjectDocument, ""


SECTIONS = list(sections())


@pytest.mark.parametrize(
    ("section", "model", "kind"), SECTIONS, ids=[f"{name} {kind}".strip() for name, _, kind in SECTIONS]
)
def test_no_value_is_refused_in_anybody_elses_words(
    tmp_path: Path, section: str, model: type[BaseModel], kind: str
) -> None:
    (tmp_path / "flows/f").mkdir(parents=True)
    found = 0
    for path in fields(model):
        for value in VALUES:
            wrong = nested(path, value)[1:-1]
            parts = {"home": "{type: local, path: in.csv, format: csv}", "store": "{type: local}", "entities": "[a]"}
            hygge = "name: shop\n"
            typed = f"{{type: {kind}, {wrong}}}" if kind and path[0] != "type" else f"{{{wrong}}}"
            if section == "connection":
                hygge += f"connections: {{c: {typed}}}\n"
            elif section == "hygge":
                hygge = f"{wrong}\n" + ("" if path[0] == "name" else hygge)
            elif section == "flow":
                parts = {name: text for name, text in parts.items() if name != path[0]}
            else:
                parts[section] = typed
            flow = "".join(f"{name}: {text}\n" for name, text in parts.items()) + (
                f"{wrong}\n" if section == "flow" else ""
            )
            (tmp_path / "hygge.yml").write_text(hygge)
            (tmp_path / "flows/f/flow.yml").write_text(flow)
            try:
                load_project(tmp_path, {})
            except ConfigurationError as error:
                for problem in error.problems:
                    found += 1
                    told = f"{problem.message} | {problem.expected} | {problem.hint}"
                    assert not FOREIGN_WORDS.search(told), f"{wrong}: {told}"
                    assert problem.line, f"{wrong}: {told}"
                    assert problem.expected or problem.hint or problem.message, wrong
    assert found
