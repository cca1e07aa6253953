from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hygge_engine.errors import JournalError, LakeError, LakeUnavailable
from hygge_engine.flow.slices import SliceResult
from hygge_engine.journal import SCHEMA, Journal, entity_run_row, load_row
from hygge_engine.journal.manifest import Manifest
from hygge_engine.journal.progress import ProgressFiles
from hygge_engine.lake.local import LocalLake
from hygge_engine.row_counts import COUNT_NAMES
from hygge_engine.statuses import RunStatus
from tests.journal_rows import EPOCH, ROOT, InterruptedLake, LostAnswers, make_row

# The columns of the framework that hygge-engine re-creates, in its order.
ORIGINAL_COLUMNS = [
    "entity_run_id",
    "coordinator_run_id",
    "flow_run_id",
    "coordinator",
    "flow",
    "entity",
    "start_time",
    "finish_time",
    "status",
    "run_type",
    "row_count",
    "duration",
    "primary_key",
    "watermark_column",
    "watermark_type",
    "watermark",
    "message",
    "schema_version",
]


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


@pytest.fixture
def journal(lake: LocalLake) -> Journal:
    return Journal(lake, ROOT)


def identifiers(rows: pl.DataFrame) -> list[str]:
    return rows["entity_run_id"].to_list()


def test_an_empty_journal_reads_as_no_rows(journal: Journal, tmp_path: Path) -> None:
    assert journal.read().is_empty()
    assert journal.read().columns == SCHEMA.names
    assert journal.summary().is_empty()
    assert journal.summary("entity").is_empty()
    assert journal.fold(after_loads=1) == 0
    assert not (tmp_path / "lake").exists()


def test_rows_are_read_back_as_they_were_appended(journal: Journal) -> None:
    rows = [
        make_row(1, 0, watermark="2026-01-01T00:00:00", message="três"),
        make_row(1, 1, status="fail", error="home"),
    ]
    journal.append("load-1", rows)
    assert journal.read().to_dicts() == [asdict(row) for row in rows]


def test_columns_are_the_original_ones_with_ours_at_the_end() -> None:
    assert SCHEMA.names[: len(ORIGINAL_COLUMNS)] == ORIGINAL_COLUMNS


def test_a_load_lands_as_one_small_file(journal: Journal, lake: LocalLake) -> None:
    journal.append("load-1", [make_row(1, entity) for entity in range(3)])
    files = [entry.path for entry in lake.list(ROOT, recursive=True) if not entry.is_directory]
    assert len(files) == 1
    assert files[0].startswith(f"{ROOT}/runs/load-1~")
    assert pq.read_schema(io.BytesIO(lake.read(files[0]).data)).equals(SCHEMA)


def test_nothing_is_made_outside_the_journals_folder(journal: Journal, lake: LocalLake) -> None:
    journal.append("load-1", [make_row(1)])
    journal.fold(after_loads=1)
    outside = [entry.path for entry in lake.list("", recursive=True) if not ROOT.startswith(entry.path)]
    assert outside
    assert all(path.startswith(f"{ROOT}/") for path in outside)


def test_settling_twice_appends_once(journal: Journal, lake: LocalLake) -> None:
    rows = [make_row(1, entity) for entity in range(3)]
    for _ in range(2):
        journal.append("load-1", rows)
    assert len(list(lake.list(f"{ROOT}/runs"))) == 1
    journal.fold(after_loads=1)
    journal.append("load-1", list(reversed(rows)))
    assert sorted(identifiers(journal.read())) == ["run-1-0", "run-1-1", "run-1-2"]
    journal.fold(after_loads=1)
    assert len(journal.read()) == 3


def test_an_append_whose_answer_was_lost_is_recognised(lake: LocalLake) -> None:
    journal = Journal(LostAnswers(lake), ROOT)
    journal.append("load-1", [make_row(1)])
    assert identifiers(Journal(lake, ROOT).read()) == ["run-1-0"]


