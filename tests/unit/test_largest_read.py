"""What a load commits as its watermark: the largest value that its rows had, of every type and over all batches."""

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from hygge_engine.watermark.rows import LargestRead
from hygge_engine.watermark.watermark import Watermark

DAYS = [datetime(2024, 1, day) for day in (1, 2, 3)]

VALUES = {
    "time with a zone": (pa.timestamp("us", tz="UTC"), "datetime", [day.replace(tzinfo=UTC) for day in DAYS]),
    "time": (pa.timestamp("us"), "datetime", DAYS),
    "nanoseconds": (pa.timestamp("ns"), "datetime", DAYS),
    "date": (pa.date32(), "datetime", [day.date() for day in DAYS]),
    "int": (pa.int64(), "int", [1, 2, 3]),
    "small int": (pa.uint8(), "int", [1, 2, 3]),
    "decimal": (pa.decimal128(10, 2), "decimal", [Decimal(1), Decimal(2), Decimal(3)]),
}


@pytest.mark.parametrize(("type_", "kind", "values"), VALUES.values(), ids=VALUES)
def test_the_largest_value_of_all_batches_is_kept(type_: pa.DataType, kind: str, values: list[object]) -> None:
    low, high, bound = (str(pa.scalar(value, type_).cast(pa.string()).as_py()) for value in values)
    upper = Watermark("at", kind, bound)  # type: ignore[arg-type]
    largest = LargestRead("at", upper, None)
    seen = []
    for batch in ([values[0]], [values[1], None], [], [values[0]], [values[2], values[1]], [values[0]]):
        largest.add(pa.record_batch({"at": pa.array(batch, type_)}))
        seen.append(largest.value)
    assert seen == [low, high, high, high, bound, bound]

    slice_after = LargestRead("at", upper, high)
    slice_after.add(pa.record_batch({"at": pa.array([values[0]], type_)}))
    assert slice_after.value == high
