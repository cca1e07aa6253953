"""The sections of a project whose keys depend on their ``type``: connections, homes and stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, get_args

from hygge_engine.project.models.documents import ProjectDocument
from hygge_engine.project.models.settings import (
    CONNECTIONS,
    HOMES,
    JOURNAL_PLACES,
    STORES,
    ConnectionSettings,
    JournalPlaceSettings,
    Settings,
)
from hygge_engine.project.reading.entity_tree import EntityTree
from hygge_engine.project.reading.validation import fill_placeholders, fill_text, validate
from hygge_engine.project.telling.keys import KeyKnowledge
from hygge_engine.project.telling.model_faults import describe_value, is_broken, is_misspelt, misspelling_hint
from hygge_engine.project.telling.nodes import MappingNode, ScalarNode
from hygge_engine.project.telling.other_tools import intended
from hygge_engine.project.telling.problems import Problems

# Stands for any entity where the question is whether a section or the entity's name is wrong.
_ANY_NAME = "a"


class Sections:
    """Validates sections by the model that their ``type`` names."""

    def __init__(self, keys: KeyKnowledge, problems: Problems) -> None:
        self._keys = keys
        self._problems = problems

    def with_named_connections(self, tree: MappingNode) -> MappingNode:
        """``hygge.yml``; where a connection's keys stand right below ``connections``, which is one problem and not one
        for each of them, without these."""
        section, entry = tree.get("connections"), tree.entries.get("connections")
        keys = {key for model in CONNECTIONS.values() for key in model.model_fields}
        if entry is None or not isinstance(section, MappingNode) or not section.entries:
            return tree
        nested = any(isinstance(inner.node, MappingNode) for inner in section.entries.values())
        if nested or not section.entries.keys() <= keys:
            return tree
        message, found = "a connection has no name", f"`{next(iter(section.entries))}` right below `connections`"
        expected = "a name of your own, and the keys below it, indented"
        self._problems.add(section.problem(message, found=found, expected=expected))
        broken = ScalarNode(section.source, section.line, section.column, "", None, broken=True)
        return replace(tree, entries={**tree.entries, "connections": replace(entry, node=broken)})

    def load_connections(self, tree: MappingNode) -> dict[str, ConnectionSettings | None] | None:
        """The connections by name, None for one that has problems; None altogether where the section cannot be read."""
        entry = tree.entries.get("connections")
        if is_misspelt(tree, "connections", ProjectDocument.model_fields):
            return None
        if entry is None or (tree.get("connections") is None and not is_broken(entry.node)):
            return {}
        if not isinstance(entry.node, MappingNode):
            return None
        connections: dict[str, ConnectionSettings | None] = {}
        for name, connection in entry.node.entries.items():
            connections[name] = None
            if isinstance(connection.node, MappingNode):
                section = f"connection `{name}`"
                connections[name] = self._load(CONNECTIONS, connection.node, section, {}, {}, self._problems)
        return connections

    def load_journal_place(self, tree: MappingNode) -> JournalPlaceSettings | None:
        """``journal.location``, where it is a mapping."""
        return self._load(JOURNAL_PLACES, tree, "journal.location", {}, {}, self._problems)

    def load[T: Settings](
        self,
        registry: Mapping[str, type[T]],
        tree: MappingNode,
        section: str,
        values: Mapping[str, str],
        item: EntityTree,
        elsewhere: Mapping[str, str],
    ) -> T | None:
        """The ``home`` or ``store`` of an entity; ``values`` are its placeholders.

        Where a section is right for other names, the mistake is in the entity's name.
        """
        found = Problems()
        settings = self._load(registry, tree, section, values, elsewhere, found)
        if found:
            others = Problems()
            self._load(registry, tree, section, {**values, "entity": _ANY_NAME}, elsewhere, others)
            if others:
                self._problems.update(found)
            else:
                cause = found.sorted()[0]
                hint = f"Say what it is called there: `{{name: …, {section}: {{…}}}}`."
                message = f"the entity's name does not fit into `{section}`: {cause.message}"
                self._problems.add(item.place.problem(message, found=f"`{item.name}`", hint=hint))
        return settings

    def _load[T: Settings](
        self,
        registry: Mapping[str, type[T]],
        tree: MappingNode,
        section: str,
        values: Mapping[str, str],
        elsewhere: Mapping[str, str],
        problems: Problems,
    ) -> T | None:
        kind = tree.get("type")
        if kind is None:
            entry = tree.entries.get("type")
            if not (entry and is_broken(entry.node)):
                message, expected = f"{section} has no `type`", f"one of {', '.join(sorted(registry))}"
                hint = "" if entry else misspelling_hint(tree, "type")
                problems.add(tree.problem(message, expected=expected, hint=hint))
            return None
        if not isinstance(kind, ScalarNode) or kind.text not in registry:
            found = describe_value(kind) if isinstance(kind, ScalarNode) else "no text"
            hint = _type_hint(kind.text, registry) if isinstance(kind, ScalarNode) else ""
            expected = f"one of {', '.join(sorted(registry))}"
            message = f"the type of {section} is not known"
            problems.add(kind.problem(message, found=found, expected=expected, hint=hint))
            return None
        model = registry[kind.text]
        defaults: dict[str, Any] = {}
        if values:
            tree = fill_placeholders(tree, values, problems, self._keys)
            defaults = {
                name: fill_text(info.default, values)
                for name, info in model.model_fields.items()
                if isinstance(info.default, str) and "{" in info.default
            }
        return validate(model, tree, section, problems, self._keys, defaults=defaults, elsewhere=elsewhere)


def _type_hint(kind: str, registry: Mapping[str, Any]) -> str:
    for what, others in (("connection", CONNECTIONS), ("home", HOMES), ("store", STORES)):
        if kind in others:
            return f"`{kind}` is a type of {what}."
    formats = _formats(registry.values())
    similar = intended(kind, registry)
    if kind not in formats and similar:
        return f"Did you mean `{similar}`?"
    meant = intended(kind, formats)
    return (
        f"`{kind}` is a format: write `type: local` (or where else the files are) and `format: {meant}`."
        if meant
        else ""
    )


def _formats(models: Iterable[type[Settings]]) -> set[str]:
    """The formats of those sections that have one."""
    infos = [model.model_fields["format"] for model in models if "format" in model.model_fields]
    return {str(choice) for info in infos for choice in get_args(info.annotation)}
