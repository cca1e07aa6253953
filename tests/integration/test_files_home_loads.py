"""Loads from files: killed anywhere, by files that appear and change between slices, and what doctor says of them."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from hygge_engine.checks import DoctorCheck
from hygge_engine.cli.doctor import examine
from hygge_engine.flow.run import run_slice
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.lake import opening
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project import Project, load_project
from hygge_engine.project.models.disk import DiskReach
from hygge_engine.project.models.project import Options
from hygge_engine.project.models.settings import RunType
from hygge_engine.watermark import rows
from hygge_engine.watermark.watermark import Boundary
from tests.faults.world import FragileLake, Killed
from tests.integration.warehouse import AskedToStop, Nobody

FLOW = """\
run_type: incremental
home: {home}
store: {store}
watermark: {watermark}
entities: [things]
"""

# Slices end after their first batch.
AT_ONCE = Options(slice_minutes=1e-9)

BY_FILE = {"file_modified": True}

# A store that replaces rows by their key.
MERGING = {"type": "sqlite", "path": "out.db", "key_columns": ["id"]}


class Loads:
    """A project that loads the files in ``in/`` into a table of a local store."""

    def __init__(self, directory: Path, *, watermark: dict[str, Any], format_: str = "csv", **keys: Any) -> None:
        self.directory = directory
        self._store = {"type": "local", "path": "out"} | keys.pop("store", {})
        self._home = {"type": "local", "path": "in", "format": format_, "key": ["id"], "batch_rows": 1} | keys
        self._watermark = watermark
        self._format = format_
        self._number = itertools.count(1)

    @cached_property
    def project(self) -> Project:
        (self.directory / "flows/f").mkdir(parents=True, exist_ok=True)
        (self.directory / "hygge.yml").write_text("name: files\n")
        settings = {"home": self._home, "store": self._store, "watermark": self._watermark}
        (self.directory / "flows/f/flow.yml").write_text(
            FLOW.format(**{name: json.dumps(value) for name, value in settings.items()})
        )
        return load_project(self.directory, {})

    def put(self, name: str, *ids: int, at: int = 1, seconds: int | None = None) -> Path:
        """Write a file with these rows; ``at`` is their cursor, ``seconds`` the file's time of last change."""
        path = self.directory / "in" / f"{name}.{self._format}"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = pl.DataFrame({"id": ids, "at": [at] * len(ids)})
        frame.write_parquet(path) if self._format == "parquet" else frame.write_csv(path)
        if seconds is not None:
            os.utime(path, (seconds, seconds))
        return path

    def slice(
        self, load_id: str, attempt: int, run_type: RunType = "incremental", *, whole: bool = False
    ) -> SliceResult:
        project = self.project if whole else replace(self.project, options=AT_ONCE)
        (entity,) = project.entities
        task = SliceTask(load_id, load_id, entity.flow, entity.name, run_type, "hash", attempt)
        return run_slice(project, entity, task, AskedToStop())

    def load(self, run_type: RunType = "incremental") -> SliceResult:
        """All slices of a load, as the orchestrator schedules them."""
        load_id = f"load-{next(self._number)}"
        for attempt in range(1, 60):
            result = self.slice(load_id, attempt, run_type)
            if result.status != "continue":
                return result
        raise AssertionError(result)

    def landed(self) -> list[int]:
        """The ids in the table, sorted."""
        if self._store["type"] == "sqlite":
            with closing(sqlite3.connect(self.directory / str(self._store["path"]))) as connection:
                return sorted(id_ for (id_,) in connection.execute("SELECT id FROM things"))
        return sorted(id_ for path in self.directory.glob("out/things/part-*") for id_ in pl.read_parquet(path)["id"])


# What a killed load had open stays open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize(("format_", "watermark"), [("csv", BY_FILE), ("parquet", {"column": "at"})])
def test_rows_land_once_wherever_a_load_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str, watermark: dict[str, Any]
) -> None:
    def run(directory: Path, die_at: int | None, *, die_after: bool) -> int:
        """A first load, files that come, an increment; one death. Returns how often the store was written to."""
        lake = FragileLake(LocalLake(directory / "out"))
        lake.die_at, lake.die_after = die_at, die_after
        current = [lake]

        def open_directory(path: Path, reach: DiskReach) -> Any:
            return current[0] if path == directory / "out" else LocalLake(path, reach)

        monkeypatch.setattr(opening, "open_directory", open_directory)
        loads = Loads(directory, watermark=watermark, format_=format_)
        loads.put("a", 1, 2, seconds=1_000)
        loads.put("b", 3, seconds=2_000)
        for load_id in ("first", "second"):
            for attempt in range(1, 40):
                try:
                    result = loads.slice(load_id, attempt)
                except Killed:
                    current[0] = FragileLake(LocalLake(directory / "out"))
                    continue
                if result.status != "continue":
                    break
            assert result.status == "done", result
            loads.put("c", 4, at=2, seconds=3_000)
        assert loads.landed() == [1, 2, 3, 4]
        return lake.count

    operations = run(tmp_path / "whole", None, die_after=False)
    assert operations > 20
    for die_at in range(1, operations + 1):
        run(tmp_path / f"dies-{die_at}", die_at, die_after=die_at % 2 == 0)


