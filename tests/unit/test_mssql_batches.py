"""Batches of a stream: their size, and their exact schema."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate

import pyarrow as pa
import pytest

from hygge_engine.errors import HomeError
from hygge_engine.homes.mssql.batching import read_batches
from hygge_engine.homes.mssql.convert import convert
from hygge_engine.homes.mssql.types import SourceColumn, arrow_type

NUMBER = SourceColumn("n", "int", 4)
LETTERS = SourceColumn("letters", "nvarchar", 8000)
DOCUMENT = SourceColumn("document", "varbinary", -1)


class Rows:
    """A stream of binary values of the given sizes; remembers how many were asked for at once."""

    def __init__(self, sizes: Iterable[int], *, is_unbounded: bool = False) -> None:
        self.is_unbounded = is_unbounded
        self._values = [b"x" * size for size in sizes]
        self.asked: list[int] = []

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([("document", pa.large_binary())])

    def fetch(self, rows: int, limit_bytes: int | None = None) -> pa.RecordBatch:
        self.asked.append(rows)
        if limit_bytes is not None:
            sizes = accumulate(len(value) for value in self._values[:rows])
            rows = sum(1 for held in sizes if held < limit_bytes) + 1
        taken, self._values = self._values[:rows], self._values[rows:]
        return pa.record_batch([pa.array(taken, pa.large_binary())], schema=self.schema)

    def close(self) -> None:
        self._values = []


def test_a_batch_ends_at_its_rows() -> None:
    batches = [batch.num_rows for batch in read_batches(Rows([1] * 25), [NUMBER], 10, 1 << 20)]
    assert batches == [10, 10, 5]


def test_a_batch_ends_at_its_bytes() -> None:
    batches = list(read_batches(Rows([1000] * 40), [DOCUMENT], 1000, 10_000))
    assert all(batch.nbytes < 10_000 + 8 * 1100 for batch in batches)
    assert sum(batch.num_rows for batch in batches) == 40


def test_no_row_is_lost_between_fetches_and_batches() -> None:
    batches = list(read_batches(Rows(range(500)), [LETTERS], 33, 5000))
    lengths = [len(value or b"") for batch in batches for value in batch.column(0).to_pylist()]
    assert lengths == list(range(500))


def test_long_columns_are_fetched_few_rows_at_a_time_though_their_values_are_short() -> None:
    stream = Rows([1] * 50_000)
    list(read_batches(stream, [LETTERS] * 20, 50_000, 1 << 24))
    assert max(stream.asked) <= (64 << 20) // (20 * 8000)


def test_large_values_that_the_catalogue_does_not_know_of_are_fetched_one_by_one_once_they_have_shown_themselves() -> (
    None
):
    stream = Rows([10] * 30 + [17 << 20] * 5, is_unbounded=True)
    assert sum(batch.num_rows for batch in read_batches(stream, [LETTERS], 1000, 1 << 24)) == 35
    assert stream.asked[0] == 1
    assert max(stream.asked) == 8
    assert stream.asked[-1] == 1


def test_an_empty_table_has_no_batch() -> None:
    assert list(read_batches(Rows([]), [DOCUMENT], 1000, 1 << 24)) == []


@pytest.mark.parametrize(
    ("source", "delivered", "expected"),
    [
        (SourceColumn("c", "tinyint"), pa.array([255, None], pa.uint8()), [255, None]),
        (SourceColumn("c", "bigint"), pa.array([1, None], pa.int32()), [1, None]),
        (SourceColumn("c", "money"), pa.array([Decimal("1.5")], pa.decimal128(10, 4)), [Decimal("1.5000")]),
        (SourceColumn("c", "nvarchar", 20), pa.array(["é", None], pa.large_string()), ["é", None]),
        (
            SourceColumn("c", "datetime2", scale=6),
            pa.array([datetime(1, 1, 1), None], pa.timestamp("us")),
            [datetime(1, 1, 1, tzinfo=UTC), None],
        ),
        (
            SourceColumn("c", "datetimeoffset", scale=7),
            pa.array(["9999-12-31T23:59:59.999999+00:00", None], pa.large_string()),
            [datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), None],
        ),
        (
            SourceColumn("c", "uniqueidentifier"),
            pa.array(["6f9619ff-8b86-d011-b42d-00c04fc964ff", None]),
            ["6F9619FF-8B86-D011-B42D-00C04FC964FF", None],
        ),
        (
            SourceColumn("c", "time", scale=7),
            pa.array([86_399_999_999_900, 0, None], pa.time64("ns")),
            ["23:59:59.9999999", "00:00:00.0000000", None],
        ),
        (SourceColumn("c", "time", scale=0), pa.array([1_000_000_000], pa.time64("ns")), ["00:00:01"]),
        (
            SourceColumn("c", "time", scale=3),
            pa.array(["12:34:56", "12:34:56.5", None]),
            ["12:34:56.000", "12:34:56.500", None],
        ),
        (SourceColumn("c", "bit"), pa.array([True, None]), [True, None]),
        (SourceColumn("c", "varbinary", -1), pa.array([b"", None], pa.large_binary()), [b"", None]),
        (SourceColumn("c", "real"), pa.array([1.100000023841858, None], pa.float64()), [pytest.approx(1.1), None]),
    ],
)
def test_whatever_a_driver_delivers_becomes_the_promised_type(
    source: SourceColumn, delivered: pa.Array[pa.Scalar[pa.DataType]], expected: list[object]
) -> None:
    schema = pa.schema([("c", arrow_type(source))])
    batch = convert(pa.record_batch([delivered], names=["c"]), [source], schema)
    assert batch.schema == schema
    assert batch.column(0).to_pylist() == expected


def test_a_value_that_its_type_does_not_allow_is_an_error_that_names_the_column() -> None:
    delivered = pa.record_batch([pa.array([1 << 40])], names=["c"])
    with pytest.raises(HomeError, match="Column 'c' holds a value that is not a valid int32"):
        convert(delivered, [SourceColumn("c", "int")], pa.schema([("c", pa.int32())]))
