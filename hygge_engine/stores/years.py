"""Years that a destination's text has room for."""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.errors import StoreError

_UNITS_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}

# Days since 1970 of the first and last one that four digits can write the year of.
_FIRST_DAY = -719_162
_LAST_DAY = 2_932_896


def check_years(batch: pa.RecordBatch, destination: str) -> None:
    """Raises StoreError for years that four digits cannot write: no reader takes their text back, and it does not sort
    as the times do. ``destination`` names whose text it is."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        _check_column(name, column, destination)


def _check_column(name: str, column: pa.Array[Any], destination: str) -> None:
    if pa.types.is_date32(column.type):
        per_day = 1
    elif pa.types.is_timestamp(column.type):
        per_day = _UNITS_PER_DAY[cast("Any", column.type).unit]
    else:
        return
    found = pc.min_max(column.view(cast("Any", pa.int32() if per_day == 1 else pa.int64())))
    least, most = found["min"].as_py(), found["max"].as_py()
    if least is not None and (least < _FIRST_DAY * per_day or most >= (_LAST_DAY + 1) * per_day):
        raise StoreError(
            f"Column {name!r} has a date or time outside the years 1 to 9999, which {destination} cannot hold.",
            hint="Correct the source, or leave the column out.",
        )