class TestFilesThatAppearAndChange:
    def test_every_file_lands_once_whatever_its_time(self, tmp_path: Path) -> None:
        loads = Loads(tmp_path, watermark=BY_FILE)
        loads.put("b", 1, 2, seconds=1_000)
        assert loads.load().rows == 2
        assert loads.load().rows == 0
        loads.put("a", 3, seconds=1_000)  # with the very time of the last one
        assert loads.load().rows == 1
        loads.put("c", 4, seconds=1_000)
        loads.put("d", 5, seconds=2_000)
        assert loads.load().rows == 2
        assert loads.load().rows == 0
        assert loads.landed() == [1, 2, 3, 4, 5]

    def test_a_file_that_comes_during_a_load_is_the_next_ones(self, tmp_path: Path) -> None:
        loads = Loads(tmp_path, watermark=BY_FILE)
        loads.put("b", 1, 2, 3, seconds=1_000)
        assert loads.slice("first", 1).status == "continue"
        loads.put("a", 4, seconds=1_000)
        loads.put("c", 5, seconds=2_000)
        assert loads.slice("first", 2, whole=True).status == "done"
        assert loads.landed() == [1, 2, 3]
        assert loads.load().rows == 2
        assert loads.landed() == [1, 2, 3, 4, 5]

    def test_rows_that_appear_at_the_boundary_are_found(self, tmp_path: Path) -> None:
        loads = Loads(tmp_path, watermark={"column": "at"})
        loads.put("a", 1, 2, at=7)
        assert loads.load().rows == 2
        loads.put("b", 3, at=7)
        assert loads.load().rows == 1
        assert loads.load().rows == 0
        assert loads.landed() == [1, 2, 3]

    @pytest.mark.parametrize("later", ["id at note", "id at", "at id note", "id at note new"])
    def test_rows_that_an_earlier_version_knows_as_a_whole_land_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: str
    ) -> None:
        loads = Loads(tmp_path, watermark={"column": "at"})

        def write(name: str, columns: str, *ids: int, at: int = 7) -> None:
            frame = pl.DataFrame([{"id": id_, "at": at, "note": 1, "new": 2} for id_ in ids])
            frame.select(columns.split()).write_csv(tmp_path / "in" / f"{name}.csv")

        def as_before(known: Boundary | None, value: str, batch: pa.RecordBatch) -> Boundary:
            earlier = known.rows if known else ()
            return Boundary(value, (*earlier, *rows._digests(batch, (), detailed=False)))

        (tmp_path / "in").mkdir()
        write("a", "id at note", 1, 2)
        with monkeypatch.context() as earlier:
            earlier.setattr(rows, "_with_more", as_before)
            assert loads.load().rows == 2
        # Where the columns are as they were, a further row at the watermark is distinguished.
        further = [3] if later == "id at note" else []
        write("a", later, 1, 2, *further)
        write("b", later, 4, at=8)
        assert loads.load().status == "done"
        assert loads.landed() == [1, 2, *further, 4]

    def test_a_half_read_file_that_changed_stops_a_table_that_only_grows_until_it_is_reloaded(
        self, tmp_path: Path
    ) -> None:
        loads = Loads(tmp_path, watermark={"column": "at"})
        loads.put("a", 1, 2, 3)
        assert loads.slice("first", 1).status == "continue"
        loads.put("a", 1, 2, 3, 4)
        result = loads.slice("first", 2)
        assert (result.status, result.error, result.transient) == ("failed", "home.source_changed", False)
        assert "full_drop" in result.message
        assert loads.load("full_drop").status == "done"
        assert loads.landed() == [1, 2, 3, 4]
        loads.put("b", 5, at=2)
        assert loads.load().rows == 1
        assert loads.landed() == [1, 2, 3, 4, 5]

    @pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
    def test_a_half_read_file_that_changed_is_read_again_where_no_row_doubles(
        self, tmp_path: Path, run_type: RunType
    ) -> None:
        loads = Loads(tmp_path, watermark={"column": "at"}, store=MERGING)
        loads.put("a", 1, 2, 3)
        assert loads.slice("first", 1, run_type).status == "continue"
        loads.put("a", 1, 2, 3, 4)
        begun_again = loads.slice("first", 2, run_type)
        assert (begun_again.status, "Begun again" in begun_again.message) == ("continue", True)
        assert loads.slice("first", 3, run_type, whole=True).status == "done"
        assert Counter(loads.landed()) == Counter([1, 2, 3, 4])

    def test_rows_that_a_key_merges_are_counted(self, tmp_path: Path) -> None:
        loads = Loads(tmp_path, watermark=BY_FILE, store=MERGING)
        loads.put("a", 1, 2, 2, seconds=1)
        loads.put("b", 1, 3, at=2, seconds=1)
        done = loads.slice("first", 1, whole=True)
        assert (done.rows, done.message, loads.landed()) == (
            5,
            "2 rows have the same (id) as one before: the last one counts",
            [1, 2, 3],
        )
        loads.put("c", 1, 4, 4, 5, seconds=2)
        for run_type in ("incremental", "full_drop"):  # slice by slice, of a row each
            assert "same (id)" not in loads.load(run_type).message
        loads.put("d", 6, 7, seconds=3)
        assert loads.slice("next", 1, whole=True).message == ""
        loads = Loads(tmp_path / "kept", watermark=BY_FILE)
        loads.put("a", 1, 1)
        assert (loads.slice("first", 1, whole=True).message, loads.landed()) == ("", [1, 1])

    def test_versions_of_a_row_say_that_they_replace_each_other_from_the_first_load_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(opening, "open_lake", lambda settings: LocalLake(tmp_path / "lake"))
        mirror = {"type": "open_mirroring", "account_url": "https://onelake.dfs.fabric.microsoft.com"}
        ids = {
            "filesystem": "11111111-1111-1111-1111-111111111111",
            "mirror_name": "2" * 8 + "-2222" * 3 + "-" + "2" * 12,
        }
        loads = Loads(tmp_path, watermark=BY_FILE, store=mirror | ids | {"path": None})
        loads.put("a", 1, 2, 2)
        done = loads.slice("first", 1, whole=True)
        assert (done.status, done.message) == ("done", "1 row has the same (id) as one before: the last one counts")
        (landed,) = (tmp_path / "lake").rglob("LandingZone/**/[0-9]*.parquet")
        assert pl.read_parquet(landed)["__rowMarker__"].to_list() == [4, 4, 4]

        # A reload says it in a later slice, once Fabric has dropped the table.
        status = next((tmp_path / "lake").rglob("LandingZone")).parent / "Monitoring/tables.json"
        status.parent.mkdir(exist_ok=True)
        loads.put("b", 1, 1)
        for table, expected in {"things": ("continue", "waiting for"), "other": ("done", "3 rows have")}.items():
            status.write_text(json.dumps({"tables": [{"sourceSchemaName": "dbo", "sourceTableName": table}]}))
            reload = loads.slice("again", 1, "full_drop", whole=True)
            assert (reload.status, reload.message[: len(expected[1])]) == expected, reload
        assert reload.message.count("the last one counts") == 1
        (landed,) = (tmp_path / "lake").rglob("LandingZone/**/[0-9]*.parquet")
        assert pl.read_parquet(landed)["__rowMarker__"].to_list() == [4] * 5

    def test_a_window_over_files_is_loaded_again(self, tmp_path: Path) -> None:
        loads = Loads(tmp_path, watermark=BY_FILE, store=MERGING)
        for number in (1, 2, 3):
            loads.put(f"f{number}", number, seconds=number * 86_400)
        assert loads.load().rows == 3
        request = LoadRequest(requested_by="tests", window_from="1970-01-03", window_to="1970-01-03T12:00:00")
        summary = run_load(loads.project, request, Nobody())
        assert (summary["status"], summary["rows"]) == ("success", 1)


