"""Tables that follow SQL Server's change data capture: what a reader of the mirrored table sees after every load."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud.onelake import OneLake
from hygge_engine.errors import CursorUnusable, HomeUnavailable
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from hygge_engine.orchestration import survey
from hygge_engine.project.models.settings import CHANGE_DATA_CAPTURE
from hygge_engine.row_counts import COUNT_NAMES
from tests.integration.mssql_server import DRIVERS, READER, READER_PASSWORD, ServerProcess, connect, own_name
from tests.integration.tracked_shop import CHANGES, TrackedShop, any_change

pytestmark = pytest.mark.any_server

# Sequences of changes that are tried; `make faults` asks for more.
SEEDS = int(os.environ.get("CAPTURE_SEEDS", "1"))

DATABASE, LANDED = own_name("captured"), own_name("landed_captured")

ENABLE = "EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'items', @role_name = NULL"
SECOND = f"{ENABLE}, @capture_instance = N'second'"
DISABLE = "EXEC sys.sp_cdc_disable_table @source_schema = N'dbo', @source_name = N'items', @capture_instance = "
CLEAN_UP = """DECLARE @mark binary(10) = sys.fn_cdc_get_max_lsn(); \
EXEC sys.sp_cdc_cleanup_change_table @capture_instance = N'dbo_items', @low_water_mark = @mark"""
CREATE = """CREATE TABLE dbo.items (id int NOT NULL PRIMARY KEY, name nvarchar(20), \
at datetime2(3) NOT NULL DEFAULT SYSUTCDATETIME())"""


@pytest.fixture
def world(mssql_server: ServerProcess, lake: OneLake, tmp_path: Path) -> Iterator[TrackedShop]:
    mssql_server.run(f"CREATE DATABASE {DATABASE}")
    try:
        world = TrackedShop(mssql_server, lake, tmp_path / "project", DATABASE, LANDED, "{ cdc: true }")
        world.sql(
            CREATE,
            "EXEC sys.sp_cdc_enable_db",
            ENABLE,
            "INSERT INTO dbo.items (id, name) SELECT value, CONCAT(N'item ', value) FROM GENERATE_SERIES(1, 9)",
        )
        yield world
    finally:
        mssql_server.run(f"USE master; DROP DATABASE {DATABASE}")


def open_captured(server: ServerProcess, driver: str, **login: str) -> MssqlHome:
    settings = {"type": "mssql", "connection": "shop", "table": "dbo.items", "batch_rows": 1}
    connection = connect(server.address, driver, database=DATABASE, **login)
    return MssqlHome(connection, MssqlHomeSettings.model_validate(settings), captured_by=True)


def test_inserts_updates_deletes_and_changed_keys_arrive(world: TrackedShop) -> None:
    first = world.load()
    assert (first["rows"], first["watermark"]) == (9, "0x0000002A000000110001")
    world.check()
    world.sql(
        *CHANGES,
        "BEGIN TRANSACTION; UPDATE dbo.items SET id = 20 WHERE id = 4; "
        "UPDATE dbo.items SET id = 21 WHERE id = 20; COMMIT TRANSACTION",
    )
    second = world.load()
    # Inserted 10 and 21; updated 1; deleted 2, 3, 4, 11 and 20.
    assert (second["rows"], *(second.get(name) for name in COUNT_NAMES)) == (8, 2, 1, 5, None)
    world.check()
    assert world.load()["rows"] == 0
    world.sql("DELETE FROM dbo.items")
    assert world.load()["rows"] == 8
    world.check()


def test_slices_of_one_large_transaction_lose_and_double_nothing(world: TrackedShop) -> None:
    world.write(slice_minutes=0.00001)
    world.use_store({"type": "sqlite", "path": "landed.db"}, {})
    assert world.load()["rows"] == 9
    world.sql(
        "BEGIN TRANSACTION; UPDATE dbo.items SET name = N'x'; DELETE FROM dbo.items WHERE id % 2 = 0; "
        "INSERT INTO dbo.items (id, name) VALUES (2, N'back'); COMMIT TRANSACTION"
    )
    settled = world.load()
    assert (settled["rows"], settled["attempts"] > 3) == (9, True)
    assert world.landed() == world.sql("SELECT id, name FROM dbo.items ORDER BY id")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_sequence_of_changes_ends_with_the_table_as_it_is(
    world: TrackedShop, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """What has landed is compared with the table alone, over changes of keys, columns and instances, whole reloads and
    a capture job that stops and goes on."""
    chance = random.Random(seed)
    if seed % 2:
        world.write(slice_minutes=0.00001)
    world.use_store({"type": "sqlite", "path": "landed.db"}, {})
    world.load()
    columns, is_stopped, instances = "", False, ["dbo_items"]
    for number in range(9):
        statements = [any_change(chance, "dbo.items", "name", 12, number, columns) for _ in range(chance.randint(1, 4))]
        world.sql(f"BEGIN TRANSACTION; {'; '.join(statements)}; COMMIT TRANSACTION")
        match chance.randint(1, 8):
            case 1 if not columns:
                world.sql("ALTER TABLE dbo.items ADD size int")
                columns = f", size = {number}"
            case 2 if len(instances) < 2 and not is_stopped:
                instances.append(f"instance_{number}")
                world.sql(f"{ENABLE}, @capture_instance = N'{instances[-1]}'")
            case 3 if len(instances) == 2 and not is_stopped:
                world.load()
                world.load()  # the old one has been read to where the new one begins
                world.sql(f"{DISABLE} N'{instances.pop(0)}'")
            case 4:
                is_stopped = not is_stopped
                world.sql(f"EXEC sys.sp_cdc_{'stop' if is_stopped else 'start'}_job @job_type = N'capture'")
            case 5:
                world.load("--run-type", "full_drop")
            case _:
                world.load()
    world.sql("EXEC sys.sp_cdc_start_job @job_type = N'capture'")
    world.load()
    assert world.landed() == world.sql("SELECT id, name FROM dbo.items ORDER BY id")


def test_what_a_whole_read_has_seen_and_lost_again_is_deleted(world: TrackedShop) -> None:
    """A row that came and went between two LSNs may have been read in between, by a load that began at the first."""
    world.sql(
        "EXEC sys.sp_cdc_stop_job @job_type = N'capture'", "INSERT INTO dbo.items (id, name) VALUES (10, N'brief')"
    )
    assert world.load()["rows"] == 10
    world.sql("DELETE FROM dbo.items WHERE id = 10", "EXEC sys.sp_cdc_start_job @job_type = N'capture'")
    world.load()
    world.check()


def test_a_second_instance_takes_over_where_the_first_ends(world: TrackedShop) -> None:
    world.load()
    world.sql("ALTER TABLE dbo.items ADD size int", "UPDATE dbo.items SET size = 1 WHERE id = 1")
    told = "not captured by dbo_items, so that they do not land: size"
    assert any(told in text for text in world.plan()["warnings"])
    assert world.doctor("change data capture")["result"] == "warning"
    world.sql(SECOND, "UPDATE dbo.items SET size = 2 WHERE id = 2", "DELETE FROM dbo.items WHERE id = 3")
    world.sql("UPDATE dbo.items SET id = 44 WHERE id = 4")
    assert world.load()["rows"] == 5
    world.check()
    world.sql(f"{DISABLE} N'dbo_items'", "UPDATE dbo.items SET size = 5, name = N'five' WHERE id = 5")
    assert world.load()["rows"] == 1
    world.check()
    sizes = dict(
        zip(*(world.replicator.table("dbo", "items")[name].to_pylist() for name in ("id", "size")), strict=True)
    )
    assert (sizes[2], sizes[5], sizes[44]) == (2, 5, None)


def test_a_named_instance_is_read_alone(world: TrackedShop) -> None:
    world.write("{ cdc: dbo_items }")
    world.load()
    world.sql(SECOND, "UPDATE dbo.items SET name = N'x' WHERE id = 1")
    world.write("{ cdc: secnd }")
    assert "second" in world.run()[1]["message"]
    world.write("{ cdc: second }")
    assert world.run()[1]["error"] == "home.changes_expired"  # before it began, the other one alone knows
    world.write("{ cdc: dbo_items }")
    assert world.load("--run-type", "full_drop")["rows"] == 9
    world.write("{ cdc: second }")
    world.sql("UPDATE dbo.items SET name = N'y' WHERE id = 1")
    assert world.load()["rows"] == 1
    world.check()


@pytest.mark.parametrize("how", ["cleaned up", "made anew", "off for a while"])
def test_forgotten_changes_fail_loudly_or_reload_where_that_is_wanted(world: TrackedShop, how: str) -> None:
    world.load()
    world.sql("UPDATE dbo.items SET name = N'x' WHERE id = 1", "DELETE FROM dbo.items WHERE id = 2")
    match how:
        case "cleaned up":
            world.sql("UPDATE dbo.items SET name = N'y' WHERE id = 1", CLEAN_UP)
        case "made anew":
            world.sql("DROP TABLE dbo.items", CREATE, ENABLE, "INSERT INTO dbo.items (id, name) VALUES (3, N'other')")
        case _:
            world.sql("EXEC sys.sp_cdc_disable_db", "DELETE FROM dbo.items WHERE id = 3")
            assert world.run()[1]["error"] == "home.cursor_unusable"
            world.sql("EXEC sys.sp_cdc_enable_db", ENABLE)
    words = "is another table now" if how == "made anew" else "its changes are known from"
    if how == "made anew":
        world.check_foretold(world.run(), words)
    world.sql("UPDATE dbo.items SET name = N'later' WHERE id > 1")
    assert words in world.run()[1]["message"]
    world.write("{ cdc: true, on_expired: reload }")
    assert "reloaded" in world.load()["message"]
    world.check()


def test_capture_that_is_off_or_stopped_says_how_to_switch_it_on(world: TrackedShop) -> None:
    assert world.doctor("change data capture")["result"] == "ok"
    assert world.plan()["watermark"] == CHANGE_DATA_CAPTURE
    world.sql(DISABLE + "N'all'")
    code, settled = world.run()
    assert (code, settled["error"]) == (1, "home.cursor_unusable")
    assert "sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'items'" in settled["message"]
    assert world.doctor("change data capture")["result"] == "failed"
    world.sql("EXEC sys.sp_cdc_stop_job @job_type = N'capture'", ENABLE)
    assert "The capture job has not come to dbo.items" in world.run()[1]["message"]
    assert "sp_cdc_start_job" in world.doctor("change data capture")["remedy"]
    world.sql("EXEC sys.sp_cdc_start_job @job_type = N'capture'")
    assert world.load()["rows"] == 9
    world.sql("EXEC sys.sp_cdc_stop_job @job_type = N'capture'")
    assert any("no scan of the log is known" in text for text in world.plan()["warnings"])
    assert world.doctor("capture job")["result"] == "warning"
    world.sql("EXEC sys.sp_cdc_disable_db")
    assert "EXEC sys.sp_cdc_enable_db" in world.run()[1]["message"]
    reloaded = world.load("--run-type", "full_drop")
    assert (reloaded["rows"], "no increment can continue" in reloaded["message"]) == (9, True)


def test_a_table_without_news_costs_no_activity(world: TrackedShop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "FEWEST_TABLES", 1)
    world.load()
    assert world.load()["attempts"] == 0
    world.sql("UPDATE dbo.items SET name = N'x' WHERE id = 1")
    assert (world.load()["attempts"], world.load()["attempts"]) == (1, 0)
    world.sql(DISABLE + "N'all'", ENABLE)
    assert world.run()[1]["error"] == "home.changes_expired"


def test_a_login_needs_the_gating_role_and_the_captured_columns(
    world: TrackedShop, mssql_server: ServerProcess
) -> None:
    world.sql(
        f"CREATE USER reader FOR LOGIN {READER}",
        "CREATE ROLE readers_of_changes",
        "GRANT SELECT ON dbo.items TO reader",
        DISABLE + "N'all'",
        ENABLE.replace("NULL", "N'readers_of_changes'"),
    )
    login = {"username": READER, "password": READER_PASSWORD}
    with open_captured(mssql_server, "mssql-python", **login) as home:
        with pytest.raises(CursorUnusable, match=r"may not see what is captured of dbo\.items") as refused:
            home.high_water(CHANGE_DATA_CAPTURE)
        assert "gating role" in refused.value.hint
        world.sql("EXEC sp_addrolemember N'readers_of_changes', N'reader'")
        lower = home.high_water(CHANGE_DATA_CAPTURE).value
        world.sql("UPDATE dbo.items SET name = N'x' WHERE id = 1")
        window = ReadWindow(CHANGE_DATA_CAPTURE, lower, home.high_water(CHANGE_DATA_CAPTURE).value)
        assert [batch.position for batch in home.read(window)] == [["1"]]


@pytest.mark.parametrize("driver", DRIVERS)
def test_reading_changes_goes_on_after_any_batch(world: TrackedShop, mssql_server: ServerProcess, driver: str) -> None:
    with open_captured(mssql_server, driver) as home:
        lower = home.high_water(CHANGE_DATA_CAPTURE).value
        world.sql(
            "BEGIN TRANSACTION; UPDATE dbo.items SET name = N'x' WHERE id % 2 = 0; "
            "DELETE FROM dbo.items WHERE id % 4 = 1; COMMIT TRANSACTION"
        )
        window = ReadWindow(CHANGE_DATA_CAPTURE, lower, home.high_water(CHANGE_DATA_CAPTURE).value)
        world.sql("UPDATE dbo.items SET name = N'later'")  # of the next load
        batches = list(home.read(window))
        assert [batch.position for batch in batches] == [["1"], ["2"], ["4"], ["5"], ["6"], ["8"], ["9"]]
        assert [batch.deleted is not None for batch in batches] == [True, False, False, True, False, False, True]
        assert {name for batch in batches for name in batch.rows.column("name").to_pylist()} == {"x"}
        assert [batch.position for batch in home.read(window, ["4"])] == [["5"], ["6"], ["8"], ["9"]]
        reading = home.read(window, ["8"])
        assert next(reading).position == ["9"]
        world.sql("UPDATE dbo.items SET name = N'last' WHERE id = 9", CLEAN_UP)
        with pytest.raises(HomeUnavailable, match="were cleaned up while they were read"):
            list(reading)
