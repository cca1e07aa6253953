"""What pydantic has found wrong with a section, in the words of those who write the files, and on its line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from hygge_engine.project.models.project import OPTIONAL_SECTIONS, SHORT_FORMS, JournalSettings
from hygge_engine.project.models.settings import HOMES, STORES, Settings
from hygge_engine.project.telling.keys import KeyKnowledge
from hygge_engine.project.telling.nodes import Entry, MappingNode, Node, ScalarNode, SequenceNode
from hygge_engine.project.telling.other_tools import intended, is_slip
from hygge_engine.project.telling.problems import Problems, has_secret_name

# What pydantic's error types mean to an author of YAML.
_MAPPINGS = ("dict_type", "model_type")
_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "finite_number": "a number",
    "dict_type": "a mapping of keys",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "int_type": "a whole number",
    "list_type": "a list, for example [a, b]",
    "model_type": "a mapping of keys",
    "string_type": "text",
    "tuple_type": "a list, for example [a, b]",
}
# The same where the model's own bound is part of it; pydantic names the key.
_EXPECTED_BOUNDS = {
    "string_too_long": ("max_length", "at most {} characters"),
    "string_too_short": ("min_length", "at least {} characters"),
    "too_long": ("max_length", "at most {} items"),
    "too_short": ("min_length", "at least {} items"),
}
# Sections that people write as one value, as they should have been written.
_EXAMPLES = {
    "home": "`home: {type: mssql, connection: …, table: …}`",
    "journal": "`journal: {location: store}`",
    "watermark": "`watermark: {column: …}`",
}

# Sections that a file's model takes as they are: what they hold is inherited first.
_SECTIONS: Mapping[str, type[Settings]] = {**OPTIONAL_SECTIONS, "journal": JournalSettings}

_TYPES: Mapping[str, Mapping[str, type[Settings]]] = {"home": HOMES, "store": STORES}

# Other values that are no mapping, of people who want to be without a section.
_NOTHING = ("false", "no", "none", "off", "")

_TYPOGRAPHIC_QUOTES = ("\u201c", "\u201d", "\u201e", "\u2018", "\u2019", "\u00ab")

_BOUNDS = {
    "greater_than": ("gt", "a number greater than {}"),
    "greater_than_equal": ("ge", "a number of at least {}"),
    "less_than": ("lt", "a number below {}"),
    "less_than_equal": ("le", "a number of at most {}"),
}


def locate(tree: MappingNode, loc: Sequence[str | int]) -> Node | Entry | None:
    """What a finding is about: a value, the entry of a forbidden key, or None for a missing key."""
    node: Node = tree
    for step in loc:
        if isinstance(node, MappingNode) and isinstance(step, str) and step in node.entries:
            node = node.entries[step].node
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        elif isinstance(node, ScalarNode):
            break  # What follows is pydantic's own: a branch of a union.
        else:
            return None
    return node


def path_in(tree: MappingNode, finding: ErrorDetails) -> tuple[str | int, ...]:
    """The keys and items of a finding's path that the file has, and the missing key at its end; without pydantic's
    names for the kinds of value that one place may have."""
    node: Node | None = tree
    path: list[str | int] = []
    loc = finding["loc"]
    missing = len(loc) - 1 if finding["type"] == "missing" else -1
    for number, step in enumerate(loc):
        if isinstance(node, MappingNode) and step in node.entries:
            node = node.entries[str(step)].node
        elif isinstance(node, SequenceNode) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
        elif number != missing:
            continue
        path.append(step)
    return tuple(path)


def expectation(kind: str, context: Mapping[str, Any]) -> str:
    """What pydantic has expected, by the type of its finding; empty where that says nothing to people."""
    if kind in _EXPECTED_BOUNDS:
        bound, words = _EXPECTED_BOUNDS[kind]
        if context.get("field_type") == "Value":  # which pydantic calls a secret, that is text
            words = _EXPECTED_BOUNDS[kind.replace("too_", "string_too_")][1]
        return words.format(context[bound]).replace("1 characters", "one character").replace("1 items", "one item")
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return words.format(f"{context[bound]:g}")
    if kind in ("literal_error", "enum"):
        return re.sub(r"'([^']+)'", r"`\1`", str(context["expected"]))
    return str(context["expected"]) if kind == "either" else _EXPECTED.get(kind, "")


def is_broken(node: Node) -> bool:
    """Whether a problem of the value, or of one within it, is reported already."""
    if isinstance(node, MappingNode):
        return any(is_broken(entry.node) for entry in node.entries.values())
    if isinstance(node, SequenceNode):
        return any(is_broken(item) for item in node.items)
    return node.broken


def report(
    model: type[Settings],
    tree: MappingNode,
    section: str,
    finding: ErrorDetails,
    problems: Problems,
    keys: KeyKnowledge,
    elsewhere: Mapping[str, str],
) -> None:
    """Put a finding of ``model`` among the problems, at the place in ``tree`` that it is about.

    ``section`` names the tree; ``elsewhere`` maps keys that people write there by mistake to where they belong.
    """
    loc = finding["loc"]
    name = _name_of(loc)
    parent = locate(tree, loc[:-1]) if loc else tree
    if finding["type"] == "missing":
        _report_missing(tree, parent, section, loc, problems)
        return
    if finding["type"] == "extra_forbidden" and isinstance(parent, MappingNode):
        known = fields_at(model, loc[:-1])
        if len(loc) > 1:
            section = f"{_name_of(loc[:-1])} of {section}"
        key = str(loc[-1])
        hint = elsewhere.get(key) or ("" if is_slip(key, known) else keys.place_of(key, section))
        _report_unknown_key(parent, key, section, known, problems, hint)
        return
    node = locate(tree, loc)
    if node is None or isinstance(node, Entry):
        node = parent if isinstance(parent, MappingNode) else tree
    if is_broken(node):
        return
    message, expected, hint = f"{name} of {section} has a value that cannot be used", "", ""
    choices: list[str] = []
    kind, context = finding["type"], finding.get("ctx", {})
    if kind == "value_error":
        message = _without_fragments(finding["msg"].removeprefix("Value error, "), node)
        if not loc:
            node, hint = _place_of_rule(tree, message)
            message = f"{section}: {message}"
        elif any(keys.is_secret(str(step)) for step in loc):
            message = f"{name} of {section} is not valid"
    else:
        expected = _words_for_keys(model, loc) if kind in _MAPPINGS else expectation(kind, context)
        choices = re.findall(r"'([^']+)'", str(context["expected"])) if kind == "literal_error" else []
    found = ""
    if isinstance(node, ScalarNode) and loc and not any(keys.is_secret(str(step)) for step in loc):
        found = describe_value(node)
        if kind == "literal_error":
            choice = intended(node.text, choices)
            hint = f"Did you mean `{choice}`?" if choice else ""
            if loc[-1] == "format" and node.text in (*HOMES, *STORES):
                hint = f"`{node.text}` is a type: write `type: {node.text}`, and here what the files are."
    elif not isinstance(node, ScalarNode) and kind.endswith("_type"):
        found = "a list" if isinstance(node, SequenceNode) else "a mapping"
        if isinstance(node, MappingNode) and node.entries.keys() & {"entity", "flow"}:
            hint = "In YAML, a value that begins with `{` needs quotes."
    hint = hint or _hint(loc, kind, node)
    if kind in _MAPPINGS and isinstance(node, ScalarNode):
        hint = _meant_in(node.text, model, loc) or hint
    problem = node.problem(message, found=found, expected=expected, hint=hint)
    # A value that several entities inherit is one mistake, even if its message names an entity.
    problems.add(problem, topic=f"{name} of {section}" if loc else "")


def _without_fragments(message: str, node: Node) -> str:
    """A rule's message without the parts that it quotes of what a variable holds."""
    if not isinstance(node, ScalarNode) or not node.held:
        return message
    return re.sub(r"([`'\"])(.+?)\1", lambda quoted: "`…`" if quoted[2] in node.text else quoted[0], message)


