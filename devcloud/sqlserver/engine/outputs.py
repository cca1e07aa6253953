"""What a bound query is: DuckDB SQL and its typed columns."""

from __future__ import annotations

from dataclasses import dataclass, replace

from devcloud.sqlserver.errors import make_error
from devcloud.sqlserver.types import INT, SqlType


@dataclass(frozen=True, slots=True)
class OutputColumn:
    """A column of a result: its name as the client sees it (DuckDB calls it c1, c2, …) and what is known of it."""

    name: str
    type: SqlType
    nullable: bool
    identity: bool = False
    computed: bool = False

    @property
    def shown_type(self) -> SqlType:
        """The type that a client sees: a bare NULL is an int."""
        return INT if self.type.name == "null" else self.type


@dataclass(frozen=True, slots=True)
class BoundQuery:
    """A query as DuckDB SQL; ``variables`` names the variables that it assigns instead of returning rows."""

    sql: str
    columns: tuple[OutputColumn, ...]
    variables: tuple[str, ...] = ()


def name_columns(columns: tuple[OutputColumn, ...], names: tuple[str, ...], owner: str) -> tuple[OutputColumn, ...]:
    """Return the columns of a derived table under their given names. Raises SqlError 8155, 8156, 8158 or 8159."""
    if names:
        if len(names) != len(columns):
            raise make_error(8158 if len(columns) > len(names) else 8159, owner)
        columns = tuple(replace(column, name=name) for column, name in zip(columns, names, strict=True))
    seen: set[str] = set()
    for place, column in enumerate(columns, start=1):
        if not column.name:
            raise make_error(8155, place, owner)
        if column.name.lower() in seen:
            raise make_error(8156, column.name, owner)
        seen.add(column.name.lower())
    return columns
