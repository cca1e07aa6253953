"""What must not be shown, known by its value: one registry for the whole process, and the masks that every boundary
puts over it.

Secrets (``remember_secret``) are shown nowhere: `mask` takes them out of every error, log line, journal row, API
response, trace, lineage event and line on a terminal. Places (``remember_place``), which are addresses and the names of
accounts and items, help the user at a terminal and no one else: `mask_places` takes them out of what is kept or sent
on. Names (``remember_name``) of logins and databases help readers of the journal, too: `mask_names` takes them out of
responses to callers. Settings enter all of them by themselves when they are validated.
"""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import quote, quote_plus, unquote, urlsplit

MASK: Final = "***"

# Below this a text cannot be kept secret: it is a word of every message.
SHORTEST_CHARACTERS: Final = 4

# Below this a value occurs inside ordinary words and numbers: masked there, it would garble them and give itself away.
STANDS_ALONE_CHARACTERS: Final = 8

# Secrets and places that are kept: far above what a project has. Tokens come and go; the oldest are dropped first.
LIMIT: Final = 4_096

# A file's worth of text is not a secret, and would make every mask slow.
LENGTH_LIMIT_CHARACTERS: Final = 16_384

_NAME: Final = re.compile(r"[\w $-]+")
_GUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


# Spellings of a value, each with the expression that finds it in a text.
type _Spell = Callable[[str], Iterator[tuple[str, str]]]


class _Spelling(NamedTuple):
    """One way to write a value: its text, or that of a part of it that is always there; the same for any case; and
    the expression that finds it."""

    text: str
    folded: str
    pattern: str


def _folded(text: str) -> str:
    """One form for a text in any case, each character by itself. The dot that one small letter of \u0130 has as a
    character of its own is left out."""
    return text.upper().casefold().replace(_DOT, "")


_DOT = "\u0307"


def _in_any_case(text: str) -> str:
    """The expression that finds a text in upper, lower and mixed case, also where a letter has another number of
    characters then, as \u00df has."""
    return f"(?i:{''.join(map(_letter, text))})"


def _letter(letter: str) -> str:
    changed = dict.fromkeys((letter, letter.upper(), letter.lower(), letter.title(), letter.casefold()))
    if all(len(each) == 1 for each in changed):
        return re.escape(letter)
    return f"(?:{'|'.join(map(re.escape, changed))})"


class _Values:
    """Values with what stands for them, in all their spellings."""

    def __init__(self, spell: _Spell) -> None:
        self._spell = spell
        self._lock = threading.Lock()
        self._known: OrderedDict[str, str] = OrderedDict()
        self._spellings: dict[str, list[_Spelling]] = {}
        self._stands_for: dict[str, str] = {}
        self._longest_first: list[_Spelling] | None = None
        self._has_escapes = False

    def add(self, value: str, name: str) -> None:
        value = value.strip()
        if not value or len(value) > LENGTH_LIMIT_CHARACTERS:
            return
        with self._lock:
            if self._known.get(value) != name:
                self._longest_first = None
            self._known[value] = name
            self._known.move_to_end(value)
            while len(self._known) > LIMIT:
                oldest, _ = self._known.popitem(last=False)
                self._spellings.pop(oldest, None)

    def clear(self) -> None:
        with self._lock:
            self._known.clear()
            self._spellings.clear()
            self._longest_first = None

    def __bool__(self) -> bool:
        return bool(self._known)

    def __contains__(self, value: str) -> bool:
        return value.strip() in self._known

    def replace(self, text: str) -> str:
        if not self._known or not text:
            return text
        expression, stands_for = self._expression(text)
        return re.sub(expression, lambda match: stands_for.get(match[0], MASK), text) if expression else text

    def find(self, text: str) -> list[tuple[int, int]]:
        """Where in a text a value stands, however it is spelt: beginnings and ends, in their order."""
        expression, _ = self._expression(text)
        return [match.span() for match in re.finditer(expression, text)] if expression else []

    @property
    def has_escapes(self) -> bool:
        """Whether a value looks as if it had escapes itself, which undoing those of a text would change."""
        with self._lock:
            if self._longest_first is None:
                self._collect()
            return self._has_escapes

    def _expression(self, text: str) -> tuple[str, dict[str, str]]:
        """The spellings that may be in a text, as one expression, empty where none is; and what stands for them."""
        with self._lock:
            spellings = self._longest_first if self._longest_first is not None else self._collect()
            stands_for = self._stands_for
        # Most texts hold none of them, which is found out much faster than by an expression of all.
        folded = _folded(text)
        return "|".join(spelling.pattern for spelling in spellings if spelling.folded in folded), stands_for

    def _collect(self) -> list[_Spelling]:
        """Every spelling once, the long ones first: what begins like another one is tried before it."""
        found: dict[str, _Spelling] = {}
        self._stands_for = {}
        for value, name in self._known.items():
            if value not in self._spellings:
                self._spellings[value] = [_Spelling(text, _folded(text), by) for text, by in self._spell(value)]
            for spelling in self._spellings[value]:
                found[spelling.pattern] = spelling
                self._stands_for[spelling.text] = name
        self._has_escapes = any(map(_LIKE_AN_ESCAPE.search, self._known))
        self._longest_first = sorted(found.values(), key=lambda spelling: len(spelling.text), reverse=True)
        return self._longest_first


