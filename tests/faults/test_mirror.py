"""The mirrored telemetry tables equal the canonical journal, whatever happens while they are published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hygge_engine.flow.mirror as mirror
from hygge_engine.errors import NotOurs, StoreError
from hygge_engine.journal import Journal
from hygge_engine.journal.changes import Changes
from hygge_engine.lake.local import LocalLake
from hygge_engine.row_counts import COUNT_NAMES
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable
from tests.support.mirrored_telemetry import Telemetry


def test_each_settle_publishes_only_what_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = Telemetry(tmp_path, monkeypatch)
    telemetry.run_load("a")
    assert telemetry.publish("a") == 3  # two entity runs, one load
    telemetry.check()
    telemetry.run_load("b", entities=1)
    assert telemetry.publish("b") == 2
    assert telemetry.publish("b") == 0
    telemetry.check()


def _without_counts(changes_since: Callable[[Journal, Any], Changes]) -> Callable[[Journal, Any], Changes]:
    """What an earlier version publishes."""

    def earlier(journal: Journal, position: Any) -> Changes:
        found = changes_since(journal, position)
        deletes = found.deletes.drop_columns(list(COUNT_NAMES))
        return replace(
            found, deletes=deletes, pieces=lambda: (each.select(deletes.column_names) for each in found.pieces())
        )

    return earlier


def test_columns_that_a_version_adds_come_to_the_tables_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry = Telemetry(tmp_path, monkeypatch)
    telemetry.run_load("a")
    with monkeypatch.context() as earlier:
        for name in ("changes_since", "load_changes_since"):
            earlier.setattr(Journal, name, _without_counts(getattr(Journal, name)))
        telemetry.publish("a")
    telemetry.run_load("b", rows_inserted=2, rows_updated=1, rows_deleted=0)
    assert telemetry.publish("b") == 3
    telemetry.check()
    for table, counts in (("journal", [None, None, 2, 2]), ("loads", [None, 4])):
        found = telemetry.replicator.table("__hygge", table)
        assert sorted(found["rows_inserted"].to_pylist(), key=str, reverse=True) == counts
        assert set(COUNT_NAMES) <= set(found.column_names)


def test_folding_in_between_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = Telemetry(tmp_path, monkeypatch)
    telemetry.run_load("a")
    telemetry.publish("a")
    telemetry.run_load("b")
    telemetry.journal.fold(after_loads=1)
    assert telemetry.publish("b") == 3
    telemetry.journal.fold(after_loads=1)
    assert telemetry.publish("b") == 0
    telemetry.check()


def test_a_publication_that_fails_for_good_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry = Telemetry(tmp_path, monkeypatch)
    telemetry.run_load("a")

    def fail(*arguments: object, **keys: object) -> None:
        raise StoreError("the folder is not what it was")

    with monkeypatch.context() as broken:
        broken.setattr(OpenMirroringTable, "publish", fail)
        with pytest.raises(StoreError, match="not what it was"):
            telemetry.publish("a")
    monkeypatch.setattr(mirror, "TURN_SECONDS", 0.0)  # an attempt that finds the table owned gives up at once
    assert telemetry.publish("b") == 3
    telemetry.check()


def test_the_tables_of_a_journal_are_never_replaced_by_those_of_another_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    telemetry = Telemetry(tmp_path, monkeypatch)
    telemetry.run_load("a")
    telemetry.publish("a")
    telemetry.run_load("b")
    assert telemetry.publish("b", "market") == 3  # two projects share a journal, and its tables
    telemetry.check()
    ours, telemetry.place = telemetry.place, (LocalLake(tmp_path / "elsewhere"), ".hygge_journal")
    with pytest.raises(NotOurs, match=r"the journal of the project 'market', in its own item; .* 'shop', is in file:"):
        telemetry.publish("c", "shop")
    telemetry.check()
    telemetry.place = ours
    telemetry.run_load("d")
    assert telemetry.publish("d") == 3
    telemetry.check()
