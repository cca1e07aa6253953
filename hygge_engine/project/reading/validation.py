"""From located trees to validated models: pydantic judges, and its findings are put back on their lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hygge_engine.project.models.settings import Settings
from hygge_engine.project.reading.trees import resolve_scalar
from hygge_engine.project.telling.keys import KeyKnowledge
from hygge_engine.project.telling.model_faults import expectation, fields_at, locate, path_in, report
from hygge_engine.project.telling.nodes import MappingNode, Node, ScalarNode, ScalarValue, SequenceNode
from hygge_engine.project.telling.other_tools import intended
from hygge_engine.project.telling.problems import Problems, nearest

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")

# As other tools write placeholders, and slips: braces with more in them or one of them missing, signs instead of them.
_BRACES = r"\{{+[^\w{{}}\x22']*(?:{0})\b[^{{}}]*\}}+"
_ALMOST = _BRACES + r"|\{{+\s*(?:{0})\b[\w.-]*|\b(?:{0})\}}+|%+\(?(?:{0})\)?(?:%+|s\b)|<(?:{0})>|\$(?:{0})\b"
_SIGNS = re.compile(r"[{}%<$]")  # each of them has one of these, and most texts have none

# Keys whose values have braces of their own: SQL, and names of columns.
_FREE_TEXT = frozenset({"query", "key", "key_columns", "as_text"})

# What to do where a name has braces of its own that look like a placeholder.
_WAYS_OUT = {"table": "A table whose name has braces is read by a `query`, with its `key`."}


def merge(base: MappingNode | None, override: MappingNode) -> MappingNode:
    """``base`` with the keys of ``override``, mappings within mappings likewise; lists are replaced.

    Another ``type`` starts afresh: the keys of one type mean nothing to another. A null removes what was inherited.
    """
    if base is None or _names_another_type(base, override):
        return override
    entries = dict(base.entries)
    for key, entry in override.entries.items():
        inherited = entries.get(key)
        if inherited and isinstance(inherited.node, MappingNode) and isinstance(entry.node, MappingNode):
            entry = replace(entry, node=merge(inherited.node, entry.node))
        entries[key] = entry
    return replace(base, entries=entries)


def _names_another_type(base: MappingNode, override: MappingNode) -> bool:
    mine, inherited = override.get("type"), base.get("type")
    return isinstance(mine, ScalarNode) and isinstance(inherited, ScalarNode) and mine.value != inherited.value


def fill_placeholders(
    tree: MappingNode, values: Mapping[str, str], problems: Problems, keys: KeyKnowledge
) -> MappingNode:
    """``tree`` with ``{entity}`` and ``{flow}`` replaced in every text that is not a secret.

    Another word in braces is a problem; in free text such as a query only if it looks like a misspelt placeholder.
    """
    return replace(
        tree,
        entries={
            key: entry if keys.is_secret(key) else replace(entry, node=_fill(key, entry.node, values, problems, keys))
            for key, entry in tree.entries.items()
        },
    )


def _fill(key: str, node: Node, values: Mapping[str, str], problems: Problems, keys: KeyKnowledge) -> Node:
    if isinstance(node, MappingNode):
        return fill_placeholders(node, values, problems, keys)
    if isinstance(node, SequenceNode):
        return replace(node, items=tuple(_fill(key, item, values, problems, keys) for item in node.items))
    if not isinstance(node.value, str):
        return node
    text = node.value
    for slip, name in _slips(text, values, braces_alone=key in _FREE_TEXT):
        problems.add(node.problem(f"`{slip}` is no placeholder", expected=f"`{{{name}}}`, in single braces"))
        text = text.replace(slip, values[name])
    for match in _PLACEHOLDER.finditer(text):
        intended = nearest(match[1], values)
        if match[1] not in values and (intended or key not in _FREE_TEXT):
            problems.add(
                node.problem(
                    f"`{{{match[1]}}}` is not a placeholder",
                    expected=" or ".join(f"{{{name}}}" for name in values),
                    hint=f"Did you mean `{{{intended}}}`?" if intended else _WAYS_OUT.get(key, ""),
                )
            )
    text = fill_text(text, values)
    return node if text == node.value == node.text else replace(node, value=text, text=text)


def _slips(text: str, names: Iterable[str], *, braces_alone: bool) -> list[tuple[str, str]]:
    """What was meant for a placeholder and is none, with the name of that."""
    if not _SIGNS.search(text):
        return []
    form = _BRACES if braces_alone else _ALMOST
    found = [(match[0], name) for name in names for match in re.finditer(f"(?i:{form.format(name)})", text)]
    return [(shown, name) for shown, name in found if shown != f"{{{name}}}"]


def fill_text(text: str, values: Mapping[str, str]) -> str:
    """``text`` with the known placeholders replaced."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def validate[T: Settings](
    model: type[T],
    tree: MappingNode,
    section: str,
    problems: Problems,
    keys: KeyKnowledge,
    *,
    defaults: Mapping[str, Any] | None = None,
    elsewhere: Mapping[str, str] | None = None,
) -> T | None:
    """A validated model, or None where there are problems.

    ``section`` names the tree in messages. ``defaults`` stand in for absent keys. ``elsewhere`` maps keys that people
    write here by mistake to where they belong.
    """
    readings: dict[int, ScalarValue] = {}
    # A key that is not set counts as absent, but an unknown one is a mistake even so.
    unknown = dict.fromkeys(tree.entries.keys() - model.model_fields.keys())
    while True:
        try:
            return model.model_validate({**(defaults or {}), **unknown, **_plain(tree, readings)})
        except ValidationError as error:
            findings = error.errors(include_url=False)
        others = {id(node): value for finding in findings for node, value in _other_reading(tree, finding)}
        if others.keys() <= readings.keys():
            break
        readings |= others
    findings = _without_branches(tree, findings)
    # A misspelt key is both forbidden and missing; one problem says it.
    meant = {
        (*finding["loc"][:-1], intended(str(finding["loc"][-1]), fields_at(model, finding["loc"][:-1])))
        for finding in findings
        if finding["type"] == "extra_forbidden"
    }
    # Nor is a key that is missing within one of the section's values another problem than an unknown one in its place.
    unknown_in = {finding["loc"][:-1] for finding in findings if finding["type"] == "extra_forbidden"}
    absent: dict[tuple[str | int, ...], str] = {}
    for finding in findings:
        parent, key = finding["loc"][:-1], finding["loc"][-1:]
        if finding["type"] == "missing" and parent and parent in unknown_in:
            absent[parent] = f"`{key[0]}` is missing here."
    for finding in findings:
        within = finding["loc"][:-1]
        if finding["type"] == "missing" and (finding["loc"] in meant or within in absent):
            continue
        hints = dict(elsewhere or {})
        if finding["type"] == "extra_forbidden" and within in absent and not _is_slip(model, finding):
            hints[str(finding["loc"][-1])] = absent[within]
        report(model, tree, section, finding, problems, keys, hints)
    return None


