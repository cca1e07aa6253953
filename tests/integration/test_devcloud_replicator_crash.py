"""A replicator that dies anywhere: what comes after it applies every file exactly once."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from devcloud.replicator import DirectoryLandingZone, Replicator, ReplicatorOptions, TableName, TableState
from devcloud.replicator.changes import Changes
from devcloud.replicator.delta_tables import DeltaTables
from devcloud.replicator.landing_zone import Entry
from tests.integration.replicator_publisher import FLIGHTS, SCHEMA, Publisher, codes, rows_of
from tests.support.process_death import Died


class Mortality:
    """Dies before or after the n-th change that the replicator makes anywhere."""

    def __init__(self, dies_at: int, after: bool) -> None:
        self._left = dies_at
        self._after = after

    def around(self, change: Callable[[], object]) -> None:
        self._left -= 1
        is_last = self._left == 0
        if is_last and not self._after:
            raise Died
        change()
        if is_last:
            raise Died


class MortalZone(DirectoryLandingZone):
    def __init__(self, item: Path, mortality: Mortality) -> None:
        super().__init__(item)
        self._mortality = mortality

    def move_into(self, entry: Entry, folder: str) -> None:
        self._mortality.around(lambda: DirectoryLandingZone.move_into(self, entry, folder))

    def delete_file(self, path: str) -> None:
        self._mortality.around(lambda: DirectoryLandingZone.delete_file(self, path))

    def replace_file(self, path: str, content: bytes) -> None:
        self._mortality.around(lambda: DirectoryLandingZone.replace_file(self, path, content))


class MortalTables(DeltaTables):
    def __init__(self, directory: Path, mortality: Mortality) -> None:
        super().__init__(directory)
        self._mortality = mortality

    def append(self, state: TableState, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        self._mortality.around(lambda: DeltaTables.append(self, state, schema, batches))

    def apply(self, state: TableState, changes: Changes) -> None:
        self._mortality.around(lambda: DeltaTables.apply(self, state, changes))

    def add_columns(self, table: DeltaTable, state: TableState, schema: pa.Schema) -> None:
        self._mortality.around(lambda: DeltaTables.add_columns(self, table, state, schema))

    def drop(self, name: TableName) -> None:
        self._mortality.around(lambda: DeltaTables.drop(self, name))

    def remember_states(self, states: Mapping[TableName, TableState]) -> None:
        self._mortality.around(lambda: DeltaTables.remember_states(self, states))


def publish_history(item: Path) -> None:
    """A rebuilt table, inserts that would show if they were applied twice, and a change that evolves the schema."""
    Replicator.on_disk(item).tick()
    old = Publisher(item, "old").begin()
    old.publish([(1, "o")])
    flights = Publisher(item).begin(keys=["id"])
    flights.publish([(7, "old generation")])
    Replicator.on_disk(item).tick()
    flights.delete()
    flights.begin(keys=["id"])
    flights.publish([(1, "a"), (2, "b")])
    flights.publish([(3, "c")], [0])
    flights.publish([(1, None), (2, "B"), (4, "d")], [2, 4, 0])
    flights.publish([(2, "BB", 9)], [1], schema=SCHEMA.append(pa.field("seats", pa.int64())))
    old.delete()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_every_file_is_applied_once_wherever_the_replicator_dies(tmp_path: Path, after: bool) -> None:
    history = tmp_path / "history"
    (history / "Files/LandingZone").mkdir(parents=True)
    publish_history(history)
    # One file per commit, so that there is a point between any two of them.
    options = ReplicatorOptions(apply_bytes=1, purge_after_seconds=0)
    for dies_at in range(1, 100):
        item = tmp_path / f"{after}-{dies_at}"
        shutil.copytree(history, item)
        mortality = Mortality(dies_at, after)
        mortal = Replicator(MortalZone(item, mortality), MortalTables(item / "Tables", mortality), options)
        survived = True
        try:
            mortal.tick()
        except Died:
            survived = False
        heir = Replicator.on_disk(item, options=options)
        heir.tick()
        assert rows_of(heir) == [(2, "BB", 9), (3, "c", None), (4, "d", None)], f"died at {dies_at}"
        assert heir.tables() == [FLIGHTS]
        assert not heir.checks
        assert sorted(path.name for path in (item / "Files/LandingZone/dbo.schema/flights").iterdir()) == [
            "00000000000000000004.parquet",
            "_FilesReadyToDelete",
            "_metadata.json",
        ]
        if survived:
            assert dies_at > 10
            return
    pytest.fail("the replicator never came through")


def test_a_killed_process_loses_and_doubles_nothing(tmp_path: Path) -> None:
    item = tmp_path / "item"
    flights = Publisher(item).begin(keys=[])
    for number in range(30):
        flights.publish([(number, "a")])
    command = [sys.executable, "-m", "devcloud.replicator", "--directory", str(item), "--interval", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any(line.startswith("applied") for line in process.stdout)
        # It dies somewhere within the passes over these.
        for number in range(30, 40):
            flights.publish([(number, "a")])
        os.kill(process.pid, signal.SIGKILL)
    heir = Replicator.on_disk(item)
    heir.tick()
    assert [row[0] for row in sorted(rows_of(heir))] == list(range(40))
    assert codes(heir.checks) == []
