"""A source whose newest value goes back, or lies far in the future: nothing is passed over without a word."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from hygge_engine.cli.app import app
from tests.integration.mssql_server import ServerProcess, own_name
from tests.support.mssql_landing import SQLITE, Landing

pytestmark = pytest.mark.any_server

# Types of a watermark, an early value, a later one, and one far in the future where there is such a thing.
CURSORS: dict[str, tuple[str, str, str]] = {
    "int": ("3", "5", ""),
    "bigint": ("3", "50", ""),
    "decimal(20, 0)": ("3", "50", ""),
    "varchar(10)": ("'b'", "'d'", ""),
    "date": ("'2024-01-03'", "'2024-01-05'", "'2099-01-01'"),
    "datetime": ("'2024-01-01T00:00:00.003'", "'2024-01-01T00:00:00.007'", "'2099-01-01'"),
    "smalldatetime": ("'2024-01-01T00:01:00'", "'2024-01-01T00:02:00'", "'2078-01-01'"),
    "datetime2(0)": ("'2024-01-01T00:00:01'", "'2024-01-01T00:00:02'", "'2099-01-01'"),
    "datetime2(7)": ("'2024-01-01T00:00:00.1234567'", "'2024-01-01T00:00:00.1234568'", "'9999-12-31T23:59:59.9999999'"),
    "datetimeoffset(7)": ("'2024-01-01T00:00:00+02:00'", "'2024-01-01T00:00:00+01:00'", "'2099-01-01T00:00:00+14:00'"),
}
# For what hangs on the order of values alone, not on how exactly a type holds them.
KINDS = ["int", "varchar(10)", "date", "datetimeoffset(7)"]
TIMES = [type_ for type_, (_, _, far) in CURSORS.items() if far]


class Moving(Landing):
    """The table dbo.moving (id, at), landed in SQLite."""

    def __init__(self, server: ServerProcess, directory: Path) -> None:
        super().__init__(server, directory)
        self._server = server

    def create(self, type_: str, **watermark: Any) -> None:
        self.sql(
            "DROP TABLE IF EXISTS dbo.moving", f"CREATE TABLE dbo.moving (id int PRIMARY KEY, at {type_} NOT NULL)"
        )
        self.say(**watermark)

    def say(self, **watermark: Any) -> None:
        """Describe the flow again, its watermark above all."""
        self.write("moving", store=SQLITE, run_type="incremental", watermark={"column": "at", **watermark})

    def sql(self, *statements: str) -> None:
        self._server.run(*statements)

    def put(self, *rows: tuple[int, str]) -> None:
        self.sql(*(f"INSERT INTO dbo.moving VALUES ({id_}, {at})" for id_, at in rows))

    def landed(self) -> list[int]:
        return [int(id_) for (id_,) in self.ask("SELECT id FROM moving ORDER BY id")]

    def run(self, command: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [command, "--project", str(self.directory)])
        return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def moving(mssql_server: ServerProcess, tmp_path: Path) -> Moving:
    return Moving(mssql_server, tmp_path / "project")


@pytest.mark.parametrize(("type_", "emptied"), [*((type_, False) for type_ in KINDS), ("int", True)])
def test_a_source_that_falls_back_stops_the_load_or_reloads_the_table(
    moving: Moving, type_: str, emptied: bool
) -> None:
    early, late, _ = CURSORS[type_]
    moving.create(type_)
    moving.put((1, early), (2, late))
    assert moving.load()["rows"] == 2
    moving.sql("TRUNCATE TABLE dbo.moving")
    if not emptied:
        moving.put((7, early), (8, early))
    error = moving.fail()
    assert (error["error"], "on_backwards" in error["message"]) == ("home.cursor_moved_back", True)
    assert moving.landed() == [1, 2]
    moving.say(on_backwards="reload")
    assert "reloaded" in moving.load()["message"]
    assert (moving.landed() if moving.tables() else []) == ([] if emptied else [7, 8])
    moving.put((9, late))
    assert moving.load()["rows"] >= 1
    assert 9 in moving.landed()


@pytest.mark.parametrize("type_", ["int", "varchar(10)", "datetime2(7)"])
def test_a_source_that_has_fallen_back_stays_noticed_whatever_it_grows_to(moving: Moving, type_: str) -> None:
    early, late, _ = CURSORS[type_]
    moving.create(type_)
    moving.put((1, early), (2, late))
    moving.load()
    moving.sql("TRUNCATE TABLE dbo.moving")
    moving.put((7, early))
    moving.fail()
    moving.put((8, late))
    for _ in range(2):
        error = moving.fail()
        assert (error["error"], "as an earlier load has found" in error["message"]) == ("home.cursor_moved_back", True)
    assert "as an earlier load has found" in moving.run("plan")[1]
    assert moving.landed() == [1, 2]
    moving.load("--run-type", "full_drop")
    assert moving.landed() == [7, 8]
    assert moving.load()["rows"] == 0


@pytest.mark.parametrize("type_", ["int", "varchar(10)"])
def test_a_row_in_the_place_of_another_at_the_watermark_lands(moving: Moving, type_: str) -> None:
    early, late, _ = CURSORS[type_]
    moving.create(type_)
    moving.put((1, early), (2, early))
    moving.load()
    moving.sql("DELETE FROM dbo.moving WHERE id = 2")
    moving.put((3, early), (4, late))
    assert moving.load()["rows"] == 2
    assert moving.landed() == [1, 2, 3, 4]


def test_rows_at_the_watermark_do_not_land_again_because_columns_come_and_go(moving: Moving) -> None:
    moving.create("int")
    moving.sql("ALTER TABLE dbo.moving ADD note varchar(9)")
    moving.sql("INSERT INTO dbo.moving VALUES (1, 4, 'kept'), (2, 5, 'kept'), (3, 5, 'lost')")
    moving.load()
    moving.sql("ALTER TABLE dbo.moving DROP COLUMN note", "ALTER TABLE dbo.moving ADD more int NOT NULL DEFAULT 7")
    moving.sql("DELETE FROM dbo.moving WHERE id = 3", "INSERT INTO dbo.moving (id, at) VALUES (4, 5), (5, 6)")
    assert moving.load()["rows"] == 2  # one that took another's place at the watermark, and one beyond it
    notes = moving.ask("SELECT id, note, more FROM moving ORDER BY id")
    assert notes == [(1, "kept", None), (2, "kept", None), (3, "lost", None), (4, None, 7), (5, None, 7)]


@pytest.mark.parametrize(
    ("type_", "began"), [("int", "before the first load"), *((type_, "after one") for type_ in CURSORS)]
)
def test_a_bound_that_only_a_corrected_row_had_is_never_the_watermark(moving: Moving, type_: str, began: str) -> None:
    """The load fails before anything of it has landed, as its message says, and the source is corrected as it says."""
    early, late, _ = CURSORS[type_]
    moving.create(type_)
    if began == "after one":
        moving.put((1, early))
        moving.load()
    moving.put((2, early), (999, late))
    expected = {"range": {"columns": {"id": {"max": 9}}}}
    moving.write("moving", store=SQLITE, run_type="incremental", watermark={"column": "at"}, expectations=expected)
    moving.fail()
    moving.sql(f"UPDATE dbo.moving SET id = 3, at = {early} WHERE id = 999")
    moving.load()
    moving.put((4, late))
    assert moving.load()["rows"] >= 1
    assert moving.landed() == [id_ for id_ in (1, 2, 3, 4) if id_ > 1 or began == "after one"]
    assert moving.load()["rows"] == 0


@pytest.mark.parametrize(
    ("type_", "first"),
    [
        ("date", "'0001-01-01'"),
        ("datetime", "'1753-01-01'"),
        ("smalldatetime", "'1900-01-01'"),
        ("datetime2(7)", "'0001-01-01'"),
        ("datetimeoffset(3)", "'0001-01-01T00:00:00+00:00'"),
    ],
)
def test_a_lag_that_goes_back_beyond_the_first_value_of_a_type_begins_there(
    moving: Moving, type_: str, first: str
) -> None:
    moving.create(type_, lag="90s")
    moving.put((1, first))
    moving.load()
    moving.put((2, first))
    moving.load()
    assert moving.landed() == [1, 2]


def test_a_synonym_that_leads_elsewhere_is_told_of(moving: Moving) -> None:
    moving.create("int")
    moving.put((1, "3"))
    moving.sql(
        "DROP SYNONYM IF EXISTS dbo.alias",
        "DROP TABLE IF EXISTS dbo.second",
        "CREATE TABLE dbo.second (id int PRIMARY KEY, at int NOT NULL)",
        "INSERT INTO dbo.second VALUES (2, 5)",
        "CREATE SYNONYM dbo.alias FOR dbo.moving",
    )
    moving.write("alias", store=SQLITE, run_type="incremental", watermark={"column": "at"})
    assert "synonym" not in moving.load().get("message", "")
    assert "synonym" not in moving.run("plan")[1]
    moving.sql("DROP SYNONYM dbo.alias", "CREATE SYNONYM dbo.alias FOR dbo.second")
    words = "its rows came from dbo.moving so far, for which the synonym stood, and come from dbo.second now"
    assert words in moving.run("plan")[1]
    assert words in moving.load()["message"]


@pytest.mark.parametrize("declared", ["varchar(10) COLLATE Latin1_General_BIN2", "nvarchar(10)"])
def test_a_watermark_of_texts_is_none_in_another_order(moving: Moving, declared: str) -> None:
    """In the order of before, B lies between a and c; in that of bytes, before both."""
    moving.create("varchar(10) COLLATE Latin1_General_CI_AS")
    moving.put((1, "'a'"), (2, "'c'"))
    moving.load()
    moving.sql(f"ALTER TABLE dbo.moving ALTER COLUMN at {declared} NOT NULL")
    moving.put((3, "'D'"))
    for _ in range(2):
        error = moving.fail()
        assert (error["error"], "in the order of Latin1_General_CI_AS so far" in error["message"]) == (
            "home.cursor_unusable",
            True,
        )
    code, told = moving.run("plan")
    assert (code, "in the order of Latin1_General_CI_AS so far" in told) == (1, True)
    moving.load("--run-type", "full_drop")
    assert moving.landed() == [1, 2, 3]
    moving.put((4, "'f'"))
    moving.load()
    assert moving.landed() == [1, 2, 3, 4]


def test_a_window_of_texts_that_ends_before_it_begins_is_refused(moving: Moving) -> None:
    """By the column's own order: to the server, B lies between a and c."""
    moving.create("varchar(10) COLLATE Latin1_General_CI_AS")
    moving.put((1, "'a'"), (2, "'B'"), (3, "'c'"))
    moving.load()
    order = ["go", "--project", str(moving.directory), "--from"]
    refused = CliRunner().invoke(app, [*order, "c", "--to", "B"])
    assert (refused.exit_code, "which is earlier" in " ".join(refused.output.split())) == (2, True), refused.output
    assert CliRunner().invoke(app, [*order, "a", "--to", "B"]).exit_code == 0


