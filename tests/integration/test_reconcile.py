"""Source against destination, for every store that can be read back: equal after a load, and what has changed since is
named."""

from __future__ import annotations

import json
import os
import sqlite3
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

from devcloud.onelake import OneLake
from hygge_engine.cli import reachability
from hygge_engine.cli.app import app
from hygge_engine.homes.base import SourceSchema
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.reconcile import compare, ranges
from hygge_engine.reconcile.compare import reconcile
from hygge_engine.reconcile.result import Example, Unwatched
from hygge_engine.stores.base import Destination
from hygge_engine.stores.lake_files.table import FilesTable
from hygge_engine.watermark import Watermark
from tests.faults.source import SourceHome
from tests.integration.mssql_server import ServerProcess
from tests.integration.warehouse import FLOW, Nobody, hygge_mssql
from tests.support.reconciled_places import (
    DeltaPlace,
    MirroredPlace,
    ReconciledPlace,
    Rows,
    choose,
    make_place,
)
from tests.unit.project_files import load as load_project_files

STORES = (
    *(f"{kind}-{format_}" for kind in ("local", "onelake") for format_ in ("parquet", "csv", "ndjson", "delta")),
    "adls-parquet",
    "adls-delta",
    "open_mirroring",
    "sqlite",
    "mssql",
)


@pytest.fixture(scope="module")
def lake(module_lake: OneLake) -> OneLake:
    return module_lake


@pytest.fixture(params=STORES)
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReconciledPlace:
    kind, _, format_ = request.param.partition("-")
    place = make_place(request, kind, format_ or "parquet", tmp_path, monkeypatch)
    monkeypatch.setattr(compare, "open_home", lambda project, entity: place.warehouse.home)
    # The home's address leads nowhere.
    monkeypatch.setattr(reachability, "asks_of", lambda settings: {})
    return place


def test_what_was_loaded_is_equal_and_what_was_changed_is_named(place: ReconciledPlace) -> None:
    place.source.put(*range(10))
    place.load()
    found = place.reconcile()
    assert (found.verdict, found.source_rows, found.destination_rows) == ("equal", 10, 10), found
    assert found.source_checksum == found.destination_checksum
    assert place.reconcile(counts_only=True).verdict == "equal"

    def change(rows: Rows) -> Rows:
        kept = [row for row in rows if row["id"] != 3]
        return [
            *(row | {"value": "changed"} if row["id"] == 7 else row for row in kept),
            {"id": 99, "value": "v1", "modified": 1},
        ]

    place.tamper(change)
    found = place.reconcile()
    assert (found.verdict, found.missing, found.extra, found.different) == ("differs", 1, 1, 1), found
    assert sorted(found.examples, key=lambda example: example.key["id"]) == [
        Example("missing", {"id": "3"}),
        Example("different", {"id": "7"}, ("value",)),
        Example("extra", {"id": "99"}),
    ]


@pytest.fixture(params=["local-parquet", "local-delta", "sqlite", "open_mirroring"])
def any_place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReconciledPlace:
    kind, _, format_ = request.param.partition("-")
    return choose(request, tmp_path, monkeypatch, kind, format_ or "parquet")


def test_of_several_versions_of_a_row_the_newest_counts_and_what_moves_is_left_out(any_place: ReconciledPlace) -> None:
    place = any_place
    place.source.put(*range(10))
    place.load()
    for _ in range(3):
        place.source.put(2, 3)
        place.load()
    assert place.reconcile().verdict == "equal"

    place.source.put(3, 4, 50)  # the next load's
    found = place.reconcile()
    assert (found.verdict, found.source_rows, found.destination_rows, found.moving) == ("equal", 8, 8, 3), found
    assert "modified up to 4" in found.compared
    assert place.reconcile(counts_only=True).verdict == "equal"

    found = place.reconcile(all_rows=True)
    assert (found.verdict, found.missing, found.different, found.extra) == ("differs", 1, 2, 0), found
    assert found.hint == f"Load it: hygge go --entity {found.flow}.{found.entity}"

    place.source.remove(7)  # which an increment does not notice
    found = place.reconcile()
    assert [(example.kind, example.key) for example in found.examples] == [("extra", {"id": "7"})]
    assert "full_drop" in found.hint


