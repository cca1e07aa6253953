"""Whether a query of an author's is one SELECT that stays inside the parentheses it is put in.

Not a parser: the server is one. What counts is that the text has no way out of ``SELECT … FROM (query) AS [source]``,
so that the server's own grammar, which allows nothing but a SELECT there, holds for all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from hygge_engine.homes.mssql.hints import HINTS, TABLES, locking_hint, plain
from hygge_engine.plain_text import is_commanding

# What T-SQL reads as one thing. The next word may begin right where a number ends, and where that is, is doubtful of an
# exponent without digits, of an amount of money with one or without digits, and of the digits of other scripts.
_TOKEN: Final = re.compile(
    r"""
    (?P<comment>--[^\n]*|/\*(?:(?!/\*|\*/).)*\*/)
    | (?P<text>'(?:[^']|'')*+') | (?P<name>"(?:[^"]|"")*+"|\[(?:[^\]]|\]\])*+\])
    | (?P<word>(?:[@\#]|[^\W\d])[\w@\#$\u0300-\u036f]*
        | \$(?i:action|identity|rowguid|partition|(?:node|edge|from|to)_id)\b)
    | (?P<doubtful>(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eE][-+]?+(?![0-9])
        | [$\u00a2-\u00a5\u20a0-\u20cf]\s*(?:[0-9]+\.?[0-9]*|\.[0-9]+)[eExX] | \$[^\W\d] | (?![0-9])\d)
    | (?P<number>0[xX][0-9a-fA-F]*|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
    | (?P<open>\() | (?P<close>\)) | (?P<end>;) | (?P<unclosed>/\*|['"\[]) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)

# A line break to some readers and none to others, and what ends a text for some.
_DOUBTFUL: Final = re.compile("\r(?!\n)|[\0\x0b\x0c\x85\u2028\u2029]")

# Reserved words that a SELECT has no use for: statements, and what reaches other servers and files.
_FORBIDDEN: Final = frozenset(
    {
        *("alter", "backup", "begin", "bulk", "checkpoint", "commit", "create", "dbcc", "declare", "delete", "deny"),
        *("drop", "dump", "exec", "execute", "goto", "grant", "if", "insert", "into", "kill", "load", "merge"),
        *("opendatasource", "openquery", "openrowset", "print", "raiserror", "reconfigure", "restore", "return"),
        *("revert", "revoke", "rollback", "save", "set", "setuser", "shutdown", "truncate", "update", "updatetext"),
        *("use", "waitfor", "while", "writetext"),
    }
)

# What reads files of the server's machine, or of any other by a UNC path, where the login may.
_OF_FILES: Final = re.compile(
    r"dm_os_file_exists\w*|dm_os_enumerate_\w+|fn_get_audit_file\w*|fn_trace_\w+|fn_(ms)?xe_\w+|fn_\w*dblog\w*",
    re.IGNORECASE,
)

# Procedures of the server's, where they are called; columns, tables and aliases may have such names.
_PROCEDURE: Final = re.compile(r"[xs]p_\w+", re.IGNORECASE)

# What a word stands before where it is no statement: how tables are joined, and a plan made.
_HARMLESS_BEFORE: Final = {"merge": ("join", "union"), "use": ("hint", "plan")}


def check_query(query: str) -> str:
    """Return ``query`` if it is one SELECT that can stand in parentheses; raise ValueError otherwise."""
    if _DOUBTFUL.search(query):
        raise ValueError("a query has no line breaks but those of Unix and Windows, and no NUL characters")
    depth = 0
    words: list[str] = []
    outer: list[str] = []
    ended = False
    tokens = [(kind, text) for kind, text, _ in read_tokens(query)]
    for at, (kind, text) in enumerate(tokens):
        if ended:
            raise ValueError("a query is one statement: nothing comes after its `;`")
        if text == "/*":
            raise ValueError("a query ends its comments, and has none within another: servers differ in where they end")
        if kind == "unclosed":
            raise ValueError(f"a query ends what it begins, and nothing ends its `{text}`")
        if kind == "doubtful":
            raise ValueError(
                f"servers differ in where a number like `{text}` ends: end it with a digit of 0 to 9, and a blank"
            )
        if kind == "other" and (text == "\\" or is_commanding(text)):
            raise ValueError(f"outside of texts and names, servers differ in what {text!a} is: leave it out")
        ended = kind == "end"
        depth += (kind == "open") - (kind == "close")
        if depth < 0:
            raise ValueError("a query is put in parentheses, and its `)` would end them")
        is_name = kind in ("word", "name")
        if is_name and _OF_FILES.fullmatch(plain(text)):
            raise ValueError(f"{text} reads files of the server; a query may read only tables and views")
        if is_name and _calls_procedure(tokens[max(at - 1, 0) : at + 3]):
            raise ValueError(
                f"{text} is called like a procedure of the server's, which a SELECT cannot do; "
                "a function of your own with such a name is read through a view"
            )
        if kind == "word":
            words.append(text.casefold())
            outer += [text.casefold()] if depth == 0 else []
    if depth:
        raise ValueError("a query ends what it begins, and nothing ends its `(`")
    if words[:1] != ["select"]:
        raise ValueError("a query begins with SELECT; what WITH defines goes into a view, or into its FROM")
    forbidden = next(
        (
            word
            for word, after in pairwise([*words, ""])
            if word in _FORBIDDEN and after not in _HARMLESS_BEFORE.get(word, ())
        ),
        None,
    )
    if forbidden or "next value for" in " ".join(words):
        raise ValueError(
            f"a query is one SELECT and changes nothing: no {(forbidden or 'next value for').upper()}; "
            "a column of such a name stands in brackets"
        )
    if "order" in outer and not {"top", "offset", "for"} & set(outer):
        raise ValueError(
            "a query needs no ORDER BY, and SQL Server takes none without TOP: rows are read in their key's order"
        )
    if locking := locking_hint(tokens):
        raise ValueError(
            f"a query takes no locks on the table it reads: no {locking.upper()}; "
            "before a column of this name stands its table, as in t.[name]"
        )
    if "option" in words:
        raise ValueError("a query is put in parentheses, where SQL Server takes no OPTION: leave it out")
    return query


def _calls_procedure(tokens: Sequence[tuple[str, str]]) -> bool:
    """Whether a name is called that a procedure of the server's may have: neither an alias, nor a table with hints
    behind it. ``tokens`` are one before the name, the name, and two behind it."""
    (_, before), (_, name), (behind, _), (_, first) = (*tokens, *[("", "")] * 2)[:4]
    is_place = before in (".", ",", "(") or before.casefold() in TABLES
    return behind == "open" and is_place and plain(first) not in HINTS and bool(_PROCEDURE.fullmatch(plain(name)))


def without_end(query: str) -> str:
    """A query of `check_query` without the ``;`` at its end, which parentheses do not take."""
    return next((query[:start] for kind, _, start in read_tokens(query) if kind == "end"), query)


def read_tokens(query: str) -> Iterator[tuple[str, str, int]]:
    """What the server reads, without comments and blanks: the kind of each token, its text, and the offset in
    characters where it begins."""
    for match in _TOKEN.finditer(query):
        kind = match.lastgroup or ""
        if kind != "comment" and not match[0].isspace():
            yield kind, match[0], match.start()
