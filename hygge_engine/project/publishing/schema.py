"""JSON Schemas of the project's files, generated from the models, for editors that complete and check.

``python -m hygge_engine.project.schema docs/schema`` writes them. They accept a little more than the engine
does: a required key may be inherited from another file, and any value may be a variable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hygge_engine.project.models.documents import DefaultsDocument, EntityDocument, FlowDocument, ProjectDocument
from hygge_engine.project.models.project import OPTIONAL_SECTIONS, SHORT_FORMS, JournalSettings
from hygge_engine.project.models.settings import CONNECTIONS, HOMES, JOURNAL_PLACES, STORES, Settings, load_types

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def generate_schemas() -> dict[str, dict[str, Any]]:
    """The schemas by file name."""
    load_types()
    sections = {
        "home": _one_of(HOMES, complete=False),
        "store": _one_of(STORES, complete=False),
        **{name: _optional(name, model) for name, model in OPTIONAL_SECTIONS.items()},
        "journal": _nullable(_journal()),
    }
    entity = _object(EntityDocument, sections, complete=False)
    flow = _object(FlowDocument, sections, complete=False)
    flow["properties"]["entities"] = {"type": "array", "items": {"anyOf": [{"type": ["string", "number"]}, entity]}}
    project = _object(ProjectDocument, {"journal": _journal()})
    project["properties"]["connections"] = {
        "type": "object",
        "additionalProperties": _one_of(CONNECTIONS, complete=True),
    }
    project["properties"]["defaults"] = _object(DefaultsDocument, sections, complete=False)
    documents = {
        "hygge.json": ("hygge.yml", project),
        "flow.json": ("flow.yml", flow),
        "entity.json": ("entities/*.yml", entity),
    }
    return {name: {"$schema": _DIALECT, "title": title, **schema} for name, (title, schema) in documents.items()}


def _object(
    model: type[BaseModel], sections: Mapping[str, dict[str, Any]] | None = None, *, complete: bool = True
) -> dict[str, Any]:
    """One mapping; ``sections`` replace properties, ``complete`` keeps its required keys."""
    generated = model.model_json_schema()
    definitions = generated.pop("$defs", {})
    properties = {
        name: (sections or {}).get(name) or _loosen(_resolve(schema, definitions))
        for name, schema in generated["properties"].items()
    }
    result: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    if model.__doc__:
        result["description"] = " ".join(model.__doc__.split())
    if complete and "required" in generated:
        result["required"] = generated["required"]
    return result


def _optional(name: str, model: type[BaseModel]) -> dict[str, Any]:
    schema = _nullable(_object(model, complete=False))
    if words := SHORT_FORMS.get(name):
        schema["anyOf"].insert(1, {"enum": list(words)})
    return schema


def _journal() -> dict[str, Any]:
    place = _one_of(JOURNAL_PLACES, complete=False)
    location = {
        "anyOf": [{"enum": ["store", "home"]}, {"type": "string", "pattern": r"^\.|/|\\|\$\{"}, *place["anyOf"]]
    }
    return _object(JournalSettings, {"location": location}, complete=False)


def _one_of(registry: Mapping[str, type[Settings]], *, complete: bool) -> dict[str, Any]:
    """A mapping of any registered type. Without ``complete`` its type may be inherited."""
    options = []
    for kind, model in sorted(registry.items()):  # whatever was imported first
        schema = _object(model, {"type": {"const": kind}}, complete=complete)
        if complete:
            schema["required"] = ["type", *(key for key in schema.get("required", []) if key != "type")]
        options.append(schema)
    schema = options[0] if len(options) == 1 else {"anyOf": options}
    return schema if complete else _nullable(schema)


def _resolve(schema: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        if any("$ref" in option for option in schema.get("anyOf", ())):
            schema = {**schema, "anyOf": [_resolve(option, definitions) for option in schema["anyOf"]]}
        inner = schema.get("additionalProperties")
        if isinstance(inner, dict) and "$ref" in inner:
            schema = {**schema, "additionalProperties": _resolve(inner, definitions)}
        return {key: value for key, value in schema.items() if key not in ("title", "writeOnly", "format")}
    found = dict(definitions[reference.rpartition("/")[2]])
    properties = {name: _loosen(_resolve(value, definitions)) for name, value in found["properties"].items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _loosen(schema: dict[str, Any]) -> dict[str, Any]:
    """A value that may also be a variable, or text that looks like a number."""
    schema = {key: value for key, value in schema.items() if key not in ("title", "writeOnly", "format")}
    if schema.get("type") == "string" and "enum" not in schema and "const" not in schema:
        return {**schema, "type": ["string", "number"]}
    if schema.get("type") in ("object", "array"):
        return schema
    notes: dict[str, Any] = {key: schema.pop(key) for key in ("default", "description") if key in schema}
    return {"anyOf": [*schema.get("anyOf", [schema]), _VARIABLE], **notes}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def write_schemas(directory: Path) -> None:
    """Write each schema into a file of its own."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, schema in generate_schemas().items():
        (directory / name).write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
