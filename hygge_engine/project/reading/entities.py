"""Entities: what each inherits, validated by the models, within the bounds, and checked against the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from hygge_engine.project.models.documents import EntityDocument
from hygge_engine.project.models.project import OPTIONAL_SECTIONS, Entity, Retention, check_entity_name
from hygge_engine.project.models.settings import HOMES, STORES, History, Reload, RunType, Settings
from hygge_engine.project.reading.bounds import ReadLimits
from hygge_engine.project.reading.checks import CrossSectionRules
from hygge_engine.project.reading.entity_tree import EntityTree
from hygge_engine.project.reading.inheritance import section_of
from hygge_engine.project.reading.sections import Sections
from hygge_engine.project.reading.validation import validate
from hygge_engine.project.telling.keys import KeyKnowledge
from hygge_engine.project.telling.nodes import Entry, MappingNode, Node, ScalarNode, SequenceNode, text_of
from hygge_engine.project.telling.other_tools import NO_ENTITY_KEYS, NO_SECTION_KEYS, NO_STORE_KEYS
from hygge_engine.project.telling.problems import Problems

_SECTIONS = ("home", "store", *OPTIONAL_SECTIONS)


class Entities:
    """Makes entities of their trees; what is wrong with one is among the problems."""

    def __init__(
        self, keys: KeyKnowledge, sections: Sections, bounds: ReadLimits, checks: CrossSectionRules, problems: Problems
    ) -> None:
        self._keys = keys
        self._sections = sections
        self._bounds = bounds
        self._checks = checks
        self._problems = problems

    def read(self, flow: str, item: EntityTree, inherited: MappingNode) -> Entity | None:
        """An entity of ``flow``, over what it inherits; None where something is wrong with it."""
        if not self._has_usable_name(item):
            return None
        name = f"the entity `{item.name}`"
        document = validate(
            EntityDocument,
            item.tree,
            name,
            self._problems,
            self._keys,
            defaults={"name": item.name},
            elsewhere=NO_ENTITY_KEYS,
        )
        trees = self._inherit(item, inherited)
        sections = self._validate(flow, item, inherited, trees)
        if document is None or sections is None:
            return None
        run_type = document.run_type or run_type_of(inherited)
        reload = document.reload or reload_of(inherited)
        history = document.history or history_of(inherited)
        retention = document.history_retention
        if "history_retention" not in item.tree.entries:
            retention = retention_of(inherited)
        places = self._places_of_all(trees)
        entity = Entity(
            item.name,
            flow,
            run_type,
            reload=reload,
            history=history,
            history_retention=retention,
            places=places,
            **sections,
        )
        store = trees["store"]
        if store is not None:
            self._checks.check_entity(entity, item, inherited, store, trees["watermark"])
        return entity

    def check_sections(self, flow: str, item: EntityTree, inherited: MappingNode) -> None:
        """Put among the problems what is wrong with the sections of a flow that has no entities."""
        self._validate(flow, item, inherited, self._inherit(item, inherited))

    def _has_usable_name(self, item: EntityTree) -> bool:
        try:
            check_entity_name(item.name)
        except ValueError as error:
            self._problems.add(item.place.problem(str(error), found=f"`{item.name}`"))
            return False
        _, dash, second = item.name.partition(" - ")
        if dash and item.name not in item.place.source.line(item.place.line):
            self._problems.add(
                item.place.problem(
                    f"`- {second}` on a line of its own is indented further, and so is still part of this name",
                    hint="Put the items of a list exactly below each other.",
                )
            )
            return False
        return True

    def _inherit(self, item: EntityTree, inherited: MappingNode) -> dict[str, MappingNode | None]:
        return {name: section_of(item, name, inherited, self._problems) for name in _SECTIONS}

    def _validate(
        self, flow: str, item: EntityTree, inherited: MappingNode, trees: Mapping[str, MappingNode | None]
    ) -> dict[str, Any] | None:
        """The settings of all sections that there are, by name; None where one of them is not as it has to be."""
        home = self._validate_typed(HOMES, "home", flow, item, trees["home"], NO_SECTION_KEYS)
        store = self._validate_typed(STORES, "store", flow, item, trees["store"], NO_STORE_KEYS)
        settings: dict[str, Settings] = {}
        whole = home is not None and store is not None
        for name, model in OPTIONAL_SECTIONS.items():
            tree = trees[name]
            section = validate(model, tree, name, self._problems, self._keys) if tree is not None else None
            if section is not None:
                settings[name] = section
            else:
                whole &= tree is None and not _is_unreadable(name, item.tree, inherited)
        return {"home": home, "store": store, **settings} if whole else None

    def _validate_typed[T: Settings](
        self,
        registry: Mapping[str, type[T]],
        name: str,
        flow: str,
        item: EntityTree,
        tree: MappingNode | None,
        elsewhere: Mapping[str, str],
    ) -> T | None:
        """A section whose keys depend on its ``type``, with its connection and its bounds."""
        if tree is None:
            return None
        values = {"entity": item.name, "flow": flow}
        settings = self._sections.load(registry, tree, name, values, item, elsewhere)
        self._checks.check_connection(tree)
        if settings is not None:
            self._bounds.check(settings, tree, flow)
        return settings

    def _places_of_all(self, trees: Mapping[str, MappingNode | None]) -> dict[str, str]:
        return {text: place for tree in trees.values() for text, place in self._places_of(tree).items()}

    def _places_of(self, node: Node | None) -> dict[str, str]:
        """Where each key and text below a node stands; secrets are left out."""
        if isinstance(node, ScalarNode):
            return {node.text: _place(node)} if node.text else {}
        if isinstance(node, SequenceNode):
            return {text: place for item in node.items for text, place in self._places_of(item).items()}
        places: dict[str, str] = {}
        for key, entry in node.entries.items() if node is not None else ():
            places[key] = _place(entry)
            if not self._keys.is_secret(key):
                places |= self._places_of(entry.node)
        return places


def run_type_of(tree: MappingNode) -> RunType:
    """The ``run_type`` that a tree has, or the default."""
    return "incremental" if text_of(tree.get("run_type")) == "incremental" else "full_drop"


def reload_of(tree: MappingNode) -> Reload:
    """The ``reload`` that a tree has, or the default."""
    return "difference" if text_of(tree.get("reload")) == "difference" else "drop"


def history_of(tree: MappingNode) -> History:
    """The ``history`` that a tree has, or the default."""
    return "versions" if text_of(tree.get("history")) == "versions" else "none"


def retention_of(tree: MappingNode) -> float | None:
    """The ``history_retention`` that a tree has; None where it has none, or none that is a duration."""
    text = text_of(tree.get("history_retention"))
    try:
        return None if text is None else TypeAdapter(Retention).validate_python(text)
    except ValueError:
        return None


def _is_unreadable(name: str, *trees: MappingNode) -> bool:
    """Whether one of the trees has something else than a mapping in place of the section."""
    return any(node is not None and not isinstance(node, MappingNode) for node in (tree.get(name) for tree in trees))


def _place(node: ScalarNode | Entry) -> str:
    return f"{node.source.file}:{node.line}:{node.column}"
