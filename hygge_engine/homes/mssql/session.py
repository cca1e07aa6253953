"""What the home needs of a driver, so that either of two can serve it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any, Protocol

import pyarrow as pa

from hygge_engine.errors import HomeError
from hygge_engine.homes.mssql.values import Parameter

# The largest response to a metadata query. The largest that is expected are the columns of a table,
# some thirty thousand, and a sample of its keys; a server that sends more has not understood it.
RESULT_ROWS = 100_000
RESULT_BYTES = 64 << 20

# A query is its author's own text. Whatever it might change is taken back: it is read between these two.
BEGIN_READING = "BEGIN TRANSACTION; SELECT 1"
# A pooled connection would keep a transaction, or a level of isolation, for its next user.
END_READING = "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION; SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SELECT 1"

_ROWS_AT_ONCE = 1_000

# What a column holds that is not (max) or of a type like it.
_BOUNDED_CHARACTERS = 8_000


def gather(fetch: Callable[[int], Iterable[Iterable[Any]]], doing: str, most: int | None = None) -> list[Any]:
    """The rows of a small result, as tuples: all of them, or as many as are wanted. ``fetch`` returns the next rows, at
    most as many as requested, and none at the end.

    Raises HomeError for a result that is larger than any that is expected, and stops reading there.
    """
    rows: list[tuple[Any, ...]] = []
    size = 0
    wanted = RESULT_ROWS + 1 if most is None else most
    while len(rows) < wanted and (fetched := [tuple(row) for row in fetch(min(_ROWS_AT_ONCE, wanted - len(rows)))]):
        rows += fetched
        size += sum(len(value) for row in fetched for value in row if isinstance(value, str | bytes))
        if size > RESULT_BYTES or len(rows) > RESULT_ROWS:
            limit = f"{RESULT_BYTES >> 20} MiB" if size > RESULT_BYTES else f"{RESULT_ROWS} rows"
            raise HomeError(
                f"{doing}: the server responds with more than {limit}, more than this request can return.",
                hint="Check what the connection leads to: a proxy, or a server that is not SQL Server.",
            )
    return rows


def whole(value: object, doing: str) -> int:
    """A count or a length that a server has returned. Raises HomeError for anything else."""
    if isinstance(value, int) or (
        isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()
    ):
        return int(value)
    raise HomeError(
        f"{doing}: the server returns something else where a whole number is expected.",
        hint="Check what the connection leads to: a proxy, or a server that is not SQL Server.",
    )


def batch_of(rows: Sequence[Iterable[Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Rows of Python values, column by column as a batch."""
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def is_unbounded(description: Sequence[Sequence[Any]] | None) -> bool:
    """Whether a column of a result, as DB-API describes it, holds text or binary values of any length."""
    return any(
        kind in (str, bytes, bytearray) and not 0 < size <= _BOUNDED_CHARACTERS
        for _, kind, _, size, *_ in description or ()
    )


class Stream(Protocol):
    """The rows of one statement that is being read."""

    @property
    def schema(self) -> pa.Schema:
        """The columns as the driver delivers them; `hygge_engine.homes.mssql.home` casts them to the home's own."""
        ...

    @property
    def is_unbounded(self) -> bool:
        """Whether the server says that a column holds values of any length."""
        ...

    def fetch(self, rows: int, limit_bytes: int | None = None) -> pa.RecordBatch:
        """The next rows, at most ``rows``; an empty batch once, when the server has sent its last row.

        With ``limit_bytes`` no more rows, or a few, than it takes to hold that many bytes of text and binary values;
        they come as Python objects, whose times have six digits. Raises HomeError, also for what the server reports
        after its last row.
        """
        ...

    def close(self) -> None:
        """Cancel what is left of the statement and free it."""
        ...


class Session(Protocol):
    """One connection to the server. Every method raises what its translation makes of errors: HomeError by default."""

    def fetch_all(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> list[tuple[Any, ...]]:
        """All rows of a small result, see `gather`. ``doing`` says in an error what was attempted."""
        ...

    def fetch_some(
        self, sql: str, rows: int, parameters: Sequence[Parameter] = (), *, doing: str
    ) -> list[tuple[Any, ...]]:
        """The first rows of a result, at most ``rows``, however many there are."""
        ...

    def stream(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> Stream:
        """Begin to read a large result; nothing else can be asked of the session until the stream is closed."""
        ...

    def execute(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> None:
        """Run statements that return no rows."""
        ...

    def insert(self, table: str, rows: pa.RecordBatch, *, doing: str) -> None:
        """Add rows to a table, which is quoted already, by the names of their columns; without the session's own
        transaction, all of them or none."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...
