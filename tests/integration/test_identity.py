"""Keys that repeat are found before any of their rows lands, wherever they were declared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hygge_engine.cli.app import app
from hygge_engine.errors import HomeError
from hygge_engine.homes.mssql import keys
from hygge_engine.homes.mssql.types import SourceColumn
from hygge_engine.homes.mssql.values import to_text
from tests.integration.mssql_server import ServerProcess
from tests.support.mssql_landing import SQLITE, Landing

VIEW = "CREATE VIEW dbo.variants AS SELECT item, variant, qty FROM dbo.stocked"
ROWS = "(1,NULL,1), (1,'Alpha',2), (1,'Beta',3), (2,NULL,4), (2,'Alpha',5), (2,'Zeta',6), (3,NULL,7), (3,'Blue',8)"
KEY = {"key": ["item", "variant"]}


@pytest.fixture
def landing(mssql_server: ServerProcess, tmp_path: Path) -> Landing:
    return Landing(mssql_server, tmp_path / "project")


def stock(server: ServerProcess, rows: str) -> None:
    server.run(
        "DROP VIEW IF EXISTS dbo.variants",
        "DROP TABLE IF EXISTS dbo.stocked",
        "CREATE TABLE dbo.stocked (id int IDENTITY PRIMARY KEY, item int NOT NULL, variant nvarchar(20) NULL, "
        "qty int NOT NULL)",
        VIEW,
        f"INSERT INTO dbo.stocked (item, variant, qty) VALUES {rows}",
    )


@pytest.mark.parametrize("slice_minutes", [4.0, 1e-9])
@pytest.mark.parametrize("flow", [{}, {"run_type": "incremental", "watermark": {"column": "qty"}}])
def test_null_in_the_key_of_a_view_is_counted_before_anything_lands(
    mssql_server: ServerProcess, landing: Landing, flow: dict[str, Any], slice_minutes: float
) -> None:
    # The NULLs come last, so that a load of many slices would have landed rows before it met one.
    stock(mssql_server, ROWS.replace("(1,NULL,1), ", ""))
    landing.write("variants", home={**KEY, "batch_rows": 1}, slice_minutes=slice_minutes, **flow)
    error = landing.fail()
    assert error["error"] == "home.key_unusable"
    assert "variant is NULL in 2 rows, and is part of the key (item, variant)" in error["message"]
    assert landing.files("variants") == []


def test_null_that_an_increment_brings_stops_it_and_every_later_one_until_it_is_gone(
    mssql_server: ServerProcess, landing: Landing
) -> None:
    stock(mssql_server, "(1,'Alpha',1), (2,'Alpha',2)")
    landing.write("variants", home=KEY, run_type="incremental", watermark={"column": "qty"})
    assert landing.load()["rows"] == 2
    mssql_server.run("INSERT INTO dbo.stocked (item, variant, qty) VALUES (3, NULL, 3), (3, 'Blue', 4)")
    for _ in range(2):
        assert "variant is NULL in 1 row" in landing.fail()["message"]
    assert len(landing.files("variants")) == 1
    mssql_server.run("UPDATE dbo.stocked SET variant = 'Red' WHERE variant IS NULL")
    assert landing.load()["rows"] == 2


@pytest.mark.parametrize("batch_rows", [1, 2, 50])
@pytest.mark.parametrize("slice_minutes", [4.0, 1e-9])
def test_a_declared_key_that_repeats_is_found_in_whatever_batches_and_slices_it_comes(
    mssql_server: ServerProcess, landing: Landing, batch_rows: int, slice_minutes: float
) -> None:
    stock(mssql_server, "(1,'Alpha',1), (1,'Beta',2), (2,'Alpha',3), (2,'Alpha',4), (2,'Alpha',5), (3,'Blue',6)")
    landing.write("variants", home={**KEY, "batch_rows": batch_rows}, slice_minutes=slice_minutes)
    error = landing.fail()
    assert (error["error"], "(item, variant)" in error["message"]) == ("home.key_unusable", True)


@pytest.mark.parametrize("slice_minutes", [4.0, 1e-9])
@pytest.mark.parametrize(
    "rows",
    [
        # To the server these are one key, and come in any order among themselves.
        "(1,'red',1), (1,'RED',2), (1,'red',3), (2,'red',4)",
        "(1,'red',1), (1,'Red  ',2), (2,'blue',3)",
        "(1,'zażółć',1), (1,'ZAŻÓŁĆ',2)",
    ],
)
def test_a_declared_key_repeats_where_the_server_takes_its_texts_for_one(
    mssql_server: ServerProcess, landing: Landing, rows: str, slice_minutes: float
) -> None:
    stock(mssql_server, rows.replace("'z", "N'z").replace("'Z", "N'Z"))
    home = {**KEY, "batch_rows": 1 if slice_minutes < 1 else 50}
    landing.write("variants", home=home, store=SQLITE, slice_minutes=slice_minutes)
    error = landing.fail()
    assert (error["error"], "(item, variant)" in error["message"]) == ("home.key_unusable", True)
    assert "variants" not in landing.tables()


def test_a_declared_key_that_repeats_among_spellings_that_only_the_server_takes_for_one_is_found(
    mssql_server: ServerProcess, landing: Landing, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A collation knows more of them than case: accents, width, ß and ss.
    monkeypatch.setattr(keys, "fold", lambda text, folding: text)
    stock(mssql_server, "(1,'red',1), (1,'RED',2), (1,'red',3)")
    landing.write("variants", home=KEY, store=SQLITE)
    assert "1 row has the same key as another one" in landing.fail()["message"]


def test_texts_that_the_server_tells_apart_are_keys_of_their_own(mssql_server: ServerProcess, landing: Landing) -> None:
    stock(mssql_server, "(1,'l',1), (1,N'ł',2), (1,'s',3), (1,N'ß',4), (1,' s',5)")
    landing.write("variants", home=KEY, store=SQLITE)
    assert landing.load()["rows"] == 5
    assert landing.ask("SELECT count(*) FROM variants") == [(5,)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("(1,NULL,1), (2,'Beta',2)", "variant is NULL in 1 row"),
        ("(1,'Alpha',1), (2,'Beta',2), (3,'Alpha',3)", "1 row has the same key as another one"),
    ],
)
@pytest.mark.parametrize(
    "polish",
    [{}, {"rename": {"variant": "kind"}}, {"mask": {"variant": "hash"}, "hash_salt": "0123456789"}],
)
def test_a_key_of_the_store_that_is_not_the_source_s_own_is_looked_at_as_rows_arrive(
    mssql_server: ServerProcess, landing: Landing, rows: str, words: str, polish: Mapping[str, Any]
) -> None:
    stock(mssql_server, rows)
    store = {**SQLITE, "key_columns": ["variant"]}
    landing.write("stocked", store=store, run_type="incremental", watermark={"column": "id"}, polish=polish)
    error = landing.fail()
    assert error["error"] == "home.key_unusable"
    assert words.removeprefix("variant") in error["message"]
    assert landing.tables() == []


def test_a_surrogate_key_has_a_value_where_its_columns_have_none(mssql_server: ServerProcess, landing: Landing) -> None:
    stock(mssql_server, ROWS)
    store = {**SQLITE, "key_columns": ["row_id"]}
    landing.write(
        "stocked", store=store, polish={"hash_ids": {"row_id": ["item", "variant"]}, "hash_salt": "0123456789"}
    )
    assert landing.load()["rows"] == 8


@pytest.mark.parametrize("value", [None, [1], {"a": 1}, object()])
def test_no_position_is_made_of_a_value_without_an_exact_text(value: object) -> None:
    with pytest.raises(HomeError, match="has no exact text"):
        to_text(SourceColumn("variant", "nvarchar", 40), value)


SEVENTH_DIGIT = "(1, '2024-01-01T00:00:00.1234567'), (1, '2024-01-01T00:00:00.1234568'), (2, '2024-01-01')"


def readings(server: ServerProcess, type_: str = "datetime2(7)") -> None:
    server.run(
        "DROP TABLE IF EXISTS dbo.readings",
        f"CREATE TABLE dbo.readings (sensor int, at {type_}, PRIMARY KEY (sensor, at))",
        f"INSERT INTO dbo.readings VALUES {SEVENTH_DIGIT}",
    )


@pytest.mark.parametrize("type_", ["datetime2(7)", "datetimeoffset(7)"])
def test_a_key_that_would_lose_its_last_digit_is_refused_and_lands_as_text(
    mssql_server: ServerProcess, landing: Landing, type_: str
) -> None:
    readings(mssql_server, type_)
    landing.write("readings", store=SQLITE)
    error = landing.fail()
    assert error["error"] == "home.key_unusable"
    assert "`at`" in error["message"]
    assert "as_text" in error["message"]
    assert landing.tables() == []
    landing.write("readings", store=SQLITE, home={"as_text": ["AT"], "batch_rows": 1}, slice_minutes=1e-9)
    assert landing.load()["rows"] == 3
    zone = "+00:00" if type_.startswith("datetimeoffset") else ""
    expected = [
        (1, f"2024-01-01T00:00:00.1234567{zone}"),
        (1, f"2024-01-01T00:00:00.1234568{zone}"),
        (2, f"2024-01-01T00:00:00.0000000{zone}"),
    ]
    assert landing.ask("SELECT sensor, at FROM readings ORDER BY sensor, at") == expected


@pytest.mark.parametrize("flow", [{"store": SQLITE}, {}], ids=["sqlite", "parquet"])
def test_slices_by_a_key_that_lands_as_text_bring_each_row_once(
    mssql_server: ServerProcess, landing: Landing, flow: dict[str, Any]
) -> None:
    # The order of these instants is not that of their texts.
    values = ", ".join(f"({n}, '2024-01-01 0{n}:00:00.000000{n} {'-+'[n % 2]}0{n}:30')" for n in range(9))
    mssql_server.run(
        "DROP TABLE IF EXISTS dbo.readings",
        "CREATE TABLE dbo.readings (id int, at datetimeoffset(7) PRIMARY KEY)",
        f"INSERT INTO dbo.readings VALUES {values}",
    )
    home = {"as_text": ["at"], "batch_rows": 2, "readers": 1}
    landing.write("readings", home=home, slice_minutes=1e-9, **flow)
    assert landing.load()["rows"] == 9
    landed = landing.ask("SELECT id FROM readings") if flow else [(n,) for n in landing.ids("readings")]
    assert sorted(landed) == [(n,) for n in range(9)]


def test_increments_and_changes_find_rows_by_a_key_that_lands_as_text(
    mssql_server: ServerProcess, landing: Landing
) -> None:
    readings(mssql_server)
    mssql_server.run("ALTER TABLE dbo.readings ADD value int NOT NULL DEFAULT 0, changed rowversion")
    home = {"as_text": ["at"]}
    for watermark in ({"column": "at"}, {"column": "changed"}):
        store = {**SQLITE, "table_name": f"by_{watermark['column']}"}
        landing.write("readings", store=store, home=home, run_type="incremental", watermark=watermark)
        landing.load("--run-type", "full_drop")
        mssql_server.run(
            "UPDATE dbo.readings SET value += 1 WHERE at = '2024-01-01T00:00:00.1234568'",
            f"INSERT INTO dbo.readings (sensor, at) VALUES (3, '2024-02-0{len(watermark['column'])}')",
        )
        landing.load()
        landed = landing.ask(f"SELECT count(*), count(DISTINCT at) FROM {store['table_name']}")
        there = mssql_server.run("SELECT count(*), count(DISTINCT at) FROM dbo.readings")[0]
        assert [tuple(row) for row in there] == landed


def test_a_store_that_keeps_every_row_takes_such_a_key_as_it_is(mssql_server: ServerProcess, landing: Landing) -> None:
    readings(mssql_server)
    landing.write("readings")
    assert landing.load()["rows"] == 3


@pytest.mark.parametrize(
    "polish", [{"hash_ids": {"row_id": ["sensor", "at"]}}, {"mask": {"at": "hash"}}, {"hash_ids": {"row_id": ["at"]}}]
)
def test_no_hash_is_made_of_a_column_that_loses_digits(
    mssql_server: ServerProcess, landing: Landing, polish: dict[str, Any]
) -> None:
    readings(mssql_server)
    landing.write("readings", polish={**polish, "hash_salt": "0123456789"})
    assert "values that differ would have one hash" in landing.fail()["message"]
    landing.write("readings", polish={**polish, "hash_salt": "0123456789"}, home={"as_text": ["at"]})
    assert landing.load()["rows"] == 3


@pytest.mark.parametrize("named", [["sensor"], ["nothing"]])
def test_as_text_is_for_columns_that_lose_digits(
    mssql_server: ServerProcess, landing: Landing, named: list[str]
) -> None:
    readings(mssql_server)
    landing.write("readings", home={"as_text": named})
    assert landing.fail()["error"] in ("configuration", "home.not_found")


def test_plan_says_what_a_load_would_refuse(mssql_server: ServerProcess, landing: Landing) -> None:
    readings(mssql_server)
    landing.write("readings", store=SQLITE)
    result = CliRunner().invoke(app, ["plan", "--project", str(landing.directory)])
    assert (result.exit_code, "values that differ may become one" in result.output) == (1, True)


def test_a_key_of_the_store_is_not_trimmed(mssql_server: ServerProcess, landing: Landing) -> None:
    stock(mssql_server, "(1,' Alpha',1), (2,'Alpha',2)")
    landing.write("stocked", store={**SQLITE, "key_columns": ["variant"]}, polish={"trim": True})
    assert "two keys may become one" in landing.fail()["message"]