def test_who_wants_it_ignored_is_told_each_time(moving: Moving) -> None:
    moving.create("int", on_backwards="ignore")
    moving.put((1, "3"), (2, "5"))
    moving.load()
    moving.sql("DELETE FROM dbo.moving WHERE id = 2")
    for _ in range(2):
        settled = moving.load()
        assert (settled["rows"], "rows that come below are not read" in settled["message"]) == (0, True)
    moving.put((3, "6"))
    assert moving.load()["rows"] == 1


def test_who_ignores_what_a_load_has_noticed_is_told_until_a_reload(moving: Moving) -> None:
    moving.create("int")
    moving.put((1, "3"), (2, "5"))
    moving.load()
    moving.sql("DELETE FROM dbo.moving WHERE id = 2")
    moving.put((3, "4"))
    assert moving.fail()["error"] == "home.cursor_moved_back"
    moving.put((4, "6"))
    moving.say(on_backwards="ignore")
    words = (
        "loaded up to at 5, and now its newest is 4, as an earlier load has found: rows that came below are not read"
    )
    for rows in (1, 0):
        assert words in moving.run("plan")[1]
        assert words in moving.run("doctor")[1]
        settled = moving.load()
        assert (settled["rows"], words in settled["message"]) == (rows, True)
    moving.load("--run-type", "full_drop")
    assert moving.landed() == [1, 3, 4]
    assert words not in moving.run("plan")[1] + moving.run("doctor")[1]


