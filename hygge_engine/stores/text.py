"""CSV and NDJSON as file formats of stores: UTF-8, one header line or one object per line.

Text has fewer types than Arrow: decimals keep all their digits, times are ISO 8601 in UTC, and bytes are Base64
(RFC 4648), which both formats can hold whatever the bytes are.
"""

from __future__ import annotations

from typing import IO, cast

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from hygge_engine.errors import StoreError
from hygge_engine.lake.base import StagingWriter
from hygge_engine.stores.years import check_years


class CsvEncoder:
    """One CSV file (RFC 4180). Text is quoted, so that an empty string (``""``) and NULL (nothing) stay apart."""

    def __init__(self, sink: StagingWriter, schema: pa.Schema) -> None:
        self._schema = pa.schema([pa.field(field.name, _csv_type(field.type)) for field in schema])
        options = pcsv.WriteOptions(quoting_style="needed")
        self._writer = pcsv.CSVWriter(cast("IO[bytes]", sink), self._schema, write_options=options)

    def write(self, table: pa.Table) -> None:
        """Raises StoreError for years that four digits cannot write, and for a row that would be an empty line."""
        _check_years(table, "CSV")
        _check_lines(table)
        self._writer.write_table(_without_decimals(_without_bytes(table)).cast(self._schema))

    def close(self) -> None:
        self._writer.close()


class NdjsonEncoder:
    """One file of JSON objects, a line each (NDJSON); decimals are strings, so that no reader rounds them, and NaN is
    null."""

    def __init__(self, sink: StagingWriter, schema: pa.Schema) -> None:
        self._sink = sink

    def write(self, table: pa.Table) -> None:
        """Raises StoreError for infinite numbers, and for years that four digits cannot write."""
        _check_years(table, "NDJSON")
        _check_finite(table)
        frame = cast("pl.DataFrame", pl.from_arrow(_without_bytes(table)))
        timed = [name for name, type_ in frame.schema.items() if isinstance(type_, pl.Datetime)]
        frame = frame.with_columns(pl.col(timed).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
        self._sink.write(frame.write_ndjson().encode())

    def close(self) -> None:
        return


def _check_years(table: pa.Table, destination: str) -> None:
    for batch in table.to_batches():
        check_years(batch, destination)


def _check_lines(table: pa.Table) -> None:
    """Raises StoreError for NULL in the only column, whose row would be an empty line: readers of CSV skip these."""
    if table.num_columns == 1 and table.column(0).null_count:
        raise StoreError(
            f"Column {table.schema.names[0]!r} is the only one and has a NULL, which CSV would hold as an empty line, "
            "and readers skip empty lines.",
            hint="Land a second column, a constant for example, or land it in another `format`.",
        )


def _check_finite(table: pa.Table) -> None:
    """Raises StoreError for an infinite number, which would become null: JSON has none."""
    for field in table.schema:
        if pa.types.is_floating(field.type) and pc.any(pc.is_inf(table.column(field.name))).as_py():
            raise StoreError(
                f"Column {field.name!r} has an infinite number, which NDJSON cannot hold.",
                hint="Correct the source, leave the column out, or land it in another `format`.",
            )


def _csv_type(type_: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_binary(type_) or pa.types.is_decimal(type_) else type_


def _without_decimals(table: pa.Table) -> pa.Table:
    """The table with decimals as digits: Arrow would write small ones as ``1E-7``."""
    for number, field in enumerate(table.schema):
        if pa.types.is_decimal(field.type):
            column = cast("pl.Series", pl.from_arrow(table.column(number)))
            text = column.cast(pl.String).to_arrow(compat_level=pl.CompatLevel.oldest())
            table = table.set_column(number, field.name, pc.cast(text, pa.string()))
    return table


def _without_bytes(table: pa.Table) -> pa.Table:
    """The table with bytes as Base64 text."""
    for number, field in enumerate(table.schema):
        if pa.types.is_binary(field.type):
            column = pl.from_arrow(table.column(number))
            text = cast("pl.Series", column).bin.encode("base64").to_arrow(compat_level=pl.CompatLevel.oldest())
            table = table.set_column(number, field.name, pc.cast(text, pa.string()))
    return table
