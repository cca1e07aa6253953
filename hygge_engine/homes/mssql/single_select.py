"""Whether a query of an author's is one SELECT that stays inside the parentheses it is put in.

Not a parser: the server is one. What counts is that the text has no way out of ``SELECT … FROM (query) AS [source]``,
so that the server's own grammar, which allows nothing but a SELECT there, holds for all of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

# What T-SQL reads as one thing. A comment within a comment is part of it, so these are counted and not matched.
_TOKEN: Final = re.compile(
    r"""
    (?P<line_comment>--[^\n]*) | (?P<comment>/\*)
    | (?P<text>'(?:[^']|'')*') | (?P<name>"(?:[^"]|"")*"|\[(?:[^\]]|\]\])*\])
    | (?P<word>[^\W\d][\w@\#$]*) | (?P<open>\() | (?P<close>\)) | (?P<end>;)
    | (?P<unclosed>['"\[]) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_COMMENT_MARK: Final = re.compile(r"/\*|\*/")

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


def check_query(query: str) -> str:
    """Return ``query`` if it is one SELECT that can stand in parentheses; raise ValueError otherwise."""
    if re.search(r"\r(?!\n)|\0", query):
        raise ValueError("a query has no carriage returns and no NUL characters of their own")
    depth = 0
    words: list[str] = []
    ended = False
    for kind, text, _ in _tokens(query):
        if ended:
            raise ValueError("a query is one statement: nothing comes after its `;`")
        if kind in ("unclosed", "comment"):
            raise ValueError(f"a query ends what it begins, and nothing ends its `{text}`")
        ended = kind == "end"
        depth += (kind == "open") - (kind == "close")
        if depth < 0:
            raise ValueError("a query is put in parentheses, and its `)` would end them")
        if kind == "word":
            words.append(text.casefold())
    if depth:
        raise ValueError("a query ends what it begins, and nothing ends its `(`")
    if words[:1] != ["select"]:
        raise ValueError("a query begins with SELECT; what WITH defines goes into a view, or into its FROM")
    forbidden = next((word for word in words if word in _FORBIDDEN), None)
    if forbidden or "next value for" in " ".join(words):
        raise ValueError(f"a query is one SELECT and changes nothing: no {(forbidden or 'next value for').upper()}")
    return query


def without_end(query: str) -> str:
    """A query of `check_query` without the ``;`` at its end, which parentheses do not take."""
    return next((query[:start] for kind, _, start in _tokens(query) if kind == "end"), query)


def _tokens(query: str) -> Iterator[tuple[str, str, int]]:
    """What the server reads, without comments and blanks, each with where it begins. A comment that nothing ends is
    one."""
    at = 0
    while match := _TOKEN.match(query, at):
        kind, at = match.lastgroup or "", match.end()
        if kind == "comment":
            end = _end_of_comment(query, at)
            if end is None:
                yield kind, match[0], match.start()
                return
            at = end
        elif kind != "line_comment" and not match[0].isspace():
            yield kind, match[0], match.start()


def _end_of_comment(query: str, at: int) -> int | None:
    depth = 1
    for mark in _COMMENT_MARK.finditer(query, at):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return mark.end()
    return None
