"""The system views and the catalogue procedures: the rows of sysviews.toml, each a typed query over the catalogue."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from importlib.resources import files
from typing import Any, Final

from devcloud.sqlserver.engine.settings import DatabaseSettings
from devcloud.sqlserver.engine.value_binder import declared_type
from devcloud.sqlserver.engine.values import quote_text
from devcloud.sqlserver.tsql.cursor import Cursor
from devcloud.sqlserver.types import DEFAULT_COLLATION, SYSTEM_TYPES, SqlType

_TYPES: Final = (
    f"(VALUES {', '.join(f"('{name}', {', '.join(map(str, facts))})" for name, facts in SYSTEM_TYPES.items())})"
    " AS y(name, system_id, user_id, max_length, digits, places, odbc)"
)


@dataclass(frozen=True, slots=True)
class SystemView:
    """A system view: its columns and the DuckDB query behind it, in which ``{db}`` is the catalogue's schema.

    ``parameters`` are those of a procedure, each with the use that the query makes of it.
    """

    columns: tuple[tuple[str, SqlType], ...]
    query: str
    parameters: tuple[tuple[str, str], ...] = ()


def parse_columns(text: str) -> list[tuple[str, SqlType, str]]:
    """Return the name, type and expression, which may be absent, of each of ``name type expression; …``."""
    columns = []
    for part in text.split(";"):
        name, kind, *expression = part.split(None, 2)
        columns.append((name, declared_type(Cursor(kind).parse_type()), "".join(expression).rstrip()))
    return columns


def _read_views() -> dict[str, SystemView]:
    text = files("devcloud.sqlserver.engine").joinpath("sysviews.toml").read_text(encoding="utf-8")
    table: dict[str, dict[str, Any]] = tomllib.loads(text)
    shared: dict[str, str] = {"types": _TYPES, "collation": DEFAULT_COLLATION} | table.pop("shared")

    def expand(text: str) -> str:
        for name, fragment in reversed(shared.items()):
            text = text.replace(f"{{{name}}}", fragment)
        return text

    views: dict[str, SystemView] = {}
    for name, row in table.items():
        columns = parse_columns(expand(row["columns"]))
        items = ", ".join(f'CAST({sql} AS {kind.storage}) AS "{column}"' for column, kind, sql in columns)
        query = f"SELECT {items} FROM {expand(row['from'])}"
        if "filter" in row:
            query = f"SELECT * FROM ({query}) WHERE {expand(row['filter'])} ORDER BY {row['order']}"
        parameters = [part.split() for part in row.get("parameters", "").split(";") if part]
        view = SystemView(
            tuple((column, kind) for column, kind, _ in columns), query, tuple((name, use) for name, use in parameters)
        )
        views |= dict.fromkeys([name, *row.get("also", ())], view)
    return views


SYSTEM_VIEWS: Final = _read_views()
"""By their names in lower case, with the schema; procedures without one."""


def system_query(
    view: SystemView, database: str, catalogue: str, databases: Sequence[tuple[int, str, DatabaseSettings]]
) -> str:
    """Return the DuckDB query of a system view in one database."""
    columns = ["number", "name", *(field.name for field in fields(DatabaseSettings))]
    rows = ", ".join(
        f"({', '.join([str(number), quote_text(name), *(str(int(value)) for value in astuple(settings))])})"
        for number, name, settings in databases
    )
    table = f"(VALUES {rows}) AS k({', '.join(columns)})"
    return (
        view.query.replace("{db}", catalogue).replace("{database}", quote_text(database)).replace("{databases}", table)
    )
