"""The statements that read a source."""

from __future__ import annotations

import pyarrow as pa
import pytest

from hygge_engine.errors import CursorUnusable, UnsupportedType
from hygge_engine.homes.base import Position, ReadWindow
from hygge_engine.homes.mssql.query import Selection, Statement, read_statement, sample_statement
from hygge_engine.homes.mssql.ranges import KeyRange
from hygge_engine.homes.mssql.tracking import changes_source
from hygge_engine.homes.mssql.types import SourceColumn, arrow_type, cursor_type, loss

ID = SourceColumn("id", "int", 4, 10, 0, nullable=False)
LINE = SourceColumn("line]no", "smallint", 2, 5, 0, nullable=False)
CHANGED = SourceColumn("changed", "datetime2", 8, 27, 7)
VERSION = SourceColumn("version", "timestamp", 8, nullable=False)


def read(
    window: ReadWindow,
    after: Position | None = None,
    to: Position | None = None,
    *,
    key: tuple[SourceColumn, ...] = (ID,),
    cursor: SourceColumn | None = None,
    columns: tuple[SourceColumn, ...] = (ID,),
    keep_offset: bool = False,
) -> Statement:
    return read_statement(Selection("[dbo].[t]", columns, key, keep_offset), window, cursor, KeyRange(after, to))


def test_a_full_read_follows_the_key() -> None:
    assert read(ReadWindow()).sql == "SELECT [id] AS [id] FROM [dbo].[t] AS [source] ORDER BY [source].[id]"


def test_a_table_without_a_key_is_read_in_any_order() -> None:
    assert read(ReadWindow(), key=()).sql == "SELECT [id] AS [id] FROM [dbo].[t] AS [source]"


def test_reading_goes_on_after_a_composite_key() -> None:
    statement = read(ReadWindow(), ["7", "2"], key=(ID, LINE))
    assert statement.sql == (
        "SELECT [id] AS [id] FROM [dbo].[t] AS [source] "
        "WHERE [id] >= ? AND (([id] > ?) OR ([id] = ? AND [line]]no] > ?)) "
        "ORDER BY [source].[id], [source].[line]]no]"
    )
    assert statement.parameters == [7, 7, 7, 2]


def test_a_range_of_a_composite_key_ends_with_its_last_row() -> None:
    statement = read(ReadWindow(), ["7", "2"], ["9", "4"], key=(ID, LINE))
    assert (
        "OR ([id] = ? AND [line]]no] > ?)) "
        "AND [id] <= ? AND (([id] < ?) OR ([id] = ? AND [line]]no] <= ?)) ORDER BY" in statement.sql
    )
    assert statement.parameters == [7, 7, 7, 2, 9, 9, 9, 4]


@pytest.mark.parametrize(
    ("after", "to", "condition", "parameters"),
    [
        (["7", "2"], ["7", "4"], "[id] = ? AND [line]]no] > ? AND [line]]no] <= ?", [7, 2, 4]),
        (["7", "2"], ["7", "2"], "[id] = ? AND [line]]no] > ? AND [line]]no] <= ?", [7, 2, 2]),
    ],
)
def test_a_range_within_one_value_of_the_first_column_is_one_that_an_index_finds(
    after: Position, to: Position, condition: str, parameters: list[int]
) -> None:
    statement = read(ReadWindow(), after, to, key=(ID, LINE))
    assert f"WHERE {condition} ORDER BY" in statement.sql
    assert statement.parameters == parameters


@pytest.mark.parametrize(
    ("after", "to"), [(["7"], ["7", "2"]), (["7", "2"], ["7"]), (["7", "1", "1"], ["7", "1", "2"])]
)
def test_bounds_of_another_key_are_refused(after: Position, to: Position) -> None:
    with pytest.raises(CursorUnusable, match="the key has 2"):
        read(ReadWindow(), after, to, key=(ID, LINE))


def test_a_first_incremental_read_takes_rows_without_a_cursor_too() -> None:
    statement = read(ReadWindow("changed", None, "2013-01-01T00:00:00.0000000"), cursor=CHANGED)
    assert "WHERE ([changed] <= CAST(? AS datetime2(7)) OR [changed] IS NULL) ORDER BY [source].[id]" in statement.sql


@pytest.mark.parametrize(("inclusive", "sign"), [(False, ">"), (True, ">=")])
def test_a_window_is_bounded_on_both_sides(inclusive: bool, sign: str) -> None:
    statement = read(ReadWindow("changed", "a", "b", lower_inclusive=inclusive), ["7"], cursor=CHANGED)
    assert statement.sql.endswith(
        f"WHERE [changed] {sign} CAST(? AS datetime2(7)) AND [changed] <= CAST(? AS datetime2(7)) AND [id] > ? "
        "ORDER BY [source].[id]"
    )
    assert statement.parameters == ["a", "b", 7]


def test_a_rowversion_window_ends_below_its_upper_bound() -> None:
    statement = read(ReadWindow("version", "0x01", "0x02"), cursor=VERSION)
    assert "[version] >= CAST(? AS binary(8)) AND [version] < CAST(? AS binary(8))" in statement.sql


