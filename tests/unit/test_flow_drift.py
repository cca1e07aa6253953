"""Columns of a source that come, go or change their type between two increments, and what the settings make of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hygge_engine.homes.base import Column, SourceSchema
from hygge_engine.journal import Manifest
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from tests.faults.source import SourceHome
from tests.support.recorder import Recorder
from tests.unit.load_world import FLOW_YML, LoadWorld

COLUMNS: dict[str, pa.DataType] = {"id": pa.int64(), "value": pa.string(), "modified": pa.int64()}


class Drifting:
    """A table that is loaded once, then has other columns, then is loaded again."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, policy: str) -> None:
        self._monkeypatch = monkeypatch
        self.window_from = ""
        flow = FLOW_YML.replace("[orders, customers, stock]", "[orders]") + f"schema_changes: {policy}\n"
        flow = flow.replace("key_columns: [id]", "key_columns: [id]\n  folder_deletion_wait_seconds: 0")
        self.world = LoadWorld(root, monkeypatch, flow=flow)
        self.world.fill(orders=3)
        self.load()

    def load(self) -> Mapping[str, Any]:
        observer = Recorder()
        request = LoadRequest(requested_by="tests", window_from=self.window_from)
        run_load(self.world.project, request, observer)
        return observer.settled["orders"]

    def load_with(self, **columns: pa.DataType) -> Mapping[str, Any]:
        """Give the source other columns and some changes, and load them."""
        table = SourceSchema(
            "dbo.orders", tuple(Column(name, type_, "x") for name, type_ in columns.items()), key=("id",)
        )
        self._monkeypatch.setattr(SourceHome, "describe", lambda home: table)
        self.world.sources["orders"].put(2, 4)
        return self.load()

    def newest_columns(self) -> list[str]:
        files = sorted(self.world.lake_directory.rglob("LandingZone/*/orders/*.parquet"))
        return [name for name in pq.read_schema(files[-1]).names if name != "__rowMarker__"]

    def changes(self) -> list[str]:
        """What the schema manifest says of its versions."""
        place = self.world.place()
        manifest = Manifest(place.lake, place.root).read()
        return [str(text) for text in manifest.unique("version").sort("version")["change"].to_list()]


def test_new_columns_land_unless_the_settings_say_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drifting = Drifting(tmp_path, monkeypatch, "{}")
    result = drifting.load_with(**COLUMNS, note=pa.string())
    words = "new columns: note; rows that landed before have NULL there, whatever the source has"
    assert (result["status"], result["message"]) == ("done", words)
    assert drifting.newest_columns() == [*COLUMNS, "note"]
    assert drifting.changes() == ["", words]
    assert drifting.load().get("message", "") == ""  # said once


def test_frozen_columns_stay_out_and_the_journal_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drifting = Drifting(tmp_path, monkeypatch, "{added: freeze}")
    result = drifting.load_with(**COLUMNS, note=pa.string())
    assert (result["status"], result["message"]) == ("done", "new columns left out: note")
    assert drifting.newest_columns() == [*COLUMNS]


def test_a_column_that_is_gone_is_null_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drifting = Drifting(tmp_path, monkeypatch, "{}")
    result = drifting.load_with(id=pa.int64(), modified=pa.int64())
    assert (result["status"], result["message"]) == (
        "done",
        "the source has no longer the columns value: NULL from now on",
    )
    assert drifting.newest_columns() == ["id", "modified"]
    result = drifting.load_with(id=pa.int64(), modified=pa.int64(), value=pa.int32())
    assert (result["status"], result["error"]) == ("failed", "store.schema_changed")
    assert "value was string, is int32" in result["message"]


def test_a_renamed_column_is_told_as_what_it_looks_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drifting = Drifting(tmp_path, monkeypatch, "{}")
    result = drifting.load_with(id=pa.int64(), label=pa.string(), modified=pa.int64())
    assert "value → label (by place and type it looks renamed)" in result["message"]


@pytest.mark.parametrize(
    ("policy", "columns", "words"),
    [
        ("{added: fail}", {**COLUMNS, "note": pa.string()}, "the source has new columns: note"),
        ("{removed: fail}", {"id": pa.int64(), "modified": pa.int64()}, "has no longer the columns value"),
        ("{}", {**COLUMNS, "value": pa.int64()}, "value was string, is int64"),
    ],
)
def test_a_change_that_is_not_wanted_stops_before_the_first_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, columns: dict[str, pa.DataType], words: str
) -> None:
    drifting = Drifting(tmp_path, monkeypatch, policy)
    before = drifting.world.landed_files()
    result = drifting.load_with(**columns)
    assert (result["status"], result["error"]) == ("failed", "store.schema_changed")
    assert words in result["message"]
    assert "full_drop" in result["message"]
    assert drifting.world.landed_files() == before


REBUILDS = [
    ("{retyped: rebuild}", {**COLUMNS, "modified": pa.int32()}, "modified was int64, is int32; the table is reloaded"),
    ("{added: rebuild}", {**COLUMNS, "note": pa.string()}, "new columns: note; the table is reloaded"),
]


@pytest.mark.parametrize(("policy", "columns", "words"), REBUILDS)
def test_a_change_may_rebuild_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, columns: dict[str, pa.DataType], words: str
) -> None:
    drifting = Drifting(tmp_path, monkeypatch, policy)
    result = drifting.load_with(**columns)
    assert result["status"] == "done"
    assert result["rows"] == 4  # all rows, not the two that changed
    assert words in result["message"]
    assert drifting.world.landed_files() == ["orders/00000000000000000001.parquet"]
    assert drifting.load().get("rows", 0) == 0  # once


@pytest.mark.parametrize(("policy", "columns", "words"), REBUILDS)
def test_a_window_never_rebuilds_a_table_nor_brings_what_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str, columns: dict[str, pa.DataType], words: str
) -> None:
    drifting = Drifting(tmp_path, monkeypatch, policy)
    before = drifting.world.landed_files()
    drifting.window_from = "1"
    result = drifting.load_with(**columns)
    assert (result["status"], result["error"]) == ("failed", "store.schema_changed")
    assert drifting.world.landed_files() == before
