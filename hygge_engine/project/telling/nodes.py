"""The values of a YAML file as a tree, each of which knows its file, line and column."""

from __future__ import annotations

from dataclasses import dataclass

from hygge_engine.errors import Problem
from hygge_engine.project.telling.problems import SourceText

ScalarValue = str | int | float | bool | None


@dataclass(frozen=True, eq=False)
class Placed:
    """Something at a place of a file; ``line`` and ``column`` count from 1."""

    source: SourceText
    line: int
    column: int

    @property
    def where(self) -> str:
        """The place, as the problem of another one names it."""
        return f"{self.source.file}, line {self.line}"

    def problem(self, message: str, *, found: str = "", expected: str = "", hint: str = "") -> Problem:
        """What is wrong with it."""
        return self.source.problem(self.line, self.column, message, found=found, expected=expected, hint=hint)


@dataclass(frozen=True, eq=False)
class ScalarNode(Placed):
    """A value. ``text`` is what was written, variables replaced; ``variables`` are the names it came from, ``held``
    those of them that had a value, which no message shows.

    ``broken`` marks a value whose problem is reported already, so that nothing is said about it twice.
    """

    text: str
    value: ScalarValue
    variables: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    broken: bool = False


@dataclass(frozen=True, eq=False)
class SequenceNode(Placed):
    """A list. Its place is that of its key."""

    items: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Entry(Placed):
    """A key of a mapping, with its own place, and its value."""

    node: Node


@dataclass(frozen=True, eq=False)
class MappingNode(Placed):
    """A mapping. Its place is that of its key, because that is what a missing key is missing from."""

    entries: dict[str, Entry]

    def get(self, key: str) -> Node | None:
        """The value of a key; None where the key is absent or null."""
        entry = self.entries.get(key)
        if entry is None or (isinstance(entry.node, ScalarNode) and entry.node.value is None):
            return None
        return entry.node


Node = ScalarNode | SequenceNode | MappingNode


def text_of(node: Node | None) -> str | None:
    """The text of a scalar that is set and whole."""
    return node.text if isinstance(node, ScalarNode) and not node.broken and node.value is not None else None
