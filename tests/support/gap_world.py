"""A table that follows Change Tracking, or a number, whose source loses what its next increment needs."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from hygge_engine.errors import CursorUnusable
from hygge_engine.flow import idle
from hygge_engine.flow.reach import look, verdict_on
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.homes.base import HighWater, Position, ReadWindow
from hygge_engine.project.models.expectations import ExpectationsSettings
from hygge_engine.project.models.project import WatermarkSettings
from hygge_engine.project.models.settings import CHANGE_TRACKING, RunType
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable
from tests.faults.source import Content, Row, SourceHome
from tests.faults.world import FragileLake, Killed, Watching, World

# What the source is up to when it has a history; what it loses takes it back to fewer.
CHANGES = 9


class LosingSource:
    """Rows, and the account of their changes as SQL Server keeps it: the version of each one's last change, the oldest
    version after which all are known, and the one since which they are kept."""

    def __init__(self) -> None:
        self.rows: dict[int, Row] = {}
        self.versions: dict[int, int] = {}
        self.version = self.oldest = self.since = 0
        self.table = 1
        self.is_kept = True

    @property
    def content(self) -> Content:
        return Content(self.version, self.rows, self.versions)

    def put(self, *ids: int) -> None:
        self._change(ids, is_there=True)

    def remove(self, *ids: int) -> None:
        self._change(ids, is_there=False)

    def count_on(self) -> None:
        """Changes to one row, until no version tells any more that some are missing."""
        for _ in range(CHANGES + 3):
            self.put(1)

    def forget(self) -> None:
        """Clean up."""
        self.remove(2)
        self.put(3)
        self.versions.clear()
        self.oldest = self.version

    def keep_anew(self) -> None:
        """Switch tracking off for the table, and on again."""
        self.is_kept = False
        self.remove(2)
        self.is_kept = True
        self.put(4)
        self.oldest = self.since = self.version
        self.versions.clear()

    def begin_anew(self) -> None:
        """Switch it off for the whole database: versions are counted from the beginning."""
        self.is_kept = False
        self.remove(2)
        self.restart()

    def restart(self) -> None:
        """Count versions from the beginning, as a restored database does."""
        self.is_kept = True
        self.versions.clear()
        self.version = self.oldest = self.since = 0

    def replace_table(self) -> None:
        """Drop the table, and create another one of its name."""
        self.rows = {5: (5, "another", 1)}
        self.versions.clear()
        self.oldest = self.since = self.version
        self.table += 1

    def swap_table(self) -> None:
        """Give its name to another table whose changes have been kept since the same version."""
        self.rows = {5: (5, "another", 1)}
        self.versions.clear()
        self.table += 1

    def truncate(self) -> None:
        self.rows.clear()
        self.versions.clear()
        self.oldest = self.version + 1
        self.put(6)

    def restore(self) -> None:
        """Go back to an earlier state of the whole database, rows and versions."""
        self.remove(2)
        self.restart()
        self.rows = {id_: (id_, "restored", 1) for id_ in self.rows}
        self.put(7)

    def _change(self, ids: tuple[int, ...], *, is_there: bool) -> None:
        self.version += self.is_kept
        for id_ in ids:
            self.rows.pop(id_, None)
            if is_there:
                self.rows[id_] = (id_, f"v{self.version}", self.version)
            if self.is_kept:
                self.versions[id_] = self.version


class LosingHome(SourceHome):
    """The source; ``lags``: it may be a copy that is behind."""

    def __init__(self, source: LosingSource) -> None:
        super().__init__(source)
        self.things = source
        self.lags = False

    def high_water(self, cursor: str) -> HighWater:
        if cursor != CHANGE_TRACKING:
            return replace(super().high_water(cursor), may_lag=self.lags)
        things = self.things
        if not things.is_kept:
            raise CursorUnusable("Change Tracking is off for dbo.things.", unkept=True)
        return HighWater(
            *(str(things.version), "version"),
            oldest=str(things.oldest),
            since=str(things.since),
            table=str(things.table),
            may_lag=self.lags,
        )

    def divide(self, window: ReadWindow, parts: int | None = None) -> list[Position]:
        return []


class GapWorld(World):
    """A table with a history, each of whose loads is another one, long after the one before."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, *, tracks: bool = True, **settings: Any) -> None:
        super().__init__(root, monkeypatch, tick_between=False)
        monkeypatch.setattr(idle, "journal_of", lambda project, entity: (self.lake, self.layout.journal))
        monkeypatch.setattr(os, "fsync", lambda file: None)  # no machine dies here, and disks are slow
        self.source = cast("Any", LosingSource())
        self.things = cast("LosingSource", self.source)
        self.home: LosingHome = LosingHome(self.things)
        self.entity = replace(self.entity, reload=settings.pop("reload", "drop"))
        self._tracks = tracks
        self._loads = 0
        self.say(**settings)

    def say(self, *, most_rows: int | None = None, **watermark: Any) -> None:
        """Other settings: of the watermark, and how many rows are expected at most."""
        cursor = {"change_tracking": True} if self._tracks else {"column": "modified", "primary_key": "id"}
        expected = {} if most_rows is None else {"row_count": {"max": most_rows}}
        self.entity = replace(
            self.entity,
            watermark=WatermarkSettings.model_validate(cursor | watermark),
            expectations=ExpectationsSettings.model_validate(expected),
        )

    def grow(self) -> None:
        """Rows with a history, all of which have landed."""
        self.things.put(*range(1, 9))
        self.run()
        for _ in range(CHANGES):
            self.things.put(1)
        self.run()

    def next_process(self) -> FragileLake:
        """A lake client of another process, after the owner's time of those before."""
        self._loads += 1
        lake = self.new_lake()
        lake.shift = timedelta(minutes=10 * self._loads)
        return lake

    def run(
        self,
        run_type: RunType = "incremental",
        *,
        die_at: int | None = None,
        cancel_after: int | None = None,
        slices: int = 99,
    ) -> SliceResult | None:
        """The next load; None where it was killed, at the given operation on its lake, or after so many slices with a
        batch each, and never came back."""
        self.next_process().die_at = die_at
        self.entity = replace(self.entity, run_type=run_type)
        self._run_type = run_type
        load = f"load{self._loads}"
        self.project.options.slice_minutes = 4 if slices == 99 else 0
        try:
            for _ in range(slices):
                result = self.slice(load, watch=Watching(cancel_after))
                if result.status != "continue":
                    return result
        except Killed:
            self.next_process()
        return None

    def begin_slices(self, run_type: RunType) -> None:
        """Begin a load that reads a batch in each slice (`go_on`)."""
        self.next_process()
        self.entity = replace(self.entity, run_type=run_type)
        self._run_type = run_type
        self.project.options.slice_minutes = 0

    def go_on(self) -> SliceResult:
        """The next slice of this load."""
        return self.slice(f"load{self._loads}")

    def is_idle(self) -> bool:
        """Whether the next load would end with the plan, by what is known of the table."""
        table = OpenMirroringTable(self.lake, self.settings, self.layout)
        task = SliceTask("survey", "survey-things", "flow", "things", "incremental", "hash")
        return (
            idle.idle_result(self.project, self.entity, table, cast("Any", self.home), self.state(), task) is not None
        )

    def foretold(self) -> str:
        """What `hygge plan` and `hygge doctor` say that the next increment does about its source: fail, reload, or go
        on."""
        entity = replace(self.entity, run_type="incremental")
        try:
            reach = look(cast("Any", self.home), entity, self.state())
        except CursorUnusable:
            return "fail"
        verdict = (
            verdict_on(reach, entity.watermark, compares=False)
            if reach is not None and entity.watermark is not None
            else None
        )
        return verdict.action if verdict is not None else "go on"

    def check_next(self) -> SliceResult:
        """The next increment does what is foretold, and says that it has failed where rows are not the source's."""
        foretold, idle = self.foretold(), self.is_idle()
        result = self.run()
        assert result is not None
        assert (result.status == "failed") == (foretold == "fail"), (foretold, result)
        assert result.message.count("the table is reloaded") == (foretold == "reload"), (foretold, result)
        if result.status == "failed":
            assert (result.error, idle) in {("home.changes_expired", False), ("home.cursor_moved_back", False)}
        else:
            assert (result.status, self.is_equal) == ("done", True), result
        return result

    @property
    def is_equal(self) -> bool:
        """Whether readers see the rows of the source."""
        return self.mirrored() == sorted(self.things.rows.values())
