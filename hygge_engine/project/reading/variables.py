"""``${NAME}`` and ``${NAME:-default}`` in the project's values."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from hygge_engine.errors import Problem
from hygge_engine.masking import STANDS_ALONE_CHARACTERS
from hygge_engine.project.reading.trees import resolve_scalar
from hygge_engine.project.telling.nodes import Entry, MappingNode, Node, ScalarNode, SequenceNode
from hygge_engine.project.telling.problems import PLACEHOLDERS, Problems, line_and_column, nearest

LOCAL_SETTINGS = "local.settings.json"

# How the message about a variable that has no value ends.
UNSET = "is not set"

# How other tools write a variable: $NAME, %NAME%, #{NAME}#. Names of variables are upper case there, too.
_FOREIGN = re.compile(r"\$(?P<a>[A-Z][A-Z0-9_]+)|%(?P<b>[A-Z][A-Z0-9_]+)%|#\{(?P<c>[A-Za-z_]\w*)\}#")

# How deep defaults may be nested, and how much text all variables may become: more is not a setting.
DEFAULTS_LIMIT = 10
EXPANDED_LIMIT_CHARACTERS = 10_000_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# A value that is a reference as a whole; one that only has such characters in it may be a password.
_REFERENCE = re.compile(r"\s*\$\{[A-Za-z_]\w*(:-[^}]*)?\}\s*")

_WELL_FORMED = "`${NAME}` or `${NAME:-default}`"

# What the Functions platform leaves in an app setting when it could not resolve its Key Vault reference, and what
# people copy from the portal instead of one.
_KEY_VAULT_REFERENCE = re.compile(r"\s*(@microsoft\.keyvault\(|https://[\w-]+\.vault\.\S+/secrets/)", re.IGNORECASE)


class _Unresolved(Exception):
    """A reference that cannot be replaced. ``name`` is empty where it is not even well formed."""

    def __init__(self, name: str, message: str, *, expected: str = "", hint: str = "", found: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.expected = expected
        self.hint = hint
        self.found = found


class Variables:
    """The environment, then the ``Values`` of local.settings.json, where the Functions tools keep an app's settings."""

    def __init__(self, environment: Mapping[str, str], directory: Path, problems: Problems) -> None:
        self._environment = environment
        self._local, where = _read_local_settings(directory / LOCAL_SETTINGS, problems)
        self._places = f"the environment, {where}"
        # The values of the variables that the files name.
        self.held: dict[str, str] = {}
        self._expanded = 0

    def hide(self, problem: Problem, words: Collection[str]) -> Problem:
        """``problem`` with ``${NAME}`` in place of each value that a variable holds: any of them may be secret. A
        short one, which may be any word, counts where it is all that is in quotes; ``words`` are the files' own."""
        return replace(
            problem,
            message=self._hidden(problem.message, words),
            found=self._hidden(problem.found, words),
            expected=self._hidden(problem.expected, words),
            hint=self._hidden(problem.hint, words),
        )

    def _hidden(self, text: str, words: Collection[str]) -> str:
        for name, value in sorted(self.held.items(), key=lambda item: -len(item[1])):
            if value in text and value not in words:
                pattern = re.escape(value)
                if len(value) < STANDS_ALONE_CHARACTERS:
                    pattern = rf"(?<=[`'\"]){pattern}(?=[`'\"])"
                text = re.sub(pattern, f"${{{name}}}", text)
        return text

    def expand[T: Node](self, node: T, problems: Problems, key: str = "") -> T:
        """``node``, the value of ``key``, with every reference replaced. What cannot be replaced is a problem, and the
        value is broken."""
        if isinstance(node, MappingNode):
            entries = {
                name: replace(entry, node=self.expand(entry.node, problems, name))
                for name, entry in node.entries.items()
                if not _report_unusable(name, entry, "a key", problems)
            }
            return replace(node, entries=entries)
        if isinstance(node, SequenceNode):
            return replace(node, items=tuple(self.expand(item, problems, key) for item in node.items))
        if not isinstance(node.value, str):
            return node
        what = f"`{key}`" if key else "a value"
        if "${" not in node.value:
            reported = _report_literal(node, problems) or _report_unusable(node.text, node, what, problems)
            return replace(node, value=None, broken=True) if reported else node
        names: list[str] = []
        try:
            text = self._expand_text(node.value, names)
        except _Unresolved as error:
            column = _column_of(node, error.name)
            problems.add(
                node.source.problem(
                    node.line, column, error.message, found=error.found, expected=error.expected, hint=error.hint
                )
            )
            return replace(node, value=None, broken=True)
        if _report_unusable(text, node, what, problems):
            return replace(node, value=None, broken=True)
        if not names:
            return replace(node, text=text, value=text)
        # A variable that is set to nothing means that the setting is not made.
        value = None if text == "" else resolve_scalar(text)
        held = tuple(name for name in names if self.held.get(name))
        return replace(node, text=text, value=value, variables=tuple(names), held=held)

    def _expand_text(self, text: str, names: list[str], depth: int = 0) -> str:
        if depth > DEFAULTS_LIMIT:
            raise _Unresolved("", f"a variable's default has more than {DEFAULTS_LIMIT} others within it")
        parts: list[str] = []
        position = 0
        while (start := text.find("${", position)) >= 0:
            if start > 0 and text[start - 1] == "$":  # $${ is a literal ${
                end = start + 2
                parts.append(text[position : start - 1] + "${")
                position = end
                continue
            end = _closing_brace(text, start + 2)
            parts.append(text[position:start])
            parts.append(self._replace_reference(text[start + 2 : end], names, depth))
            position = end + 1
        return "".join(parts) + text[position:]

    def _replace_reference(self, body: str, names: list[str], depth: int) -> str:
        name, separator, default = body.partition(":-")
        if not _NAME.fullmatch(name):
            vault = re.match(r"(kv|akv|keyvault|vault|secret)\W", name, re.IGNORECASE)
            hint = "A secret of a Key Vault comes from an app setting that refers to it." if vault else ""
            raise _Unresolved("", "a variable is not well formed", expected=_WELL_FORMED, hint=hint)
        if name in PLACEHOLDERS and self._look_up(name) is None and not separator:
            message = f"`{name}` is a placeholder, not a variable"
            raise _Unresolved(name, message, expected=f"`{{{name}}}`, without the dollar sign")
        names.append(name)
        value = self._look_up(name)
        if value is not None and is_key_vault_reference(value):
            local = name not in self._environment
            raise _Unresolved(
                name,
                f"the variable `{name}` holds a Key Vault reference that was not resolved",
                expected="the secret itself, which the Functions platform puts in its place",
                hint=f"It is not resolved on your own machine: put the secret itself into {LOCAL_SETTINGS}."
                if local
                else "Check the vault's name, and that the app's identity may read its secrets "
                "(role Key Vault Secrets User); then restart the app.",
            )
        if value:
            self.held[name] = value
            self._expanded += len(value)
            if self._expanded > EXPANDED_LIMIT_CHARACTERS:
                raise _Unresolved(name, "the project's variables become too long", expected="shorter ones, or fewer")
        if value is not None and _REFERENCE.fullmatch(value):
            raise _Unresolved(
                name,
                f"the variable `{name}` holds a reference to another variable, which is never resolved",
                expected="the value itself",
                hint="Name the other variable in the project's file instead.",
            )
        if separator:
            return value or self._expand_text(default, names, depth + 1)
        if value is None:
            similar = nearest(name, {*self._environment, *self._local})
            raise _Unresolved(
                name,
                f"the variable `{name}` {UNSET}",
                expected=f"a value in one of: {self._places}",
                hint=f"Set it, or write `${{{name}:-default}}`."
                + (f" There is a variable `{similar}`." if similar else ""),
            )
        return value

    def _look_up(self, name: str) -> str | None:
        value = self._environment.get(name)
        return self._local.get(name) if value is None else value


