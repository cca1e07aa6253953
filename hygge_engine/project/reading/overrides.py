"""Settings given on the command line, as ``flow.orders.store.row_marker=0``: laid over the files, as if they were
written there.

A path begins with a key of hygge.yml (``options.concurrency``, ``connections.shop_db.server``), or with ``flow`` and
the name of a flow, whose file it continues in. ``flow.orders.entities.items.home.table`` leads into one of its
entities, listed or in a file of its own. Without a flow's name (``flow.run_type``) it means every flow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hygge_engine.project.models.documents import FlowDocument, ProjectDocument
from hygge_engine.project.reading.entity_tree import EntityTree
from hygge_engine.project.reading.trees import read_value
from hygge_engine.project.telling.nodes import Entry, MappingNode, Node
from hygge_engine.project.telling.problems import Problems, SecretSpan, SourceText, nearest

PLACE = "the command line"

_OPTION = "--var "
_FLOWS = ("flow", "flows")
_ENTITIES = "entities"

_ASSIGNMENT = re.compile(r"(?P<path>[^=]*?)\s*=(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True)
class _Step:
    """One key of a path, and the column that it begins in, counted from 1."""

    key: str
    column: int


@dataclass(frozen=True, eq=False)
class _Override:
    source: SourceText
    line: int
    path: tuple[_Step, ...]
    value: Node

    def applied(self, tree: MappingNode, path: Sequence[_Step]) -> MappingNode:
        """``tree`` with the value at ``path``; mappings that are not there are made."""
        step, *rest = path
        entry = tree.entries.get(step.key)
        node: Node = self.value
        if rest:
            empty = MappingNode(self.source, self.line, step.column, {})
            node = self.applied(entry.node if entry and isinstance(entry.node, MappingNode) else empty, rest)
        if rest and entry and isinstance(entry.node, MappingNode):
            return replace(tree, entries={**tree.entries, step.key: replace(entry, node=node)})
        return replace(tree, entries={**tree.entries, step.key: Entry(self.source, self.line, step.column, node)})


class Overrides:
    """All overrides of a command. ``is_secret`` says which keys hold secrets; ``expand`` replaces variables."""

    def __init__(
        self,
        assignments: Sequence[str],
        problems: Problems,
        is_secret: Callable[[str], bool],
        expand: Callable[[Node], Node],
    ) -> None:
        self._problems = problems
        self._is_secret = is_secret
        self._source = SourceText(PLACE, "\n".join(_OPTION + _one_line(text) for text in assignments), parsed=True)
        self._project: list[_Override] = []
        self._flows: list[_Override] = []
        self._used: set[_Override] = set()
        self._names: set[str] = set()
        for number, text in enumerate(assignments, start=1):
            override = self._read(_one_line(text), number, expand)
            if override is not None:
                first = override.path[0].key
                (self._project if first in ProjectDocument.model_fields else self._flows).append(override)

    def _read(self, text: str, line: int, expand: Callable[[Node], Node]) -> _Override | None:
        match = _ASSIGNMENT.fullmatch(text)
        keys = (match["path"] if match else text).split(".")
        if any(self._is_secret(key.strip()) for key in keys):
            begin = len(_OPTION) + (match.start("value") if match else 0)
            self._source.secrets.append(SecretSpan(line - 1, begin, line - 1, len(_OPTION) + len(text)))
        if match is None or not all(key.strip() for key in keys):
            message = "this is not an assignment"
            expected = "`path.to.key=value`, for example `flow.orders.store.row_marker=0`"
            self._problems.add(self._source.problem(line, len(_OPTION) + 1, message, expected=expected))
            return None
        steps, column = [], len(_OPTION) + 1
        for key in keys:
            steps.append(_Step(key.strip(), column + len(key) - len(key.lstrip())))
            column += len(key) + 1
        value_column = len(_OPTION) + match.start("value") + 1
        value = read_value(self._source, match["value"], line, value_column, self._problems, self._is_secret)
        return _Override(self._source, line, tuple(steps), expand(value)) if value is not None else None

    def trees(self) -> Iterator[MappingNode]:
        """What is given, each as if a file said it and nothing else."""
        for override in (*self._project, *self._flows):
            yield override.applied(MappingNode(override.source, override.line, 1, {}), override.path)

    def apply_to_project(self, tree: MappingNode) -> MappingNode:
        """hygge.yml with what is given for it."""
        for override in self._project:
            tree = override.applied(tree, override.path)
        return tree

    def apply_to_flow(self, tree: MappingNode, names: Sequence[str]) -> MappingNode:
        """A flow's file, known by its name and its directory's, with what is given for it but not for its entities."""
        self._names.update(names)
        for override in self._flows:
            path = _within_flow(override, names)
            if path and not _names_entity(path):
                self._used.add(override)
                tree = override.applied(tree, path)
        return tree

    def apply_to_entities(self, items: Sequence[EntityTree], names: Sequence[str]) -> list[EntityTree]:
        """A flow's entities with what is given for each. An entity that the flow does not have is a problem."""
        changed = {item.name: item for item in items}
        for override in self._flows:
            path = _within_flow(override, names)
            if path and _names_entity(path):
                self._used.add(override)
                self._apply_to_entity(override, path[1:], changed, every=override.path[1].key == _ENTITIES)
        return [changed.get(item.name, item) for item in items]

    def _apply_to_entity(
        self, override: _Override, path: Sequence[_Step], items: dict[str, EntityTree], *, every: bool
    ) -> None:
        # An entity's name may have dots of its own.
        for length in range(len(path), 0, -1):
            name = ".".join(step.key for step in path[:length])
            if name in items and length < len(path):
                items[name] = replace(items[name], tree=override.applied(items[name].tree, path[length:]))
                return
            if name in items:
                self._report_incomplete("entity", override, path[0])
                return
        if not every:
            self._report_unknown("entity", override, path[0], items)

    def report_unused(self, directories: Iterable[str]) -> None:
        """What no flow has taken is a problem, unless it is meant for one of ``directories`` that cannot be read."""
        known = sorted(self._names.union(directories))
        for override in self._flows:
            first, *rest = override.path
            if not rest and (first.key in _FLOWS or first.key in known):
                self._report_incomplete("flow", override, first)
            elif first.key in _FLOWS and len(rest) == 1 and rest[0].key in known:
                self._report_incomplete("flow", override, rest[0])
            elif override in self._used or {step.key for step in override.path[:2]} & set(known):
                continue
            elif first.key in _FLOWS and rest:
                self._report_unknown("flow", override, rest[0], [*known, *FlowDocument.model_fields])
            else:
                self._report_unknown("setting", override, first, [*ProjectDocument.model_fields, *_FLOWS[:1], *known])

    def _report_incomplete(self, what: str, override: _Override, step: _Step) -> None:
        message = f"`{step.key}` is not a key of a{'n' if what == 'entity' else ''} {what}"
        expected = "`flow.orders.run_type=full_drop`" if what == "flow" else "`….entities.items.run_type=full_drop`"
        self._problems.add(
            override.source.problem(override.line, step.column, message, expected=f"one of its keys, as in {expected}")
        )

    def _report_unknown(self, what: str, override: _Override, step: _Step, known: Iterable[str]) -> None:
        names = list(known)
        similar = nearest(step.key, names)
        hint = f"Did you mean `{similar}`?" if similar else ""
        if what == "setting":
            similar = nearest(step.key, FlowDocument.model_fields)
            hint = f"For every flow, write `flow.{similar}`." if similar == step.key else hint
        self._problems.add(
            override.source.problem(
                override.line,
                step.column,
                f"there is no {what} `{step.key}`",
                expected=f"one of {', '.join(names)}",
                hint=hint,
            )
        )


def _within_flow(override: _Override, names: Sequence[str]) -> Sequence[_Step]:
    """What is left of a path within the flow of these names; nothing where it leads elsewhere."""
    path = override.path[1:] if override.path[0].key in _FLOWS else override.path
    if path and path[0].key in names:
        return path[1:]
    # Without a name: every flow.
    return path if override.path[0].key in _FLOWS and path and path[0].key in FlowDocument.model_fields else ()


def _names_entity(path: Sequence[_Step]) -> bool:
    return path[0].key == _ENTITIES and len(path) > 1


def _one_line(text: str) -> str:
    """Places have a line for each override."""
    return " ".join(text.splitlines()) if "\n" in text else text