def _spell_secret(value: str) -> Iterator[tuple[str, str]]:
    """A secret as it is, in any case unless it is short, with and without the escapes of a URL's query, with its bytes
    taken for characters of another encoding, in hexadecimal digits and within Base64, as JSON and URLs too; and the
    parts that are secret by themselves: the lines of one that has several, the signature of a SAS token. All other
    escapes are undone in the text (`_hidden`)."""
    signatures = re.findall(r"(?:^|[?&;])sig=([^&;\s]{4,})", value)
    lines = [line for text in value.splitlines() if len(line := text.strip()) >= STANDS_ALONE_CHARACTERS]
    for part in dict.fromkeys([value, *signatures, *lines]):
        misread = [_bytes(part).decode("latin-1"), _bytes(part).decode("cp1252", "replace")]
        misread += [part.encode(charset, "replace").decode("latin-1") for charset in ("utf-16-le", "utf-16-be")]
        for spelt in dict.fromkeys([part, quote_plus(_bytes(part)), part.replace(" ", "+"), unquote(part), *misread]):
            if len(spelt.strip()) < SHORTEST_CHARACTERS:
                continue
            stands_alone = len(spelt) < STANDS_ALONE_CHARACTERS
            yield spelt, rf"(?<!\w){re.escape(spelt)}(?!\w)" if stands_alone else _in_any_case(spelt)
        if len(part) >= STANDS_ALONE_CHARACTERS:
            for read in dict.fromkeys([part, *misread]):
                yield from _misread(read)
            for encoded in dict.fromkeys(_encoded(part)):
                yield encoded.hex(), f"(?i:{encoded.hex()})"
                for spelt in dict.fromkeys(_within_base64(encoded)):
                    yield spelt, re.escape(spelt)


# What is not right, or may not be, where bytes were read in the wrong encoding.
_LOST: Final = r"[?\x80-\U0010ffff]"


def _misread(value: str) -> Iterator[tuple[str, str]]:
    """A value of which no more is right than its ASCII characters, as where bytes were read in the wrong encoding. It
    takes as many of these as stand for a secret alone, or it would be found in ordinary words."""
    runs = re.findall(rf"{_LOST}+|[^?\x80-\U0010ffff]+", value)
    right = [run for run in runs if not re.match(_LOST, run)]
    if not value.isascii() and sum(map(len, right)) >= STANDS_ALONE_CHARACTERS:
        found = (_in_any_case(run) if run in right else f"{_LOST}{{0,{8 * len(run)}}}+" for run in runs)
        yield max(right, key=len), "".join(found)


