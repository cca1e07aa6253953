"""Which rows of SQL Server share a declared key."""

from __future__ import annotations

from contextlib import nullcontext

import pyarrow as pa
import pytest

from hygge_engine.errors import HomeUnavailable, KeyUnusable
from hygge_engine.homes.mssql import keys
from hygge_engine.homes.mssql.keys import KeyWatch
from hygge_engine.homes.mssql.types import SourceColumn


def watch(collation: str = "Latin1_General_CI_AS") -> KeyWatch:
    name, number = SourceColumn("name", "nvarchar", 400, collation=collation), SourceColumn("number", "int")
    return KeyWatch("dbo.things", [name, number], declared=True)


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize(
    ("collation", "first", "second", "repeats"),
    [
        ("Latin1_General_CI_AS", "abc", "ABC ", True),
        ("Latin1_General_CI_AS", "żółw", "ŻÓŁW", True),
        ("Latin1_General_CI_AS", "ß", "SS", False),
        ("Latin1_General_CI_AS", "i", "\u0131", False),
        ("Turkish_CI_AS", "i", "I", False),
        ("Latin1_General_CS_AS", "abc", "ABC", False),
        ("Latin1_General_CS_AS", "abc", "abc ", True),
    ],
)
def test_texts_repeat_where_the_server_takes_them_for_one(
    collation: str, first: str, second: str, repeats: bool, batches: int
) -> None:
    def look() -> None:
        seen = watch(collation)
        if batches == 1:
            seen.see([pa.array([first, second]), pa.array([1, 1])])
            return
        seen.see([pa.array([first]), pa.array([1])])
        seen.see([pa.array([second]), pa.array([1])])

    if repeats:
        with pytest.raises(KeyUnusable, match="1 row has the same key"):
            look()
    else:
        look()


def test_letters_are_looked_at_only_where_the_rest_of_the_key_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "fold", lambda text, folding: pytest.fail("a row was folded"))
    watch().see([pa.array(["Warszawa"] * 1_000), pa.array(range(1_000))])


@pytest.mark.parametrize("split", range(1, 4))
@pytest.mark.parametrize(
    "type_", [pa.uint8(), pa.int32(), pa.int64(), pa.decimal128(20, 0), pa.date32(), pa.timestamp("us")]
)
@pytest.mark.parametrize(
    ("sent", "is_refused"),
    [
        ([1, 2, 3, 4], False),
        ([1, 1, 2, 2], False),
        ([1, 2, 4, 3], True),
        ([1, 2, 1, 2], True),
        ([1, 3, 3, 4], True),
    ],
)
def test_rows_that_come_twice_or_out_of_the_order_of_their_key_are_refused(
    type_: pa.DataType, sent: list[int], split: int, *, is_refused: bool
) -> None:
    first = pa.array(sent, pa.int32() if pa.types.is_date(type_) else pa.int64()).cast(type_)
    seen = KeyWatch("dbo.things", [SourceColumn("id", "int"), SourceColumn("line", "int")], declared=False)
    lines = pa.array([4, 3, 3, 1])  # of the key's other columns the order is the server's
    with pytest.raises(HomeUnavailable, match="in the order of id, line") if is_refused else nullcontext():
        seen.see([first[:split], lines[:split]])
        seen.see([first[split:], lines[split:]])