def _is_slip(model: type[Settings], finding: ErrorDetails) -> bool:
    *within, key = finding["loc"]
    return bool(intended(str(key), fields_at(model, within)))


def _without_branches(tree: MappingNode, findings: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """One finding for each place: a value that may be of several kinds is refused by each of them, under pydantic's own
    name for it. The deepest places count: there a kind has been chosen."""
    found: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    branched: set[tuple[str | int, ...]] = set()
    for finding in findings:
        loc = path_in(tree, finding)
        found.setdefault(loc, []).append({**finding, "loc": loc})
        if loc != finding["loc"]:
            branched.add(loc)
    for loc in branched:
        if any(other[: len(loc)] == loc and other != loc for other in found):
            found.pop(loc, None)
    return [alike[0] if len(alike) == 1 else _either(alike) for alike in found.values()]


def _either(findings: Sequence[ErrorDetails]) -> ErrorDetails:
    """What is expected where one of several kinds of value is; its choices, where there are any."""
    choice = next((finding for finding in findings if finding["type"] == "literal_error"), None)
    words = dict.fromkeys(expectation(finding["type"], finding.get("ctx", {})) for finding in findings)
    return choice or {**findings[0], "type": "either", "ctx": {"expected": ", or ".join(words)}}


def _other_reading(tree: MappingNode, finding: ErrorDetails) -> Iterator[tuple[ScalarNode, ScalarValue]]:
    """How else a refused scalar can be read: a number where text is wanted as it was written, so that 007 stays 007;
    text where one of some numbers is wanted as a number."""
    node = locate(tree, finding["loc"])
    if not isinstance(node, ScalarNode):
        return
    if finding["type"] == "string_type" and isinstance(node.value, (bool, int, float)):
        yield node, node.text
    elif finding["type"] == "literal_error" and isinstance(node.value, str):
        value = resolve_scalar(node.text)
        if value != node.value:
            yield node, value


def _plain(node: MappingNode, readings: Mapping[int, ScalarValue]) -> dict[str, Any]:
    """The tree as plain values, without what is not set. Broken values stay, as None: they are set, after all."""
    return {
        key: _plain_value(entry.node, readings)
        for key, entry in node.entries.items()
        if node.get(key) is not None or (isinstance(entry.node, ScalarNode) and entry.node.broken)
    }


def _plain_value(node: Node, readings: Mapping[int, ScalarValue]) -> Any:
    if isinstance(node, MappingNode):
        return _plain(node, readings)
    if isinstance(node, SequenceNode):
        return [
            _plain_value(item, readings)
            for item in node.items
            if not (isinstance(item, ScalarNode) and item.value is None and item.variables)
        ]
    return readings.get(id(node), node.value)
