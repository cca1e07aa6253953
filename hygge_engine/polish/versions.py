"""The columns of a table that keeps each version of a row as a row of its own (docs/history.md)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from hygge_engine.errors import ConfigurationError
from hygge_engine.homes.base import Column
from hygge_engine.letter_case import in_any_case
from hygge_engine.polish.polish import LandedColumn, Polish
from hygge_engine.project.models.settings import HISTORY_COLUMNS

# Orders the versions of a row, and distinguishes them; when the load began that saw one; and how it came about.
VERSION, VALID_FROM, OPERATION = HISTORY_COLUMNS

# The values until a version is written: what they will be is known then.
_COLUMNS: dict[str, pa.Scalar[Any]] = {
    VERSION: pa.scalar(0, pa.int64()),
    VALID_FROM: pa.scalar(datetime.fromtimestamp(0, UTC), pa.timestamp("us", tz="UTC")),
    OPERATION: pa.scalar("", pa.string()),
}


def with_versions(polish: Polish) -> Polish:
    """What lands of a source whose versions of rows are kept: the columns above besides, the first as part of the key.

    Raises ConfigurationError where a column has one of their names.
    """
    taken = {in_any_case(column.name): column.name for column in polish.table.columns}
    for name in _COLUMNS:
        if found := taken.get(in_any_case(name)):
            raise ConfigurationError(
                f"{polish.source.name} lands a column `{found}`, and its history has one of that name",
                hint="Give it another name: `rename` of polish.",
            )
    added = [
        LandedColumn(Column(name, value.type, "history", nullable=False), constant=value, stamp=name)
        for name, value in _COLUMNS.items()
    ]
    return polish.extended(added, version=VERSION)