class TestDoctor:
    def checks(self, loads: Loads) -> dict[str, DoctorCheck]:
        project = loads.project
        sections = [section for section in examine(project, project.entities) if section.kind == "entity"]
        return {check.name: check for check in sections[0].checks}

    def test_what_can_be_read_and_how(self, tmp_path: Path) -> None:
        loads = Loads(tmp_path, watermark={"column": "at"}, format_="parquet")
        loads.put("a", 1, 2)
        found = self.checks(loads)
        assert {check.result for check in found.values()} == {"ok"}
        assert found["columns"].found == "2 columns, 2 rows"
        assert (found["key"].found, found["watermark"].found) == ("id", "at (int64)")

    @pytest.mark.parametrize(
        ("keys", "name", "code"),
        [
            ({"path": "nowhere"}, "files", "home.not_found"),
            ({"key": ["nr"]}, "columns", "home.not_found"),
            ({"watermark": {"column": "when"}}, "watermark", "home.not_found"),
            ({"watermark": {"column": "at", "lag": "5m"}, "store": MERGING}, "watermark", "home.cursor_unusable"),
        ],
    )
    def test_what_cannot(self, tmp_path: Path, keys: dict[str, Any], name: str, code: str) -> None:
        loads = Loads(tmp_path, **({"watermark": BY_FILE} | keys))
        loads.put("a", 1)
        check = self.checks(loads)[name]
        assert (check.result, check.code) == ("failed", code)