def is_key_vault_reference(text: str) -> bool:
    """Whether a value is a reference to a secret instead of the secret."""
    return _KEY_VAULT_REFERENCE.match(text) is not None


def _report_literal(node: ScalarNode, problems: Problems) -> bool:
    """Whether a text of a file is meant to stand for something, but does not; that is then among the problems."""
    if is_key_vault_reference(node.text):
        problem = node.problem(
            "a Key Vault reference is in a file, where it is not resolved",
            expected="`${NAME}`",
            hint="Make it the value of an app setting of that name, which the Functions platform resolves.",
        )
        problems.add(problem)
        return True
    match = _FOREIGN.fullmatch(node.text)
    if match:
        name = next(group for group in match.groups() if group)
        hint = "A text that does begin so can come from a variable."
        problems.add(node.problem("this is text, not a variable", expected=f"`${{{name}}}`", hint=hint))
    return match is not None


def _report_unusable(text: str, place: ScalarNode | Entry, what: str, problems: Problems) -> bool:
    """Whether a key or a value has a character that no file, server or journal can take; that is then among the
    problems. Variables of the environment have such where their bytes are not UTF-8."""
    unusable = next((character for character in text if character == "\0" or "\ud800" <= character <= "\udfff"), None)
    if unusable is not None:
        message = f"{what} has a character that can be written nowhere"
        found = "NUL" if unusable == "\0" else "half of a surrogate pair, or bytes that are not UTF-8"
        problems.add(place.problem(message, found=found, expected="a text without it"))
    return unusable is not None


