"""YAML files as trees whose every value knows its file, line and column.

Plain scalars are read by YAML 1.2's core schema: only ``true`` and ``false`` are booleans, dates stay text, and
``on``, ``no`` or ``010`` mean what they look like.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import yaml

from hygge_engine.project.reading.yaml_faults import explain, explain_character, find_odd_blanks
from hygge_engine.project.telling.nodes import Entry, MappingNode, Node, ScalarNode, ScalarValue, SequenceNode
from hygge_engine.project.telling.problems import Problems, SecretSpan, SourceText

# What a file may be: far above any project's, and below what would keep a reader busy.
SIZE_LIMIT_CHARACTERS = 1_000_000
DEPTH_LIMIT = 50
VALUES_LIMIT = 50_000

# Numbers with more digits are text: Python refuses to read them.
_DIGITS_LIMIT = 1_000

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]+")
_NULL = ("", "~", "null", "Null", "NULL")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_CORE_TAG = "tag:yaml.org,2002:"


def resolve_scalar(text: str) -> str | int | float | bool:
    """The value of a plain scalar that is not null."""
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if len(text) > _DIGITS_LIMIT:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def read_document(source: SourceText, problems: Problems, is_secret: Callable[[str], bool]) -> MappingNode | None:
    """Parse a file; None where it cannot be read as a mapping, which is then among the problems.

    ``is_secret`` says which keys hold secrets; their values appear in no excerpt. An empty file is an empty mapping.
    """
    if len(source.text) > SIZE_LIMIT_CHARACTERS:
        found = f"{len(source.text):,} characters"
        expected = f"at most {SIZE_LIMIT_CHARACTERS:,}"
        problems.add(source.problem(1, 1, "the file is too long", found=found, expected=expected))
        return None
    if odd := find_odd_blanks(source):
        for problem in odd:
            problems.add(problem)
        return None
    try:
        root = yaml.compose(source.text, Loader=_BoundedLoader)
    except yaml.MarkedYAMLError as error:
        problems.add(explain(source, error))
        return None
    except yaml.reader.ReaderError as error:
        problems.add(explain_character(source, error))
        return None
    if root is None:
        source.parsed = True
        return MappingNode(source, 1, 1, {})
    node = _tree_of(root, source, 1, 1, problems, is_secret)
    source.parsed = True
    if node is None:
        return None
    if isinstance(node, MappingNode):
        return replace(node, line=1, column=1)
    if not (isinstance(node, ScalarNode) and node.broken):
        problems.add(node.problem("the file is not a mapping", expected="`key: value` lines"))
    return None


def read_value(
    source: SourceText, text: str, line: int, column: int, problems: Problems, is_secret: Callable[[str], bool]
) -> Node | None:
    """The value that ``text`` is, as it stands at a place of ``source``: YAML where it begins like a list, a mapping or
    a quoted text, otherwise a plain scalar in which no character means anything. None where it is not valid YAML."""
    stripped = text.strip()
    column += len(text) - len(text.lstrip())
    if not stripped.startswith(("[", "{", '"', "'")):
        value = None if stripped in _NULL else resolve_scalar(stripped)
        return ScalarNode(source, line, column, stripped, value)
    # Blanks in front put the parser's marks where the value stands.
    padded = "\n" * (line - 1) + " " * (column - 1) + stripped
    try:
        root = yaml.compose(padded, Loader=_BoundedLoader)
    except yaml.YAMLError:
        if any(is_secret(word) for word in re.findall(r"[\w-]+", stripped)):
            source.secrets.append(SecretSpan(line - 1, column - 1, line - 1, column - 1 + len(stripped)))
        problems.add(
            source.problem(line, column, "the value is not valid YAML", hint="Look at its brackets, commas and quotes.")
        )
        return None
    return None if root is None else _tree_of(root, source, line, column, problems, is_secret)


def _tree_of(
    root: yaml.Node, source: SourceText, line: int, column: int, problems: Problems, is_secret: Callable[[str], bool]
) -> Node | None:
    """The tree below ``root``; None where aliases make too much of it, which is then a problem of the place."""
    reader = _Reader(source, problems, is_secret)
    try:
        return reader.read(root)
    except _TooManyValues:
        line, column = reader.place or (line, column)
        expected = f"at most {VALUES_LIMIT:,}, and at most {DEPTH_LIMIT} within each other"
        hint = "Aliases (`*name`) repeat all that their anchor holds: write it once less, or less of it."
        problems.add(source.problem(line, column, "there are too many values", expected=expected, hint=hint))
        return None


class _BoundedLoader(yaml.SafeLoader):
    """PyYAML's own, which stops where there are more values, or they are nested deeper, than a person writes."""

    _depth = 0
    _values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        self._values += 1
        if self._depth > DEPTH_LIMIT or self._values > VALUES_LIMIT:
            finding = f"found more than {VALUES_LIMIT:,} values, or more than {DEPTH_LIMIT} within each other"
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, finding, mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _TooManyValues(Exception):
    """Aliases make more of a file than it is."""


