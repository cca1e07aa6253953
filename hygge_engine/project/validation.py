"""From located trees to validated models: pydantic judges, and its findings are put back on their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hygge_engine.project.document import Entry, Mapping, Node, Scalar, ScalarValue, resolve_scalar
from hygge_engine.project.document import Sequence as SequenceNode
from hygge_engine.project.models import OPTIONAL_SECTIONS, Options
from hygge_engine.project.problems import Problems, has_secret_name, nearest
from hygge_engine.project.settings import CONNECTIONS, HOMES, STORES, Settings

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]\w*)\}")

# Keys whose values have braces of their own.
_FREE_TEXT = frozenset({"query"})

# What pydantic's error types mean to somebody who writes YAML.
_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping of keys",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list, for example [a, b]",
    "model_type": "a mapping of keys",
    "string_type": "text",
    "tuple_type": "a list, for example [a, b]",
}
_TYPOGRAPHIC_QUOTES = ("\u201c", "\u201d", "\u201e", "\u2018", "\u2019", "\u00ab")

_BOUNDS = {
    "greater_than": ("gt", "a number greater than {}"),
    "greater_than_equal": ("ge", "a number of at least {}"),
    "less_than": ("lt", "a number below {}"),
    "less_than_equal": ("le", "a number of at most {}"),
}


@dataclass(frozen=True)
class KeyKnowledge:
    """Which keys of the registered types hold secrets (``secret``) or not (``plain``), and where keys belong."""

    secret: frozenset[str]
    plain: frozenset[str]
    sections: MappingType[str, str]

    @classmethod
    def gather(cls) -> KeyKnowledge:
        """Read the registry."""
        secret: set[str] = set()
        plain: set[str] = set()
        sections: dict[str, str] = {}
        registries: dict[str, MappingType[str, type[Settings]]] = {
            "home": HOMES,
            "store": STORES,
            "connections.<name>": CONNECTIONS,
        }
        for section, registry in registries.items():
            for model in registry.values():
                for name, info in model.model_fields.items():
                    (secret if _is_secret_field(info) else plain).add(name)
                    sections.setdefault(name, section)
        for section, model in OPTIONAL_SECTIONS.items():
            plain |= set(model.model_fields)
            sections |= dict.fromkeys(model.model_fields, section)
        plain |= set(Options.model_fields)
        sections |= dict.fromkeys(Options.model_fields, "options")
        return cls(frozenset(secret), frozenset(plain - secret), sections)

    def sections_hints(self) -> dict[str, str]:
        """For each key, where it belongs: for those who write it somewhere else."""
        return {key: f"`{key}` is a key of `{section}`." for key, section in self.sections.items()}

    def is_secret(self, key: str) -> bool:
        """Whether the values of ``key`` must not be shown; misspelt names of secrets included."""
        if key in self.plain:
            return False
        return key in self.secret or has_secret_name(key) or nearest(key, self.secret | self.plain) in self.secret


def _fields_at(model: type[BaseModel], loc: Sequence[str | int]) -> MappingType[str, FieldInfo]:
    """The keys of the model within ``model`` that a finding's path leads to."""
    for step in loc:
        inner = model.model_fields[str(step)].annotation if step in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return {}
        model = inner
    return model.model_fields


def _is_secret_field(info: FieldInfo) -> bool:
    return info.annotation is SecretStr or SecretStr in get_args(info.annotation)


def merge(base: Mapping | None, override: Mapping) -> Mapping:
    """``base`` with the keys of ``override``, mappings within mappings likewise; lists are replaced.

    Another ``type`` starts afresh: the keys of one type mean nothing to another. A null removes what was inherited.
    """
    if base is None or _names_another_type(base, override):
        return override
    entries = dict(base.entries)
    for key, entry in override.entries.items():
        inherited = entries.get(key)
        if inherited and isinstance(inherited.node, Mapping) and isinstance(entry.node, Mapping):
            entry = replace(entry, node=merge(inherited.node, entry.node))
        entries[key] = entry
    return replace(base, entries=entries)


def _names_another_type(base: Mapping, override: Mapping) -> bool:
    mine, inherited = override.get("type"), base.get("type")
    return isinstance(mine, Scalar) and isinstance(inherited, Scalar) and mine.value != inherited.value


def fill_placeholders(tree: Mapping, values: MappingType[str, str], problems: Problems, keys: KeyKnowledge) -> Mapping:
    """``tree`` with ``{entity}`` and ``{flow}`` replaced in every text that is no secret.

    Another word in braces is a problem; in free text such as a query only if it looks like a misspelt placeholder.
    """
    return replace(
        tree,
        entries={
            key: entry if keys.is_secret(key) else replace(entry, node=_fill(key, entry.node, values, problems, keys))
            for key, entry in tree.entries.items()
        },
    )


