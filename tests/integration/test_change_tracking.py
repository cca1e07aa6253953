"""Tables that follow SQL Server's Change Tracking: what a reader of the mirrored table sees after every load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud.onelake import OneLake
from hygge_engine.errors import CursorUnusable, HomeUnavailable
from hygge_engine.homes.base import ReadWindow
from hygge_engine.orchestration import survey
from hygge_engine.project.models.settings import CHANGE_TRACKING
from hygge_engine.row_counts import COUNT_NAMES
from tests.integration.mssql_server import DRIVERS, ServerProcess, open_home, own_name
from tests.integration.tracked_shop import CHANGES, TrackedShop

pytestmark = pytest.mark.any_server

DATABASE, LANDED = own_name("tracked"), own_name("landed")


@pytest.fixture
def world(mssql_server: ServerProcess, lake: OneLake, tmp_path: Path) -> Iterator[TrackedShop]:
    mssql_server.run(f"CREATE DATABASE {DATABASE}", f"ALTER DATABASE {DATABASE} SET CHANGE_TRACKING = ON")
    try:
        world = TrackedShop(mssql_server, lake, tmp_path / "project", DATABASE, LANDED, "{ change_tracking: true }")
        world.sql(
            "CREATE TABLE dbo.items (id int NOT NULL PRIMARY KEY, name nvarchar(20), "
            "at datetime2(3) NOT NULL DEFAULT SYSUTCDATETIME())",
            "ALTER TABLE dbo.items ENABLE CHANGE_TRACKING",
            "INSERT INTO dbo.items (id, name) SELECT value, CONCAT(N'item ', value) FROM GENERATE_SERIES(1, 9)",
        )
        yield world
    finally:
        mssql_server.run(f"USE master; DROP DATABASE {DATABASE}")


def test_inserts_updates_deletes_and_changed_keys_arrive(world: TrackedShop) -> None:
    first = world.load()
    assert (first["rows"], first["watermark"]) == (9, "1")
    world.check()
    world.sql(
        *CHANGES,
        "UPDATE dbo.items SET id = 20 WHERE id = 4",
    )
    second = world.load()
    assert (second["rows"], second["watermark"]) == (7, "6")
    world.check()
    assert world.load()["rows"] == 0
    # Inserted 10 and 20; updated 1; deleted 2, 3, 4 and 11.
    assert world.runs() == [[0, 0, 0, None], [2, 1, 4, None], [9, 0, 0, None]]
    assert "  +2 ~1 -4  " in world.shown_runs()
    world.sql("DELETE FROM dbo.items")
    assert world.load()["rows"] == 8
    world.check()


@pytest.mark.parametrize("kind", ["sqlite", "mssql"])
@pytest.mark.parametrize("slice_minutes", [4, 0.00001])
def test_a_table_of_a_database_loses_the_rows_that_its_source_has_lost(
    world: TrackedShop, mssql_server: ServerProcess, kind: str, slice_minutes: float
) -> None:
    world.write(slice_minutes=slice_minutes)
    if kind == "sqlite":
        world.use_store({"type": "sqlite", "path": "landed.db"}, {})
    else:
        mssql_server.run(f"DROP DATABASE IF EXISTS {LANDED}", f"CREATE DATABASE {LANDED}")
        store = {"type": "mssql", "connection": "target_db", "journal_folder": {"path": "journal"}}
        world.use_store(store, {"target_db": world.target})
    assert world.load()["rows"] == 9
    world.sql(
        "UPDATE dbo.items SET name = N'changed' WHERE id IN (1, 2)",
        "DELETE FROM dbo.items WHERE id IN (2, 3)",
        "INSERT INTO dbo.items (id, name) VALUES (10, N'new'), (11, N'gone soon')",
        "DELETE FROM dbo.items WHERE id = 11",
        "UPDATE dbo.items SET id = 20 WHERE id = 4",
    )
    settled = world.load()
    assert (settled["rows"], *(settled.get(name) for name in COUNT_NAMES)) == (7, 2, 1, 4, None)
    assert world.landed() == world.sql("SELECT id, name FROM dbo.items ORDER BY id")
    world.sql("INSERT INTO dbo.items (id, name) VALUES (2, N'back')", "DELETE FROM dbo.items WHERE id > 5")
    world.load()
    assert world.landed() == [(1, "changed"), (2, "back"), (5, "item 5")]
    world.sql("DELETE FROM dbo.items")
    world.load()
    assert world.landed() == []


def test_a_reload_goes_on_by_change_tracking(world: TrackedShop) -> None:
    world.load()
    world.sql("DELETE FROM dbo.items WHERE id < 4")
    assert world.load("--run-type", "full_drop")["rows"] == 6
    world.sql("UPDATE dbo.items SET name = N'x' WHERE id = 5")
    assert world.load()["rows"] == 1
    world.check()


@pytest.mark.parametrize("wait_seconds", [0, 0.5])
def test_forgotten_changes_fail_loudly_or_reload_where_that_is_wanted(world: TrackedShop, wait_seconds: float) -> None:
    world.load()
    assert (world.doctor("kept changes")["result"], world.plan()["errors"]) == ("ok", [])
    world.sql("TRUNCATE TABLE dbo.items", "INSERT INTO dbo.items (id, name) VALUES (7, N'anew')")
    world.check_foretold(world.run(), "its changes are known from")
    world.write("{ change_tracking: true, on_expired: reload }")
    world.check_foretold(None, "its changes are known from")
    # Where the drop is waited for, another slice ends the load.
    settled = world.load("--var", f"flow.shop.store.folder_deletion_wait_seconds={wait_seconds}")
    assert settled["rows"] == 1
    assert "reloaded" in settled["message"]
    world.check()


@pytest.mark.parametrize(
    "gap", ["INSERT INTO dbo.items (id, name) VALUES (70, N'gap')", "DELETE FROM dbo.items WHERE id = 2"]
)
def test_changes_while_none_were_kept_are_not_passed_over(world: TrackedShop, gap: str) -> None:
    world.load()
    world.sql("UPDATE dbo.items SET name = N'x' WHERE id = 1")
    world.load()
    world.sql("ALTER TABLE dbo.items DISABLE CHANGE_TRACKING", gap, "ALTER TABLE dbo.items ENABLE CHANGE_TRACKING")
    world.check_foretold(world.run(), "were not kept until version")
    world.write("{ change_tracking: true, on_expired: reload }")
    world.check_foretold(None, "were not kept until version")
    world.load(*(["--run-type", "full_drop"] if "DELETE" in gap else []))
    world.check()


CREATE = """CREATE TABLE {} (id int NOT NULL PRIMARY KEY, name nvarchar(20), at datetime2(3) NOT NULL DEFAULT \
SYSUTCDATETIME()); INSERT INTO {} (id, name) VALUES (5, N'{}')"""
TRACK = "ALTER TABLE {} ENABLE CHANGE_TRACKING"

# How another table comes to be read, whose changes are kept since the same version, without any change of a row: the
# name that is read, what happens, and the name that is read then.
OTHER_TABLES = {
    "made anew": ("dbo.items", ["DROP TABLE dbo.items", CREATE.format("dbo.items", "dbo.items", "anew"), TRACK], ""),
    "renamed": ("dbo.items", ["EXEC sp_rename 'dbo.items', 'old'", "EXEC sp_rename 'dbo.other', 'items'"], ""),
    "synonym": ("dbo.synonym", ["DROP SYNONYM dbo.synonym", "CREATE SYNONYM dbo.synonym FOR dbo.other"], ""),
    "setting": ("dbo.items", [], "dbo.other"),
}


@pytest.mark.parametrize(
    ("how", "on_expired", "skips_idle"),
    [
        ("made anew", "fail", True),
        ("renamed", "reload", True),
        ("synonym", "reload", False),
        ("setting", "fail", False),
    ],
)
def test_versions_of_another_table_are_not_taken_for_those_of_the_one_that_was_loaded(
    world: TrackedShop, monkeypatch: pytest.MonkeyPatch, how: str, on_expired: str, skips_idle: bool
) -> None:
    monkeypatch.setattr(survey, "FEWEST_TABLES", 1 if skips_idle else 8)
    table, statements, then = OTHER_TABLES[how]
    world.sql("DROP TABLE dbo.items", *(CREATE.format(name, name, name) for name in ("dbo.items", "dbo.other")))
    world.sql(*(TRACK.format(name) for name in ("dbo.items", "dbo.other")), "CREATE SYNONYM dbo.synonym FOR dbo.items")
    world.write(f"{{ change_tracking: true, on_expired: {on_expired} }}")
    world.read(table)
    assert world.load()["rows"] == 1
    if skips_idle:
        assert world.load()["attempts"] == 0
    world.sql(*(statement.format("dbo.items") for statement in statements))
    table = then or table
    world.read(table)
    if on_expired == "fail":
        world.check_foretold(world.run(), "is another table now")
        world.load("--run-type", "full_drop")
    else:
        assert "is another table now" in world.load()["message"]
    world.check(table)


@pytest.mark.parametrize(("intent", "looks"), [("read_write", "while it is off"), ("read_only", "afterwards")])
def test_changes_that_were_missed_stay_missed_however_far_versions_count_on(
    world: TrackedShop, intent: str, looks: str
) -> None:
    """Readers that are led to a database which takes writes read no copy, which could lag."""
    world.use_store({}, {"shop_db": world.source | {"application_intent": intent}})
    world.sql("UPDATE dbo.items SET name = N'y' WHERE id = 1")
    world.load()
    world.sql(
        "ALTER TABLE dbo.items DISABLE CHANGE_TRACKING",
        f"ALTER DATABASE {DATABASE} SET CHANGE_TRACKING = OFF",
        "DELETE FROM dbo.items WHERE id = 2",
    )
    if looks == "while it is off":
        assert world.run()[1]["error"] == "home.cursor_unusable"
    world.sql(
        f"ALTER DATABASE {DATABASE} SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 7 DAYS, AUTO_CLEANUP = ON)",
        "ALTER TABLE dbo.items ENABLE CHANGE_TRACKING",
    )
    if looks == "afterwards":
        world.check_foretold(world.run(), "its changes are known from")
    world.sql(*["UPDATE dbo.items SET name = N'x' WHERE id = 1"] * 12)
    world.check_foretold(world.run(), "as an earlier load has found")
    world.load("--run-type", "full_drop")
    world.check()


def test_a_table_that_was_loaded_by_a_column_is_reloaded_first(world: TrackedShop) -> None:
    world.write("{ column: at }")
    world.load()
    world.write()
    code, settled = world.run()
    assert (code, settled["error"]) == (1, "home.cursor_unusable")
    assert "at (datetime)" in settled["message"]
    assert "at (datetime)" in world.plan()["errors"][0]
    world.load("--run-type", "full_drop")
    world.sql("DELETE FROM dbo.items WHERE id = 1")
    world.load()
    world.check()


def test_tracking_that_is_off_says_how_to_switch_it_on(world: TrackedShop) -> None:
    world.sql("ALTER TABLE dbo.items DISABLE CHANGE_TRACKING")
    code, settled = world.run()
    assert (code, settled["error"]) == (1, "home.cursor_unusable")
    assert "ALTER TABLE [dbo].[items] ENABLE CHANGE_TRACKING" in settled["message"]
    world.sql(f"ALTER DATABASE {DATABASE} SET CHANGE_TRACKING = OFF")
    assert "ALTER DATABASE" in world.run()[1]["message"]
    reloaded = world.load("--run-type", "full_drop")  # which all these errors promise to work
    assert (reloaded["rows"], "no increment can continue" in reloaded["message"]) == (9, True)
    assert world.run()[1]["error"] == "home.cursor_unusable"


def test_a_server_without_change_tracking_is_told_apart(mssql_server: ServerProcess, world: TrackedShop) -> None:
    with open_home(mssql_server, "dbo.items", database=DATABASE) as home:
        home.describe()
        mssql_server.fault("error", number=195)  # no such function
        with pytest.raises(CursorUnusable, match="This server has no Change Tracking"):
            home.high_water(CHANGE_TRACKING)


def test_doctor_and_plan_know_what_it_takes(world: TrackedShop) -> None:
    assert world.doctor("change tracking")["result"] == "ok"
    assert world.plan()["watermark"] == CHANGE_TRACKING
    world.sql("ALTER TABLE dbo.items DISABLE CHANGE_TRACKING")
    found = world.doctor("change tracking")
    assert (found["result"], found["found"]) == ("failed", "Change Tracking is off for dbo.items.")
    assert "ENABLE CHANGE_TRACKING" in found["remedy"]
    assert "ENABLE CHANGE_TRACKING" in world.plan()["errors"][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": "SELECT 1 AS id"}, "this home does not list its changes"),
        ({"type": "local"}, "this store cannot take rows away"),
    ],
)
def test_where_it_does_not_apply_the_project_is_refused(
    world: TrackedShop, changes: dict[str, str], message: str
) -> None:
    world.break_flow(changes)
    code, settled = world.run()
    assert code == 2
    assert message in settled["output"]


def test_a_window_cannot_be_loaded_again(world: TrackedShop) -> None:
    world.load()
    code, settled = world.run("--from", "1", "--to", "2")
    assert code == 2
    assert "Change Tracking and change data capture have no window" in settled["output"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_reading_changes_goes_on_after_any_batch(world: TrackedShop, mssql_server: ServerProcess, driver: str) -> None:
    world.sql("UPDATE dbo.items SET name = N'x' WHERE id % 2 = 0", "DELETE FROM dbo.items WHERE id % 4 = 1")
    with open_home(mssql_server, "dbo.items", driver, database=DATABASE, batch_rows=1) as home:
        high = home.high_water(CHANGE_TRACKING)
        window = ReadWindow(CHANGE_TRACKING, lower="1", upper=high.value)
        batches = list(home.read(window))
        assert [batch.position for batch in batches] == [["1"], ["2"], ["4"], ["5"], ["6"], ["8"], ["9"]]
        assert [batch.deleted is not None for batch in batches] == [True, False, False, True, False, False, True]
        assert batches[0].deleted is not None
        assert batches[0].deleted.to_pylist() == [{"id": 1, "name": None, "at": None}]
        rest = [batch.position for batch in home.read(window, ["4"])]
        assert rest == [["5"], ["6"], ["8"], ["9"]]
        reading = home.read(window, ["8"])
        assert next(reading).position == ["9"]
        world.sql(CREATE.format("dbo.other", "dbo.other", "other"), TRACK.format("dbo.other"))
        world.sql(*OTHER_TABLES["renamed"][1])
        with pytest.raises(HomeUnavailable, match="became another table while its changes were read"):
            list(reading)
