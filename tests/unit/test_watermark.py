"""What a watermark's values are, how they compare, and what earlier versions have written of them."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hygge_engine.errors import BoundUnusable, CursorUnusable
from hygge_engine.stores.landing.state import LandingState
from hygge_engine.watermark import Boundary, CursorType, Watermark
from hygge_engine.watermark.bounds import check_order, checked
from hygge_engine.watermark.rows import BoundaryRows, without_landed
from hygge_engine.watermark.values import order_of

# A landing state as versions wrote it that remembered no boundary, and had no open load.
EARLIER_STATE = {
    "format": 1,
    "nonce": "n",
    "epoch": 3,
    "generation": 1,
    "next_sequence": 2,
    "folder_etag": "",
    "key_columns": ["id"],
    "columns": {"id": "int64"},
    "removed_columns": {},
    "watermark": {"column": "modified", "type": "datetime", "value": "2024-01-31T12:00:00.1234567", "ties": 2},
    "owner": None,
    "open": None,
    "finished": None,
}


def test_what_earlier_versions_have_written_is_read() -> None:
    state, _ = LandingState.from_json(json.dumps(EARLIER_STATE).encode(), "state.json")
    assert state.watermark == Watermark("modified", "datetime", "2024-01-31T12:00:00.1234567", 2)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(), st.lists(st.text(), max_size=5), st.booleans())
def test_a_watermark_survives_the_landing_state(value: str, rows: list[str], complete: bool) -> None:
    mark = Watermark("c", "string", value, 1, Boundary(value, tuple(rows), complete))
    state, nonce = LandingState.from_json(LandingState(watermark=mark).to_json("n"), "state.json")
    assert (state.watermark, nonce) == (mark, "n")
    assert Watermark.from_json(json.loads(json.dumps(mark.to_json()))) == mark


@settings(deadline=None)
@given(st.lists(st.datetimes(), min_size=2, max_size=2))
def test_times_compare_as_times_whatever_digits_they_are_written_with(moments: list[datetime]) -> None:
    first, second = moments
    texts = [first.isoformat(), second.isoformat(timespec="microseconds") + "000Z"]
    less = order_of(texts[0], "datetime") < order_of(texts[1], "datetime")
    assert less == (first.replace(tzinfo=UTC) < second.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("type_", "oldest", "value", "newest", "within"),
    [
        ("version", "9", "10", "11", True),
        ("version", "11", "10", "12", False),
        ("int", "-2", "-1", "0", True),
        ("binary", "0x00FF", "0x0100", "0x0101", True),
        ("datetime", "2024-01-01T00:00:00.0000001", "2024-01-01T00:00:00.0000002", "2024-01-01T02:00:00+01:00", True),
        ("datetime", "2024-01-02", "2024-01-01T23:59", "2024-01-03", False),
    ],
)
def test_values_compare_by_their_type(type_: CursorType, oldest: str, value: str, newest: str, within: bool) -> None:
    assert Watermark("c", type_, value).is_within(oldest, newest) is within


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        ("datetime", "2024-01-31", "2024-01-31T00:00:00"),
        ("int", " 7 ", "7"),
        ("datetime", "2024-01-31T12:00:00.1234567+01:00", "2024-01-31T12:00:00.1234567+01:00"),
        ("binary", "0x0a", "0x000000000000000A"),
        ("string", "as it is", "as it is"),
    ],
)
def test_bounds_that_people_write_become_values(type_: CursorType, text: str, value: str) -> None:
    assert checked(text, type_) == value


@pytest.mark.parametrize(("type_", "text"), [("datetime", "yesterday"), ("int", "7.5"), ("binary", "0xZZ")])
def test_what_is_no_value_is_refused_with_what_would_be_one(type_: CursorType, text: str) -> None:
    with pytest.raises(BoundUnusable, match="is not a ") as caught:
        checked(text, type_)
    assert caught.value.hint.startswith("Write ")


@pytest.mark.parametrize(
    ("type_", "lower", "upper"),
    [("int", "10", "9"), ("datetime", "2024-01-02", "2024-01-01"), ("binary", "0x0B", "0x0A")],
)
def test_a_window_that_ends_before_it_begins_is_refused(type_: CursorType, lower: str, upper: str) -> None:
    check_order(upper, lower, type_)
    check_order(lower, lower, type_)
    with pytest.raises(BoundUnusable, match="begins at"):
        check_order(lower, upper, type_)


def test_only_a_time_has_a_lag() -> None:
    assert Watermark("c", "datetime").lagged("2024-01-31T12:00:00.1234567", 60) == "2024-01-31T11:59:00.1234567"
    with pytest.raises(CursorUnusable, match="no minutes"):
        Watermark("c", "int").lagged("7", 60)


def test_another_cursor_is_refused_by_both_names() -> None:
    with pytest.raises(CursorUnusable, match=r"modified \(datetime\) so far.*now says id \(int\)"):
        Watermark("modified", "datetime").check_cursor(Watermark("id", "int"))


def rows_at_one_value(values: dict[int, tuple[int | None, ...]], columns: list[str]) -> pa.RecordBatch:
    """Rows that share a watermark, by id: the values of a, b, c; of those columns only."""
    rows = [{"id": id_, "at": 7, **dict(zip("abc", row, strict=True))} for id_, row in values.items()]
    schema = pa.schema([(name, pa.int64()) for name in columns])
    return pa.RecordBatch.from_pylist([{name: row[name] for name in columns} for row in rows], schema=schema)


VALUES = st.dictionaries(st.integers(0, 9), st.tuples(*[st.none() | st.integers(0, 1)] * 3), min_size=1, max_size=6)
SOME_COLUMNS = st.permutations("abc").flatmap(
    lambda order: st.integers(0, 3).map(lambda count: ["at", *order[:count], "id"])
)


@pytest.mark.parametrize("values_limit", [0, 15, 3_000])
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_rows_at_the_watermark_are_recognised_by_the_columns_that_are_left(
    monkeypatch: pytest.MonkeyPatch, values_limit: int, data: st.DataObject
) -> None:
    monkeypatch.setattr("hygge_engine.watermark.rows.REMEMBERED_VALUES", values_limit)
    boundary: Boundary | None = None
    landed: list[tuple[list[str], pa.RecordBatch]] = []  # in loads whose source had various columns
    for _ in range(data.draw(st.integers(1, 3))):
        columns, values = data.draw(SOME_COLUMNS), data.draw(VALUES)
        batch = rows_at_one_value(values, columns)
        fresh = batch if boundary is None else without_landed(batch, "at", boundary)
        recognised = boundary is None or boundary.recognises(columns)
        shared = set(columns).intersection(*(then for then, _ in landed))
        known = [{name: row[name] for name in shared} for _, then in landed for row in then.to_pylist()]
        expected = [row for row in batch.to_pylist() if {name: row[name] for name in shared} not in known]
        assert fresh.to_pylist() == (expected if recognised else batch.to_pylist())
        gathering = BoundaryRows("at", boundary)
        for row in range(fresh.num_rows):
            gathering.add(fresh.slice(row, 1))
        boundary, landed = gathering.boundary, [*landed, (columns, fresh)]
        assert boundary is not None
        boundary = Boundary.from_json(json.loads(json.dumps(asdict(boundary))))
        if not recognised and fresh.num_rows:
            assert not boundary.complete
        if values_limit == 3_000:
            assert boundary.complete
