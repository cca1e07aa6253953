"""Text from elsewhere (rows, names, messages of servers) as it may be shown: as characters, never as commands.

A terminal obeys escape sequences, a log takes a line break for the end of an entry, and a reader is fooled by marks
that turn the direction of writing or have no width. What does any of that is written out instead, as ``\\u001b``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

# Control and format characters, lone surrogates, private and unassigned ones, the separators of lines and paragraphs.
_COMMANDING: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

# Halves of characters, which no encoding takes.
_SURROGATES: Final = re.compile("[\ud800-\udfff]")

# Longest text that a load carries from one place to the next: beyond all that is ever read, far below what a history,
# a journal or a log refuses.
RECORDED_LIMIT_CHARACTERS: Final = 32_768

# Longest name that is shown whole: no flow, entity, column or server has a longer one.
NAME_LIMIT_CHARACTERS: Final = 260

# Names that are told where one sentence is about many.
_NAMES_SHOWN: Final = 5

_ASCII_PLAIN: Final = re.compile(r"[ -~]*")

# What to do where a name of a file has characters that file names cannot have in this process.
NAMES_HINT = "Set the environment variable PYTHONUTF8=1, or LC_ALL=C.UTF-8; the app in Azure has UTF-8."


def one_line(text: str) -> str:
    """``text`` on one line: line breaks and tabs are written out too."""
    if _ASCII_PLAIN.fullmatch(text):
        return text
    return "".join(written_out(character) if is_commanding(character) else character for character in text)


def lines_of(text: str) -> str:
    """``text`` with its line breaks and tabs, and no other command."""
    return "\n".join("\t".join(one_line(part) for part in line.split("\t")) for line in _broken(text).split("\n"))


def first_few(names: Sequence[str]) -> str:
    """``a, b and 3 more``: the first five names, and how many there are besides."""
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def shortened(text: str, limit: int = NAME_LIMIT_CHARACTERS) -> str:
    """The beginning of a name in a request, as a response repeats it."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def recordable(text: str) -> str:
    """``text`` as every journal, log and response takes it: halves of characters are written out, and what is beyond
    `RECORDED_LIMIT_CHARACTERS` is left out. All else stays as it is."""
    if len(text) > RECORDED_LIMIT_CHARACTERS:
        text = text[: RECORDED_LIMIT_CHARACTERS - 1] + "…"
    return _SURROGATES.sub(lambda half: written_out(half[0]), text)


def recordable_in(value: Any) -> Any:
    """A JSON-serialisable value in which every text, and every key, is `recordable`."""
    if isinstance(value, str):
        return recordable(value)
    if isinstance(value, dict):
        return {recordable(key): recordable_in(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [recordable_in(inner) for inner in value]
    return value


def is_commanding(character: str) -> bool:
    """Whether a character does something else than being seen."""
    return unicodedata.category(character) in _COMMANDING


def document_fault(error: Exception) -> str:
    """What is wrong with a JSON document, by the exception that reading it has raised, as the end of a sentence about
    the document."""
    match error:
        case UnicodeDecodeError():
            return "it is not text in UTF-8"
        case json.JSONDecodeError():
            place = f"at line {error.lineno}, column {error.colno}"
            return f"it is not whole JSON ({place})" if error.doc.strip() else "it is empty"
        case RecursionError():
            return "it is nested too deeply"
        case KeyError():
            return f"it has no {str(error.args[0])!r}"
        case ValueError():
            return str(error)
        case _:
            return "it has keys or values that this version does not know"


def counted(number: int, noun: str, plural: str = "", *, verb: tuple[str, str] | None = None) -> str:
    """``1 row``, ``336,776 rows``; with the two forms of a ``verb``, ``1 row has``."""
    one = number == 1
    named = f"{number:,} {noun if one else plural or f'{noun}s'}"
    return f"{named} {verb[0] if one else verb[1]}" if verb else named


HAS: tuple[str, str] = ("has", "have")


def written_out(character: str) -> str:
    """A character as JSON writes it, so that JSON stays what it is: ``\\n``, ``\\u001b``, ``\\u202e``."""
    if character in _SHORT:
        return _SHORT[character]
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def _broken(text: str) -> str:
    """Every line break as one of Unix: a carriage return alone would overwrite the line."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
