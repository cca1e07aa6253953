"""T-SQL text to tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from devcloud.sqlserver.errors import make_error


class Kind(Enum):
    """What a token is."""

    NAME = auto()
    QUOTED = auto()
    STRING = auto()
    NATIONAL = auto()
    NUMBER = auto()
    MONEY = auto()
    BINARY = auto()
    VARIABLE = auto()
    OPERATOR = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Token:
    """A token: ``text`` is unquoted for names and strings, ``upper`` is what keywords are compared with."""

    kind: Kind
    text: str
    upper: str
    line: int
    start: int
    end: int


_PATTERN = re.compile(
    r"""
    (?P<space>\s+|--[^\n]*)
  | (?P<comment>/\*)
  | (?P<national>[Nn]'(?:[^']|'')*')
  | (?P<string>'(?:[^']|'')*')
  | (?P<bracket>\[(?:[^\]]|\]\])*\])
  | (?P<double>"(?:[^"]|"")*")
  | (?P<binary>0[xX][0-9a-fA-F]*)
  | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<money>[$£€](?:\d+\.?\d*|\.\d+))
  | (?P<variable>@@?[\w$\#@]*)
  | (?P<name>[^\W\d][\w$\#@]*|\#{1,2}[\w$\#@]+|\$[A-Za-z]\w*)
  | (?P<operator><=|>=|<>|!=|!<|!>|\+=|-=|\*=|/=|%=|::|[-+*/%&|^~=<>(),.;:])
    """,
    re.VERBOSE,
)

_KINDS = {
    "binary": Kind.BINARY,
    "number": Kind.NUMBER,
    "money": Kind.MONEY,
    "variable": Kind.VARIABLE,
    "name": Kind.NAME,
    "operator": Kind.OPERATOR,
}


def tokenize(text: str) -> list[Token]:
    """Return the tokens of a batch, closed by one of kind END. Raises SqlError 102 or 105 for what is not T-SQL."""
    tokens: list[Token] = []
    position, line = 0, 1
    while position < len(text):
        match = _PATTERN.match(text, position)
        if match is None:
            character = text[position]
            if character in "'\"[":
                raise make_error(105, text[position + 1 :], line=line)
            raise make_error(102, character, line=line)
        group, raw, end = str(match.lastgroup), match.group(), match.end()
        if group == "comment":
            end = _end_of_comment(text, position, line)
            raw = text[position:end]
        elif group != "space":
            tokens.append(_make_token(group, raw, line, position, end))
        line += raw.count("\n")
        position = end
    tokens.append(Token(Kind.END, "", "", line, len(text), len(text)))
    return tokens


def _make_token(group: str, raw: str, line: int, start: int, end: int) -> Token:
    match group:
        case "string":
            return Token(Kind.STRING, raw[1:-1].replace("''", "'"), "", line, start, end)
        case "national":
            return Token(Kind.NATIONAL, raw[2:-1].replace("''", "'"), "", line, start, end)
        case "bracket":
            return Token(Kind.QUOTED, raw[1:-1].replace("]]", "]"), "", line, start, end)
        case "double":
            return Token(Kind.QUOTED, raw[1:-1].replace('""', '"'), "", line, start, end)
        case _:
            return Token(_KINDS[group], raw, raw.upper(), line, start, end)


def _end_of_comment(text: str, start: int, line: int) -> int:
    """Return where the block comment at ``start`` ends; T-SQL nests them."""
    depth, position = 0, start
    while position < len(text):
        if text.startswith("/*", position):
            depth, position = depth + 1, position + 2
        elif text.startswith("*/", position):
            depth, position = depth - 1, position + 2
            if depth == 0:
                return position
        else:
            position += 1
    raise make_error(113, line=line)
