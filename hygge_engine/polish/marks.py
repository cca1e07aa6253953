"""The column that says when a row was deleted at its source (docs/deletes.md)."""

from __future__ import annotations

import pyarrow as pa

from hygge_engine.errors import ConfigurationError
from hygge_engine.homes.base import Column
from hygge_engine.letter_case import in_any_case
from hygge_engine.polish.polish import LandedColumn, Polish

MARK_TYPE = pa.timestamp("us", tz="UTC")


def with_mark(polish: Polish, name: str) -> Polish:
    """What lands of a source whose deleted rows are marked in the column ``name``, which is empty in all others.

    Raises ConfigurationError where a column has this name.
    """
    taken = [column.name for column in polish.table.columns if in_any_case(column.name) == in_any_case(name)]
    if taken:
        raise ConfigurationError(
            f"{polish.source.name} lands a column `{taken[0]}`, and `deletes.mark` adds one of that name",
            hint="Give the mark another name: `deletes: { column: … }`.",
        )
    mark = LandedColumn(Column(name, MARK_TYPE, "deletes.mark"), constant=pa.scalar(None, MARK_TYPE), stamp=name)
    return polish.extended([mark])