def _name_of(loc: Sequence[str | int]) -> str:
    """A finding's path as people say it: items of a list count from one."""
    keys = ".".join(str(step) for step in loc if isinstance(step, str))
    items = [f"item {step + 1} of " for step in loc if isinstance(step, int)]
    return f"{''.join(items)}`{keys}`"


def _hint(loc: Sequence[str | int], kind: str, node: Node) -> str:
    """What people have mostly meant who write such a value. It never repeats the value."""
    if isinstance(node, ScalarNode) and node.text.startswith(_TYPOGRAPHIC_QUOTES):
        return 'It begins with a typographic quote, which is not a quote in YAML: use `"`.'
    if kind in ("list_type", "tuple_type"):
        if isinstance(node, MappingNode) and loc[-1] == "entities":
            return "Begin each item with `- `; one that differs is `- name: …` with its keys below."
        if isinstance(node, ScalarNode) and node.text.startswith("-"):
            return "An item is a hyphen, a blank and the name."
        return "Put it into brackets, separated by commas."
    if kind in _MAPPINGS:
        if loc[0] == "connections":
            return "Each connection is a name with keys below it: `type`, `server`, `database`, …"
        if isinstance(node, SequenceNode):
            return "Its keys have no hyphens and no brackets."
        example = _EXAMPLES.get(str(loc[-1]), "")
        return f"Write its keys below it, or {example}." if example else ""
    if kind == "string_type" and isinstance(node, SequenceNode):
        return "Only one is possible here: write it without brackets and hyphens."
    return ""


def _keys_at(model: type[Settings], loc: Sequence[str | int]) -> Mapping[str, FieldInfo]:
    """The keys of the mapping that a finding's path leads to; none where they may have any name, or depend on another
    key."""
    section = _SECTIONS.get(str(loc[-1])) if len(loc) == 1 else None
    return section.model_fields if section is not None else fields_at(model, loc)


def _words_for_keys(model: type[Settings], loc: Sequence[str | int]) -> str:
    """The mapping that is expected where a finding's path leads to, by its keys, and the words short for it."""
    if not (known := _keys_at(model, loc)):
        return _EXPECTED["dict_type"]
    shorts = [f"`{word}`, " for word in SHORT_FORMS.get(str(loc[-1]), ())]
    return f"{''.join(shorts)}{'or ' if shorts else ''}a mapping of the keys {', '.join(known)}"