class _Reader:
    def __init__(self, source: SourceText, problems: Problems, is_secret: Callable[[str], bool]) -> None:
        self._source = source
        self._problems = problems
        self._is_secret = is_secret
        self._open: set[int] = set()
        self._values = 0
        # The key at the top of the file whose value is being read.
        self.place: tuple[int, int] | None = None

    def read(self, node: yaml.Node, key: yaml.Node | None = None) -> Node:
        """The tree below ``node``; ``key`` is the key that it is the value of."""
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        if len(self._open) == 1 and key is not None:
            self.place = key.start_mark.line + 1, key.start_mark.column + 1
        self._values += 1
        if self._values > VALUES_LIMIT or len(self._open) > DEPTH_LIMIT:
            raise _TooManyValues
        if id(node) in self._open:
            self._problems.add(self._source.problem(line, column, "a value refers to itself"))
            return ScalarNode(self._source, line, column, "", None, broken=True)
        if not node.tag.startswith(_CORE_TAG):
            self._problems.add(
                self._source.problem(line, column, "a value has a YAML tag", hint="Quote a value that begins with `!`.")
            )
            return ScalarNode(self._source, line, column, "", None, broken=True)
        if isinstance(node, yaml.ScalarNode):
            return self._read_scalar(node, line, column)
        self._open.add(id(node))
        if key is not None:
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
        result: Node
        if isinstance(node, yaml.SequenceNode):
            result = SequenceNode(self._source, line, column, tuple(self.read(item) for item in node.value))
        else:
            entries = self._read_entries(node)
            result = (
                ScalarNode(self._source, line, column, "", None, broken=True)
                if entries is None
                else MappingNode(self._source, line, column, entries)
            )
        self._open.discard(id(node))
        return result

    def _read_scalar(self, node: yaml.ScalarNode, line: int, column: int) -> ScalarNode:
        value: ScalarValue = node.value
        if node.style is None and node.tag != _CORE_TAG + "str":
            value = None if node.value in _NULL else resolve_scalar(node.value)
        return ScalarNode(self._source, line, column, node.value, value)

    def _read_entries(self, mapping: yaml.Node) -> dict[str, Entry] | None:
        """The entries of a mapping; None where a key is not text, which makes the mapping something else."""
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in mapping.value:
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            if key.tag == _CORE_TAG + "merge":
                self._merge(merged, value, key)
                continue
            if not isinstance(key, yaml.ScalarNode):
                hint = "Quote a value that begins with `{`. Variables are written `${NAME}`."
                self._problems.add(self._source.problem(line, column, "a key is not text", hint=hint))
                return None
            if self._is_secret(key.value):
                self._hide(value)
            if key.value in own:
                first = own[key.value]
                self._problems.add(
                    self._source.problem(
                        line, column, f"`{key.value}` is given twice", found=f"the first one on line {first.line}"
                    )
                )
                continue
            own[key.value] = Entry(self._source, line, column, self.read(value, key))
        return {**merged, **own}

    def _merge(self, merged: dict[str, Entry], value: yaml.Node, key: yaml.Node) -> None:
        """YAML's ``<<``: earlier mappings win over later ones, own keys over both."""
        for item in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            node = self.read(item, key)
            if isinstance(node, MappingNode):
                for name, entry in node.entries.items():
                    merged.setdefault(name, entry)
            elif not (isinstance(node, ScalarNode) and node.broken):
                line, column = key.start_mark.line + 1, key.start_mark.column + 1
                message, expected = "`<<` takes over a mapping, and this is not one", "`<<: *name` of a mapping `&name`"
                self._problems.add(self._source.problem(line, column, message, expected=expected))

    def _hide(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.ScalarNode) and re.fullmatch(r"\$\{\w+(:-)?\}", node.value):
            return  # The name of a variable is not a secret, and helps.
        start, end = node.start_mark, node.end_mark
        self._source.secrets.append(SecretSpan(start.line, start.column, end.line, end.column))