def _encoded(value: str) -> Iterator[bytes]:
    """The bytes of a value in the usual encodings, and of what JSON and URLs make of it."""
    for written in (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        yield _bytes(written)
    yield from (quote_plus(_bytes(value)).encode(), quote(_bytes(value), safe="").encode())
    yield from (value.encode(charset, "replace") for charset in ("utf-16-le", "utf-16-be", "cp1252"))


# What stands for one character: in URLs, in JSON and programs, in HTML and XML, and doubled within marks.
_U: Final = "[0-9a-fA-F]"
_IN_UTF8: Final = (
    "{0}[0-7]{1}|{0}[cCdD]{1}{0}[89abAB]{1}|{0}[eE]{1}(?:{0}[89abAB]{1}){{2}}|{0}[fF][0-7](?:{0}[89abAB]{1}){{3}}"
    "|{0}{1}{{2}}"
)
_IN_PROGRAMS: Final = (
    rf"\\u[dD][89abAB]{_U}{{2}}\\u[dD][c-fC-F]{_U}{{2}}|\\u{_U}{{4}}|\\U000{_U}{{5}}|" + _IN_UTF8.format(r"\\x", _U)
)
_OF_MARKS: Final = r"\\[\\\"'/]"
_MARKS: Final = ("''", r"\"\"", "``", r"\}\}", r"\]\]")
_ESCAPES: Final = tuple(
    re.compile(pattern)
    for pattern in (
        _IN_UTF8.format("%", _U),
        rf"{_IN_PROGRAMS}|{_OF_MARKS}|\\[abfnrtv]",
        rf"&(?:#\d{{1,7}}|#[xX]{_U}{{1,6}}|[a-zA-Z]{{2,8}});",
        "|".join(_MARKS),
    )
)

# Writers that double one mark leave the other ones as they are, and those that escape what is not ASCII, backslashes.
# That makes a difference to a secret that looks as if it had escapes itself.
_LIKE_AN_ESCAPE: Final = re.compile(rf"\\|{'|'.join(_MARKS)}")
_ESCAPES_ALONE: Final = (
    *_ESCAPES,
    re.compile(rf"(?!\\x[0-7]|\\u00[0-7])(?:{_IN_PROGRAMS})"),
    *(re.compile(pattern) for pattern in (_OF_MARKS, *_MARKS)),
)
_SHORT: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}

# Escapes within escapes that are undone: those of a connection string within JSON, of JSON within a URL.
_ESCAPES_DEEP: Final = 2


def _escapes() -> tuple[re.Pattern[str], ...]:
    return _ESCAPES_ALONE if _secrets.has_escapes else _ESCAPES


@lru_cache(4_096)
def _character(escape: str) -> str:
    """What an escape stands for."""
    if escape[0] == "&":
        return html.unescape(escape)
    if escape[0] == "%" or escape[:2] == "\\x":
        encoded = bytes.fromhex(escape.replace("%", "").replace("\\x", ""))
        return encoded.decode("utf-8", "replace") if len(encoded) > 1 else encoded.decode("latin-1")
    if escape[:2] in ("\\u", "\\U"):
        units = [int(digits, 16) for digits in re.split(r"\\[uU]", escape)[1:]]
        encoded = b"".join(unit.to_bytes(2 if len(units) > 1 else 4, "little") for unit in units)
        return encoded.decode("utf-16-le" if len(units) > 1 else "utf-32-le", "replace")
    return _SHORT.get(escape[1], escape[1])


def _hidden(text: str, deep: int, seen: dict[int, int]) -> Iterator[tuple[int, int]]:
    """Where in a text secrets show once the escapes of one kind are undone, of each kind that it has, and within these
    the next ones. ``seen``: how deep plainer texts have been looked into, by their hashes, as the texts may be long."""
    for escape in _escapes() if deep else ():
        plain, count = escape.subn(lambda match: _character(match[0]), text)
        if not count or seen.get(hash(plain), 0) >= deep:
            continue
        seen[hash(plain)] = deep
        found = [*_secrets.find(plain), *_hidden(plain, deep - 1, seen)]
        places = _places_before(text, escape, sorted({offset for span in found for offset in span}))
        yield from ((places[start], places[end]) for start, end in found)


def _places_before(text: str, escape: re.Pattern[str], offsets: list[int]) -> dict[int, int]:
    """Where in ``text`` stands what has these offsets once escapes are undone. ``offsets`` are in their order."""
    places: dict[int, int] = {}
    shift, waiting = 0, iter(offsets)
    offset = next(waiting, None)
    for match in escape.finditer(text) if offsets else ():
        length = len(_character(match[0]))
        while offset is not None and offset < match.start() - shift + length:
            places[offset] = min(offset + shift, match.start())
            offset = next(waiting, None)
        shift += len(match[0]) - length
        if offset is None:
            return places
    return places | {rest: rest + shift for rest in offsets if rest not in places}