def _meant_in(text: str, model: type[Settings], loc: Sequence[str | int]) -> str:
    """What was meant by one text in place of a mapping, as a hint; empty where nobody knows. It never repeats the
    text."""
    section, known = str(loc[-1]), _keys_at(model, loc)
    shorts, words = SHORT_FORMS.get(section, ()), re.findall(r"\w+", text)
    if section in OPTIONAL_SECTIONS and text.lower() in _NOTHING:
        return f"`{section}: null` takes an inherited section away."
    if len(words) > 1 and all(word in shorts for word in words):
        return f"Write `{section}: {{{', '.join(f'{word}: true' for word in words)}}}` for several."
    if short := intended(text, shorts):
        return f"Did you mean `{short}`?"
    if type_ := _surely(text, _TYPES.get(section, ())):
        return f"`{type_}` is a type: `{section}: {{type: {type_}, …}}`."
    key = _surely(text, known)
    if key is None:
        return ""
    value = "true" if bool in (known[key].annotation, *get_args(known[key].annotation)) else "…"
    return f"`{key}` is one of its keys: `{section}: {{{key}: {value}}}`."


def _surely(text: str, known: Collection[str]) -> str | None:
    """The one of ``known`` that a text is, or was to be; None where that would be a guess."""
    if text in known:
        return text
    return intended(text, known) if is_slip(text, known) else None


def describe_value(node: ScalarNode) -> str:
    """A value for people, with the variable whose default it is; nothing of what a variable holds."""
    if node.held or any(has_secret_name(name) for name in node.variables):
        return f"what `{(node.held or node.variables)[0]}` holds"
    origin = f" (from {', '.join(node.variables)})" if node.variables else ""
    return f"`{node.text}`{origin}" if node.text else f"nothing{origin}"


def _report_missing(
    tree: MappingNode, parent: Node | Entry | None, section: str, loc: Sequence[str | int], problems: Problems
) -> None:
    key = str(loc[-1])
    mapping = parent if isinstance(parent, MappingNode) else tree
    entry = mapping.entries.get(key)
    if len(loc) > 1:
        section = f"{_name_of(loc[:-1])} of {section}"
    if entry is None:
        hint = misspelling_hint(mapping, key)
        problems.add(mapping.problem(f"{section} has no `{key}`", expected=f"`{key}`", hint=hint))
        return
    empty = entry.node.variables if isinstance(entry.node, ScalarNode) else ()
    hint = f"It comes from `{empty[0]}`, which is empty or not set." if empty else ""
    message = f"`{key}` of {section} has no value"
    problems.add(entry.problem(message, expected="a value", hint=hint))


def misspelling_hint(mapping: MappingNode, key: str) -> str:
    """A hint where a missing key is there under almost its name."""
    similar = next((name for name in mapping.entries if intended(name, [key])), None)
    return f"Is `{similar}` meant to be `{key}`?" if similar else ""


def is_misspelt(mapping: MappingNode, key: str, known: Collection[str]) -> bool:
    """Whether an unknown key of a mapping, which is reported as such, was meant to be ``key``."""
    return any(name not in known and intended(name, known) == key for name in mapping.entries)


def _report_unknown_key(
    parent: MappingNode,
    key: str,
    section: str,
    known: Mapping[str, Any],
    problems: Problems,
    hint: str,
) -> None:
    entry = parent.entries[key]
    similar = intended(key, known)
    hint = hint or (f"Did you mean `{similar}`?" if similar else "")
    problems.add(
        entry.problem(
            f"{section} has no key `{key}`",
            expected=f"one of {', '.join(sorted(known))}" if known else "",
            hint=hint,
        )
    )


def _place_of_rule(tree: MappingNode, message: str) -> tuple[Node, str]:
    """Where a rule over several keys is best shown: at the first key of the mapping that its message names. And which
    of those keys are absent only because a variable is empty."""
    named = [word for word in re.findall(r"\w+", message) if word in tree.entries]
    place: Node = next((node for word in named if (node := tree.get(word)) is not None), tree)
    hints = []
    for key in dict.fromkeys(named):
        node = tree.entries[key].node
        if isinstance(node, ScalarNode) and node.value is None and node.variables:
            hints.append(f"`{key}` comes from `{node.variables[0]}`, which is empty or not set.")
    return place, " ".join(hints)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that values of an annotation are, or hold."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def fields_at(model: type[BaseModel], loc: Sequence[str | int]) -> Mapping[str, FieldInfo]:
    """The keys of the model within ``model`` that a finding's path leads to."""
    of_any_name = False
    for step in loc:
        if of_any_name or isinstance(step, int):  # a key of a mapping, or a place in a list
            of_any_name = False
            continue
        field = model.model_fields.get(step)
        within = None if field is None else next(_models_in(field.annotation), None)
        if field is None or within is None:
            return {}
        model, of_any_name = within, get_origin(field.annotation) is dict
    return {} if of_any_name else model.model_fields