def test_a_key_with_a_seventh_digit_is_written_out_by_the_server() -> None:
    statement = read(ReadWindow(), key=(CHANGED,))
    assert "CONVERT(nvarchar(40), [changed], 126) AS [position 0]" in statement.sql


TYPES = (
    *("bit", "tinyint", "int", "bigint", "decimal", "money", "real", "float", "date", "datetime", "smalldatetime"),
    *("datetime2", "datetimeoffset", "time", "char", "varchar", "nchar", "nvarchar", "text", "xml", "json", "vector"),
    *("binary", "varbinary", "timestamp", "uniqueidentifier", "sql_variant", "hierarchyid", "geometry", "geography"),
)
# Names that statements give to what they select, as names of columns.
NAMES = ("k", "position 0", "position 1", "key 0", "k__offset", "source")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("type_name", TYPES)
def test_rows_come_in_the_order_of_the_key_not_of_what_is_selected_by_its_name(type_name: str, name: str) -> None:
    key = [SourceColumn(name, type_name, scale=7, as_text=as_text) for as_text in (False, True)]
    selected = Selection("[dbo].[t]", key, key, keep_offset=True, ticks_as_text=True)
    for sql in (
        read_statement(selected, ReadWindow(), None, KeyRange()).sql,
        sample_statement("[dbo].[t]", key, sampled=10, step=1, most=40),
    ):
        what, _, order = sql.partition(" ORDER BY ")
        assert order == ", ".join([f"[source].[{name}]"] * 2)
        assert " FROM [dbo].[t] AS [source]" in what


@pytest.mark.parametrize("name", [*NAMES, "number"])
def test_keys_are_numbered_in_the_order_of_the_key_and_come_by_their_numbers(name: str) -> None:
    key = [SourceColumn(name, "datetime2", scale=7)]
    assert sample_statement("[dbo].[t]", key, "1 = 1", sampled=None, step=3, most=40) == (
        "SELECT TOP (40) [key 0] FROM (SELECT CONVERT(nvarchar(40), "
        f"[{name}], 126) AS [key 0], ROW_NUMBER() OVER (ORDER BY [source].[{name}]) AS [number] "
        "FROM [dbo].[t] AS [source] WHERE 1 = 1) AS [source] WHERE [number] % 3 = 0 ORDER BY [number]"
    )


def test_a_statement_in_parentheses_is_ordered_by_its_columns_too() -> None:
    changes = changes_source("[dbo].[t]", (ID,), ("id",))
    sql = read_statement(Selection(changes, [ID], [ID]), ReadWindow(), None, KeyRange()).sql
    assert sql.startswith("SELECT [id] AS [id] FROM (SELECT ")
    assert sql.endswith(") AS [source] ORDER BY [source].[id]")


def test_offsets_follow_the_columns() -> None:
    offset = SourceColumn("at", "datetimeoffset", 10, 34, 7)
    statement = read(ReadWindow(), columns=(offset, ID), keep_offset=True)
    assert "[at] AS [at], [id] AS [id], DATEPART(TZOFFSET, [at]) AS [at__offset] FROM" in statement.sql


def test_a_position_of_another_key_is_refused() -> None:
    with pytest.raises(CursorUnusable, match="a key of 2 columns, and now the key has 1"):
        read(ReadWindow(), ["7", "2"])


@pytest.mark.parametrize(
    ("type_name", "reason"),
    [("uniqueidentifier", "no order of time"), ("float", "inexact"), ("bit", "two values"), ("xml", "cannot compare")],
)
def test_what_cannot_be_a_cursor_is_refused_with_the_reason(type_name: str, reason: str) -> None:
    with pytest.raises(CursorUnusable, match=reason):
        cursor_type(SourceColumn("c", type_name))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (SourceColumn("c", "tinyint"), pa.int16()),
        (SourceColumn("c", "decimal", 17, 38, 38), pa.decimal128(38, 38)),
        (SourceColumn("c", "smallmoney"), pa.decimal128(10, 4)),
        (SourceColumn("c", "datetimeoffset", scale=7), pa.timestamp("us", "UTC")),
        (SourceColumn("c", "time", scale=7), pa.string()),
        (SourceColumn("c", "timestamp"), pa.binary()),
        (SourceColumn("c", "geography"), pa.binary()),
    ],
)
def test_a_column_becomes_what_the_design_says(source: SourceColumn, expected: pa.DataType) -> None:
    assert arrow_type(source) == expected


def test_a_type_without_a_place_is_named() -> None:
    with pytest.raises(UnsupportedType, match="'pairs' has the type 'my_clr_type'"):
        arrow_type(SourceColumn("pairs", "my_clr_type"))


def test_what_is_lost_is_said() -> None:
    assert loss(CHANGED) == "digits below a microsecond are cut"
    assert loss(SourceColumn("c", "datetime2", scale=6)) == ""
    assert "offset is not kept" in loss(SourceColumn("c", "datetimeoffset", scale=0))
    assert loss(SourceColumn("c", "datetimeoffset", scale=0), keeps_offset=True) == ""
