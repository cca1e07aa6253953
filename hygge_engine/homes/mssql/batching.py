"""How many rows to fetch from a driver at once, so that batches are neither large nor many.

mssql-python turns rows into Arrow as it fetches them: what a fetch takes is what its rows hold, known when it is too
late. So a fetch is bounded by what its columns could hold at most, and then by what the rows so far have held. Rows
with values of any length have no such bound: they come one by one, or a few, as Python objects, until they are enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from hygge_engine.homes.mssql.session import Stream
from hygge_engine.homes.mssql.types import SourceColumn

_MIB = 1 << 20

# What one fetch could take if every column were as long as it is declared, which hardly any is.
_DECLARED_BYTES = 64 * _MIB

# Within that, fetches whose buffers stay in a core's cache and are used again cost an eighth less processor time than
# batches of 50,000 lines of lineitem at once; a few hundred rows keep the cost of a call, some 70 µs for ten columns,
# well below that of the rows.
_CACHED_BYTES = 4 * _MIB
_ENOUGH_ROWS = 500

# What may come in one fetch before the first large value has shown itself that no column was declared for.
_SURPRISING_ROWS = 8


def read_batches(
    stream: Stream, columns: Sequence[SourceColumn], limit_rows: int, limit_bytes: int
) -> Iterator[pa.RecordBatch]:
    """The stream in batches of at most ``limit_rows`` rows, and of ``limit_bytes`` plus what one fetch may bring."""
    unbounded = any(column.is_unbounded for column in columns)
    # A view's catalogue may not reflect its tables' changes yet.
    surprising = stream.is_unbounded and not unbounded
    most = _SURPRISING_ROWS if surprising else _rows_at_once(max(1, sum(column.fetch_bytes for column in columns)))
    at_once = 1 if surprising else most
    largest_row = 1.0
    held: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    while True:
        if unbounded:
            fetched = stream.fetch(limit_rows - held_rows, limit_bytes - held_bytes)
        else:
            fetched = stream.fetch(min(at_once, limit_rows - held_rows))
        rows, size = fetched.num_rows, fetched.nbytes
        if rows:
            held.append(fetched)
            held_rows += rows
            held_bytes += size
        del fetched  # Or the last rows would still be held while the next ones are fetched.
        if held and (not rows or held_rows >= limit_rows or held_bytes >= limit_bytes):
            joined = held[0] if unbounded and len(held) == 1 else _join(held)
            held, held_rows, held_bytes = [], 0, 0
            yield joined
            del joined
        if not rows:
            return
        largest_row = max(largest_row, size / rows)
        at_once = max(1, min(most, int(limit_bytes / largest_row)))


def _rows_at_once(declared: int) -> int:
    """The number of rows to fetch by one call, within a number of bytes."""
    return max(1, min(_DECLARED_BYTES // declared, max(_ENOUGH_ROWS, _CACHED_BYTES // declared)))


def _join(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch, always a copy: mssql-python's own buffers take three times what the rows in them hold, which counts
    where batches are gathered."""
    schema = batches[0].schema
    columns = [pa.concat_arrays([batch.column(number) for batch in batches]) for number in range(len(schema))]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