def _fill(key: str, node: Node, values: MappingType[str, str], problems: Problems, keys: KeyKnowledge) -> Node:
    if isinstance(node, Mapping):
        return fill_placeholders(node, values, problems, keys)
    if isinstance(node, SequenceNode):
        return replace(node, items=tuple(_fill(key, item, values, problems, keys) for item in node.items))
    if not isinstance(node.value, str):
        return node
    for match in _PLACEHOLDER.finditer(node.value):
        intended = nearest(match[1], values)
        if match[1] not in values and (intended or key not in _FREE_TEXT):
            problems.add(
                node.source.problem(
                    node.line,
                    node.column,
                    f"`{{{match[1]}}}` is not a placeholder",
                    expected=" or ".join(f"{{{name}}}" for name in values),
                    hint=f"Did you mean `{{{intended}}}`?" if intended else "",
                )
            )
    text = fill_text(node.value, values)
    return replace(node, value=text, text=text)


def fill_text(text: str, values: MappingType[str, str]) -> str:
    """``text`` with the known placeholders replaced."""
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def validate[T: Settings](
    model: type[T],
    tree: Mapping,
    section: str,
    problems: Problems,
    keys: KeyKnowledge,
    *,
    defaults: MappingType[str, Any] | None = None,
    elsewhere: MappingType[str, str] | None = None,
) -> T | None:
    """A validated model, or None where there are problems.

    ``section`` names the tree in messages. ``defaults`` stand in for absent keys. ``elsewhere`` maps keys that people
    write here by mistake to where they belong.
    """
    readings: dict[int, ScalarValue] = {}
    while True:
        try:
            return model.model_validate({**(defaults or {}), **_plain(tree, readings)})
        except ValidationError as error:
            findings = error.errors(include_url=False)
        others = {id(node): value for finding in findings for node, value in _other_reading(tree, finding)}
        if others.keys() <= readings.keys():
            break
        readings |= others
    # A misspelt key is both forbidden and missing; one problem says it.
    intended = {
        (*finding["loc"][:-1], nearest(str(finding["loc"][-1]), model.model_fields))
        for finding in findings
        if finding["type"] == "extra_forbidden"
    }
    for finding in findings:
        if finding["type"] == "missing" and finding["loc"] in intended:
            continue
        _report(model, tree, section, finding, problems, keys, elsewhere or {})
    return None


def _other_reading(tree: Mapping, finding: ErrorDetails) -> Iterator[tuple[Scalar, ScalarValue]]:
    """How else a refused scalar can be read: a number where text is wanted as it was written, so that 007 stays 007;
    text where one of some numbers is wanted as a number."""
    node = _locate(tree, finding["loc"])
    if not isinstance(node, Scalar):
        return
    if finding["type"] == "string_type" and isinstance(node.value, (bool, int, float)):
        yield node, node.text
    elif finding["type"] == "literal_error" and isinstance(node.value, str):
        value = resolve_scalar(node.text)
        if value != node.value:
            yield node, value


def _plain(node: Mapping, readings: MappingType[int, ScalarValue]) -> dict[str, Any]:
    """The tree as plain values, without what is not set. Broken values stay, as None: they are set, after all."""
    return {
        key: _plain_value(entry.node, readings)
        for key, entry in node.entries.items()
        if node.get(key) is not None or (isinstance(entry.node, Scalar) and entry.node.broken)
    }


def _plain_value(node: Node, readings: MappingType[int, ScalarValue]) -> Any:
    if isinstance(node, Mapping):
        return _plain(node, readings)
    if isinstance(node, SequenceNode):
        return [
            _plain_value(item, readings)
            for item in node.items
            if not (isinstance(item, Scalar) and item.value is None and item.variables)
        ]
    return readings.get(id(node), node.value)


def _locate(tree: Mapping, loc: Sequence[str | int]) -> Node | Entry | None:
    """What a finding is about: a value, the entry of a forbidden key, or None for a missing key."""
    node: Node = tree
    for step in loc:
        if isinstance(node, Mapping) and isinstance(step, str) and step in node.entries:
            node = node.entries[step].node
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        elif isinstance(node, Scalar):
            break  # What follows is pydantic's own: a branch of a union.
        else:
            return None
    return node


def is_broken(node: Node) -> bool:
    """Whether a problem of the value, or of one within it, is reported already."""
    if isinstance(node, Mapping):
        return any(is_broken(entry.node) for entry in node.entries.values())
    if isinstance(node, SequenceNode):
        return any(is_broken(item) for item in node.items)
    return node.broken


