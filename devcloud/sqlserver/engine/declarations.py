"""Declarations of parameters, as sp_executesql and its kin take them."""

from __future__ import annotations

from devcloud.sqlserver.engine.value_binder import declared_type
from devcloud.sqlserver.errors import refuse
from devcloud.sqlserver.tsql.cursor import Cursor
from devcloud.sqlserver.tsql.lexer import Kind
from devcloud.sqlserver.types import SqlType


def parse_declarations(text: str) -> list[tuple[str, SqlType, bool]]:
    """Return the parameters of a declaration such as ``@P1 int, @P2 nvarchar(20) OUTPUT``."""
    cursor = Cursor(text)
    declared = []
    while cursor.token.kind is not Kind.END:
        if cursor.token.kind is not Kind.VARIABLE:
            raise cursor.unexpected()
        name = cursor.advance().text
        cursor.accept("AS")
        kind = declared_type(cursor.parse_type())
        if cursor.accept("="):
            raise refuse("default of a parameter")
        declared.append((name, kind, bool(cursor.accept_any("OUTPUT", "OUT"))))
        cursor.accept_any("READONLY")
        if not cursor.accept(","):
            break
    return declared
