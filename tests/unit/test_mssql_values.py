"""Cursor and key values in exact text forms."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from hygge_engine.errors import CursorUnusable, HomeError
from hygge_engine.homes.mssql.session import whole
from hygge_engine.homes.mssql.types import SourceColumn
from hygge_engine.homes.mssql.values import parameter, to_text
from hygge_engine.watermark.values import earlier


def column(type_name: str, **keys: Any) -> SourceColumn:
    return SourceColumn("c", type_name, **keys)


@pytest.mark.parametrize(
    ("source", "value", "text"),
    [
        (column("bit"), True, "1"),
        (column("bigint"), -(2**63), "-9223372036854775808"),
        (column("decimal", precision=38, scale=10), Decimal("-0.0000000001"), "-0.0000000001"),
        (column("float"), 0.1, "0.1"),
        (column("float"), -0.0, "-0.0"),
        (column("date"), date(1, 1, 1), "0001-01-01"),
        (column("date"), datetime(2013, 1, 2), "2013-01-02"),
        (column("smalldatetime"), datetime(2013, 1, 2, 3, 4), "2013-01-02T03:04"),
        (column("datetime"), datetime(2013, 1, 2, 3, 4, 5, 7000), "2013-01-02T03:04:05.007"),
        (column("datetime2", scale=0), datetime(2013, 1, 2, 3, 4, 5), "2013-01-02T03:04:05"),
        (column("datetime2", scale=6), datetime(9999, 12, 31, 23, 59, 59, 999999), "9999-12-31T23:59:59.999999"),
        (column("datetime2", scale=7), "2013-01-02T03:04:05.1234567", "2013-01-02T03:04:05.1234567"),
        (column("datetime2", scale=7), "2013-01-02 03:04:05", "2013-01-02T03:04:05.0000000"),
        (column("datetimeoffset", scale=7), "0001-01-01T12:00:05.1234567+02:30", "0001-01-01T09:30:05.1234567+00:00"),
        (column("datetimeoffset", scale=7), "2013-01-02T03:04:05.1234567Z", "2013-01-02T03:04:05.1234567+00:00"),
        (
            column("datetimeoffset", scale=3),
            datetime(2013, 1, 2, 3, 4, 5, 123000, timezone(timedelta(hours=-14))),
            "2013-01-02T17:04:05.123+00:00",
        ),
        (column("datetimeoffset", scale=0), datetime(2013, 1, 2, tzinfo=UTC), "2013-01-02T00:00:00+00:00"),
        (column("rowversion"), b"\0\0\0\0\0\0\x07\xd1", "0x00000000000007D1"),
        (column("nvarchar", max_length=20), "é ", "é "),
        (column("time", scale=7), "12:34:56.1234567", "12:34:56.1234567"),
    ],
)
def test_no_digit_is_lost(source: SourceColumn, value: object, text: str) -> None:
    assert to_text(source, value) == text


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        (column("int"), "42", ("?", 42)),
        (column("decimal", precision=10, scale=2), "1.50", ("CAST(? AS decimal(10,2))", "1.50")),
        (column("datetime"), "2013-01-02T03:04:05.007", ("CAST(? AS datetime)", "2013-01-02T03:04:05.007")),
        (column("datetime"), "1752-12-31T23:59:59.000", ("CAST(? AS datetime)", "1753-01-01T00:00:00.000")),
        (column("smalldatetime"), "2013-01-02T03:04", ("CAST(? AS smalldatetime)", "2013-01-02T03:04:00")),
        (
            column("datetime2", scale=7),
            "2013-01-02T03:04:05.1234567",
            ("CAST(? AS datetime2(7))", "2013-01-02T03:04:05.1234567"),
        ),
        (column("varchar", max_length=8), "é", ("CAST(? AS varchar(8))", "é")),
        (
            column("char", max_length=8, collation="Polish_CI_AS"),
            "ł",
            ("CAST(? COLLATE Polish_CI_AS AS char(8))", "ł"),
        ),
        (column("nvarchar", max_length=16), "é", ("?", "é")),
        (column("timestamp"), "0x00000000000007D1", ("CAST(? AS binary(8))", b"\0\0\0\0\0\0\x07\xd1")),
        (column("uniqueidentifier"), "6F96", ("CAST(? AS uniqueidentifier)", "6F96")),
        (column("float"), "0.1", ("CAST(? AS float)", 0.1)),
    ],
)
def test_a_value_goes_back_as_the_columns_own_type(
    source: SourceColumn, text: str, expected: tuple[str, object]
) -> None:
    assert parameter(source, text) == expected


@pytest.mark.parametrize(
    ("text", "seconds", "expected"),
    [
        ("2013-01-02T00:00:05.1234567", 300, "2013-01-01T23:55:05.1234567"),
        ("2013-01-02T00:00:05.123", 0.5, "2013-01-02T00:00:04.623"),
        ("2013-01-02T00:00:05", 0.5, "2013-01-02T00:00:04"),
        ("2013-01-02T00:05", 30, "2013-01-02T00:04"),
        ("2013-01-02", 300, "2013-01-01"),
        ("2013-01-02T00:00:05.1234567+00:00", 5, "2013-01-02T00:00:00.1234567+00:00"),
        ("0001-01-01T00:00:00.0000000", 60, "0001-01-01T00:00:00.0000000"),
    ],
)
def test_a_lag_goes_back_at_least_as_far_as_asked_in_the_same_form(text: str, seconds: float, expected: str) -> None:
    assert earlier(text, seconds) == expected


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (column("int"), "many"),
        (column("bit"), ""),
        (column("float"), "1,5"),
        (column("varbinary", max_length=8), "0xZZ"),
        (column("rowversion"), "None"),
        (column("datetime"), "yesterday"),
    ],
)
def test_the_text_of_another_types_value_is_refused_by_the_columns_name(source: SourceColumn, text: str) -> None:
    with pytest.raises(CursorUnusable, match="which is what 'c' holds"):
        parameter(source, text)


def test_reading_does_not_continue_after_a_value_whose_type_is_unknown() -> None:
    with pytest.raises(CursorUnusable, match="'c' is a sql_variant") as refused:
        parameter(column("sql_variant"), "9")
    assert "CAST([c] AS nvarchar(400)) AS [c]" in refused.value.hint


@pytest.mark.parametrize(
    "answer", [None, "many", 1.5, float("inf"), Decimal("0.5"), Decimal("NaN"), b"1", datetime.min]
)
def test_what_a_server_answers_in_place_of_a_number_is_refused(answer: object) -> None:
    with pytest.raises(HomeError, match=r"Counting: the server returns .* where a whole number"):
        whole(answer, "Counting")


def test_a_timestamp_that_is_none_is_refused_by_the_columns_name() -> None:
    with pytest.raises(HomeError, match="'c' holds a text that is not a valid datetime2"):
        to_text(column("datetime2", scale=7), "noon")
