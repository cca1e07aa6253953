"""The replicator as a publisher and a reader of the mirrored tables see it."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devcloud.replicator import (
    DirectoryLandingZone,
    LandingZoneChecker,
    Replicator,
    ReplicatorOptions,
    TableName,
    check_landing_zone,
)
from tests.integration.replicator_publisher import (
    FLIGHTS,
    MARKER,
    SCHEMA,
    Publisher,
    codes,
    failure_of,
    make_schema,
    rows_of,
)


@pytest.fixture
def item(tmp_path: Path) -> Path:
    directory = tmp_path / "item"
    (directory / "Files" / "LandingZone").mkdir(parents=True)
    return directory


@pytest.fixture(params=["delta", "memory"])
def replicator(item: Path, request: pytest.FixtureRequest) -> Replicator:
    return Replicator.on_disk(item, in_memory=request.param == "memory")


def test_initial_load_and_changes_reach_the_table_in_order(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "N1"), (2, "N2"), (3, "N3")])
    report = replicator.tick()
    assert report.created == [FLIGHTS]
    assert rows_of(replicator) == [(1, "N1"), (2, "N2"), (3, "N3")]
    flights.publish([(1, "x"), (1, "y"), (2, None), (4, "N4"), (4, "N4b"), (9, None)], [4, 1, 2, 0, 1, 2])
    flights.publish([(4, "N4c"), (2, "back")], [4, 4])
    report = replicator.tick()
    assert [applied.rows for applied in report.applied] == [6, 2]
    assert rows_of(replicator) == [(1, "y"), (2, "back"), (3, "N3"), (4, "N4c")]
    assert replicator.tables() == [FLIGHTS]
    assert not replicator.checks
    assert not check_landing_zone(item)


def test_an_insert_does_not_look_for_its_key(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    flights.publish([(1, "b")], [0])
    replicator.tick()
    assert rows_of(replicator) == [(1, "a"), (1, "b")]
    flights.publish([(1, "c"), (1, "d")], [4, 0])
    replicator.tick()
    assert rows_of(replicator) == [(1, "c"), (1, "d")]


def test_a_keyless_table_is_a_multiset(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin(keys=[])
    flights.publish([(1, "a"), (1, "a")])
    flights.publish([(1, "a")], [0])
    replicator.tick()
    assert rows_of(replicator) == [(1, "a")] * 3
    flights.publish([(1, "a")], [4])
    replicator.tick()
    assert failure_of(replicator) == "MARKER_WITHOUT_KEYS"


def test_changes_of_a_keyless_table_can_be_ignored(item: Path) -> None:
    replicator = Replicator.on_disk(item, in_memory=True, options=ReplicatorOptions(keyless_changes="ignore"))
    flights = Publisher(item).begin(keys=[])
    flights.publish([(1, "a"), (1, "b"), (1, None)], [0, 4, 2])
    replicator.tick()
    assert rows_of(replicator) == [(1, "a")]
    assert codes(replicator.checks) == ["MARKER_WITHOUT_KEYS"]


def test_a_leading_marker_can_be_accepted(item: Path) -> None:
    replicator = Replicator.on_disk(item, in_memory=True, options=ReplicatorOptions(accept_leading_marker=True))
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    flights.publish_table(MARKER_FIRST)
    replicator.tick()
    assert rows_of(replicator) == [(1, "b")]
    assert codes(replicator.checks) == ["MARKER_NOT_LAST"]


def test_rows_without_marker_are_upserts_where_the_metadata_says_so(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin(isUpsertDefaultRowMarker=True)
    flights.publish([(1, "a"), (1, "b")])
    flights.publish([(1, "c"), (2, "d")])
    replicator.tick()
    assert rows_of(replicator) == [(1, "c"), (2, "d")]


def test_composite_keys_of_every_type_are_matched_exactly(item: Path, replicator: Replicator) -> None:
    schema = make_schema(
        day=pa.date32(),
        at=pa.timestamp("us", "UTC"),
        amount=pa.decimal128(19, 4),
        code=pa.string(),
        raw=pa.binary(),
        **{"a b": pa.string()},
    )
    rows = pa.table(
        [
            pa.array([1, 1], pa.int32()).cast(pa.date32()),
            pa.array([10**15, 10**15], pa.int64()).cast(pa.timestamp("us", "UTC")),
            pa.array(["1.5000", "1.5001"]).cast(pa.decimal128(19, 4)),
            pa.array(["É", "é"]),
            pa.array([b"\x00", b"\x01"]),
            pa.array(["first", "second"]),
        ],
        schema=schema,
    )
    flights = Publisher(item).begin(keys=["day", "at", "amount", "code", "raw"])
    flights.publish_table(rows)
    changed = rows.slice(1).set_column(5, "a b", pa.array(["changed"]))
    flights.publish_table(
        changed.append_column(pa.field(MARKER, pa.int32(), nullable=False), pa.array([1], pa.int32()))
    )
    replicator.tick()
    assert {row[-1] for row in rows_of(replicator)} == {"changed", "first"}
    assert codes(replicator.checks) == ["KEY_COUNT"]


def test_columns_are_united_and_never_lost(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    replicator.tick()
    wider = SCHEMA.append(pa.field("seats", pa.int32()))
    flights.publish([(1, "b", 9), (2, "c", 8)], [4, 4], schema=wider)
    replicator.tick()
    assert rows_of(replicator) == [(1, "b", 9), (2, "c", 8)]
    flights.publish([(3,)], schema=make_schema(id=pa.int64()))
    replicator.tick()
    assert rows_of(replicator) == [(1, "b", 9), (2, "c", 8), (3, None, None)]


def test_files_after_a_gap_wait(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    flights.publish([(3, "c")], name=flights.name(3))
    replicator.tick()
    assert rows_of(replicator) == [(1, "a")]
    assert codes(replicator.checks) == ["GAP"]
    assert codes(check_landing_zone(item)) == ["GAP"]
    flights.publish([(2, "b")], name=flights.name(2))
    replicator.tick()
    assert rows_of(replicator) == [(1, "a"), (2, "b"), (3, "c")]


def test_processed_files_move_away_except_the_last(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    for number in range(3):
        flights.publish([(number, "a")])
    replicator.tick()
    assert sorted(path.name for path in flights.folder.glob("0*")) == [flights.name(3)]
    moved = flights.folder / "_FilesReadyToDelete"
    assert sorted(path.name for path in moved.iterdir()) == [flights.name(1), flights.name(2)]
    flights.publish([(9, "b")])
    replicator.tick()
    assert (9, "b") in rows_of(replicator)
    assert not check_landing_zone(item)


def test_processed_files_are_purged_when_they_are_old(item: Path) -> None:
    replicator = Replicator.on_disk(item, in_memory=True, options=ReplicatorOptions(purge_after_seconds=0))
    flights = Publisher(item).begin()
    for number in range(3):
        flights.publish([(number, "a")])
    replicator.tick()
    assert not list((flights.folder / "_FilesReadyToDelete").iterdir())
    assert not check_landing_zone(item)


def test_a_folder_that_is_gone_drops_the_table(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    replicator.tick()
    flights.delete()
    assert replicator.tick().dropped == [FLIGHTS]
    assert replicator.tables() == []
    assert json.loads((item / "Files/Monitoring/tables.json").read_text()) == {"tables": []}


def test_a_folder_that_was_recreated_rebuilds_the_table(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    flights.publish([(2, "b")])
    replicator.tick()
    before = json.loads((item / "Files/Monitoring/tables.json").read_text())["tables"][0]["id"]
    flights.delete()
    other_type = make_schema(id=pa.int64(), tail=pa.int32())
    flights.begin(keys=["tail"]).publish([(7, 8)], schema=other_type)
    assert replicator.tick().rebuilt == [FLIGHTS]
    assert rows_of(replicator) == [(7, 8)]
    assert failure_of(replicator) is None
    assert json.loads((item / "Files/Monitoring/tables.json").read_text())["tables"][0]["id"] != before


def test_folders_are_told_apart_where_there_are_no_extended_attributes(
    item: Path, replicator: Replicator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    replicator.tick()
    assert replicator.tick().rebuilt == []
    flights.delete()
    flights.begin().publish([(2, "b")])
    assert replicator.tick().rebuilt == [FLIGHTS]
    assert rows_of(replicator) == [(2, "b")]
    assert not check_landing_zone(item)


def test_schemas_and_underscores(item: Path) -> None:
    Publisher(item, "journal", "__hygge").begin().publish([(1, "a")])
    Publisher(item, "_scratchPad", "dbo").begin().publish([(1, "a")])
    plain = item / "Files/LandingZone/planes"
    plain.mkdir()
    (plain / "_metadata.json").write_text("{}")
    pq.write_table(pa.table({"id": [1]}), plain / "00000000000000000001.parquet")
    accepting = Replicator.on_disk(item, in_memory=True)
    accepting.tick()
    assert accepting.tables() == [TableName("__hygge", "journal"), TableName("dbo", "planes")]
    assert codes(accepting.checks) == ["UNDERSCORE_SCHEMA"]


def test_underscore_schemas_can_be_ignored(item: Path) -> None:
    Publisher(item, "journal", "__hygge").begin().publish([(1, "a")])
    ignoring = Replicator.on_disk(item, in_memory=True, options=ReplicatorOptions(underscore_schemas="ignore"))
    ignoring.tick()
    assert ignoring.tables() == []


def test_no_metadata_means_no_ingestion_until_it_comes(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item)
    flights.folder.mkdir(parents=True)
    flights.publish([(1, "a")])
    replicator.tick()
    assert replicator.tables() == []
    assert codes(replicator.checks) == ["META_MISSING"]
    assert codes(check_landing_zone(item)) == ["META_MISSING"]
    flights.write_metadata({"keyColumns": ["id"]})
    replicator.tick()
    assert rows_of(replicator) == [(1, "a")]


def test_the_key_stays_frozen_over_a_restart(item: Path) -> None:
    flights = Publisher(item)
    flights.folder.mkdir(parents=True)
    first = Replicator.on_disk(item)
    first.tick()
    flights.write_metadata({"keyColumns": ["id"]})
    first.tick()
    flights.write_metadata({"keyColumns": ["tail"]})
    second = Replicator.on_disk(item)
    second.tick()
    assert failure_of(second) == "KEY_CHANGED"


def test_last_update_detection_goes_by_time_and_reads_a_path_once(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin(fileDetectionStrategy="LastUpdateTimeFileDetection")
    later = flights.publish([(1, "later")], [4], name="a.parquet")
    earlier = flights.publish([(1, "earlier")], [4], name="b.parquet")
    os.utime(later, (2_000, 2_000))
    os.utime(earlier, (1_000, 1_000))
    replicator.tick()
    assert rows_of(replicator) == [(1, "later")]
    flights.publish([(1, "again")], [4], name="b.parquet")
    flights.publish([(2, "new")], [4], name="c.parquet")
    replicator.tick()
    assert rows_of(replicator) == [(1, "later"), (2, "new")]


def text(column: pa.Table) -> Callable[[Publisher], object]:
    return lambda flights: flights.publish_table(column)


def with_marker(markers: pa.Int32Array | pa.StringArray, nullable: bool = False, **columns: Any) -> pa.Table:
    table = pa.table(columns or {"id": [1], "tail": ["b"]})
    return table.append_column(pa.field(MARKER, markers.type, nullable=nullable), markers)


ONE = pa.array([4], pa.int32())
MARKER_FIRST = with_marker(ONE).select([MARKER, "id", "tail"])
REQUIRED_SEATS = pa.table([[2], ["b"], [1]], schema=SCHEMA.append(pa.field("seats", pa.int64(), nullable=False)))

VIOLATIONS: dict[str, tuple[str, Callable[[Publisher], object]]] = {
    "empty file": ("ZERO_BYTES", lambda flights: (flights.folder / flights.name(2)).touch()),
    "half a file": ("TRUNCATED_PARQUET", lambda flights: (flights.folder / flights.name(2)).write_bytes(b"PAR1xxxx")),
    "text": ("UNSUPPORTED_FORMAT", lambda flights: (flights.folder / f"{2:020}.csv").write_text("id\n1\n")),
    "codec": ("BAD_CODEC", lambda flights: flights.publish([(2, "b")], compression="lz4")),
    "marker first": ("MARKER_NOT_LAST", text(MARKER_FIRST)),
    "marker is text": ("MARKER_TYPE", text(with_marker(pa.array(["4"])))),
    "marker 3": ("MARKER_VALUE", lambda flights: flights.publish([(2, "b")], [3])),
    "marker null": ("MARKER_VALUE", text(with_marker(pa.array([None], pa.int32()), nullable=True))),
    "key missing": ("KEY_MISSING", text(pa.table({"tail": ["b"]}))),
    "key null": ("KEY_NULL", text(with_marker(ONE, id=pa.array([None], pa.int64()), tail=["b"]))),
    "type changed": ("TYPE_CHANGED", text(pa.table({"id": pa.array([2], pa.int32()), "tail": ["b"]}))),
    "required added": ("REQUIRED_ADDED", text(REQUIRED_SEATS)),
    "same name": ("DUPLICATE_COLUMN", text(pa.table({"id": [2], "tail": ["b"], "TAIL": ["c"]}))),
    "nested": ("NESTED_TYPE", text(pa.table({"id": [2], "tail": ["b"], "list": [[1]]}))),
    "unsigned": ("UNSIGNED_TYPE", text(pa.table({"id": [2], "n": pa.array([1], pa.uint32())}))),
    "time": ("TIME_TYPE", text(pa.table({"id": [2], "t": pa.array([1], pa.time64("us"))}))),
    "half precision": ("UNSUPPORTED_TYPE", text(pa.table({"id": [2], "h": pa.array([1], pa.float16())}))),
}


@pytest.mark.parametrize("case", VIOLATIONS)
def test_a_violation_stops_its_table_only(item: Path, replicator: Replicator, case: str) -> None:
    code, publish = VIOLATIONS[case]
    flights, planes = Publisher(item).begin(), Publisher(item, "planes").begin()
    flights.publish([(1, "a")])
    planes.publish([(1, "p")])
    publish(flights)
    replicator.tick()
    planes.publish([(2, "q")])
    replicator.tick()
    assert failure_of(replicator) == code
    assert rows_of(replicator) == [(1, "a")]
    assert rows_of(replicator, TableName("dbo", "planes")) == [(1, "p"), (2, "q")]
    assert code in codes(replicator.checks)
    assert code in codes(check_landing_zone(item))
    status = {table["sourceTableName"]: table for table in replicator.tables_status()}
    assert status["flights"]["status"] == "Failed"
    assert "SequenceNumber: 2" in status["flights"]["error"]["message"]
    assert "error" not in status["planes"]


def test_a_type_change_is_worded_as_fabric_words_it(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    flights.publish([("x", "a")], schema=make_schema(id=pa.string(), tail=pa.string()))
    replicator.tick()
    error = replicator.tables_status()[0]["error"]
    assert error["errorCode"] == "SchemaMergeFailure"
    assert "Type mismatch for column 'id'. Incoming type: 'string', existing type: 'long'" in error["message"]


def test_a_required_column_must_stay(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    required = SCHEMA.set(1, pa.field("tail", pa.string(), nullable=False))
    flights.publish([(1, "a")], schema=required)
    flights.publish([(2,)], schema=make_schema(id=pa.int64()))
    replicator.tick()
    assert failure_of(replicator) == "REQUIRED_DROPPED"
    assert codes(check_landing_zone(item)) == ["REQUIRED_DROPPED"]


def test_updates_that_lack_a_column_are_reported(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    flights.publish([(1,)], [4], schema=make_schema(id=pa.int64()))
    replicator.tick()
    assert rows_of(replicator) == [(1, None)]
    assert codes(replicator.checks) == ["PARTIAL_UPDATE_ROW"]
    assert codes(check_landing_zone(item)) == ["PARTIAL_UPDATE_ROW"]


def test_the_key_is_frozen(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    replicator.tick()
    flights.write_metadata({"keyColumns": ["tail"]})
    flights.publish([(2, "b")])
    replicator.tick()
    assert failure_of(replicator) == "KEY_CHANGED"
    flights.write_metadata({"keyColumns": ["id"]})
    replicator.tick()
    assert rows_of(replicator) == [(1, "a"), (2, "b")]


def test_unreadable_metadata_stops_the_table_until_it_is_replaced(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    (flights.folder / "_metadata.json").write_text("{")
    flights.publish([(1, "a")])
    replicator.tick()
    assert failure_of(replicator) == "META_JSON"
    assert codes(check_landing_zone(item)) == ["META_JSON"]
    flights.write_metadata({"keyColumns": ["id"]})
    replicator.tick()
    assert rows_of(replicator) == [(1, "a")]
    assert "META_NOT_ATOMIC" in codes(replicator.checks)


def test_a_replaced_file_mends_its_table(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    (flights.folder / flights.name(1)).touch()
    replicator.tick()
    (flights.folder / flights.name(1)).unlink()
    replicator.tick()
    assert failure_of(replicator) == "ZERO_BYTES"
    flights.publish([(1, "a")])
    replicator.tick()
    assert rows_of(replicator) == [(1, "a")]
    assert failure_of(replicator) is None


def test_a_failure_may_last_until_the_folder_is_recreated(item: Path) -> None:
    replicator = Replicator.on_disk(item, in_memory=True, options=ReplicatorOptions(sticky_failures="folder"))
    flights = Publisher(item).begin()
    (flights.folder / flights.name(1)).touch()
    replicator.tick()
    (flights.folder / flights.name(1)).unlink()
    flights.publish([(1, "a")])
    replicator.tick()
    assert failure_of(replicator) == "ZERO_BYTES"
    flights.delete()
    flights.begin().publish([(1, "a")])
    replicator.tick()
    assert rows_of(replicator) == [(1, "a")]


def test_names_and_strays_are_reported(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    flights.publish([(2, "b")], name="2.parquet")
    (flights.folder / "Day=1").mkdir()
    (flights.folder / "_partnerEvents.json").write_text("{}")
    (item / "Files/LandingZone/notes.txt").touch()
    replicator.tick()
    expected = ["BAD_NAME", "PARTNER_EVENTS_PLACE", "STRAY_NON_UNDERSCORE_ITEM", "STRAY_NON_UNDERSCORE_ITEM"]
    assert sorted(codes(replicator.checks)) == expected
    assert sorted(codes(check_landing_zone(item))) == expected
    assert rows_of(replicator) == [(1, "a")]


def test_an_index_is_used_once(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    flights.publish([(2, "b")])
    replicator.tick()
    flights.publish([(1, "other")], name=flights.name(1))
    replicator.tick()
    assert rows_of(replicator) == [(1, "a"), (2, "b")]
    assert codes(replicator.checks) == ["REUSED_INDEX"]
    assert codes(check_landing_zone(item)) == ["REUSED_INDEX"]


def test_a_final_that_changes_is_noticed(item: Path, replicator: Replicator) -> None:
    checker = LandingZoneChecker(DirectoryLandingZone(item))
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    replicator.tick()
    assert not checker.check()
    flights.publish([(1, "other"), (2, "and more")], name=flights.name(1))
    replicator.tick()
    assert rows_of(replicator) == [(1, "a")]
    assert codes(replicator.checks) == ["APPENDED_FINAL"]
    assert codes(checker.check()) == ["APPENDED_FINAL"]


def test_a_large_initial_file_is_streamed(item: Path) -> None:
    replicator = Replicator.on_disk(item, options=ReplicatorOptions(apply_bytes=1))
    flights = Publisher(item).begin()
    flights.publish([(number, "a") for number in range(100)])
    flights.publish([(number, "b") for number in range(50, 55)], [4] * 5)
    replicator.tick()
    assert replicator.table(*FLIGHTS).num_rows == 100
    assert sum(row[1] == "b" for row in rows_of(replicator)) == 5


@pytest.mark.parametrize("apply_bytes", [1, 1 << 30], ids=["streamed", "at once"])
def test_the_status_says_when_the_table_was_synchronised_however_large_its_file(item: Path, apply_bytes: int) -> None:
    replicator = Replicator.on_disk(item, options=ReplicatorOptions(apply_bytes=apply_bytes))
    Publisher(item).begin().publish([(number, "a") for number in range(100)])
    replicator.tick()
    (table,) = json.loads((item / "Files" / "Monitoring" / "tables.json").read_text())["tables"]
    metrics = table["metrics"]
    assert metrics["processedRowCount"] == 100
    assert metrics["lastSyncTimeUtc"] >= metrics["lastSourceCommitTimeUtc"] > "2000"


def test_a_torn_page_stops_the_table_and_leaves_no_rows(item: Path) -> None:
    replicator = Replicator.on_disk(item, options=ReplicatorOptions(apply_bytes=1))
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    path = flights.publish([(number, f"tail {number}") for number in range(1000)], compression="zstd")
    content = bytearray(path.read_bytes())
    content[10:2000] = bytes(1990)
    path.write_bytes(content)
    replicator.tick()
    assert failure_of(replicator) == "TRUNCATED_PARQUET"
    assert rows_of(replicator) == [(1, "a")]
    assert codes(check_landing_zone(item)) == ["TRUNCATED_PARQUET"]


def test_polars_and_duckdb_read_the_mirrored_table(item: Path) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a"), (2, "b")])
    flights.publish([(2, "c")], [4])
    Replicator.on_disk(item).tick()
    frame = pl.read_delta(str(item / "Tables/dbo/flights")).sort("id")
    assert frame.rows() == [(1, "a"), (2, "c")]
    relation = duckdb.from_arrow(DeltaTable(item / "Tables/dbo/flights").to_pyarrow_dataset())
    assert relation.order("id").fetchall() == [(1, "a"), (2, "c")]


def test_a_new_replicator_goes_on_where_the_last_one_ended(item: Path) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    flights.publish([(2, "b")])
    Replicator.on_disk(item).tick()
    flights.publish([(2, "c")], [4])
    (flights.folder / flights.name(4)).touch()
    Replicator.on_disk(item).tick()
    last = Replicator.on_disk(item)
    assert rows_of(last) == [(1, "a"), (2, "c")]
    assert failure_of(last) == "ZERO_BYTES"
    assert not last.tick().applied


def test_stopping_and_starting_begins_again(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    replicator.tick()
    replicator.stop_mirroring()
    flights.publish([(2, "b")])
    assert not replicator.tick().changed
    assert json.loads((item / "Files/Monitoring/replicator.json").read_text())["status"] == "Stopped"
    replicator.start_mirroring()
    assert replicator.tables() == []
    replicator.tick()
    assert rows_of(replicator) == [(1, "a"), (2, "b")]


def test_monitoring_counts_operations_not_rows(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item).begin()
    flights.publish([(1, "a")])
    flights.publish([(1, "b"), (1, None)], [4, 2])
    replicator.tick()
    table = json.loads((item / "Files/Monitoring/tables.json").read_text())["tables"][0]
    assert (table["status"], table["sourceSchemaName"], table["sourceTableName"]) == ("Replicating", "dbo", "flights")
    assert table["metrics"]["processedRowCount"] == 3
    assert replicator.tables_status()[0]["metrics"]["processedRows"] == 3


def test_a_missing_item_drops_no_table(item: Path, replicator: Replicator) -> None:
    Publisher(item).begin().publish([(1, "a")])
    replicator.tick()
    item.rename(item.with_name("moved"))
    report = replicator.tick()
    assert report.unavailable
    assert not report.dropped
    item.with_name("moved").rename(item)
    assert not replicator.tick().changed
    assert rows_of(replicator) == [(1, "a")]


KEYS = st.integers(0, 5)
OPERATIONS = st.lists(
    st.lists(st.tuples(st.sampled_from([0, 1, 2, 4]), KEYS, st.integers(0, 99)), max_size=8), min_size=1, max_size=6
)


def check_sequence(
    item: Path, in_memory: bool, initial: dict[int, int], files: list[list[tuple[int, int, int]]], cuts: set[int]
) -> None:
    """Publish and compare with a dictionary; at each cut the replicator comes along, on disk a new one each time."""
    schema = make_schema(id=pa.int64(), value=pa.int64())
    options = ReplicatorOptions(apply_bytes=100)
    replicator = Replicator.on_disk(item, in_memory=in_memory, options=options)
    flights = Publisher(item).begin()
    flights.publish(list(initial.items()), schema=schema)
    expected = {key: [value] for key, value in initial.items()}
    for place, operations in enumerate(files):
        if place in cuts:
            replicator.tick()
            replicator = replicator if in_memory else Replicator.on_disk(item, options=options)
        flights.publish([(key, value) for _, key, value in operations], [op for op, _, _ in operations], schema=schema)
        for marker, key, value in operations:
            if marker == 0:
                expected.setdefault(key, []).append(value)
            else:
                expected[key] = [] if marker == 2 else [value]
    replicator.tick()
    assert rows_of(replicator) == sorted(((key, value) for key in expected for value in expected[key]), key=repr)
    assert not [finding for finding in replicator.checks if finding.severity == "error"]


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(KEYS, st.integers(0, 99)), OPERATIONS, st.sets(st.integers(0, 6)))
def test_any_sequence_of_changes_equals_a_dictionary_in_memory(
    tmp_path_factory: pytest.TempPathFactory,
    initial: dict[int, int],
    files: list[list[tuple[int, int, int]]],
    cuts: set[int],
) -> None:
    check_sequence(tmp_path_factory.mktemp("item"), True, initial, files, cuts)


@example(initial={}, files=[[(2, 0, 0)], [], [(0, 0, 0)]], cuts={0, 1, 2})  # a merge that changes nothing
@settings(max_examples=15, deadline=None)
@given(st.dictionaries(KEYS, st.integers(0, 99)), OPERATIONS, st.sets(st.integers(0, 6)))
def test_any_sequence_of_changes_equals_a_dictionary_on_disk(
    tmp_path_factory: pytest.TempPathFactory,
    initial: dict[int, int],
    files: list[list[tuple[int, int, int]]],
    cuts: set[int],
) -> None:
    check_sequence(tmp_path_factory.mktemp("item"), False, initial, files, cuts)


def test_a_table_between_its_folder_and_its_metadata_is_no_fault(item: Path, replicator: Replicator) -> None:
    flights = Publisher(item)
    flights.folder.mkdir(parents=True)
    assert replicator.tick().created == [FLIGHTS]
    assert not replicator.checks


def test_the_background_thread_follows_and_ends(item: Path, replicator: Replicator) -> None:
    applied = threading.Event()
    replicator.run_in_background(0.01, lambda report: applied.set() if report.applied else None)
    Publisher(item).begin().publish([(1, "a")])
    assert applied.wait(60)
    replicator.stop()
    assert rows_of(replicator) == [(1, "a")]
    assert not any(thread.name == "replicator" for thread in threading.enumerate())
