"""What a login may not read of a source, found out by the server's own refusals: nothing else covers views, synonyms
and queries as well."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from hygge_engine.errors import HomePermissionDenied
from hygge_engine.homes.mssql.catalogue import SourceObject
from hygge_engine.homes.mssql.identifiers import quote
from hygge_engine.homes.mssql.query import select
from hygge_engine.homes.mssql.session import Session
from hygge_engine.homes.mssql.types import SourceColumn

_NO_ROWS = "1 = 0"

# SQL Server's error 230; 229, of the whole object, is raised where no column may be read.
_OF_A_COLUMN = re.compile("permission was denied on the column", re.IGNORECASE)

# Columns named at most; each takes a few queries to the server.
_NAMED = 20


def check_select(session: Session, source: SourceObject) -> None:
    """Select every column, and no row. Raises HomePermissionDenied, by the names of all columns that it is about."""
    try:
        _select(session, source, source.columns)
    except HomePermissionDenied as refused:
        if not _OF_A_COLUMN.search(refused.message):
            raise  # the server has said of what
        names = [column.name for column in islice(_refused(session, source, source.columns), _NAMED + 1)]
        if len(names) == len(source.columns):
            raise  # none may be read
        shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
        listed = ", ".join(map(quote, names[:_NAMED]))
        raise HomePermissionDenied(
            f"This login may not read {shown} of {source.name}: {refused.message}",
            hint=f"GRANT SELECT ON {source.sql} ({listed}) TO the login, or leave these columns out: write a `query` "
            "that names the others, with its `key`, in place of `table`.",
        ) from refused


def _refused(session: Session, source: SourceObject, columns: Sequence[SourceColumn]) -> Iterator[SourceColumn]:
    """Those of some columns, not all of which may be read, that may not."""
    if len(columns) == 1:
        yield columns[0]
        return
    middle = len(columns) // 2
    for half in (columns[:middle], columns[middle:]):
        try:
            _select(session, source, half)
        except HomePermissionDenied:
            yield from _refused(session, source, half)


def _select(session: Session, source: SourceObject, columns: Sequence[SourceColumn]) -> None:
    names = ", ".join(quote(column.name) for column in columns)
    session.stream(select(names, source.sql, _NO_ROWS), doing=f"Reading {source.name}").close()
