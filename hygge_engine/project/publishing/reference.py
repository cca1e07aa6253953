"""The reference of every key of a project's files, in Markdown, generated from the models like the schemas.

What a model knows (type, choices, bounds, default) is said by the model; what a key means is its description or, where
it has none, what the caller knows, by section.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hygge_engine.project.models.documents import DefaultsDocument, EntityDocument, FlowDocument, ProjectDocument
from hygge_engine.project.models.project import OPTIONAL_SECTIONS, JournalSettings, Options
from hygge_engine.project.models.settings import CONNECTIONS, HOMES, JOURNAL_PLACES, STORES, Settings, load_types

# A row of a table whose first cell names keys, and whose second says what they mean.
_ROW = re.compile(r"^\| (?P<keys>`[^|]+) \| (?P<meaning>(?:[^|]|\\\|)+?) \|", re.MULTILINE)

_PLAIN_TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


@dataclass(frozen=True)
class ReferenceSection:
    """One mapping of the files. ``title`` is also the heading of `docs/configuration.md` that explains its keys."""

    title: str
    place: str
    model: type[Settings]


@dataclass(frozen=True)
class Key:
    """One key as its model has it. ``name`` is dotted for a key within a key; ``default`` is empty where there is none,
    or nothing to say about it."""

    name: str
    type: str
    default: str
    required: bool
    meaning: str


def sections() -> list[ReferenceSection]:
    """All sections, from hygge.yml inwards; installed packages' types included."""
    load_types()
    return [
        ReferenceSection("hygge.yml", "`hygge.yml`", ProjectDocument),
        *(
            ReferenceSection("connections", f"`connections.<name>`, `type: {kind}`", m)
            for kind, m in CONNECTIONS.items()
        ),
        ReferenceSection("options", "`options` of `hygge.yml`", Options),
        ReferenceSection("journal", "`journal` of `hygge.yml` or of a flow", JournalSettings),
        *(
            ReferenceSection(f"journal.location: {kind}", f"`journal.location`, `type: {kind}`", model)
            for kind, model in JOURNAL_PLACES.items()
        ),
        ReferenceSection("flow.yml", "`defaults` of `hygge.yml`", DefaultsDocument),
        ReferenceSection("flow.yml", "`flows/<flow>/flow.yml`", FlowDocument),
        ReferenceSection("flow.yml", "`flows/<flow>/entities/<entity>.yml`, or an item of `entities`", EntityDocument),
        *(ReferenceSection(name, f"`{name}` of a flow or entity", model) for name, model in OPTIONAL_SECTIONS.items()),
        *(ReferenceSection(f"home: {kind}", f"`home`, `type: {kind}`", model) for kind, model in HOMES.items()),
        *(ReferenceSection(f"store: {kind}", f"`store`, `type: {kind}`", model) for kind, model in STORES.items()),
    ]


def keys_of(model: type[Settings], own_sections: Collection[str] = ()) -> Iterator[Key]:
    """The keys of a model in the order of its fields; those of a model within it follow the key that holds them, unless
    it is one of ``own_sections`` (the names of models)."""
    schema = model.model_json_schema()
    definitions = {name: value for name, value in schema.get("$defs", {}).items() if name not in own_sections}
    yield from _keys(schema, definitions, "")


def _keys(schema: Mapping[str, Any], definitions: Mapping[str, Any], prefix: str) -> Iterator[Key]:
    required = schema.get("required", [])
    for name, value in schema.get("properties", {}).items():
        inner = _definition(value, definitions)
        yield Key(
            prefix + name,
            "mapping" if inner else _describe_type(value),
            "" if inner else _describe_default(value),
            name in required,
            value.get("description", ""),
        )
        if inner:
            yield from _keys(inner, definitions, f"{prefix}{name}.")


def _definition(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The model that a property is, or may be, if it is one."""
    for option in (schema, *schema.get("anyOf", ()), *schema.get("allOf", ())):
        if "$ref" in option:
            return definitions.get(option["$ref"].rpartition("/")[2])
    return None


def _describe_type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        options = [_describe_type(option) for option in schema["anyOf"] if option.get("type") != "null"]
        return " or ".join(dict.fromkeys(options))
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " · ".join(f"`{choice}`" for choice in schema["enum"])
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(_PLAIN_TYPES[name] for name in kind)
    if kind == "array":
        items = _describe_type(schema.get("items", {}))
        return f"list of {items}" if items != "anything" else "list"
    if kind == "object":
        return "mapping"
    if "$ref" in schema:
        return "mapping"
    if kind is None:
        return "anything"
    words = "secret text" if schema.get("format") == "password" else _PLAIN_TYPES[kind]
    bounds = _describe_bounds(schema)
    return f"{words}, {bounds}" if bounds else words


def _describe_bounds(schema: Mapping[str, Any]) -> str:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if lowest is not None and highest is not None:
        return f"{lowest} to {highest}"
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    return ", ".join(f"{word} {schema[key]}" for key, word in words.items() if key in schema)


def _describe_default(schema: Mapping[str, Any]) -> str:
    default = schema.get("default")
    if default is None or default in ("", []) or isinstance(default, dict):
        return ""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def read_meanings(configuration: str) -> dict[str, dict[str, str]]:
    """What docs/configuration.md says about each key, by the heading that it is below."""
    meanings: dict[str, dict[str, str]] = {}
    for part in re.split(r"^#{2,3} ", configuration, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        for row in _ROW.finditer(body):
            for key in re.findall(r"`([a-z_.]+)`", row["keys"]):
                meanings.setdefault(title.strip(), {})[key] = row["meaning"]
    return meanings


def write_reference(meanings: Mapping[str, Mapping[str, str]]) -> str:
    """The page. ``meanings`` explain keys by a section's title and the key's name, see `read_meanings`."""
    parts = [
        "# Configuration reference",
        "Every key of a project's files, generated from the models that check them. How the files work together: "
        "[configuration](configuration.md). Any value may be a variable, `${NAME}` or `${NAME:-default}`. Any key may "
        "be set for one command with `--var` ([command line](cli.md)).",
    ]
    found = sections()
    for section in found:
        parts.append(f"## {section.place}")
        if section.model.__doc__:
            parts.append(" ".join(section.model.__doc__.split()).replace("``", "`"))
        known = meanings.get(section.title, {})
        rows = ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
        for key in keys_of(section.model, {other.model.__name__ for other in found}):
            default = "*required*" if key.required else key.default
            meaning = key.meaning or known.get(key.name, "")
            cells = (f"`{key.name}`", key.type, default, meaning.replace("|", "\\|"))
            rows.append(f"| {' | '.join(cells)} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts) + "\n"