def _mask_escaped(text: str) -> str:
    """``text`` without the secrets that escapes hide, whichever characters are escaped."""
    shown, at = [], 0
    for start, end in sorted(_hidden(text, _ESCAPES_DEEP, {})):
        if end > at:
            shown += [text[at:start], MASK] if start >= at else []
            at = end
    return "".join([*shown, text[at:]])


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _within_base64(value: bytes) -> Iterator[str]:
    """What stands in Base64 of any bytes with ``value`` among them: at each of the three places in a group of bytes,
    the characters that these bytes alone decide, in both alphabets."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + value).decode()
        decided = encoded[-(-before * 8 // 6) : (before + len(value)) * 8 // 6]
        yield decided
        yield decided.replace("+", "-").replace("/", "_")


# Words before a quoted name of something, in messages of servers and libraries.
_QUOTED_NAME: Final = re.compile(
    r"""\b(?:table|view|column|object|index|constraint|database|schema|name|login|user|principal|server|function|method"""
    r"""|procedure|synonym|type|collation|parameter|filegroup|near|option|keyword)\s+(['"])[^'"]{1,260}\1""",
    re.IGNORECASE,
)
_QUOTES: Final = "'\"`\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"
_QUOTED: Final = re.compile(rf"[{_QUOTES}].*[{_QUOTES}]|[{_QUOTES}].*", re.DOTALL)
_IN_PARENTHESES: Final = re.compile(r"\(.*\)|\(.*", re.DOTALL)
_VALUE: Final = re.compile(r"(\bvalue\s*(?:is\b|=|:)).*", re.IGNORECASE | re.DOTALL)


def mask_quoted(text: str) -> str:
    """A foreign message without what it quotes, puts into parentheses or calls a value: it may be one of a row.
    Names stay that stand behind the word for what they name, and before anything else that is quoted."""
    kept, rest = "", text
    while (named := _QUOTED_NAME.search(rest)) and not re.search(f"[{_QUOTES}]", rest[: named.start()]):
        kept, rest = kept + rest[: named.end()], rest[named.end() :]
    for pattern, instead in ((_VALUE, r"\1 …"), (_QUOTED, "…"), (_IN_PARENTHESES, "(…)")):
        rest = pattern.sub(instead, rest)
    return kept + rest


def _spell_place(value: str) -> Iterator[tuple[str, str]]:
    """An address as it is, and its host alone, as drivers name it. A mere name, which may be any word, counts in quotes
    and in paths."""
    spellings = [value]
    if "://" in value:
        address = urlsplit(value)
        spellings += [value.rstrip("/"), address.netloc, address.netloc.rpartition(":")[0]]
    elif "," in value:
        spellings += [value.partition(",")[0]]
    for spelt in dict.fromkeys(spellings):
        literal = re.escape(spelt)
        if _NAME.fullmatch(spelt) and not _GUID.fullmatch(spelt):
            yield spelt, rf"""(?<=['"`/\[\\]){literal}(?=['"`/\]\\:]|$)"""
        elif spelt:
            yield spelt, rf"(?<![\w-]){literal}(?![\w-])"


_secrets = _Values(_spell_secret)
_places = _Values(_spell_place)
_names = _Values(_spell_place)


def remember_secret(value: str) -> None:
    """From now on ``value`` is shown nowhere. One that is shorter than `STANDS_ALONE_CHARACTERS` is masked where it
    stands alone; less than `SHORTEST_CHARACTERS`, and a file's worth of text, are not secrets."""
    if len(value.strip()) >= SHORTEST_CHARACTERS:
        _secrets.add(value, MASK)


def is_secret(value: str) -> bool:
    """Whether a value is one that is shown nowhere."""
    return value in _secrets


def remember_place(key: str, value: str) -> None:
    """From now on ``value``, which the key of this name holds, reads ``<key>`` in what is kept or sent on."""
    _places.add(value, f"<{key}>")


def remember_name(key: str, value: str) -> None:
    """From now on ``value``, which the key of this name holds, reads ``<key>`` in responses to callers."""
    _names.add(value, f"<{key}>")


def mask(text: str) -> str:
    """``text`` without secrets."""
    return _mask_escaped(_secrets.replace(text)) if text and _secrets else text


def mask_places(text: str) -> str:
    """``text`` without secrets and without places."""
    return _places.replace(mask(text))


def mask_names(text: str) -> str:
    """``text`` without secrets, places and names."""
    return _names.replace(mask_places(text))


def masked_in(value: Any, mask_: Callable[[str], str] = mask) -> Any:
    """A JSON-serialisable value in which ``mask_`` has gone over every text."""
    if isinstance(value, str):
        return mask_(value)
    if isinstance(value, dict):
        return {key: masked_in(inner, mask_) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked_in(inner, mask_) for inner in value]
    return value


def forget_everything() -> None:
    """Reset to the state of a new process. For tests, whose secrets are ordinary words in others."""
    _secrets.clear()
    _places.clear()
    _names.clear()
