"""What an entity takes over from its flow, and a flow from the project's defaults."""

from __future__ import annotations

from dataclasses import replace

from hygge_engine.project.models.documents import FlowDocument
from hygge_engine.project.models.project import OPTIONAL_SECTIONS
from hygge_engine.project.reading.entity_tree import EntityTree
from hygge_engine.project.reading.validation import merge
from hygge_engine.project.telling.model_faults import is_misspelt
from hygge_engine.project.telling.nodes import Entry, MappingNode
from hygge_engine.project.telling.problems import Problems


def flow_over(defaults: MappingNode | None, flow: MappingNode) -> MappingNode:
    """What the entities of a flow inherit: its own keys, over the project's ``defaults``."""
    if defaults is None:
        return flow
    return replace(merge(defaults, flow), source=flow.source, line=flow.line, column=flow.column)


def section_of(item: EntityTree, name: str, inherited: MappingNode, problems: Problems) -> MappingNode | None:
    """A section of an entity; None where it has none, or none that can be read."""
    base, own = inherited.get(name), item.tree.get(name)
    if name in item.tree.entries and own is None:
        base = None  # An explicit null takes the inherited section away.
    if isinstance(own, MappingNode):
        return merge(base if isinstance(base, MappingNode) else None, own)
    if isinstance(base, MappingNode) and own is None:
        return base
    if base is None and own is None and name not in OPTIONAL_SECTIONS:
        removed = name in item.tree.entries
        place = item.tree if removed else inherited
        if is_misspelt(inherited, name, FlowDocument.model_fields):
            return None
        # A key without a value often means that the lines below it are not indented.
        entry: Entry | MappingNode = place.entries.get(name, place)
        empty = isinstance(entry, Entry) and not removed
        message = f"the entity `{item.name}` takes `{name}` away" if removed else f"the flow has no `{name}`"
        problems.add(
            entry.problem(
                message,
                found=f"`{name}:` with nothing in it" if empty else "",
                expected=f"`{name}` in the flow, or in each entity",
                hint="Its keys go below it, indented by two blanks." if empty else "",
            )
        )
    return None