def test_plan_and_doctor_tell_of_it_beforehand(moving: Moving) -> None:
    moving.create("int")
    moving.put((1, "3"), (2, "5"))
    moving.load()
    assert moving.run("plan")[0] == moving.run("doctor")[0] == 0
    moving.sql("DELETE FROM dbo.moving WHERE id = 2")
    for command in ("plan", "doctor"):
        code, output = moving.run(command)
        assert (code, "loaded up to at 5, and now its newest is 3" in output) == (1, True)
    moving.say(on_backwards="reload")
    for command in ("plan", "doctor"):
        code, output = moving.run(command)
        assert (code, "loaded up to at 5, and now its newest is 3" in output) == (0, True)


@pytest.mark.parametrize("type_", TIMES)
def test_a_row_far_in_the_future_holds_nothing_up(moving: Moving, type_: str) -> None:
    early, late, far = CURSORS[type_]
    moving.create(type_)
    moving.put((1, early))
    moving.load()
    moving.put((2, far), (3, late))
    settled = moving.load()
    assert (settled["rows"], "after the source's clock" in settled["message"]) == (1, True)
    moving.put((4, "SYSDATETIME()"))
    assert moving.load()["rows"] == 1
    moving.sql("UPDATE dbo.moving SET at = SYSDATETIME() WHERE id = 2")
    settled = moving.load()
    assert (settled["rows"] >= 1, settled.get("message", "")) == (True, "")
    assert moving.landed() == [1, 2, 3, 4]


