"""What is wrong with a project's files: where, what was found, what was expected, and never a secret."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from rapidfuzz import fuzz, process

from hygge_engine.errors import Problem
from hygge_engine.masking import MASK
from hygge_engine.plain_text import is_commanding, shortened

# What stands for an entity's and its flow's name in the texts of `home` and `store`, in braces.
PLACEHOLDERS = ("entity", "flow")

# An excerpt is for the eye: long lines are cut to this many characters around the caret.
EXCERPT_WIDTH_CHARACTERS = 110

# As much of a value as identifies it.
FOUND_LIMIT_CHARACTERS = 200

# A longer line is not written by a person, and is not searched for secrets to be masked, but left out.
LINE_LIMIT_CHARACTERS = 2_000

# More names than these are a list to search in, not a suggestion.
_MOST_SUGGESTIONS = 3

# What looks like a blank and is none.
_ODD_BLANKS = frozenset("\u00a0\u1680\u202f\u205f\u3000").union(map(chr, range(0x2000, 0x200B)))

# Below this share of common characters (0 to 100) a suggestion misleads more often than it helps.
_SIMILARITY_PERCENT = 60.0

# Names that hold secrets by convention; they decide only where no registered model knows the key.
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|credential|(^|_)sas($|_)|(^|_)key$|(^|_)salt", re.IGNORECASE)

# Secrets inside other text: connection strings, whose values may be in braces, and query strings of signed URLs.
_SECRET_IN_TEXT = re.compile(
    r"""(?:\b(?:password|pwd|account_?key|shared_?access_?key|access_?token|client_?secret|api[_-]?key|sig)\s*=|[?&]code=)
        \s*(?P<secret>\{(?:[^}]|\}\})*\}|[^\s;&"',}@]+)""",
    re.IGNORECASE | re.VERBOSE,
)

# What is a secret by its form: a token, with or without its scheme, the key of a storage account or of an app, the
# secret of an identity, a private key.
_SECRET_BY_FORM = re.compile(
    r"""(?P<secret>
        (?<=\bBearer\ )[\w.~+/-]{8,}=* | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*
        | (?<![\w+/])[A-Za-z0-9+/]{86}== | (?<![\w-])[\w-]{44}AzFu[\w-]{6}==
        | (?<![\w.~-])[\w.~-]{3}\dQ~[\w.~-]{31,34}(?![\w.~-])
        | (?<![\w-])(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[a-z]-[\w-]{10,}|sk-[\w-]{16,}
            |AKIA[0-9A-Z]{16}|npm_\w{30,}|pypi-[\w-]{30,}|SG\.[\w-]{16,}\.[\w-]{16,}|AIza[\w-]{30,})
        | -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*)""",
    re.VERBOSE | re.DOTALL,
)

# The user information of a URL; a port is none.
_SECRET_IN_URL = re.compile(r"""://[^/@\s:]*:(?P<secret>(?!\d{1,5}(?:[/\s"',}]|$))[^\s"']+?)(?=@|[\s"'},]|$)""")

# Where a file cannot be parsed, everything after a secret's name on its line counts as the secret.
_SECRET_IN_LINE = re.compile(r"""["']?(?P<name>[\w-]+)["']?\s*:\s*(?P<secret>\S.*)""")

