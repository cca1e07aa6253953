"""What was there before, or has come since, and was not written by a load, is there after every load: in each store,
by each run type, whatever dies. Folders are compared byte by byte, databases by what a driver of its own reads."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from typer.testing import CliRunner

from devcloud.onelake import OneLake
from devcloud.sqlserver import DEFAULT_LOGINS
from hygge_engine.cli.app import app
from hygge_engine.errors import HomeUnavailable, LakeError, LandingBroken, LandingBusy, NotOurs
from hygge_engine.flow import blocked
from hygge_engine.flow.factory import open_table
from hygge_engine.flow.ownership import adoption_of
from hygge_engine.lake import opening
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration.places import place_of
from hygge_engine.project.models.settings import RunType
from hygge_engine.stores.base import Adoption
from hygge_engine.stores.landing import lease
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable
from tests.faults.world import FragileLake, Killed, World
from tests.integration.onelake_clients import ITEM, WORKSPACE
from tests.integration.warehouse import AskedToStop, DatabaseWarehouse, MssqlWarehouse, Warehouse
from tests.support.file_warehouse import FORMATS, FileWarehouse
from tests.support.sqlite_warehouse import SqliteWarehouse

RUN_TYPES: tuple[RunType, ...] = ("incremental", "full_drop")
OTHERS = {
    "a.csv": b"id\n1\n",
    "notes.xlsx": b"\x00notes",
    "archive/2023.csv": b"id\n9\n",
    "copy of part-00001-00000001.csv": b"x",
}


@pytest.fixture(scope="module")
def lake(module_lake: OneLake) -> OneLake:
    return module_lake


PLACES = [*(f"local-{each}" for each in FORMATS), "adls-csv", "adls-delta", "onelake-parquet", "onelake-delta"]


@pytest.fixture(params=PLACES)
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, lake: OneLake, monkeypatch: pytest.MonkeyPatch
) -> FileWarehouse:
    kind, format_ = request.param.split("-")
    name = f"n{abs(hash(request.node.name)):x}"
    store: dict[str, Any] = {"type": kind, "format": format_}
    account = {"account_url": lake.url, "credential": "account_key"} | lake.credential
    if kind == "local":
        return FileWarehouse(tmp_path, monkeypatch, name, store | {"path": "out"}, tmp_path / "project/out" / name)
    if kind == "adls":
        store |= account | {"filesystem": "raw", "path": "landing"}
        return FileWarehouse(tmp_path, monkeypatch, name, store, lake.path("raw", "landing", name))
    folder = lake.path(WORKSPACE, ITEM, "Tables" if format_ == "delta" else "Files", name)
    store |= account | {"filesystem": WORKSPACE, "lakehouse": ITEM}
    return FileWarehouse(tmp_path, monkeypatch, name, store, folder)


def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str) -> FileWarehouse:
    store = {"type": "local", "format": format_, "path": "out"}
    return FileWarehouse(tmp_path, monkeypatch, "things", store, tmp_path / "project/out/things")


def put_others(folder: Path) -> None:
    for name, content in OTHERS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def others_of(folder: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(folder).items() if name in OTHERS}


@pytest.mark.parametrize("run_type", RUN_TYPES)
def test_a_folder_that_holds_something_is_refused_with_what_is_in_it(
    warehouse: FileWarehouse, run_type: RunType
) -> None:
    warehouse.source.put(1, 2)
    put_others(warehouse.folder)
    refused = warehouse.run("first", run_type)
    assert (refused.status, refused.error, refused.transient) == ("failed", "store.not_ours", False)
    assert "a.csv" in refused.message
    assert "archive/" in refused.message
    assert "hygge adopt" in refused.hint
    assert "full_drop" not in refused.hint
    assert contents(warehouse.folder) == OTHERS


@pytest.mark.parametrize("rows_left", [True, False])
def test_a_reload_leaves_files_of_others_in_its_folder(warehouse: FileWarehouse, rows_left: bool) -> None:
    warehouse.source.put(1, 2, 3)
    warehouse.load()
    put_others(warehouse.folder)
    warehouse.source.put(4)
    warehouse.run("second", "incremental")
    warehouse.source.remove(1)
    if not rows_left:
        warehouse.source.remove(2, 3, 4)
    result = warehouse.run("third", "full_drop")
    assert result.status == "done", result
    assert others_of(warehouse.folder) == OTHERS
    if warehouse.format == "delta":
        assert warehouse.rows() == warehouse.source.rows
        return
    assert "left there: a.csv, archive/, copy of part-00001-00000001.csv, notes.xlsx" in result.message
    ours = {name for name in contents(warehouse.folder) if name not in OTHERS}
    assert len(ours) == rows_left
    assert all(name.startswith("part-00002-") for name in ours)


@pytest.mark.parametrize("warehouse", ["local-csv", "adls-csv", "adls-delta"], indirect=True)
def test_a_file_called_like_the_engines_own_folder_is_told_with_its_place(warehouse: FileWarehouse) -> None:
    warehouse.source.put(1)
    if warehouse._store["type"] == "adls":  # whose folder other tests share
        warehouse._store["path"] = f"landing/alone_{warehouse.name}"
        warehouse.folder = warehouse.folder.parent / f"alone_{warehouse.name}" / warehouse.name
    theirs = warehouse.folder.parent / ".hygge_journal"
    loaded = warehouse.project("incremental")  # which refuses what it sees on disk itself
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_bytes(b"theirs")
    (entity,) = loaded.entities
    warehouse._projects["incremental"] = loaded
    refused = warehouse.slice("first", "incremental")
    assert refused.error == "store.not_ours", refused
    assert ".hygge_journal in" in refused.message
    assert "Move it away" in refused.hint
    with pytest.raises(LakeError) as failed:
        place_of(loaded, entity).progress.begin("first", "tests")
    assert ".hygge_journal" in failed.value.message
    assert theirs.read_bytes() == b"theirs"
    theirs.unlink()
    warehouse.load()
    assert warehouse.rows() == warehouse.source.rows


@pytest.mark.parametrize("while_reading", [False, True])
@pytest.mark.parametrize("warehouse", ["local-parquet", "local-delta", "adls-csv", "onelake-parquet"], indirect=True)
def test_a_file_under_the_name_that_a_reload_gives_is_never_overwritten(
    warehouse: FileWarehouse, while_reading: bool
) -> None:
    warehouse.source.put(1, 2)
    warehouse.load()
    theirs = warehouse.folder / f"part-00002-00000001.{'csv' if warehouse.format == 'csv' else 'parquet'}"
    watch = AskedToStop()
    if while_reading:
        watch.progress = lambda *_: put_theirs()  # type: ignore[method-assign]

    def put_theirs() -> None:
        theirs.write_bytes(b"theirs")

    if not while_reading:
        put_theirs()
    before = contents(warehouse.folder)
    warehouse.source.put(3)
    refused = warehouse.slice("second", "full_drop", watch=watch)
    assert refused.status == "failed"
    assert theirs.name in refused.message
    after = contents(warehouse.folder)
    assert after.pop(theirs.name) == b"theirs"
    before.pop(theirs.name, None)
    if warehouse.format != "delta":
        assert (refused.error, after) == ("store.not_ours", before)
    theirs.unlink()
    warehouse.load("full_drop")
    assert warehouse.rows() == warehouse.source.rows


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("format_", ["csv", "delta"])
def test_whatever_dies_in_a_reload_files_of_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    died = 0
    for crash in range(1, 60):
        (tmp_path / str(crash)).mkdir()
        warehouse = local(tmp_path / str(crash), monkeypatch, format_)
        warehouse.source.put(1, 2)
        assert warehouse.run("first", "incremental").status == "done"
        warehouse.source.put(2, 3)
        assert warehouse.run("second", "incremental").status == "done"
        put_others(warehouse.folder)
        fragile = FragileLake(LocalLake(tmp_path / str(crash) / "project/out"))
        fragile.die_at = crash
        with monkeypatch.context() as patched:
            patched.setattr(opening, "open_directory", lambda path, reach, lake=fragile: lake)
            try:
                result = warehouse.run("third", "full_drop")
            except Killed:
                died += 1
                assert others_of(warehouse.folder) == OTHERS
            else:
                assert result.status == "done"
                break
        result = warehouse.slice("third", "full_drop", 2)
        assert result.status == "done", result
        assert others_of(warehouse.folder) == OTHERS
        assert warehouse.rows() == warehouse.source.rows
    assert died > 5


def forget(path: Path, *names: str) -> None:
    """Turn a landing state into one of an earlier version, which knew nothing of these fields."""
    state = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in state.items() if key not in names}))


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("run_type", RUN_TYPES)
@pytest.mark.parametrize("missing", [(), ("place",)])
def test_what_earlier_versions_have_landed_keeps_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str, run_type: RunType, missing: tuple[str, ...]
) -> None:
    warehouse = local(tmp_path, monkeypatch, format_)
    warehouse.source.put(1, 2)
    warehouse.load()
    (state,) = (tmp_path / "project/out/.hygge_journal/landing").rglob("*.json")
    forget(state, "landed_in", "file_format", "adopted", *missing)
    warehouse.source.put(3)
    warehouse.load(run_type)
    assert warehouse.rows() == warehouse.source.rows


@pytest.mark.parametrize(("before", "after"), [("csv", "parquet"), ("parquet", "delta"), ("delta", "ndjson")])
def test_a_state_that_does_not_say_its_format_is_not_taken_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, after: str
) -> None:
    warehouse = local(tmp_path, monkeypatch, before)
    warehouse.source.put(1, 2)
    warehouse.load()
    (state,) = (tmp_path / "project/out/.hygge_journal/landing").rglob("*.json")
    forget(state, "landed_in", "file_format", "adopted")
    there = contents(warehouse.folder)
    warehouse.settle(after)
    warehouse.source.put(3)
    assert f"landed as {before}" in warehouse.run("increment", "incremental").message
    assert contents(warehouse.folder) == there
    reloaded = warehouse.run("reload", "full_drop")
    if "delta" in (before, after):
        assert ("another table_name" in reloaded.message, contents(warehouse.folder)) == (True, there)
    else:
        assert [path.suffix for path in warehouse.folder.iterdir()] == [f".{after}"]
        assert warehouse.rows() == warehouse.source.rows


def test_files_of_two_formats_are_never_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = local(tmp_path, monkeypatch, "parquet")
    warehouse.source.put(1, 2)
    warehouse.load()
    for format_ in ("csv", "delta"):
        other = local(tmp_path, monkeypatch, format_)
        other.source.put(3)
        refused = other.run(f"{format_} increment", "incremental")
        assert refused.error == "store.landing_broken"
        assert f"landed as parquet, the settings now say {format_}" in refused.message
    assert other.run("delta reload", "full_drop").error == "store.landing_broken"
    text = local(tmp_path, monkeypatch, "csv")
    text.load("full_drop")
    assert [path.suffix for path in text.folder.iterdir()] == [".csv"]
    assert text.rows() == text.source.rows


ROWS = pa.table({"id": pa.array([7], pa.int64()), "value": ["theirs"], "modified": pa.array([0], pa.int64())})


SHORT = ROWS.schema.set(0, pa.field("id", pa.int32()))


def declare(protocol: dict[str, Any], properties: dict[str, str]) -> Callable[[DeltaTable], object]:
    """What other writers may say of a table in its log, and the Delta package cannot."""

    def commit(table: DeltaTable) -> None:
        log = Path(table.table_uri.removeprefix("file://")) / "_delta_log"
        lines = [json.loads(line) for path in sorted(log.glob("*.json")) for line in path.read_text().splitlines()]
        metadata = [line["metaData"] for line in lines if "metaData" in line][-1]
        if "delta.columnMapping.mode" in properties:
            schema = json.loads(metadata["schemaString"])
            for number, field in enumerate(schema["fields"], start=1):
                names = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": f"col-{number}"}
                field["metadata"] |= names
            metadata |= {"schemaString": json.dumps(schema)}
        actions = [{"protocol": protocol}, {"metaData": metadata | {"configuration": properties}}]
        text = "".join(json.dumps(action) + "\n" for action in actions)
        (log / f"{table.version() + 1:020}.json").write_text(text)

    return commit


@pytest.mark.parametrize("run_type", RUN_TYPES)
@pytest.mark.parametrize(
    ("rows", "options", "change", "reason"),
    [
        (ROWS, {"partition_by": ["value"]}, None, "it is partitioned by value"),
        (ROWS, {}, lambda table: table.alter.add_constraint({"positive": "id > 0"}), "CHECK constraint positive"),
        (ROWS, {}, declare({"minReaderVersion": 2, "minWriterVersion": 5}, {"delta.columnMapping.mode": "name"}),
         "mapped to other names"),
        (ROWS, {}, declare({"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["icebergCompatV1"]}, {}),
         "features that are not written here: icebergCompatV1"),
        (ROWS.cast(SHORT), {}, None, "its column id is integer, the rows have long"),
        (ROWS.append_column(pa.field("more", pa.int64(), nullable=False), [[1]]), {}, None, "more may not be NULL"),
        (ROWS.rename_columns(["ID", "value", "modified"]), {}, None, "its column ID would be written as id"),
    ],
    ids=["partitioned", "constraint", "mapped", "feature", "type", "required", "case"],
)  # fmt: skip
def test_a_delta_table_that_is_not_as_the_engine_makes_them_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_type: RunType, rows: pa.Table, options: dict[str, Any],
    change: Callable[[DeltaTable], object] | None, reason: str,
) -> None:  # fmt: skip
    warehouse = local(tmp_path, monkeypatch, "delta")
    warehouse.source.put(1)
    warehouse.load()  # a table of ours, which is then rewritten in another way
    ours = CommitProperties(app_transactions=[Transaction("hygge-engine:orders_to_store.things", 10**8 + 1)])
    write_deltalake(
        str(warehouse.folder), rows, mode="overwrite", schema_mode="overwrite", commit_properties=ours, **options
    )
    if change is not None:
        change(DeltaTable(str(warehouse.folder)))
    before = contents(warehouse.folder)
    warehouse.source.put(2)
    refused = warehouse.run("second", run_type)
    if run_type == "full_drop" and reason.startswith(("its column", "more may")):
        assert refused.status == "done"  # a reload brings its own columns
        return
    assert refused.error == "store.landing_broken", refused
    assert reason in refused.message
    assert contents(warehouse.folder) == before


@pytest.mark.parametrize("run_type", RUN_TYPES)
def test_a_delta_table_of_somebody_else_is_refused_and_one_that_has_replaced_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_type: RunType
) -> None:
    warehouse = local(tmp_path, monkeypatch, "delta")
    warehouse.source.put(1)
    write_deltalake(str(warehouse.folder), ROWS, partition_by=["value"])
    before = contents(warehouse.folder)
    refused = warehouse.run("first", run_type)
    assert refused.error == "store.not_ours"
    assert "columns id, value, modified, partitioned by value" in refused.message
    assert contents(warehouse.folder) == before
    warehouse.folder.rename(warehouse.folder.with_name("theirs"))
    warehouse.load()
    warehouse.folder.rename(warehouse.folder.with_name("ours"))
    warehouse.folder.with_name("theirs").rename(warehouse.folder)
    warehouse.source.put(2)
    assert warehouse.run("second", run_type).error == "store.not_ours"
    assert contents(warehouse.folder) == before


@pytest.fixture(params=["sqlite", "mssql"])
def database(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DatabaseWarehouse]:
    if request.param == "sqlite":
        yield SqliteWarehouse(tmp_path, monkeypatch)
        return
    yield MssqlWarehouse(tmp_path, monkeypatch, request.getfixturevalue("mssql_server"))


def execute(database: DatabaseWarehouse, *statements: str) -> None:
    for statement in statements:
        if isinstance(database, SqliteWarehouse):
            path = database.directory / "project/out/shop.db"
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(statement)
        elif isinstance(database, MssqlWarehouse):
            database.server.run(statement, database=database.database)


@pytest.mark.parametrize(("run_type", "died"), [("incremental", False), ("full_drop", True)])
def test_a_table_that_no_load_has_written_is_refused_and_stays(
    database: DatabaseWarehouse, run_type: RunType, died: bool
) -> None:
    database.source.put(1, 2)
    if died:  # before it landed anything, and the table was made meanwhile
        assert database.slice("first", run_type, watch=Dying()).status == "failed"
    execute(database, "CREATE TABLE things (id int, value varchar(20), modified int)")
    execute(database, "INSERT INTO things VALUES (7, 't', 0)")
    refused = database.slice("first", run_type, 2)
    assert (refused.status, refused.error) == ("failed", "store.not_ours"), refused
    assert "of 1 row with the columns id, value, modified" in refused.message
    assert [tuple(row) for row in database.ask("SELECT id, value, modified FROM things")] == [(7, "t", 0)]
    if not died:
        assert [name for name in database.tables() if name != "__hygge_landing"] == ["things"]


OWN_NAMES = [
    "__hygge_landing",
    "a view __hygge_landing",
    "things__hygge_new",
    "things__hygge_stage_00000001_0001_00001",
]


@pytest.mark.parametrize("name", OWN_NAMES)
def test_tables_of_somebody_else_under_the_engines_own_names_stay(database: DatabaseWarehouse, name: str) -> None:
    table = name.removeprefix("a view ")
    database.source.put(1, 2)
    if "landing" not in name:
        database.load("full_drop")
    if name == table:
        execute(database, f"CREATE TABLE {table} (id int, nonce varchar(20))")
    else:  # a view that looks as our table does
        execute(database, "CREATE TABLE kept (id int, name varchar(20), nonce varchar(20), state varchar(20))")
        execute(database, f"CREATE VIEW {table} AS SELECT name, nonce, state FROM kept")
    execute(database, f"INSERT INTO {'kept' if name != table else table} (id, nonce) VALUES (7, 'theirs')")
    database.source.put(3)
    refused = "landing" in name or ("new" in name and isinstance(database, MssqlWarehouse))
    for run_type in RUN_TYPES:
        result = database.run(f"a {run_type}", run_type)
        if not refused or ("new" in name and run_type == "incremental"):
            assert result.status == "done", result
            assert database.rows() == database.source.rows
        else:
            assert result.error == "store.not_ours", result
            assert table in result.message
            assert "Rename it" in result.hint
    kept = database.ask(f"SELECT {'id, nonce' if name == table else 'nonce'} FROM {table}")
    assert [tuple(row) for row in kept] == [(7, "theirs") if name == table else ("theirs",)]


class Dying(AskedToStop):
    """Ends a slice with an error after its first batch."""

    def progress(self, rows: int, bytes_: int) -> None:
        raise HomeUnavailable("the source went away")


def test_columns_that_somebody_has_added_to_a_table_are_never_lost(database: DatabaseWarehouse) -> None:
    database.source.put(1, 2)
    database.load()
    execute(database, "ALTER TABLE things ADD note varchar(20)", "UPDATE things SET note = 'mine'")
    database.source.put(2, 3)
    for run_type in RUN_TYPES:
        refused = database.run(f"a {run_type}", run_type)
        assert refused.error == "store.not_ours"
        assert "note" in refused.message
        assert "`hygge adopt " in refused.hint
    assert {note for (note,) in database.ask("SELECT note FROM things")} == {"mine"}
    # Their owner gives them up.
    project = database.project("full_drop")
    adoption = adoption_of(project, project.entities[0], open_table(project, project.entities[0]))
    assert "note" in adoption.replaced
    adoption.confirm()
    assert database.run("an increment", "incremental").status != "done"
    assert {note for (note,) in database.ask("SELECT note FROM things")} == {"mine"}
    assert database.run("a reload", "full_drop").status == "done"
    assert database.rows() == database.source.rows
    assert database.run("the next one", "incremental").status == "done"
    with pytest.raises(LandingBroken, match="already"):
        adoption_of(project, project.entities[0], open_table(project, project.entities[0]))


THEIRS = [(7, "theirs", 0)]


def put_in_place(database: DatabaseWarehouse, kind: str) -> None:
    """A foreign table, with the columns of ours, under the name of ours."""
    columns = "id INTEGER NOT NULL, value TEXT, modified INTEGER, PRIMARY KEY (id)"
    if isinstance(database, MssqlWarehouse):
        columns = "id bigint NOT NULL PRIMARY KEY, value nvarchar(100), modified bigint"
    table = "things" if kind == "a table" else "kept"
    execute(database, "DROP TABLE things", f"CREATE TABLE {table} ({columns})")
    execute(database, f"INSERT INTO {table} (id, value, modified) VALUES (7, 'theirs', 0)")
    if kind == "a view":
        execute(database, "CREATE VIEW things AS SELECT id, value, modified FROM kept")


class PuttingInPlace(AskedToStop):
    """Puts a table in the place of ours while a load reads."""

    def __init__(self, database: DatabaseWarehouse) -> None:
        super().__init__()
        self._database: DatabaseWarehouse | None = database

    def progress(self, rows: int, bytes_: int) -> None:
        if self._database is not None:
            put_in_place(self._database, "a table")
            self._database = None


@pytest.mark.parametrize("run_type", RUN_TYPES)
@pytest.mark.parametrize("kind", ["a table", "a view", "a table, while a load reads"])
def test_a_table_in_place_of_ours_is_refused_and_stays(
    database: DatabaseWarehouse, run_type: RunType, kind: str
) -> None:
    database.source.put(1, 2)
    database.load("full_drop")
    database.source.put(2, 3)
    database.load()  # what we change ourselves stays ours
    database.source.put(3, 4)
    watch = None
    if kind.endswith("reads"):
        watch = PuttingInPlace(database)
    else:
        put_in_place(database, kind)
    refused = database.slice("third", run_type, watch=watch)
    assert (refused.status, refused.error) == ("failed", "store.not_ours"), refused
    assert ("rename it" if kind == "a view" else "hygge adopt") in refused.hint
    assert database.rows() == THEIRS
    if kind == "a view":
        with pytest.raises(NotOurs, match="cannot be handed over: it is a view of 1 row"):
            hand_over(database)


@pytest.mark.parametrize("kind", ["VIEW", "INDEX"])
def test_what_is_no_table_is_refused_before_the_first_row_and_never_handed_over(
    database: DatabaseWarehouse, kind: str
) -> None:
    if kind == "INDEX" and isinstance(database, MssqlWarehouse):
        pytest.skip("whose indexes have names of their own")
    made = {"VIEW": "CREATE VIEW things AS SELECT id FROM kept", "INDEX": "CREATE INDEX things ON kept (id)"}
    execute(database, "CREATE TABLE kept (id int)", made[kind])
    before = database.tables()
    database.source.put(1)
    for run_type in RUN_TYPES:
        refused = database.run(f"a {run_type}", run_type)
        assert refused.error == "store.not_ours", refused
        assert f"{'a view' if kind == 'VIEW' else 'an index'} of" in refused.message
        assert "rename it" in refused.hint
    with pytest.raises(NotOurs, match=f"cannot be handed over: it is an? {kind.lower()}"):
        hand_over(database)
    assert set(database.tables()) - {"__hygge_landing"} == set(before) - {"__hygge_landing"}


def test_what_sqlite_tools_do_to_a_table_leaves_it_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = SqliteWarehouse(tmp_path, monkeypatch)
    warehouse.source.put(1, 2)
    warehouse.load()
    execute(
        warehouse, "ALTER TABLE things ADD note", "ALTER TABLE things DROP note", "CREATE INDEX mine ON things (value)"
    )
    file = tmp_path / "project/out/shop.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("VACUUM")
        dumped = "".join(connection.iterdump())
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(dumped)
    for run_type in RUN_TYPES:
        warehouse.source.put(2, 3)
        warehouse.load(run_type)
        assert warehouse.rows() == warehouse.source.rows


def test_a_table_in_place_of_ours_can_be_adopted(tmp_path: Path) -> None:
    project(tmp_path, "{ type: sqlite, path: shop.db }")
    assert hygge(tmp_path, "go")[0] == 0
    assert hygge(tmp_path, "adopt", "orders", "--confirm", "orders")[0] == 2  # it is ours already
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute("DROP TABLE orders")
        connection.execute("CREATE TABLE orders (id, v)")
    code, said = hygge(tmp_path, "plan")
    assert (code, "no longer the table" in said) == (1, True)
    assert hygge(tmp_path, "adopt", "orders", "--confirm", "orders")[0] == 0
    assert hygge(tmp_path, "go")[0] == 0
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        assert connection.execute("SELECT v FROM orders ORDER BY id").fetchall() == [("a",), ("b",)]


@pytest.mark.parametrize("run_type", RUN_TYPES)
def test_a_link_in_place_of_our_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_type: RunType
) -> None:
    warehouse = local(tmp_path, monkeypatch, "csv")
    warehouse.source.put(1)
    warehouse.load("full_drop")
    theirs = warehouse.folder.parents[1] / "theirs"
    theirs.mkdir()
    for name in contents(warehouse.folder):
        (theirs / name).write_text("theirs")
    before = contents(theirs)
    warehouse.folder.rename(tmp_path / "ours")
    warehouse.folder.symlink_to(theirs)
    warehouse.source.put(2)
    refused = warehouse.run("second", run_type)
    assert refused.error == "store.not_ours"
    assert "is a link to" in refused.message
    assert contents(theirs) == before


def test_a_unique_index_of_somebody_else_costs_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warehouse = SqliteWarehouse(tmp_path, monkeypatch)
    warehouse.source.put_values({1: "a", 2: "b", 3: "c"})
    warehouse.load()
    execute(warehouse, "CREATE UNIQUE INDEX mine ON things (value)")
    warehouse.source.put_values({1: "b", 2: "a"})  # changed places: no two are alike in the end
    warehouse.load()
    assert [row[:2] for row in warehouse.rows()] == [(1, "b"), (2, "a"), (3, "c")]
    warehouse.source.put_values({1: "c"})
    refused = warehouse.run("broken", "incremental")
    assert refused.error == "store"
    assert "Drop the index" in refused.hint
    assert [row[:2] for row in warehouse.rows()] == [(1, "b"), (2, "a"), (3, "c")]


@pytest.mark.parametrize("run_type", RUN_TYPES)
def test_a_mirror_folder_of_somebody_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_type: RunType
) -> None:
    world = World(tmp_path, monkeypatch, run_type=run_type)
    world.source.put(1)
    folder = tmp_path / world.layout.folder
    put_others(folder)
    (folder / "_metadata.json").write_text("{}")
    before = contents(folder)
    refused = world.slice("first")
    assert refused.error == "store.not_ours"
    assert "_metadata.json" in refused.message
    assert contents(folder) == before


@pytest.mark.parametrize("already", [False, True])
@pytest.mark.parametrize("run_type", RUN_TYPES)
@pytest.mark.parametrize("twin", ["things", "Things", "DBO.schema/things", "dbo.schema/Things"])
def test_a_mirror_folder_that_is_the_same_table_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, twin: str, run_type: RunType, already: bool
) -> None:
    world = World(tmp_path, monkeypatch, run_type=run_type)
    world.source.put(1)
    if already:
        assert world.load("first").status == "done"
        world.source.put(2)
    folder = tmp_path / world.layout.landing_zone / twin
    folder.mkdir(parents=True)  # empty: Fabric lists its table all the same
    refused = world.slice("second")
    assert (refused.error, refused.transient) == ("store.not_ours", False)
    assert twin in refused.message
    assert "table_name" in refused.hint
    assert list(folder.iterdir()) == []
    (folder / "_metadata.json").write_text("{}")
    refused = world.slice("third")
    assert "_metadata.json" in refused.message
    assert contents(folder) == {"_metadata.json": b"{}"}
    with pytest.raises(NotOurs, match=twin):
        OpenMirroringTable(world.lake, world.settings, world.layout).adopt()


def test_a_folder_that_keeps_a_dropped_table_is_told_while_it_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, monkeypatch, run_type="full_drop", tick_between=False)
    world.source.put(1)
    assert world.slice("first").status == "done"
    status = tmp_path / world.layout.status
    status.parent.mkdir(parents=True)
    status.write_text(json.dumps({"tables": [{"sourceSchemaName": "dbo", "sourceTableName": "things"}]}))
    assert "waiting" in world.slice("second").message
    twin = tmp_path / world.layout.landing_zone / "things"
    twin.mkdir()
    refused = world.slice("second")
    assert (refused.error, "LandingZone/things is" in refused.message) == ("store.not_ours", True)
    twin.rmdir()
    status.write_text('{"tables": []}')
    assert world.slice("third").status == "done"


@pytest.mark.parametrize(
    "name",
    ["notes.xlsx", "archive/00000000000000000001.parquet", "archive/_metadata.json", "_ProcessedFiles/notes.xlsx",
     "copy of 00000000000000000001.parquet", "00000000000000000099.parquet"],
)  # fmt: skip
def test_a_mirror_folder_with_files_of_others_is_not_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world = World(tmp_path, monkeypatch, run_type="full_drop")
    world.source.put(1, 2)
    assert world.load("first").status == "done"
    folder = tmp_path / world.layout.folder
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"theirs")
    before = contents(folder)
    refused = world.slice("second")
    assert refused.error == "store.not_ours"
    assert name.rpartition("/")[2] in refused.message
    assert contents(folder) == before
    (folder / name).unlink()
    if name.startswith("archive/"):
        (folder / "archive").rmdir()
    world.source.put(3)
    assert world.load("third").status == "done"
    world.check()


def hygge(directory: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--project", str(directory)])
    return result.exit_code, result.output


FLOW = """\
run_type: {run_type}
home: {{ type: local, path: "in/{{entity}}.csv", format: csv }}
store: {store}
watermark: {{ column: id, primary_key: id }}
entities: [orders]
"""


def project(directory: Path, store: str, run_type: str = "full_drop", name: str = "shop") -> None:
    (directory / "flows/shop").mkdir(parents=True, exist_ok=True)
    (directory / "in").mkdir(exist_ok=True)
    (directory / "hygge.yml").write_text(f"name: {name}\noptions: {{ local_paths: anywhere }}\n")
    (directory / "flows/shop/flow.yml").write_text(FLOW.format(store=store, run_type=run_type))
    (directory / "in/orders.csv").write_text("id,v\n1,a\n2,b\n")


def test_adopting_a_folder_takes_what_bears_the_engines_names_once_its_name_is_given(tmp_path: Path) -> None:
    project(tmp_path, "{ type: local, path: out, format: csv }")
    assert hygge(tmp_path, "go")[0] == 0
    (tmp_path / "out/orders/notes.xlsx").write_bytes(b"notes")
    (state,) = (tmp_path / "out/.hygge_journal/landing").rglob("*.json")
    state.unlink()  # the landing state is lost
    code, said = hygge(tmp_path, "plan")
    assert (code, "no load of shop.orders has written it" in said) == (1, True)
    before = contents(tmp_path / "out/orders")
    for arguments in ((), ("--confirm", "order"), ("--confirm", "shop.orders")):
        code, said = hygge(tmp_path, "adopt", "shop.orders", *arguments)
        assert code == 2
        assert "part-00002-00000001.csv" in said
        assert "left as it is:  notes.xlsx" in said
        assert hygge(tmp_path, "go")[0] == 1
    assert hygge(tmp_path, "adopt", "shop.orders", "--confirm", "orders")[0] == 0
    assert contents(tmp_path / "out/orders") == before
    assert hygge(tmp_path, "adopt", "shop.orders", "--confirm", "orders")[0] == 2
    assert hygge(tmp_path, "go", "--run-type", "full_drop")[0] == 0
    assert sorted(contents(tmp_path / "out/orders")) == ["notes.xlsx", "part-00003-00000001.csv"]


@pytest.mark.parametrize("format_", ["parquet", "delta"])
def test_adopting_files_of_another_format_mixes_nothing(tmp_path: Path, format_: str) -> None:
    project(tmp_path, "{ type: local, path: out, format: csv }")
    assert hygge(tmp_path, "go")[0] == 0
    (state,) = (tmp_path / "out/.hygge_journal/landing").rglob("*.json")
    state.write_bytes(b"damaged")
    before = contents(tmp_path / "out/orders")
    project(tmp_path, f"{{ type: local, path: out, format: {format_} }}")
    code, said = hygge(tmp_path, "adopt", "shop.orders", "--confirm", "orders")
    assert contents(tmp_path / "out/orders") == before
    if format_ == "delta":
        assert (code, "but part-00002-00000001.csv" in " ".join(said.split())) == (2, True)
        project(tmp_path, f"{{ type: local, path: out, format: {format_}, table_name: others }}")
        assert hygge(tmp_path, "adopt", "shop.orders", "--confirm", "others")[0] == 0
    assert hygge(tmp_path, "go", "--run-type", "full_drop")[0] == 0
    if format_ == "delta":
        assert contents(tmp_path / "out/orders") == before
        assert sorted(pl.read_delta(str(tmp_path / "out/others"))["v"]) == ["a", "b"]
    else:
        assert sorted(contents(tmp_path / "out/orders")) == ["part-00003-00000001.parquet"]


@pytest.mark.parametrize("change", ["format: parquet", "format: delta", "format: csv, table_name: others"])
def test_what_asks_about_a_table_says_that_the_settings_name_another(tmp_path: Path, change: str) -> None:
    project(tmp_path, "{ type: local, path: out, format: csv }")
    assert hygge(tmp_path, "go")[0] == 0
    assert hygge(tmp_path, "reconcile")[0] == 0
    project(tmp_path, f"{{ type: local, path: out, {change} }}", "incremental")
    for command in ("plan", "go", "reconcile"):
        code, said = hygge(tmp_path, command)
        assert (code, "the settings now say" in " ".join(said.split())) == (1, True), said


@pytest.mark.parametrize("kind", ["sqlite", "delta"])
def test_an_adopted_table_waits_for_the_full_drop_that_replaces_it(tmp_path: Path, kind: str) -> None:
    theirs = pa.table({"x": [1, 2, 3]})
    if kind == "delta":
        project(tmp_path, "{ type: local, path: out, format: delta }")
        # Whose log knows a commit of ours with a high number, from a state that is lost.
        old = CommitProperties(app_transactions=[Transaction("hygge-engine:shop.orders", 41 * 10**8 + 1)])
        write_deltalake(str(tmp_path / "out/orders"), theirs, commit_properties=old)
    else:
        project(tmp_path, "{ type: sqlite, path: shop.db }")
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
            connection.execute("CREATE TABLE orders (x)")
    assert hygge(tmp_path, "go")[0] == 1
    assert hygge(tmp_path, "adopt", "orders", "--confirm", "orders")[0] == 0
    assert hygge(tmp_path, "go", "--run-type", "full_drop")[0] == 0
    if kind == "delta":
        assert sorted(pl.read_delta(str(tmp_path / "out/orders"))["v"]) == ["a", "b"]
    else:
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            assert connection.execute("SELECT v FROM orders ORDER BY id").fetchall() == [("a",), ("b",)]


def test_asking_about_a_database_of_somebody_else_changes_nothing(tmp_path: Path) -> None:
    project(tmp_path, "{ type: sqlite, path: shop.db }")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute("CREATE TABLE orders (x)")
    before = contents(tmp_path)
    assert hygge(tmp_path, "plan")[0] == 1
    assert hygge(tmp_path, "adopt", "orders")[0] == 2
    assert contents(tmp_path) == before


def rename(warehouse: Warehouse, name: str) -> None:
    """Let later loads be those of a project of another name, with the same flow, entity and store."""
    warehouse.hygge = "".join(["name: ", name, "\n", *warehouse.hygge.splitlines(keepends=True)[1:]])
    warehouse.project_changed()


def hand_over(warehouse: Warehouse) -> Adoption:
    changed = warehouse.project("incremental")
    (entity,) = changed.entities
    return adoption_of(changed, entity, open_table(changed, entity))


def check_that_another_project_is_refused(warehouse: Warehouse) -> None:
    """After a load of the project `shop`: no run of another one changes anything, until it is handed the table."""
    rows = warehouse.rows()
    rename(warehouse, "market")
    warehouse.source.put(5)
    for run_type in RUN_TYPES:
        refused = warehouse.run(f"market {run_type}", run_type)
        assert (refused.status, refused.error, refused.transient) == ("failed", "store.not_ours", False), refused
        for part in ("project 'shop'", "project 'market'", f"orders_to_store.{warehouse.name}", "last on 20"):
            assert part in refused.message
        assert "hygge adopt" in refused.hint
    assert warehouse.rows() == rows
    rename(warehouse, "shop")
    assert warehouse.run("shop again", "incremental").status == "done"  # the first project continues as before
    rename(warehouse, "market")
    adoption = hand_over(warehouse)
    assert "continue where" in adoption.then
    adoption.confirm()
    with pytest.raises(LandingBroken, match="already"):
        hand_over(warehouse)
    warehouse.source.put(6)
    went_on = warehouse.run("market's own", "incremental")
    assert (went_on.status, went_on.rows) == ("done", 1)
    assert warehouse.rows() == warehouse.source.rows
    rename(warehouse, "shop")
    assert warehouse.run("late", "full_drop").error == "store.not_ours"


@pytest.mark.parametrize("warehouse", ["local-csv", "local-delta", "adls-csv", "onelake-delta"], indirect=True)
def test_files_of_a_project_are_not_those_of_another_of_the_same_flow_and_entity(warehouse: FileWarehouse) -> None:
    warehouse.source.put(1, 2)
    warehouse.load()
    check_that_another_project_is_refused(warehouse)


def test_a_databases_table_is_not_that_of_another_project_of_the_same_flow_and_entity(
    database: DatabaseWarehouse,
) -> None:
    database.source.put(1, 2)
    database.load("full_drop")
    check_that_another_project_is_refused(database)


@pytest.mark.parametrize("run_type", RUN_TYPES)
def test_a_mirrored_table_is_not_that_of_another_project_of_the_same_flow_and_entity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_type: RunType
) -> None:
    world = World(tmp_path, monkeypatch, run_type=run_type)
    world.source.put(1, 2)
    assert world.load("first").status == "done"
    before = contents(tmp_path / world.layout.folder)
    world.project.name = "market"
    world.source.put(3)
    assert world.slice("theirs").error == "store.not_ours"
    assert contents(tmp_path / world.layout.folder) == before
    world.project.name = "shop"
    assert world.load("second").status == "done"
    world.check()


def test_a_table_whose_state_names_no_project_is_that_of_the_next_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = local(tmp_path, monkeypatch, "parquet")
    warehouse.source.put(1)
    warehouse.load()
    (state,) = (tmp_path / "project/out/.hygge_journal/landing").rglob("*.json")
    forget(state, "author")
    warehouse.source.put(2)
    warehouse.load()
    assert json.loads(state.read_text())["author"]["project"] == "shop"
    check_that_another_project_is_refused(warehouse)


@pytest.mark.parametrize("store", ["{{ type: local, path: {}, format: csv }}", "{{ type: sqlite, path: {}/shop.db }}"])
def test_a_project_of_another_name_or_source_is_told_by_every_command(tmp_path: Path, store: str) -> None:
    shared, first, second = tmp_path / "shared", tmp_path / "first", tmp_path / "second"
    project(first, store.format(shared))
    assert hygge(first, "go")[0] == 0
    project(second, store.format(shared), name="market")
    (second / "in/orders.csv").write_text("id,v\n9,theirs\n")

    def landed() -> list[object]:
        files: list[object] = [
            (name, content) for name, content in contents(shared).items() if re.match(r"orders/|.*/landing/", name)
        ]
        if "sqlite" in store:
            with closing(sqlite3.connect(shared / "shop.db")) as connection:
                return [*files, *connection.iterdump()]
        return files

    before = landed()
    code, said = hygge(second, "plan")
    for part in (
        f"in {shared}/",
        "landed in orders",
        "this is the project 'market'",
    ):
        assert part in said.replace("\n", "")
    for arguments in (("plan",), ("go",), ("reconcile",), ("adopt", "orders")):
        code, said = hygge(second, *arguments)
        assert code != 0
        assert "'shop'" in said
        assert str(first / "in/orders.csv") in said.replace("\n", "")
    assert landed() == before
    # A copy of the project is the same project; where its rows come from elsewhere, that is reported.
    project(second, store.format(shared))
    code, said = hygge(second, "plan")
    assert code == 0
    assert f"its rows came from {first / 'in/orders.csv'} so far" in said
    code, said = hygge(second, "go")
    assert code == 0
    assert "so far, and come from" in said
    assert "so far" not in hygge(second, "go")[1]
    # Renamed on purpose, with another source: what has landed is replaced as a whole, once that is confirmed.
    project(first, store.format(shared), name="market")
    code, said = hygge(first, "adopt", "orders", "--confirm", "orders")
    assert (code, "first load has to be a full_drop" in said) == (0, True)
    assert hygge(first, "go")[0] == 0
    assert hygge(second, "go")[0] == 1


def test_a_renamed_project_with_another_source_begins_with_a_full_drop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse = local(tmp_path, monkeypatch, "parquet")
    warehouse.source.put(1)
    warehouse.load()
    warehouse.hygge = warehouse.hygge.replace("database: shop", "database: market")
    rename(warehouse, "market")
    adoption = hand_over(warehouse)
    assert "sql.example.com,1433/market, source." in adoption.replaced
    adoption.confirm()
    warehouse.source.put(2)
    assert warehouse.run("too early", "incremental").error == "store.landing_broken"
    warehouse.load("full_drop")
    assert warehouse.rows() == warehouse.source.rows


@pytest.mark.parametrize("kind", ["local-csv", "local-delta", "sqlite", "mssql", "mirror"])
def test_a_table_that_is_handed_to_another_flow_is_no_longer_that_of_the_first(
    tmp_path: Path, lake: OneLake, request: pytest.FixtureRequest, kind: str
) -> None:
    shared = tmp_path / "shared"
    settings: dict[str, Any] = {"type": "local", "path": str(shared), "format": kind.partition("-")[2]}
    hosts = ""
    if kind == "sqlite":
        settings = {"type": "sqlite", "path": str(shared / "shop.db")}
    elif kind == "mssql":
        server = request.getfixturevalue("mssql_server")
        login = f"server: '{server.address}', username: sa, password: '{DEFAULT_LOGINS['sa']}', encrypt: false"
        hosts = f"connections: {{ wh: {{ type: mssql, database: shop, {login} }} }}\n"
        settings = {"type": "mssql", "connection": "wh", "journal_folder": {"path": str(shared / "journal")}}
    elif kind == "mirror":
        account = {"account_url": lake.url, "credential": "account_key"} | lake.credential
        own = {"type": "open_mirroring", "mirror_name": ITEM, "folder_deletion_wait_seconds": 0, "key_columns": ["id"]}
        settings = own | account | {"filesystem": WORKSPACE}
    settings["table_name"] = "handed_over"
    first, second = tmp_path / "first", tmp_path / "second"
    for directory, flow in ((first, "shop"), (second, "other")):
        project(directory, json.dumps(settings), name=directory.name)
        (directory / "flows/shop").rename(directory / f"flows/{flow}")
        with (directory / "hygge.yml").open("a") as file:
            file.write(hosts)
    assert hygge(first, "go")[0] == 0
    said = hygge(second, "go")[1]
    assert "it is the table of shop.orders of the project 'first'" in said
    code, said = hygge(second, "adopt", "orders", "--confirm", "handed_over")
    assert (code, "Loads of shop.orders are refused from then on" in said) == (0, True)
    assert hygge(second, "go")[0] == 0
    code, said = hygge(first, "go")
    assert (code, "it is the table of other.orders of the project 'second'" in said) == (1, True)
    assert hygge(second, "go")[0] == 0
    assert "There is nothing to hand over" in hygge(second, "adopt", "orders")[1]


def die_at(crash: int, warehouse: FileWarehouse, monkeypatch: pytest.MonkeyPatch, run_type: RunType) -> bool:
    """Whether a load `third` died at its ``crash``-th change; else it has ended."""
    fragile = FragileLake(LocalLake(warehouse.directory / "project/out"))
    fragile.die_at = crash
    with monkeypatch.context() as patched:
        patched.setattr(opening, "open_directory", lambda path, reach, lake=fragile: lake)
        try:
            assert warehouse.run("third", run_type).status == "done"
        except Killed:
            return True
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("format_", "run_type", "heir", "steps"),
    [
        ("csv", "incremental", "a project of another name", 1),
        ("csv", "full_drop", "a project of another source", 2),
        ("delta", "full_drop", "a project of another source", 3),
        ("csv", "full_drop", "another entity", 2),
        ("delta", "incremental", "another entity", 3),
    ],
)
def test_a_table_that_is_handed_over_in_the_middle_of_a_load_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str, run_type: RunType, heir: str, steps: int
) -> None:
    """Whatever the load that died has left: its rows and those of another source never mix, and it publishes nothing
    any more."""
    died = 0
    for crash in range(2, 60, steps):
        first = local(tmp_path / str(crash), monkeypatch, format_)
        first.directory.mkdir()
        first.source.put(1, 2)
        assert first.run("first", "incremental").status == "done"
        first.source.put(3)
        if format_ == "csv":
            put_others(first.folder)
        if not die_at(crash, first, monkeypatch, run_type):
            break
        died += 1
        second = first
        if heir == "another entity":
            settings = {"type": "local", "format": format_, "path": "out", "table_name": first.name}
            second = FileWarehouse(first.directory, monkeypatch, "others", settings, first.folder)
        elif heir == "a project of another source":
            first.hygge = first.hygge.replace("database: shop", "database: market")
            (first.directory / "source.json").unlink()
            first.source.put(11, 12)
        if second is first:
            rename(first, "market")
        left = contents(first.folder)
        adoption = hand_over(second)
        with pytest.raises(LandingBusy, match="load third"):  # its owner is not known to have died
            adoption.confirm()
        assert "has not ended" in adoption.found
        assert ("not published any more" in adoption.then) == (heir == "another entity")
        with monkeypatch.context() as patched:
            for module in (blocked, lease):
                patched.setattr(module, "has_ended", lambda process: True)
            adoption.confirm()
            assert contents(first.folder) == left
            second.source.put(4)
            result = second.run("heir", "incremental")
            if heir != "a project of another name":
                assert (result.error, "was handed over on" in result.message) == ("store.landing_broken", True), result
                result = second.run("heir again", "full_drop")
            assert result.status == "done"
            assert second.rows() == second.source.rows
            assert others_of(first.folder) == (OTHERS if format_ == "csv" else {})
            if heir == "another entity":
                assert first.slice("third", run_type, 2).error in ("store.not_ours", "store.landing_broken")
                assert second.rows() == second.source.rows
    assert died > 1


@pytest.mark.parametrize("format_", ["csv", "delta"])
def test_what_cannot_become_a_table_is_said_by_adopt_and_stays(tmp_path: Path, format_: str) -> None:
    project(tmp_path, f"{{ type: local, path: out, format: {format_} }}")
    said = hygge(tmp_path, "adopt", "orders", "--confirm", "orders")[1]
    assert "its first load makes it" in said
    (tmp_path / "out").mkdir()
    (tmp_path / "out/orders").write_text("theirs")
    for command in (["plan"], ["go"], ["adopt", "orders", "--confirm", "orders"]):
        code, said = hygge(tmp_path, *command)
        assert code != 0
        assert "orders is a file" in said
        assert "Move it away" in said
    assert (tmp_path / "out/orders").read_text() == "theirs"
    if format_ == "delta":
        (tmp_path / "out/orders").unlink()
        put_others(tmp_path / "out/orders")
        code, said = hygge(tmp_path, "adopt", "orders", "--confirm", "orders")
        assert (code, "but a.csv" in said, "Move that away" in said) == (2, True, True)
        assert contents(tmp_path / "out/orders") == OTHERS
