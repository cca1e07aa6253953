"""One entity as its files have it."""

from __future__ import annotations

from dataclasses import dataclass

from hygge_engine.project.telling.nodes import MappingNode, Node


@dataclass(frozen=True)
class EntityTree:
    """One entity as written: its name, its own keys, and the place that names it."""

    name: str
    tree: MappingNode
    place: Node
