"""Hints by which a query locks others out, found where T-SQL has hints and nowhere else: a column may have their names.

Hints are in parentheses behind WITH, behind a table or its alias in FROM, or anywhere in OPTION. There they count
however they are written: in brackets, in quotes, in full-width letters, because collations take letters for the same
that differ in width or accents.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

# Hints that hold locks which others wait for, some until the slice ends.
LOCKING: Final = frozenset({"tablock", "tablockx", "xlock", "updlock", "holdlock", "serializable", "repeatableread"})

# All others that appear beside them.
HINTS: Final = LOCKING | {
    *("fastfirstrow", "forcescan", "forceseek", "ignore_constraints", "ignore_triggers", "index", "keepdefaults"),
    *("keepidentity", "noexpand", "nolock", "nowait", "paglock", "readcommitted", "readcommittedlock", "readpast"),
    *("readuncommitted", "rowlock", "snapshot", "spatial_window_max_cells"),
}

# Words that begin a table's place, and those that end it.
TABLES: Final = frozenset({"from", "join", "apply"})
_NO_TABLES: Final = frozenset({"select", "where", "group", "having", "order", "on", "values", "union", "except"})

# What takes a column in parentheses where a table stands, without a schema before it.
_FUNCTIONS: Final = frozenset({"openjson", "string_split", "generate_series"})


def plain(text: str) -> str:
    """A name as the most forgiving collation compares it: without brackets, quotes, case, width and accents."""
    letters = unicodedata.normalize("NFKD", text).casefold().replace("\u0131", "i")
    return "".join(letter for letter in letters if letter.isalnum() or letter in "_@#$")


@dataclass
class _Token:
    """``word`` is what a name or keyword reads plainly; ``is_keyword`` where it is not quoted. Of a parenthesis that
    closes, ``ends_source`` says whether it ends what rows come from: an alias behind it may have columns."""

    kind: str
    word: str = ""
    is_keyword: bool = False
    ends_source: bool = False

    @property
    def begins_table(self) -> bool:
        """Whether the next token stands in a table's place."""
        return self.kind in ("open", ",") or (self.is_keyword and self.word in TABLES)


@dataclass
class _Level:
    """What is between two parentheses, of which those that are closed are one token. ``clause`` is where the query is
    in it, ``hints`` whether it holds them for sure ("all"), or only if nothing else is in it ("alone")."""

    clause: str = ""
    hints: str = ""
    is_source: bool = False
    tokens: list[_Token] = field(default_factory=lambda: [_Token("open")])

    def open(self) -> _Level:
        """The level of a parenthesis that opens now."""
        last = self.tokens[-1]
        if self.clause == "option" or last.word == "with":
            return _Level("option" if self.clause == "option" else "", hints="all")
        if self.clause != "tables":
            return _Level()
        if last.begins_table:
            return _Level("tables", is_source=True)
        if last.is_keyword and last.word in _FUNCTIONS and self.tokens[-2].begins_table:
            return _Level(is_source=True)
        return _Level(hints="" if self._names_columns() else "alone", is_source=self._calls())

    def _calls(self) -> bool:
        """Whether the last name, with those before its dots, stands in a table's place, as that of a function does."""
        at = len(self.tokens) - 1
        while at and "." in (self.tokens[at].kind, self.tokens[at - 1].kind):
            at -= 1
        return at > 0 and self.tokens[at - 1].begins_table

    def _names_columns(self) -> bool:
        """Whether the last name is an alias of something in parentheses, whose columns come next."""
        before = [token for token in self.tokens[:-1] if not (token.is_keyword and token.word == "as")]
        return self.tokens[-1].kind == "name" and before[-1].ends_source

    def add(self, token: _Token) -> None:
        self.tokens.append(token)
        if token.is_keyword and token.word in TABLES:
            self.clause = "tables"
        elif token.is_keyword and (token.word in _NO_TABLES or token.word == "option"):
            self.clause = token.word
        elif token.kind == "," and self.clause == "on":
            self.clause = "tables"

    def close(self) -> tuple[_Token, str]:
        """What stands for this level in the one around it, and the hint in it that locks, or nothing."""
        is_of_hints = self.hints == "alone" and self._is_of_hints()
        found = self._locks() if self.hints == "all" or is_of_hints else ""
        return _Token("close", ends_source=self.is_source and not is_of_hints), found

    def _is_of_hints(self) -> bool:
        """Whether there are hints and their values, and nothing else."""
        for before, token in pairwise(self.tokens):
            is_value = before.kind == "=" or (token.kind == "close" and before.word in HINTS)
            if not is_value and token.kind not in (",", "=") and token.word not in HINTS:
                return False
        return any(token.word for token in self.tokens)

    def _locks(self) -> str:
        """A hint that locks: no value of another one, and no column that a type comes after, as in the definition of a
        document's columns."""
        for before, token, after in zip(
            self.tokens, self.tokens[1:], [*self.tokens[2:], _Token("close")], strict=False
        ):
            is_column = before.kind in ("open", ",") and after.kind == "name" and after.word not in HINTS
            if token.word in LOCKING and before.kind != "=" and not is_column:
                return token.word
        return ""


def locking_hint(tokens: Iterable[tuple[str, str]]) -> str:
    """The first hint that locks others out, plainly, or nothing. ``tokens``: kind and text, parentheses in pairs."""
    levels = [_Level()]
    for kind, text in tokens:
        if kind == "open":
            levels.append(levels[-1].open())
            continue
        token = _Token(text if text in (",", "=", ".") else kind)
        if kind in ("word", "name"):
            token = _Token("name", plain(text), is_keyword=kind == "word")
            if kind == "word" and text.casefold() == "holdlock":
                return "holdlock"  # a reserved word, which is not a name anywhere
        if kind == "close":
            token, found = levels.pop().close()
            if found:
                return found
        levels[-1].add(token)
    return ""