def _closing_brace(text: str, start: int) -> int:
    """The index of the brace that closes a reference; a default may hold references and placeholders of its own."""
    depth = 1
    for index in range(start, len(text)):
        if text[index] == "{":
            depth += 1
        elif text[index] == "}":
            depth -= 1
            if depth == 0:
                return index
    raise _Unresolved("", "a variable is not closed", expected="`}` after its name", hint="Write `$${` for a literal.")


def _column_of(node: ScalarNode, name: str) -> int:
    """Where a reference begins, if it is on the scalar's first line."""
    found = node.source.line(node.line).find("${" + name, node.column - 1)
    return found + 1 if found >= 0 else node.column


def _read_local_settings(path: Path, problems: Problems) -> tuple[dict[str, str], str]:
    """The file's ``Values``, and how to name the place in an error. Its lines hold secrets and are never shown."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        repeated: list[str] = []
        document = json.loads(text, object_pairs_hook=lambda pairs: _unrepeated(pairs, repeated))
    except FileNotFoundError:
        return {}, f"{path.name} (there is none in the project's directory)"
    except json.JSONDecodeError as error:
        problems.add(Problem(path.name, error.lineno, error.colno, f"this is not valid JSON: {error.msg}"))
        return {}, f"{path.name} (not readable)"
    except UnicodeDecodeError:
        problems.add(Problem(path.name, 1, 1, "the file is not UTF-8", hint="Save it as UTF-8."))
        return {}, f"{path.name} (not readable)"
    except RecursionError:
        problems.add(
            Problem(
                path.name, 0, 0, "the file is nested too deeply", hint='It has to be {"Values": {"NAME": "value"}}.'
            )
        )
        return {}, f"{path.name} (not readable)"
    except ValueError as error:
        problems.add(Problem(path.name, 0, 0, "the file cannot be read", found=type(error).__name__))
        return {}, f"{path.name} (not readable)"
    except OSError as error:
        problems.add(Problem(path.name, 0, 0, "the file cannot be read", found=error.strerror or ""))
        return {}, f"{path.name} (not readable)"
    for name in dict.fromkeys(repeated):
        line, column = _last_place(text, json.dumps(name, ensure_ascii=False))
        message = f"the key `{name}` is given twice"
        problems.add(
            Problem(path.name, line, column, message, hint="Only the last one would count: delete the others.")
        )
    if isinstance(document, dict) and "Values" not in document:
        return {}, f"{path.name} (it has no `Values`)"
    values = document["Values"] if isinstance(document, dict) else None
    if not isinstance(values, dict):
        problems.add(Problem(path.name, 1, 1, "`Values` is not a mapping", expected='{"Values": {"NAME": "value"}}'))
        return {}, f"{path.name} (not readable)"
    if document.get("IsEncrypted"):
        hint = "Decrypt it with `func settings decrypt`."
        problems.add(Problem(path.name, 1, 1, "the file is encrypted", hint=hint))
        return {}, f"{path.name} (encrypted)"
    for name, value in values.items():
        if value is None or isinstance(value, (dict, list)):
            line, column = _last_place(text, json.dumps(name, ensure_ascii=False))
            found = "null" if value is None else "a list" if isinstance(value, list) else "an object"
            hint = "Write it as one text, in quotes."
            message = f"`{name}` of `Values` is not text"
            problems.add(Problem(path.name, line, column, message, found=found, expected="a text", hint=hint))
    return {name: _as_text(value) for name, value in values.items()}, f"`Values` of {path.name}"


def _unrepeated(pairs: list[tuple[str, object]], repeated: list[str]) -> dict[str, object]:
    """A JSON object; keys that it has twice are noted."""
    counts = Counter(name for name, _ in pairs)
    repeated += [name for name, count in counts.items() if count > 1]
    return dict(pairs)


def _last_place(text: str, part: str) -> tuple[int, int]:
    """Line and column, from 1, where a part of a text begins for the last time."""
    return line_and_column(text, max(text.rfind(part), 0))


def _as_text(value: object) -> str:
    """A JSON value as the environment would hold it."""
    return value if isinstance(value, str) else json.dumps(value)