def test_a_load_that_comes_back_with_more_rows_loses_none(journal: Journal) -> None:
    journal.append("load-1", [make_row(1, 0), make_row(1, 1)])
    journal.append("load-1", [make_row(1, 1), make_row(1, 2)])
    journal.append("load-1", [make_row(1, 1), make_row(1, 2)])
    assert identifiers(journal.read()) == ["run-1-0", "run-1-1", "run-1-2"]
    journal.fold(after_loads=1)
    assert identifiers(journal.read("load-1")) == ["run-1-0", "run-1-1", "run-1-2"]


def test_an_entity_run_is_never_told_in_two_ways(journal: Journal) -> None:
    journal.append("load-1", [make_row(1)])
    with pytest.raises(JournalError, match="run-1-0 with other values of row_count, status"):
        journal.append("load-1", [make_row(1, status="fail", row_count=9)])
    assert journal.read()["status"].to_list() == ["success"]


def test_a_load_is_written_once_though_an_earlier_version_has_begun_to(journal: Journal, lake: LocalLake) -> None:
    journal.append("load-1", [make_row(1)])
    (path,) = (entry.path for entry in lake.list(f"{ROOT}/runs"))
    known = pq.read_table(io.BytesIO(lake.read(path).data)).drop_columns(list(COUNT_NAMES))
    sink = io.BytesIO()
    place = known.schema.get_field_index("schema_version")
    pq.write_table(known.set_column(place, "schema_version", pa.array(["1.3"])), sink)
    lake.put(path, sink.getvalue())
    journal.append("load-1", [make_row(1, rows_inserted=10, rows_updated=0, rows_deleted=0)])
    (row,) = journal.read().to_dicts()
    assert (row["row_count"], [row[name] for name in COUNT_NAMES]) == (10, [None] * 4)
    with pytest.raises(JournalError, match="with other values of row_count"):
        journal.append("load-1", [make_row(1, row_count=9)])


def test_rows_must_belong_to_the_load(journal: Journal) -> None:
    with pytest.raises(JournalError, match="does not belong to load load-2"):
        journal.append("load-2", [make_row(1)])
    with pytest.raises(JournalError, match="names an entity run twice"):
        journal.append("load-1", [make_row(1), make_row(1)])
    assert journal.read().is_empty()


def test_a_failing_lake_is_never_swallowed(lake: LocalLake) -> None:
    def fail() -> None:
        raise LakeUnavailable("The lake asks to come back later.")

    with pytest.raises(LakeUnavailable):
        Journal(InterruptedLake(lake, 0, fail), ROOT).append("load-1", [make_row(1)])
    Journal(lake, ROOT).append("load-1", [make_row(1)])
    actions: list[Callable[[Journal], object]] = [
        lambda journal: journal.read(),
        lambda journal: journal.summary(),
        lambda journal: journal.fold(after_loads=1),
        lambda journal: journal.changes_since(None),
    ]
    for action in actions:
        with pytest.raises(LakeError):
            action(Journal(InterruptedLake(lake, 0, fail), ROOT))


@pytest.mark.parametrize(
    "load_id", ["manual: 2026-01-01 12:00", "a/../b", "ünïcode", "..", "x" * 300, "load~1", "CON."]
)
def test_any_load_id_has_a_file_of_its_own(journal: Journal, lake: LocalLake, load_id: str) -> None:
    journal.append(load_id, [make_row(load_id)])
    journal.append(f"{load_id}'", [make_row(f"{load_id}'")])
    assert len(list(lake.list(f"{ROOT}/runs"))) == 2
    assert journal.read(load_id)["coordinator_run_id"].to_list() == [load_id]


def test_one_load_flow_or_entity_is_read_from_both_places(journal: Journal) -> None:
    for load in range(4):
        rows = [make_row(load, entity, flow="flights" if entity else "weather") for entity in range(3)]
        journal.append(f"load-{load}", rows)
        if load == 1:
            journal.fold(after_loads=1)
    assert identifiers(journal.read("load-1")) == ["run-1-0", "run-1-1", "run-1-2"]
    assert identifiers(journal.read("load-3")) == ["run-3-0", "run-3-1", "run-3-2"]
    assert identifiers(journal.read(flow="weather")) == [f"run-{load}-0" for load in range(4)]
    assert identifiers(journal.read("load-2", flow="flights", entity="table_2")) == ["run-2-2"]
    assert journal.read("load-9").is_empty()


