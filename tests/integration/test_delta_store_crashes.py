"""A Delta table whose writer dies around its commit: every row version is there once, and readers see whole commits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hygge_engine.lake.local import LocalLake
from hygge_engine.stores.delta import DeltaLocation
from hygge_engine.stores.folder_table import places_of
from hygge_engine.stores.lake_files.delta import DeltaFilesTable, DeltaLog
from hygge_engine.stores.lake_files.settings import LocalSettings
from hygge_engine.stores.landing.state import Mode, OpenLoad
from tests.support.process_death import Died

SCHEMA = pl.Schema({"id": pl.Int64})


@pytest.fixture
def table(tmp_path: Path) -> DeltaFilesTable:
    places = places_of("orders", ".hygge_journal", "flow", "orders")
    settings = LocalSettings(format="delta", path=str(tmp_path))
    return DeltaFilesTable(LocalLake(tmp_path), places, settings, DeltaLocation(str(tmp_path), dict), "flow.orders")


def land(table: DeltaFilesTable, load_id: str, ids: list[int], *, replaces: bool = False) -> None:
    """One load in one slice, or what is left of it."""
    lease = table.attach(load_id, 1)
    if lease.open is not None:
        lease.take_over()
    if lease.own_result:
        return
    mode: Mode = "reload" if replaces else "changes"
    rows = pl.DataFrame({"id": ids}, schema=SCHEMA).to_arrow()
    opened = OpenLoad(load_id, mode, "landing", "2026-11-20T10:00:00+00:00")
    lease.begin(opened, key_columns=("id",), columns={field.name: str(field.type) for field in rows.schema})
    writer = table.writer(lease, rows.schema, marked=False)
    for batch in rows.to_batches():
        writer.write(batch)
    table.publish(lease, writer.finish(), position=None, last=True, new_generation=replaces)


def ids(table: DeltaFilesTable, tmp_path: Path) -> list[int]:
    return sorted(pl.read_delta(str(tmp_path / "orders"))["id"].to_list())


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_a_writer_that_dies_around_the_commit_is_finished_by_the_next(
    table: DeltaFilesTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: bool, replaces: bool
) -> None:
    land(table, "first", [1, 2])
    commit = DeltaLog.commit

    def die(self: DeltaLog, *args: Any, **keywords: Any) -> None:
        if after:
            commit(self, *args, **keywords)
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(DeltaLog, "commit", die)
        with pytest.raises(Died):
            land(table, "second", [3], replaces=replaces)
    seen = ids(table, tmp_path)
    assert seen == (([3] if replaces else [1, 2, 3]) if after else [1, 2])
    land(table, "second", [3], replaces=replaces)
    assert ids(table, tmp_path) == ([3] if replaces else [1, 2, 3])


def test_a_fenced_writer_that_wakes_up_commits_nothing_again(
    table: DeltaFilesTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(table, "first", [1])
    asleep: list[tuple[DeltaLog, Any, Any]] = []

    def fall_asleep(self: DeltaLog, *args: Any, **keywords: Any) -> None:
        asleep.append((self, args, keywords))
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(DeltaLog, "commit", fall_asleep)
        with pytest.raises(Died):
            land(table, "second", [2])
    land(table, "second", [2])
    land(table, "third", [3])
    for log, args, keywords in asleep:
        log.commit(*args, **keywords)
    assert ids(table, tmp_path) == [1, 2, 3]


def test_new_columns_are_added_and_old_rows_have_none_of_them(table: DeltaFilesTable, tmp_path: Path) -> None:
    land(table, "first", [1])
    lease = table.attach("second", 1)
    rows = pl.DataFrame({"id": [2], "note": ["new"]}).to_arrow(compat_level=pl.CompatLevel.oldest())
    columns = {"id": "int64", "note": "large_string"}
    lease.begin(
        OpenLoad("second", "changes", "landing", "2026-11-20T10:00:00+00:00"), key_columns=("id",), columns=columns
    )
    writer = table.writer(lease, rows.schema, marked=True)
    for batch in rows.to_batches():
        writer.write(batch)
    table.publish(lease, writer.finish(), position=None, last=True)
    assert pl.read_delta(str(tmp_path / "orders")).sort("id").rows() == [(1, None), (2, "new")]
