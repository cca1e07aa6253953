"""From what a driver delivers to exactly what `SourceSchema.schema` promises, whole columns at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.errors import HomeError
from hygge_engine.homes.mssql.types import SourceColumn
from hygge_engine.homes.mssql.values import to_text

# "12:34:56", before the digits of a time.
_CLOCK_CHARACTERS = 8


def convert(batch: pa.RecordBatch, columns: Sequence[SourceColumn], schema: pa.Schema) -> pa.RecordBatch:
    """``batch`` cast to ``schema``, column by position; offset columns follow those of ``columns``.

    Where driver and schema agree nothing is copied. Raises HomeError for a value that its own column's type does not
    allow, which only a server that breaks its catalogue's word can send.
    """
    arrays: list[pa.Array[pa.Scalar[pa.DataType]]] = []
    for number, field in enumerate(schema):
        array: Any = batch.column(number)
        kind = columns[number].base_type if number < len(columns) else ""
        as_text = number < len(columns) and columns[number].as_text
        try:
            if array.type != field.type:
                array = array.cast(field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise HomeError(f"Column {field.name!r} holds a value that is not a valid {field.type}.") from error
        if as_text:
            texts = [value if value is None else to_text(columns[number], value) for value in array.to_pylist()]
            array = pa.array(texts, pa.string())
        elif kind == "uniqueidentifier":
            array = pc.ascii_upper(array)
        elif kind == "time":
            array = _time_text(array, columns[number].scale)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _time_text(array: pa.StringArray, scale: int) -> pa.StringArray:
    """Times with the digits of their scale, no matter how many the driver gave them."""
    if scale == 0:
        return pc.utf8_slice_codeunits(array, 0, _CLOCK_CHARACTERS)
    characters = _CLOCK_CHARACTERS + 1 + scale
    dotted = pc.replace_substring_regex(array, pattern=r"^(\d\d:\d\d:\d\d)$", replacement=r"\1.")
    return pc.utf8_slice_codeunits(pc.utf8_rpad(dotted, characters, padding="0"), 0, characters)