def test_versions_are_told_apart_in_a_compacted_delta_table(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = choose(request, tmp_path, monkeypatch, "local", "delta")
    assert isinstance(place, DeltaPlace)
    for ids in ((1, 2, 3), (2,), (3,)):
        place.source.put(*ids)
        place.load()
    table = DeltaTable(str(place.folder))
    table.optimize.compact()
    rows = pl.read_delta(str(place.folder)).sort("modified", descending=True)
    write_deltalake(table, rows.to_arrow(), mode="overwrite")  # another order, too
    assert place.reconcile().verdict == "equal"


def test_a_row_that_changes_while_it_is_compared_is_no_difference(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = choose(request, tmp_path, monkeypatch, "sqlite")
    place.source.put(*range(10))
    place.load()
    place.warehouse.home = SourceHome(place.source, before_batch=lambda number: place.source.put(0, 9 - number))
    assert place.reconcile().verdict == "equal"


def test_rows_of_a_window_that_mends_the_table_are_named_by_it(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = choose(request, tmp_path, monkeypatch, "sqlite")
    for id_ in range(10):
        place.source.put(id_)
    place.load()
    place.tamper(lambda rows: [row for row in rows if row["id"] not in (4, 6)])
    assert place.reconcile().hint.endswith("--entity orders_to_store.things --from 5 --to 7")


def test_what_fabric_has_not_applied_is_behind(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = choose(request, tmp_path, monkeypatch, "open_mirroring")
    assert isinstance(place, MirroredPlace)
    assert (place.reconcile().verdict, place.reconcile().message) == ("behind", "nothing has been landed yet")
    place.source.put(1, 2, 3)
    place.warehouse.load()
    found = place.reconcile()
    assert (found.verdict, found.message) == ("behind", "Fabric has not applied anything yet")
    place.replicator.tick()
    assert place.reconcile().verdict == "equal"
    place.source.put(3, 4)
    place.warehouse.load()
    found = place.reconcile()
    assert found.verdict == "behind"
    assert "files of the landing zone" in found.message
    place.replicator.tick()
    assert place.reconcile().verdict == "equal"


def test_what_comes_late_within_the_lag_is_behind(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = choose(request, tmp_path, monkeypatch, "sqlite")
    place.warehouse.watermark = "{ column: modified, primary_key: id, lag: 5s }"
    monkeypatch.setattr(Watermark, "lagged", lambda mark, value, seconds: str(int(value) - int(seconds)))
    monkeypatch.setattr(Watermark, "check_lag", lambda mark: None)  # minutes of a number are seconds here
    place.source.put(1, 2, 3)
    place.load()
    place.source.put_late(4)
    found = place.reconcile()
    assert (found.verdict, found.missing) == ("behind", 1), found
    place.load()
    assert place.reconcile().verdict == "equal"


def test_rows_are_compared_as_polish_lands_them(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = choose(request, tmp_path, monkeypatch, "local", "ndjson")
    place.warehouse.watermark = (
        "{ column: modified, primary_key: id }\n"
        "polish: { rename: { id: number, modified: changed }, mask: { value: empty }, load_columns: { load: load_id } }"
    )
    place.source.put(1, 2, 3)
    place.load()
    found = place.reconcile()
    assert (found.verdict, found.not_compared) == ("equal", ("load",)), found
    place.tamper(lambda rows: [row | {"value": "v1"} if row["number"] == 2 else row for row in rows])
    assert place.reconcile().examples == (Example("different", {"number": "2"}, ("value",)),)


def test_without_a_key_rows_are_counted_and_not_named(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = choose(request, tmp_path, monkeypatch, "local", "csv")
    source = place.warehouse.home.describe()
    monkeypatch.setattr(place.warehouse.home, "describe", lambda: replace(source, key=()))
    place.source.put(1, 2, 3)
    place.load()
    assert place.reconcile().verdict == "equal"
    place.tamper(lambda rows: [*rows, rows[0]])
    found = place.reconcile()
    assert (found.verdict, found.extra, found.examples) == ("differs", 1, ())
    assert "no key" in found.message


class Renamed(SourceHome):
    """The source with other names of its columns."""

    names: Mapping[str, str]

    def describe(self) -> SourceSchema:
        known = super().describe()
        columns = tuple(replace(column, name=self.names.get(column.name, column.name)) for column in known.columns)
        return replace(known, columns=columns, key=tuple(self.names.get(name, name) for name in known.key))

    def _batch(self, rows: Any) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(
            [
                pa.array([row[number] for row in rows], column.type)
                for number, column in enumerate(self.describe().columns)
            ],
            schema=self.describe().schema,
        )


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("names", "verdict", "words"),
    [
        ({"id": "ID", "value": "Value"}, "equal", ""),
        ({"id": "number"}, "failed", "has no id now"),
        ({"id": "a", "value": "b", "modified": "c"}, "failed", "it has a, b, c"),
    ],
)
def test_rows_are_never_equal_where_they_cannot_be_compared(
    place: ReconciledPlace, monkeypatch: pytest.MonkeyPatch, names: dict[str, str], verdict: str, words: str
) -> None:
    place.source.put(*range(3))
    place.load()
    home = Renamed(place.source)
    home.names = names
    monkeypatch.setattr(compare, "open_home", lambda project, entity: home)
    for counts_only in (False, True):
        found = place.reconcile(counts_only=counts_only)
        assert (found.verdict, words in found.message) == (verdict, True), found
        assert found.verdict == "failed" or found.source_rows == 3


def test_a_store_that_only_takes_rows_says_so(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = choose(request, tmp_path, monkeypatch, "local", "csv")
    place.source.put(1)
    place.load()
    monkeypatch.setattr(FilesTable, "read_back", Destination.read_back)
    found = place.reconcile()
    assert (found.verdict, found.error) == ("not readable", "store.not_readable")


def test_a_table_of_many_ranges_is_compared_from_the_disk(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "BUFFERED_ROWS", 300)
    place = choose(request, tmp_path, monkeypatch, "local")
    place.warehouse.home = SourceHome(place.source, batch_rows=100)
    monkeypatch.setattr("hygge_engine.flow.run.open_home", lambda project, entity: place.warehouse.home)
    place.source.put(*range(1000))
    place.load()
    found = place.reconcile()
    assert (found.verdict, found.source_rows) == ("equal", 1000)
    place.tamper(lambda rows: rows[:400] + rows[401:])
    assert place.reconcile().examples == (Example("missing", {"id": "400"}),)


def test_the_command_shows_keys_and_what_to_do_and_no_other_value(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "secret")
    place = choose(request, tmp_path, monkeypatch, "sqlite")
    place.source.put(*range(10))
    place.load()

    def run(*arguments: str, exit_code: int) -> str:
        command = ["reconcile", "--project", str(tmp_path / "project"), *arguments]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == exit_code, result.output
        return result.output

    assert "equal" in run(exit_code=0)
    place.tamper(lambda rows: [row | {"value": "changed"} if row["id"] == 7 else row for row in rows])
    shown = run(exit_code=1)
    assert "1 row different\n      id = 7: value\n" in shown
    assert "do: Load these rows again: hygge go --entity orders_to_store.things --from 1 --to 1" in shown
    assert "changed" not in shown.replace("changed since", "")
    (found,) = json.loads(run("--json", exit_code=1))["entities"]
    assert (found["verdict"], found["different"]) == ("differs", 1)
    assert "equal" in run("--counts-only", exit_code=0)
    assert "no entity `nothing`" in run("--entity", "nothing", exit_code=2)


OF_FILES = """\
name: files
run_type: incremental
home: {{ type: local, path: "in/*.csv", format: csv, key: [id] }}
store: {store}
watermark: {watermark}
entities: [things]
"""


@pytest.mark.parametrize("store", ["{ type: sqlite, path: out.db }", "{ type: local, path: out, format: csv }"])
@pytest.mark.parametrize("watermark", ["{ column: at }", "{ file_modified: true }"])
def test_of_files_that_hold_several_versions_of_a_row_the_last_counts(
    tmp_path: Path, store: str, watermark: str
) -> None:
    project = load_project_files(tmp_path, flow=OF_FILES.format(store=store, watermark=watermark))
    (entity,) = project.entities
    (tmp_path / "in").mkdir()
    files = {"b": "1,a,1\n2,b,1\n1,c,2\n3,x,2\n", "c": "2,d,3\n", "d": "1,e,4\n4,z,5\n4,y,5\n"}
    for number, (name, rows) in enumerate(files.items(), start=1):
        (tmp_path / "in" / f"{name}.csv").write_text(f"id,value,at\n{rows}", encoding="utf-8")
        os.utime(tmp_path / "in" / f"{name}.csv", (number, number))
        assert run_load(project, LoadRequest(requested_by="tests"), Nobody())["status"] == "success"
        for all_rows, counts_only in ((False, False), (True, False), (False, True)):
            found = reconcile(project, entity, Unwatched(), all_rows=all_rows, counts_only=counts_only)
            rows_each = (found.source_rows, found.destination_rows)
            assert (found.verdict, *rows_each) == ("equal", *2 * (4 if name == "d" else 3,)), found

    # What the table does not have by a fault, or has in an older version.
    if "sqlite" in store:
        with closing(sqlite3.connect(tmp_path / "out.db")) as database, database:
            database.execute("UPDATE things SET value = 'a', at = 1 WHERE id = 1")
    else:
        *_, newest = sorted((tmp_path / "out" / "things").glob("*.csv"))
        lines = newest.read_text(encoding="utf-8").splitlines(keepends=True)
        newest.write_text("".join(line for line in lines if not line.startswith("1,")), encoding="utf-8")
    found = reconcile(project, entity, Unwatched())
    assert (found.verdict, found.different, found.missing, found.extra) == ("differs", 1, 0, 0), found
    assert [(example.kind, example.key) for example in found.examples] == [("different", {"id": "1"})]


def test_the_version_that_a_later_load_has_brought_from_an_earlier_file_is_no_difference(tmp_path: Path) -> None:
    flow = OF_FILES.format(store="{ type: sqlite, path: out.db }", watermark="{ column: at }")
    project = load_project_files(tmp_path, flow=flow)
    (entity,) = project.entities
    (tmp_path / "in").mkdir()
    for name, row in {"z": "1,a,1", "a": "1,c,2"}.items():
        (tmp_path / "in" / f"{name}.csv").write_text(f"id,value,at\n{row}\n", encoding="utf-8")
        assert run_load(project, LoadRequest(requested_by="tests"), Nobody())["status"] == "success"
        assert reconcile(project, entity, Unwatched()).verdict == "equal"
    reload = LoadRequest(run_type="full_drop", requested_by="tests")  # which brings z.csv's last
    assert run_load(project, reload, Nobody())["status"] == "success"
    assert reconcile(project, entity, Unwatched()).verdict == "equal"


TYPED = """
CREATE TABLE dbo.things (id int NOT NULL PRIMARY KEY, flag bit, small smallint, large bigint, exact decimal(20,6),
  price money, narrow real, wide float, day date, at_tick datetime, at_digit datetime2(7), at_zone datetimeoffset(3),
  clock time(7), name nvarchar(40), code char(4), bytes varbinary(20), guid uniqueidentifier, version rowversion)
"""
TYPED_ROW = (
    "INSERT INTO dbo.things (id, flag, small, large, exact, price, narrow, wide, day, at_tick, at_digit, at_zone,"
    " clock, name, code, bytes, guid) VALUES ({id}, 1, -5, 9007199254740993, 12345678901234.500000, -0.0100, 0.1, 0.1,"
    " '2024-02-29', '2024-02-29T12:34:56.007', '2024-02-29T12:34:56.1234567', '2024-02-29T12:34:56.123+02:00',"
    " '12:34:56.1234567', N'Æble, \"og\" pære', 'ab', 0x00FF, '6F9619FF-8B86-D011-B42D-00C04FC964FF')"
)


@pytest.mark.parametrize("store", ["{ type: sqlite, path: out/shop.db }", "{ type: local, path: out, format: csv }"])
def test_sql_servers_types_and_tracked_changes_are_compared(
    tmp_path: Path, mssql_server: ServerProcess, store: str
) -> None:
    database = f"typed_{uuid.uuid4().hex[:12]}"
    tracks = "sqlite" in store
    mssql_server.run(f"CREATE DATABASE {database}")
    mssql_server.run(TYPED, *(TYPED_ROW.format(id=id_) for id_ in range(5)), database=database)
    mssql_server.run("INSERT INTO dbo.things (id) VALUES (5)", database=database)
    if tracks:
        mssql_server.run(
            f"ALTER DATABASE {database} SET CHANGE_TRACKING = ON",
            "ALTER TABLE dbo.things ENABLE CHANGE_TRACKING",
            database=database,
        )
    hygge = hygge_mssql(mssql_server, database)
    watermark = "{ change_tracking: true }" if tracks else "{ column: version }"
    flow = FLOW.format(schema="dbo", run_type="incremental", store=store, watermark=watermark, entity="things")
    project = load_project_files(tmp_path, hygge=hygge, flow=flow)
    assert run_load(project, LoadRequest(requested_by="tests"), Nobody())["status"] == "success"
    (entity,) = project.entities
    found = reconcile(project, entity, Unwatched())
    assert (found.verdict, found.destination_rows, found.moving) == ("equal", 6, 0), found

    mssql_server.run("UPDATE dbo.things SET name = N'new' WHERE id = 1", TYPED_ROW.format(id=9), database=database)
    if tracks:
        mssql_server.run("DELETE FROM dbo.things WHERE id = 2", database=database)
    found = reconcile(project, entity, Unwatched())
    assert (found.verdict, found.moving) == ("equal", 3 if tracks else 2), found
    assert reconcile(project, entity, Unwatched(), counts_only=True).verdict == "equal"
    found = reconcile(project, entity, Unwatched(), all_rows=True)
    assert (found.missing, found.different, found.extra) == (1, 1, 1 if tracks else 0), found