def _report(
    model: type[Settings],
    tree: Mapping,
    section: str,
    finding: ErrorDetails,
    problems: Problems,
    keys: KeyKnowledge,
    elsewhere: MappingType[str, str],
) -> None:
    loc = finding["loc"]
    name = ".".join(str(step) for step in loc)
    parent = _locate(tree, loc[:-1]) if loc else tree
    if finding["type"] == "missing":
        _report_missing(tree, parent, section, loc, problems)
        return
    if finding["type"] == "extra_forbidden" and isinstance(parent, Mapping):
        known = _fields_at(model, loc[:-1])
        if len(loc) > 1:
            section = f"`{'.'.join(str(step) for step in loc[:-1])}` of {section}"
        _report_unknown_key(parent, str(loc[-1]), section, known, problems, {**keys.sections_hints(), **elsewhere})
        return
    node = _locate(tree, loc)
    if node is None or isinstance(node, Entry):
        node = parent if isinstance(parent, Mapping) else tree
    if is_broken(node):
        return
    message, expected, hint = f"`{name}` of {section} has a value that cannot be used", "", ""
    choices: list[str] = []
    kind, context = finding["type"], finding.get("ctx", {})
    if kind == "value_error":
        message = finding["msg"].removeprefix("Value error, ")
        if not loc:
            node, hint = _place_of_rule(tree, message)
            message = f"{section}: {message}"
        elif any(keys.is_secret(str(step)) for step in loc):
            message = f"`{name}` of {section} is not valid"
    elif kind == "literal_error":
        choices = re.findall(r"'([^']+)'", str(context["expected"]))
        expected = re.sub(r"'([^']+)'", r"`\1`", str(context["expected"]))
    elif kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        expected = words.format(context[bound])
    else:
        expected = _EXPECTED.get(kind, finding["msg"])
    found = ""
    if isinstance(node, Scalar) and loc and not any(keys.is_secret(str(step)) for step in loc):
        found = describe_value(node)
        if kind == "literal_error":
            choice = nearest(node.text, choices)
            hint = f"Did you mean `{choice}`?" if choice else ""
    elif not isinstance(node, Scalar) and kind.endswith("_type"):
        found = "a list" if isinstance(node, SequenceNode) else "a mapping"
        if isinstance(node, Mapping) and node.entries.keys() & {"entity", "flow"}:
            hint = "In YAML, a value that begins with `{` needs quotes."
    problem = node.source.problem(
        node.line, node.column, message, found=found, expected=expected, hint=hint or _hint(name, kind, node)
    )
    # A value that several entities inherit is one mistake, even if its message names an entity.
    problems.add(problem, topic=f"{name} of {section}" if loc else "")


def _hint(name: str, kind: str, node: Node) -> str:
    """What people have mostly meant who write such a value. It never repeats the value."""
    if isinstance(node, Scalar) and node.text.startswith(_TYPOGRAPHIC_QUOTES):
        return 'It begins with a typographic quote, which is no quote in YAML: use `"`.'
    if kind in ("list_type", "tuple_type"):
        if isinstance(node, Mapping):
            return "Begin each item with `- `; one that differs is `- name: …` with its keys below."
        if isinstance(node, Scalar) and node.text.startswith("-"):
            return "An item is a hyphen, a blank and the name."
        return "Put it into brackets, separated by commas." if isinstance(node, Scalar) else ""
    if name.startswith("connections") and kind in ("dict_type", "model_type"):
        return "Each connection is a name with keys below it: `type`, `server`, `database`, …"
    return ""


def describe_value(node: Scalar) -> str:
    """A value for people, with the variable it came from; nothing of a variable that seems to hold a secret."""
    if any(has_secret_name(name) for name in node.variables):
        return f"what `{node.variables[0]}` holds"
    origin = f" (from {', '.join(node.variables)})" if node.variables else ""
    return f"`{node.text}`{origin}" if node.text else f"nothing{origin}"


def _report_missing(
    tree: Mapping, parent: Node | Entry | None, section: str, loc: Sequence[str | int], problems: Problems
) -> None:
    key = str(loc[-1])
    mapping = parent if isinstance(parent, Mapping) else tree
    entry = mapping.entries.get(key)
    if entry is None:
        misspelt = [name for name in mapping.entries if nearest(name, [key])]
        hint = f"Is it `{misspelt[0]}` that was meant?" if misspelt else ""
        problems.add(
            tree.source.problem(
                mapping.line, mapping.column, f"{section} has no `{key}`", expected=f"`{key}`", hint=hint
            )
        )
        return
    empty = entry.node.variables if isinstance(entry.node, Scalar) else ()
    hint = f"It comes from `{empty[0]}`, which is empty or not set." if empty else ""
    message = f"`{key}` of {section} has no value"
    problems.add(entry.source.problem(entry.line, entry.column, message, expected="a value", hint=hint))


def _report_unknown_key(
    parent: Mapping,
    key: str,
    section: str,
    known: MappingType[str, Any],
    problems: Problems,
    elsewhere: MappingType[str, str],
) -> None:
    entry = parent.entries[key]
    similar = nearest(key, known)
    hint = elsewhere.get(key) or (f"Did you mean `{similar}`?" if similar else "")
    problems.add(
        entry.source.problem(
            entry.line,
            entry.column,
            f"{section} has no key `{key}`",
            expected=f"one of {', '.join(sorted(known))}" if known else "",
            hint=hint,
        )
    )


def _place_of_rule(tree: Mapping, message: str) -> tuple[Node, str]:
    """Where a rule over several keys is best shown: at the first key of the mapping that its message names. And which
    of those keys are absent only because a variable is empty."""
    named = [word for word in re.findall(r"\w+", message) if word in tree.entries]
    place: Node = next((node for word in named if (node := tree.get(word)) is not None), tree)
    hints = []
    for key in dict.fromkeys(named):
        node = tree.entries[key].node
        if isinstance(node, Scalar) and node.value is None and node.variables:
            hints.append(f"`{key}` comes from `{node.variables[0]}`, which is empty or not set.")
    return place, " ".join(hints)