# What may begin a comment, in YAML or where JSON has some, and a text in quotes, in which it does not.
_COMMENT = re.compile(r"(?<!\S)(?:#|//)")
_TEXT_OR_COMMENT = re.compile(
    rf"""(?<![^\s\[{{,])(?:"(?:\\.|[^"\\])*+"|'(?:''|[^'])*+')|{_COMMENT.pattern}(?P<comment>.*)"""
)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like ``name``, or None where none is like it."""
    match = process.extractOne(
        name, sorted(known), scorer=fuzz.ratio, processor=str.lower, score_cutoff=_SIMILARITY_PERCENT
    )
    return match[0] if match else None


def suggest(name: str, known: Collection[str]) -> str:
    """A hint that names the nearest known name, or all of them; empty where there are none."""
    match = nearest(name, known)
    if match is not None:
        return f"Did you mean `{match}`?"
    return f"Known: {', '.join(sorted(known))}." if known else ""


def suggest_each(names: Sequence[str], known: Collection[str]) -> str:
    """A hint as `suggest` gives it, for each of several names."""
    if len(names) == 1:
        return suggest(names[0], known)
    meant = {name: match for name in names if (match := nearest(name, known)) is not None}
    hints = [f"Did you mean {', '.join(f'`{match}` for `{name}`' for name, match in meant.items())}?"] if meant else []
    if len(meant) < len(names) and known:
        hints.append(f"Known: {', '.join(sorted(known))}.")
    return " ".join(hints)


def unknown_columns(named: Mapping[str, Iterable[str]], is_known: Callable[[str], bool]) -> dict[str, list[str]]:
    """The columns that settings name and that are not known, with the settings that name them."""
    unknown: dict[str, list[str]] = {}
    for setting, names in named.items():
        for name in dict.fromkeys(names):
            if not is_known(name):
                unknown.setdefault(name, []).append(f"`{setting}`")
    return unknown


def told_columns(unknown: Mapping[str, Sequence[str]], section: str) -> str:
    """Unknown columns in words, as they follow "no column", with the settings of a section that name them."""
    told = [f"`{name}`, which {' and '.join(settings)} of {section} names" for name, settings in unknown.items()]
    return "; and none ".join(told)


def suggest_few(name: str, known: Collection[str]) -> str:
    """A hint that names the nearest few of many known names; empty where there are none."""
    matches = process.extract(
        shortened(name), sorted(known), scorer=fuzz.ratio, processor=str.lower, limit=_MOST_SUGGESTIONS
    )
    alike = [match for match, score, _ in matches if score >= _SIMILARITY_PERCENT]
    if alike:
        return f"Did you mean {' or '.join(f'`{match}`' for match in alike)}?"
    others = len(known) - len(matches)
    more = f" and {others} more" if others else ""
    return f"Known: {', '.join(sorted(match for match, _, _ in matches))}{more}." if matches else ""


def has_secret_name(name: str) -> bool:
    """Whether a key or variable of this name holds a secret, by convention."""
    return _SECRET_NAME.search(name) is not None


def mask_text(text: str) -> str:
    """``text`` without what `secrets_in` finds in it."""
    shown, end_of_last = "", 0
    for start, end in sorted(secrets_in(text)):
        if end > end_of_last:
            shown += text[end_of_last:start] + MASK
            end_of_last = end
    return shown + text[end_of_last:]


def secrets_in(text: str) -> Iterator[tuple[int, int]]:
    """Where the passwords, keys and signatures of connection strings and URLs stand in ``text``, and what is a secret
    by its form."""
    for pattern in (_SECRET_IN_TEXT, _SECRET_IN_URL, _SECRET_BY_FORM):
        for match in pattern.finditer(text):
            yield match.span("secret")


def _comments_in(text: str, caret: int) -> Iterator[tuple[int, int]]:
    """Where comments of a line may stand. Up to the caret it is one that is not in quotes, as what is wrong may stand
    behind a text; from there on whatever looks like one, as quotes may be what is wrong."""
    for match in _TEXT_OR_COMMENT.finditer(text):
        if match["comment"]:
            yield match.span("comment")
    for match in _COMMENT.finditer(text, caret):
        if match.end() < len(text):
            yield match.end(), len(text)


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Where in a text an offset is, both counted from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


@dataclass(frozen=True)
class SecretSpan:
    """A stretch of a file that holds a secret. Lines and columns count from 0; the end is exclusive."""

    first_line: int
    first_column: int
    last_line: int
    last_column: int

    def on_line(self, line: int, length: int) -> tuple[int, int] | None:
        """The part of the span on one line."""
        if not self.first_line <= line <= self.last_line:
            return None
        start = self.first_column if line == self.first_line else 0
        end = self.last_column if line == self.last_line else length
        return (start, end) if end > start else None


@dataclass(eq=False)
class SourceText:
    """One file of the project, as excerpts show it. ``file`` is relative to the project; ``parsed`` says whether
    ``secrets`` can be relied on, and ``is_secret`` which keys hold secrets where they cannot."""

    file: str
    text: str
    secrets: list[SecretSpan] = field(default_factory=list)
    parsed: bool = False
    is_secret: Callable[[str], bool] = has_secret_name

    def line(self, line: int) -> str:
        """The text of a line, counted from 1; empty past the end."""
        return self._lines[line - 1] if 0 < line <= len(self._lines) else ""

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.splitlines()

    def excerpt(self, line: int, column: int) -> str:
        """The line with its secrets and comments masked, and a caret below ``column`` (both counted from 1); empty for
        a line that is too long."""
        text = self.line(line)
        if not text.strip() or len(text) > LINE_LIMIT_CHARACTERS:
            return ""
        caret = max(column - 1, 0)
        shown, shift = "", 0
        end_of_last = 0
        for start, end in self._masked_parts(line - 1, text, caret):
            if start < end_of_last:
                continue
            shown += text[end_of_last:start] + MASK
            if end <= caret:
                shift += len(MASK) - (end - start)
            elif start < caret:
                shift += start - caret
            end_of_last = end
        shown += text[end_of_last:]
        caret = min(caret + shift, len(shown))
        cut = max(0, caret - EXCERPT_WIDTH_CHARACTERS * 2 // 3)
        visible = "".join(_visible(character) for character in shown)
        visible = visible[cut : cut + EXCERPT_WIDTH_CHARACTERS]
        gutter = f"{line:>4} | "
        return f"{gutter}{visible}\n{' ' * (len(gutter) - 2)}| {' ' * (caret - cut)}^"

    def _masked_parts(self, line: int, text: str, caret: int) -> list[tuple[int, int]]:
        parts = [part for span in self.secrets if (part := span.on_line(line, len(text)))]
        parts += secrets_in(text)
        parts += _comments_in(text, caret)
        if not self.parsed:
            match = _SECRET_IN_LINE.search(text)
            while match:
                if self.is_secret(match["name"]):
                    parts.append(match.span("secret"))
                    break
                match = _SECRET_IN_LINE.search(text, match.end("name"))
        return sorted(parts, key=lambda part: (part[0], -part[1]))

    def problem(
        self, line: int, column: int, message: str, *, found: str = "", expected: str = "", hint: str = ""
    ) -> Problem:
        """A problem at a place of this file."""
        return Problem(
            self.file,
            line,
            column,
            message,
            _shortened(mask_text(found)),
            expected,
            hint,
            excerpt=self.excerpt(line, column),
        )


def _shortened(text: str) -> str:
    return text if len(text) <= FOUND_LIMIT_CHARACTERS else f"{text[:FOUND_LIMIT_CHARACTERS]}…"


def _visible(character: str) -> str:
    """A character of a file, in one column so that the caret stays where it belongs."""
    if character == "\t":
        return " "
    return "\ufffd" if is_commanding(character) or character in _ODD_BLANKS else character


class Problems:
    """Collects what is wrong, each thing once: inheritance makes the same line be read for several entities."""

    def __init__(self) -> None:
        self._problems: dict[tuple[str, int, int, str], Problem] = {}

    def __bool__(self) -> bool:
        return bool(self._problems)

    def add(self, problem: Problem, *, topic: str = "") -> None:
        """Add a problem, unless one of the same place and ``topic`` (else the same message) is known already."""
        self._problems.setdefault((problem.file, problem.line, problem.column, topic or problem.message), problem)

    def update(self, others: Problems) -> None:
        """Take over what others have collected."""
        self._problems = {**others._problems, **self._problems}

    def sorted(self) -> tuple[Problem, ...]:
        """All problems, by file and place."""
        return tuple(sorted(self._problems.values(), key=lambda p: (p.file, p.line, p.column)))
