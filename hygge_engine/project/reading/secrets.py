"""Where a project's secrets are: in the keys that are made for them, and nowhere else.

Every value of such a key, and of every variable that it came from, is registered with `hygge_engine.masking`. What is
found in another key would be shown, landed or sent somewhere, so it is a problem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hygge_engine.masking import STANDS_ALONE_CHARACTERS, remember_secret
from hygge_engine.project.reading.layout import PROJECT_FILE
from hygge_engine.project.reading.overrides import PLACE as COMMAND_LINE
from hygge_engine.project.telling.keys import KeyKnowledge
from hygge_engine.project.telling.nodes import MappingNode as Tree
from hygge_engine.project.telling.nodes import Node, ScalarNode, SequenceNode
from hygge_engine.project.telling.problems import Problems, secrets_in

# Keys whose own keys are names of columns, which may be called like a secret and hold none.
_NAMES_COLUMNS = frozenset(
    {"mask", "rename", "hash_ids", "constants", "load_columns", "columns", "accepted_values", "range", "matches"}
)

# Keys that say how to log in; their variables are often named after what they choose.
_CHOICES = frozenset({"credential", "auth", "type"})

# A shorter secret may be an ordinary word, and stand elsewhere by chance.
_TELLING_CHARACTERS = 12

# Variables that are named like this hold a secret, or are named wrongly. The platform's own are among them.
_SECRET_VARIABLE = re.compile(
    r"(password|passwd|passphrase|pwd|secret|token|salt|connection_?string|conn_?str|AzureWebJobs\w*|headers?|jwt|"
    r"(access|account|api|shared|storage|master|host|function|private|(en|de)cryption|signing|instrumentation)_?key|"
    r"(?<!com)(?<!by)pass|(^|_)(sas|conn|cred|credential|pass|pat|key)s?)$",
    re.IGNORECASE,
)

# But these hold the name of a column.
_COLUMN_VARIABLE = re.compile(
    r"(primary|foreign|unique|business|natural|surrogate|sort|order|partition|merge|row|key)_?keys?$", re.IGNORECASE
)

# What may hold a name for logging in alone, or with its password.
_LOGIN_VARIABLE = re.compile(r"(^|_)(log_?in|log_?on|auth|basic|user(name|pwd)?|account)$", re.IGNORECASE)
_LOGIN = re.compile(r"[^\s:/]+:(?!//)\S+")


def holds_secret(name: str, value: str) -> bool:
    """Whether a variable's name or its value says that it holds a secret."""
    if _LOGIN_VARIABLE.search(name) and _LOGIN.fullmatch(value):
        return True
    is_named = _SECRET_VARIABLE.search(name) and not _COLUMN_VARIABLE.search(name)
    return bool(is_named) or next(secrets_in(value), None) is not None


@dataclass(frozen=True)
class _Use:
    """A value of the files, and the key that it is the value of."""

    scalar: ScalarNode
    key: str


class SecretUses:
    """Collects the values of all files, and finds secrets in keys that are not made for them. ``held`` are the values
    of the variables that the files name."""

    def __init__(self, keys: KeyKnowledge, held: Mapping[str, str]) -> None:
        self._keys = keys
        self._held = held
        self._made_for_secrets: list[_Use] = []
        self._others: list[_Use] = []

    def collect(self, tree: Tree) -> None:
        """Take in a file's values, and register its secrets."""
        for use, is_secret in self._uses(tree, "", within_columns=False):
            (self._made_for_secrets if is_secret else self._others).append(use)
            if is_secret and use.scalar.text:
                remember_secret(use.scalar.text)
            for name in use.scalar.held:
                value = self._held.get(name, "")
                if is_secret or (use.key not in _CHOICES and holds_secret(name, value)):
                    remember_secret(value)
                for start, end in secrets_in(value):
                    remember_secret(value[start:end])

    def check(self, problems: Problems) -> None:
        """Put every secret that is in the wrong key among the problems. Called when all files are collected."""
        owners: dict[str, str] = {}
        kinds: dict[str, str] = {}
        for use in self._made_for_secrets:
            if self._check_owner(use, owners, problems):
                self._check_kind(use, kinds, problems)
        texts = {use.scalar.text for use in self._made_for_secrets}
        literals = {text for text in texts if len(text) >= _TELLING_CHARACTERS}
        for use in self._others:
            self._check_other(use, owners, literals, problems)

    def _uses(self, node: Node, key: str, *, within_columns: bool) -> Iterator[tuple[_Use, bool]]:
        if isinstance(node, Tree):
            within_columns |= key in _NAMES_COLUMNS
            for name, entry in node.entries.items():
                yield from self._uses(entry.node, name, within_columns=within_columns)
        elif isinstance(node, SequenceNode):
            for item in node.items:
                yield from self._uses(item, key, within_columns=within_columns)
        elif not node.broken and node.value is not None:
            yield _Use(node, key), not within_columns and self._keys.is_secret(key)

    def _check_owner(self, use: _Use, owners: dict[str, str], problems: Problems) -> bool:
        """Whether a variable is the secret of one kind of key; in a flow it stands there alone, so that nothing is made
        of it."""
        scalar = use.scalar
        for name in scalar.held:
            owner = owners.setdefault(name, use.key)
            if owner != use.key:
                message = f"`{name}` is the secret of `{owner}`, and `{use.key}` is another one"
                self._report(use, message, f"a variable of its own for `{use.key}`", problems)
        is_trusted = scalar.source.file in (PROJECT_FILE, COMMAND_LINE)
        if scalar.held and not is_trusted and scalar.text != self._held.get(scalar.held[0]):
            message = f"`{use.key}` is made of a variable and other text"
            self._report(use, message, "`${NAME}` alone", problems)
        return all(owners[name] == use.key for name in scalar.held)

    def _check_kind(self, use: _Use, kinds: dict[str, str], problems: Problems) -> None:
        """One value is a secret of one kind, whatever variables it comes from: it would be sent where another goes."""
        text = use.scalar.text
        kind = kinds.setdefault(text, use.key) if len(text) >= STANDS_ALONE_CHARACTERS else use.key
        if kind != use.key and use.scalar.held:
            names = ", ".join(f"`{name}`" for name in use.scalar.held)
            message = f"{names} holds the secret of `{kind}`, and `{use.key}` is another one"
            self._report(use, message, f"a value of its own for `{use.key}`", problems)

    def _check_other(self, use: _Use, owners: Mapping[str, str], literals: set[str], problems: Problems) -> None:
        secret = next((name for name in use.scalar.held if name in owners), None)
        if secret is None and use.key not in _CHOICES:
            held = use.scalar.held
            secret = next((name for name in held if holds_secret(name, self._held.get(name, ""))), None)
        if secret is not None:
            message = f"`{secret}` holds a secret, and `{use.key}` is not a key for secrets"
            expected = "a variable that holds none, and neither by its name nor by its value looks as if it did"
            self._report(use, message, expected, problems)
        elif any(literal in use.scalar.text for literal in literals):
            message = f"a secret of this project is in `{use.key}`, which is not a key for secrets"
            self._report(use, message, "a value that may be shown", problems)

    def _report(self, use: _Use, message: str, expected: str, problems: Problems) -> None:
        scalar = use.scalar
        hint = "What this key holds is shown, sent or landed."
        if use.key and self._keys.is_secret(use.key):
            hint = "Secrets go where their own key says, and nowhere else."
        problems.add(scalar.problem(message, expected=expected, hint=hint))