def original_journal(rows: int, **changes: pl.Expr) -> bytes:
    """A journal as the original framework leaves it: its own columns, written by polars, one file."""
    values = [asdict(make_row(number, schema_version="1.0")) for number in range(rows)]
    frame = pl.DataFrame(values).select(ORIGINAL_COLUMNS).with_columns(**changes)
    sink = io.BytesIO()
    frame.write_parquet(sink)
    return sink.getvalue()


def test_a_journal_of_the_original_framework_is_carried_on(journal: Journal, lake: LocalLake) -> None:
    lake.put(f"{ROOT}/journal.parquet", original_journal(3))
    assert identifiers(journal.read()) == ["run-0-0", "run-1-0", "run-2-0"]
    assert journal.read()["bytes"].to_list() == [None] * 3
    journal.append("load-3", [make_row(3)])
    assert journal.fold(after_loads=1) == 1
    rows = journal.read()
    assert rows["schema_version"].to_list() == ["1.0", "1.0", "1.0", "1.4"]
    assert rows["bytes"].to_list() == [None, None, None, 100]
    assert journal.summary()["coordinator_run_id"].to_list() == ["load-3", "load-2", "load-1", "load-0"]
    # The original framework still finds every column of its own, by name and in its order.
    canonical = pl.read_parquet(io.BytesIO(lake.read(f"{ROOT}/journal.parquet").data))
    assert canonical.columns[: len(ORIGINAL_COLUMNS)] == ORIGINAL_COLUMNS


def test_other_types_of_the_same_columns_are_read(journal: Journal, lake: LocalLake) -> None:
    times = pl.col("start_time").str.to_datetime(time_zone="UTC")
    data = original_journal(2, row_count=pl.col("row_count").cast(pl.Int32), start_time=times)
    lake.put(f"{ROOT}/journal.parquet", data)
    rows = journal.read()
    assert rows["start_time"].to_list() == ["2026-01-01T00:00:00+00:00", "2026-01-01T01:00:00+00:00"]
    assert rows["row_count"].to_list() == [10, 10]


