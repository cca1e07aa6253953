"""Hints by which a query locks others out, found where T-SQL has hints and nowhere else: a column may have their names.

Hints are in parentheses behind WITH, behind a table or its alias in FROM, or anywhere in OPTION. There they count
however they are written: in brackets, in quotes, in full-width letters, because collations take letters for the same
that differ in width or accents.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

# Hints that hold locks which others wait for, some until the slice ends.
LOCKING: Final = frozenset({"tablock", "tablockx", "xlock", "updlock", "holdlock", "serializable", "repeatableread"})

# All others that appear beside them.
_HINTS: Final = LOCKING | {
    *("fastfirstrow", "forcescan", "forceseek", "ignore_constraints", "ignore_triggers", "index", "keepdefaults"),
    *("keepidentity", "noexpand", "nolock", "nowait", "paglock", "readcommitted", "readcommittedlock", "readpast"),
    *("readuncommitted", "rowlock", "snapshot", "spatial_window_max_cells"),
}

# Words that begin a table's place, and those that end it.
_TABLES: Final = frozenset({"from", "join", "apply"})
_NO_TABLES: Final = frozenset({"select", "where", "group", "having", "order", "on", "values", "union", "except"})

# What takes a column in parentheses where a table could stand.
_FUNCTIONS: Final = frozenset({"openjson", "string_split", "generate_series"})


def plain(text: str) -> str:
    """A name as the most forgiving collation compares it: without brackets, quotes, case, width and accents."""
    letters = unicodedata.normalize("NFKD", text).casefold().replace("\u0131", "i")
    return "".join(letter for letter in letters if letter.isalnum() or letter in "_@#$")


@dataclass
class _Token:
    """``word`` is what a name or keyword reads plainly; ``is_keyword`` where it is not quoted. Of a parenthesis that
    closes, ``hints`` says whether nothing but hints stood in it."""

    kind: str
    word: str = ""
    is_keyword: bool = False
    hints: bool = False

    @property
    def is_beside_hints(self) -> bool:
        return self.kind in ("open", "close", ",") or self.word in _HINTS


@dataclass
class _Level:
    """What is between two parentheses. ``clause`` is where the query is in it, ``holds_hints`` whether hints may be."""

    clause: str = ""
    holds_hints: bool = False
    tokens: list[_Token] = field(default_factory=lambda: [_Token("open")])

    def open(self) -> _Level:
        """The level of a parenthesis that opens now."""
        last = self.tokens[-1]
        if self.clause == "option" or last.word == "with":
            return _Level("option" if self.clause == "option" else "", holds_hints=True)
        if self.clause != "tables" or last.word in _FUNCTIONS:
            return _Level()
        if last.kind in ("open", ",") or (last.is_keyword and last.word in _TABLES):
            return _Level("tables")
        return _Level(holds_hints=not self._names_columns())

    @property
    def is_of_hints(self) -> bool:
        """Whether there are hints, and nothing else."""
        are_hints = all(token.is_beside_hints for token in self.tokens)
        return are_hints and any(token.word for token in self.tokens)

    def _names_columns(self) -> bool:
        """Whether the last name is an alias of something in parentheses, whose columns come next."""
        before = [token for token in self.tokens[:-1] if not (token.is_keyword and token.word == "as")][-2:]
        if self.tokens[-1].kind != "name" or not before:
            return False
        of_a_sample = before[0].word == "tablesample"
        return before[-1].kind == "close" and not before[-1].hints and not of_a_sample

    def add(self, token: _Token) -> str:
        """Take the next token; the hint before it that locks, or nothing."""
        before, last = self.tokens[-2:] if len(self.tokens) > 1 else (None, self.tokens[-1])
        self.tokens.append(token)
        if token.is_keyword and token.word in _TABLES:
            self.clause = "tables"
        elif token.is_keyword and (token.word in _NO_TABLES or token.word == "option"):
            self.clause = token.word
        elif token.kind == "," and self.clause == "on":
            self.clause = "tables"
        is_hint = self.holds_hints and before is not None and before.is_beside_hints and token.is_beside_hints
        return last.word if is_hint and last.word in LOCKING else ""


def locking_hint(tokens: Iterable[tuple[str, str]]) -> str:
    """The first hint that locks others out, plainly, or nothing. ``tokens``: kind and text, parentheses in pairs."""
    levels = [_Level()]
    for kind, text in tokens:
        if kind == "open":
            levels.append(levels[-1].open())
            continue
        token = _Token(text if text == "," else kind)
        if kind in ("word", "name"):
            token = _Token("name", plain(text), is_keyword=kind == "word")
            if kind == "word" and text.casefold() == "holdlock":
                return "holdlock"  # a reserved word, which is not a name anywhere
        if kind == "close":
            level = levels[-1]
            if found := level.add(token):
                return found
            token.hints = level.is_of_hints
            levels.pop()
        if found := levels[-1].add(token):
            return found
    return ""