def test_a_whole_read_leaves_no_row_out_whatever_its_time(moving: Moving) -> None:
    moving.create("datetime2(3)")
    moving.put((1, "'2024-01-01'"), (2, "'2099-01-01'"))
    assert moving.load()["rows"] == 2
    for command in ("plan", "doctor"):
        code, output = moving.run(command)
        assert (code, "1 row has a at after the source's clock" in output) == (0, True)
    moving.put((3, "'2024-01-02'"))
    assert moving.load()["rows"] == 1
    assert moving.load("--run-type", "full_drop")["rows"] == 3
    moving.put((4, "'2024-01-03'"))
    assert moving.load()["rows"] == 1
    assert moving.landed() == [1, 2, 3, 4]


def test_how_far_ahead_a_time_may_lie_is_a_setting(moving: Moving) -> None:
    moving.create("datetime2(3)", max_ahead="1h")
    moving.put((1, "'2024-01-01'"))
    moving.load()
    moving.put((2, "DATEADD(hour, 2, SYSUTCDATETIME())"))
    assert moving.load()["rows"] == 0
    moving.say(max_ahead="3h")
    result = moving.load()
    assert (result["rows"], "lies ahead of the source's clock" in result["message"]) == (1, True)
    for command in ("plan", "doctor"):
        assert "lies ahead of the source's clock" in moving.run(command)[1]
    moving.say(max_ahead="1h")
    error = moving.fail()  # what was loaded with another setting is a leap by this one
    assert (error["error"], "far ahead of the source's clock" in error["message"]) == ("home.cursor_moved_back", True)


@pytest.mark.parametrize("waited", ["from the first load on", "since an increment"])
def test_a_waiting_row_that_is_corrected_below_the_watermark_is_told_of(moving: Moving, waited: str) -> None:
    moving.create("datetime2(3)")
    moving.put((1, "'2024-01-01'"), (2, "'2024-01-05'"))
    if waited == "from the first load on":
        moving.put((3, "'2099-01-01'"))
        moving.load()
    else:
        moving.load()
        moving.put((3, "'2099-01-01'"))
        moving.load()
    moving.sql("UPDATE dbo.moving SET at = '2024-01-02' WHERE id = 3")
    words = "corrected to one up to 2024-01-05"
    for command in ("plan", "doctor"):
        assert words in moving.run(command)[1]
    assert words in moving.load()["message"]
    assert words not in moving.load().get("message", "")
    moving.load("--run-type", "full_drop")
    assert moving.landed() == [1, 2, 3]