# What libraries make of the original framework's journal, and what its own versions have differed in.
VARIANTS: dict[str, Callable[[pl.DataFrame], pa.Table]] = {
    "as it writes it": lambda frame: frame.to_arrow(),
    "large strings": lambda frame: frame.to_arrow(compat_level=pl.CompatLevel.oldest()),
    "columns in another order": lambda frame: frame.select(sorted(frame.columns)).to_arrow(),
    "32-bit counts, whole seconds": lambda frame: frame.with_columns(
        pl.col("row_count").cast(pl.Int32), pl.col("duration").cast(pl.Int64)
    ).to_arrow(),
    "counts with gaps, as floats": lambda frame: frame.with_columns(
        row_count=pl.when(pl.col("entity_run_id") == "run-0-0").then(float("nan")).otherwise(pl.col("row_count"))
    ).to_arrow(),
    "durations": lambda frame: frame.with_columns(
        duration=pl.duration(milliseconds=pl.col("duration") * 1000)
    ).to_arrow(),
    "times": lambda frame: frame.with_columns(
        pl.col("start_time", "finish_time").str.to_datetime(time_zone="UTC")
    ).to_arrow(),
    "categories": lambda frame: frame.with_columns(pl.col("status", "flow").cast(pl.Categorical)).to_arrow(),
    "no watermark at all": lambda frame: frame.with_columns(
        pl.lit(None).alias(name) for name in ("watermark", "watermark_type", "watermark_column", "primary_key")
    ).to_arrow(),
    "without later columns": lambda frame: frame.drop(
        "message", "primary_key", "watermark_column", "watermark_type", "watermark", "finish_time"
    ).to_arrow(),
    "with columns of its own": lambda frame: frame.with_columns(
        environment=pl.lit("prod"), tags=pl.concat_list(pl.lit("a"), "flow")
    ).to_arrow(),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_whatever_the_original_framework_wrote_is_read_appended_to_folded_and_mirrored(
    journal: Journal, lake: LocalLake, variant: str
) -> None:
    original = VARIANTS[variant](pl.read_parquet(original_journal(4)))
    sink = io.BytesIO()
    pq.write_table(original, sink)
    lake.put(f"{ROOT}/journal.parquet", sink.getvalue())
    mirror = {row["entity_run_id"]: row for row in journal.changes_since(None).upserts.to_pylist()}
    assert sorted(mirror) == [f"run-{number}-0" for number in range(4)]
    position = journal.changes_since(None).position

    journal.append("load-4", [make_row(4)])
    assert journal.read("load-1")["entity"].to_list() == journal.read(entity="table_0")["entity"].to_list()[:1]
    assert journal.fold(after_loads=1) == 1
    assert identifiers(journal.read()) == [f"run-{number}-0" for number in range(5)]
    assert journal.read().schema == pl.DataFrame(SCHEMA.empty_table()).schema
    assert journal.summary(limit=2)["coordinator_run_id"].to_list() == ["load-4", "load-3"]
    entity = journal.summary("entity").row(0, named=True)
    assert (entity["runs"], entity["duration"]) == (5, 150.0)
    assert entity["rows"] == (40 if variant.startswith("counts") else 50)

    changes = journal.changes_since(position)
    assert changes.upserts.column("entity_run_id").to_pylist() == ["run-4-0"]
    mirror |= {row["entity_run_id"]: row for row in changes.upserts.to_pylist()}
    assert list(mirror.values()) == journal.read().to_dicts()
    canonical = pq.read_table(io.BytesIO(lake.read(f"{ROOT}/journal.parquet").data))
    assert {"environment", "tags"} <= set(canonical.column_names) or "of its own" not in variant

    assert journal.retire(EPOCH + timedelta(hours=2, minutes=30)) == 3
    gone = journal.changes_since(changes.position).deletes.column("entity_run_id").to_pylist()
    assert gone == ["run-0-0", "run-1-0", "run-2-0"]


def test_a_column_that_cannot_be_read_is_named(journal: Journal, lake: LocalLake) -> None:
    lake.put(f"{ROOT}/journal.parquet", original_journal(1, row_count=pl.lit("many")))
    with pytest.raises(JournalError, match=r"row_count holds .* where int64 was expected"):
        journal.read()


def test_columns_of_a_later_version_survive_a_fold(journal: Journal, lake: LocalLake) -> None:
    journal.append("load-0", [make_row(0)])
    journal.fold(after_loads=1)
    later = pa.Table.from_pylist([{**asdict(make_row(1)), "mood": 7}])
    sink = io.BytesIO()
    pq.write_table(later, sink)
    lake.put(f"{ROOT}/runs/load-1.parquet", sink.getvalue())
    journal.fold(after_loads=1)
    journal.append("load-2", [make_row(2)])
    journal.fold(after_loads=1)
    canonical = pl.read_parquet(io.BytesIO(lake.read(f"{ROOT}/journal.parquet").data))
    assert canonical["mood"].to_list() == [None, 7, None]
    assert journal.read().columns == SCHEMA.names


def make_huge(path: str) -> None:
    Path(path).touch()
    os.truncate(path, 5 * 1024**3)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (getattr(os, "mkfifo", None), "a FIFO"),
        (os.mkdir, "a folder"),
        (lambda path: os.symlink("/nowhere", path), "a link"),
        (lambda path: os.symlink("../journal.parquet", path), "a link"),
        (make_huge, "a file of 5,368,709,120 bytes"),
    ],
)
def test_what_is_no_file_of_a_load_is_told_and_passed_over(
    journal: Journal, lake: LocalLake, tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Any, what: str
) -> None:
    if make is None:
        pytest.skip("no pipes here")
    journal.append("first", [make_row("first")])
    journal.fold(after_loads=1)
    journal.append("second", [make_row("second")])
    progress = ProgressFiles(lake, ROOT)
    progress.begin("third", "")
    for folder in ("runs", "retired", "schemas", "progress", "progress/third"):
        place = tmp_path / "lake" / ROOT / folder
        place.mkdir(exist_ok=True)
        for name in ("x.parquet", "x.json", f"{0:020}-{1:020}.parquet"):
            make(str(place / name))
    assert journal.newest(5).height == journal.read().height == 2
    (told,) = [text for text in journal.passed_over() if "runs/x.parquet" in text]
    assert f"runs/x.parquet is passed over: it is {what}" in told
    assert told in caplog.text
    assert journal.fold(after_loads=1) == 1
    assert journal.changes_since(None).upserts.num_rows == 2
    assert Manifest(lake, ROOT).read().height == 0
    assert progress.states("third") == {}
    assert [load.load_id for load in progress.begun()] == ["third"]
    assert progress.sweep(timedelta(days=-1)) >= 1


