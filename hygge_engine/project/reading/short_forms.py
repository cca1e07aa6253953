"""Sections that may be written as one word, spelt out: ``deletes: compare`` is ``deletes: { compare: true }``."""

from __future__ import annotations

from dataclasses import replace

from hygge_engine.project.models.project import SHORT_FORMS
from hygge_engine.project.telling.nodes import Entry, MappingNode, Node, ScalarNode, SequenceNode, text_of


def spell_out(tree: MappingNode) -> MappingNode:
    """The tree of a file, its defaults and listed entities included, without short forms."""
    entries = dict(tree.entries)
    for name, entry in tree.entries.items():
        node = entry.node
        if name in SHORT_FORMS:
            node = _section(node, SHORT_FORMS[name])
        elif name == "defaults" and isinstance(node, MappingNode):
            node = spell_out(node)
        elif name == "entities" and isinstance(node, SequenceNode):
            items = (spell_out(item) if isinstance(item, MappingNode) else item for item in node.items)
            node = replace(node, items=tuple(items))
        entries[name] = replace(entry, node=node)
    return replace(tree, entries=entries)


def _section(node: Node, words: tuple[str, ...]) -> Node:
    word = text_of(node)
    if word not in words:
        return node
    place = (node.source, node.line, node.column)
    return MappingNode(*place, {word: Entry(*place, ScalarNode(*place, "true", value=True))})