def test_only_a_row_far_in_the_future_is_no_bound_at_all(moving: Moving) -> None:
    moving.create("datetime2(3)")
    moving.put((1, "'2099-01-01'"))
    assert moving.load()["rows"] == 1
    moving.put((2, "'2024-01-01'"))
    moving.load()
    moving.put((3, "'2024-01-02'"))
    moving.load()
    assert moving.landed() == [1, 2, 3]


def test_a_rowversion_that_went_back_with_a_restored_database_is_noticed(
    mssql_server: ServerProcess, moving: Moving
) -> None:
    before, restored = own_name("before"), own_name("restored")
    for name in (before, restored):
        mssql_server.run(f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
        mssql_server.run("CREATE TABLE dbo.moving (id int PRIMARY KEY, v rowversion)", database=name)
        for id_ in range(9 if name == before else 3):
            mssql_server.run(f"INSERT INTO dbo.moving (id) VALUES ({id_})", database=name)
    flow: dict[str, Any] = {"store": SQLITE, "run_type": "incremental"}
    moving.write("moving", database=before, watermark={"column": "v"}, **flow)
    moving.load()
    moving.write("moving", database=restored, watermark={"column": "v"}, **flow)
    assert moving.fail()["error"] == "home.cursor_moved_back"
    moving.write("moving", database=restored, watermark={"column": "v", "on_backwards": "reload"}, **flow)
    moving.load()
    assert moving.landed() == [0, 1, 2]


NOW = datetime.now(UTC)


def age(path: Path, **back: float) -> None:
    moment = (NOW - timedelta(**back)).timestamp()
    os.utime(path, (moment, moment))


@pytest.mark.parametrize("watermark", [{"file_modified": True}, {"column": "at"}])
@pytest.mark.parametrize("format_", ["csv", "parquet"])
def test_files_that_go_back_or_leap_ahead(
    mssql_server: ServerProcess, tmp_path: Path, watermark: dict[str, Any], format_: str
) -> None:
    moving = Moving(mssql_server, tmp_path / "project")
    files = moving.directory / "in"

    def put(name: str, **back: float) -> Path:
        files.mkdir(parents=True, exist_ok=True)
        path = files / f"{name}.{format_}"
        rows = pl.DataFrame({"id": [int(name)], "at": [(NOW - timedelta(**back)).replace(microsecond=0)]})
        rows.write_csv(path) if format_ == "csv" else rows.write_parquet(path)
        age(path, **back)
        return path

    def say(**more: Any) -> None:
        home = {"type": "local", "path": f"in/*.{format_}", "format": format_, "key": ["id"]}
        moving.directory.mkdir(exist_ok=True)
        (moving.directory / "hygge.yml").write_text("name: files\n")
        flow = {"home": home, "store": SQLITE, "run_type": "incremental", "entities": ["moving"]}
        (moving.directory / "flows/files").mkdir(parents=True, exist_ok=True)
        (moving.directory / "flows/files/flow.yml").write_text(yaml.safe_dump({**flow, "watermark": watermark | more}))

    put("1", days=9)
    say()
    moving.load()
    far = put("2", days=-9000)
    put("3", days=8)
    settled = moving.load()
    assert (settled["rows"], "after the source's clock" in settled["message"]) == (1, True)
    far.unlink()
    newest = put("2", days=7)
    assert moving.load()["rows"] == 1
    newest.unlink()
    assert moving.fail()["error"] == "home.cursor_moved_back"
    assert moving.run("plan")[0] == moving.run("doctor")[0] == 1
    say(on_backwards="reload")
    moving.load()
    assert moving.landed() == [1, 3]