def test_a_journal_that_is_no_parquet_is_named(journal: Journal, lake: LocalLake) -> None:
    lake.put(f"{ROOT}/journal.parquet", b"not Parquet")
    with pytest.raises(JournalError, match=r"journal\.parquet is not a whole Parquet file"):
        journal.read()


def test_a_column_that_does_not_fit_is_named(journal: Journal, lake: LocalLake) -> None:
    data = original_journal(1, row_count=pl.lit("many"))
    lake.put(f"{ROOT}/journal.parquet", data)
    with pytest.raises(JournalError, match="column row_count holds"):
        journal.read()


def test_a_row_tells_how_its_slices_ended() -> None:
    result = SliceResult(
        status="failed",
        rows=5,
        bytes=50,
        files=2,
        message="x" * 5000,
        error="home.unavailable",
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:00:01.500000+00:00",
        primary_key="id",
        watermark_column="modified_at",
        watermark_type="datetime",
        watermark="2026-01-01T00:00:00.1234567",
    )
    names: dict[str, Any] = {
        "coordinator_run_id": "load-1",
        "flow_run_id": "f",
        "coordinator": "load",
        "flow": "flights",
    }
    row = entity_run_row(result, entity_run_id="1", entity="weather", run_type="full_drop", attempts=3, **names)
    assert (row.status, row.row_count, row.files, row.duration, row.error) == ("fail", 5, 2, 1.5, "home.unavailable")
    assert (row.watermark, row.attempts, len(row.message)) == ("2026-01-01T00:00:00.1234567", 3, 4000)

    never_began = SliceResult(status="cancelled")
    row = entity_run_row(
        never_began, entity_run_id="2", entity="planes", run_type="full_drop", started="2026-01-01T00:00:00Z", **names
    )
    assert (row.status, row.start_time, row.finish_time) == ("cancel", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z")

    with pytest.raises(JournalError, match=r"flights\.planes has not ended"):
        entity_run_row(
            SliceResult(status="continue"), entity_run_id="2", entity="planes", run_type="full_drop", **names
        )


def test_a_load_that_did_not_start_is_remembered(journal: Journal) -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    reason = "The load before it still runs."
    for _ in range(2):
        skipped = load_row("skip", coordinator_run_id="tick-1", coordinator="load", at=at, message=reason)
        journal.append("tick-1", [skipped])
    assert journal.read()["status"].to_list() == ["skip"]
    load = journal.summary().row(0, named=True)
    assert load["coordinator_run_id"] == "tick-1"
    assert (load["status"], load["entities"], load["skipped"]) == ("skip", 0, 0)
    assert load["message"] == reason
    assert journal.summary("flow").is_empty()
    assert journal.summary("load").height == 1


def test_a_load_is_as_grave_as_its_gravest_entity(journal: Journal) -> None:
    expected: dict[str, tuple[RunStatus, list[RunStatus]]] = {
        "all-well": ("success", ["success", "skip"]),
        "one-failed": ("fail", ["success", "fail", "skip"]),
        "stopped": ("cancel", ["success", "fail", "cancel"]),
        "busy": ("skip", ["skip", "skip"]),
    }
    for load, (_, statuses) in expected.items():
        journal.append(load, [make_row(load, n, status=status) for n, status in enumerate(statuses)])
    plan_failed = load_row("fail", coordinator_run_id="no-plan", coordinator="load", at=EPOCH, message="No such flow.")
    journal.append("no-plan", [plan_failed])
    found = dict(journal.summary().select("coordinator_run_id", "status").iter_rows())
    assert found == {load: status for load, (status, _) in expected.items()} | {"no-plan": "fail"}


def test_loads_are_summed_up_newest_first(journal: Journal) -> None:
    for load in range(3):
        rows = [make_row(load, entity, requested_by="http") for entity in range(4)]
        rows[2] = replace(rows[2], status="fail", message=f"error in {load}", row_count=0, run_type="full_drop")
        journal.append(f"load-{load}", rows)
        if load == 1:
            journal.fold(after_loads=1)
    loads = journal.summary(limit=2).to_dicts()
    assert [load["coordinator_run_id"] for load in loads] == ["load-2", "load-1"]
    assert loads[0] == {
        "coordinator_run_id": "load-2",
        "coordinator": "load",
        "started": "2026-01-01T02:00:00+00:00",
        "finished": "2026-01-01T02:03:30+00:00",
        "status": "fail",
        "entities": 4,
        "succeeded": 3,
        "failed": 1,
        "skipped": 0,
        "cancelled": 0,
        "rows": 30,
        "bytes": 400,
        "duration": 210.0,
        "requested_by": "http",
        "run_type": "mixed",
        "message": "error in 2",
        "principal": "",
        "rows_inserted": None,
        "rows_updated": None,
        "rows_deleted": None,
        "rows_unchanged": None,
    }


def test_of_a_long_history_the_newest_loads_are_found(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hygge_engine.journal.journal.ROW_GROUP_ROWS", 10)
    for load in range(40):
        journal.append(
            f"load-{load}", [make_row(load, n, flow="rare" if load % 15 == 0 else "often") for n in range(3)]
        )
        if load == 35:
            journal.fold(after_loads=1)
    everything = journal.summary("load")["coordinator_run_id"].to_list()
    assert len(everything) == 40
    for limit in (1, 4, 7, 30, 100):
        found = journal.summary(limit=limit)
        assert found["coordinator_run_id"].to_list() == everything[:limit]
        assert found["entities"].unique().to_list() == [3]
    assert journal.summary(flow="rare", limit=2)["coordinator_run_id"].to_list() == ["load-30", "load-15"]
    assert journal.summary(flow="rare", limit=9).height == 3


def test_entities_are_summed_up_over_loads(journal: Journal) -> None:
    for load in range(3):
        rows = [make_row(load, 0), make_row(load, 1, status="fail" if load < 2 else "success", message=f"error {load}")]
        journal.append(f"load-{load}", rows)
    failing = journal.summary("entity", entity="table_1").row(0, named=True)
    assert (failing["runs"], failing["failed"], failing["succeeded"], failing["rows"]) == (3, 2, 1, 30)
    assert (failing["duration"], failing["status"], failing["message"]) == (90.0, "success", "error 1")
    assert failing["succeeded_at"] == failing["finished"] == "2026-01-01T02:01:30+00:00"
    assert journal.summary("entity")["entity"].to_list() == ["table_1", "table_0"]
    assert journal.summary("flow", coordinator_run_id="load-1")["runs"].to_list() == [2]
    assert journal.summary(flow="elsewhere").is_empty()


def test_a_load_has_the_same_summary_alone_and_among_others(tmp_path: Path) -> None:
    journal = Journal(LocalLake(tmp_path), ROOT)
    finish = (EPOCH + timedelta(microseconds=14_817)).isoformat()
    journal.append("load-1", [make_row(1, start_time=EPOCH.isoformat(), finish_time=finish)])
    alone = journal.summary().row(0, named=True)
    for number in range(2, 10):
        journal.append(f"load-{number}", [make_row(number)])
    assert journal.summary().row(-1, named=True) == alone
