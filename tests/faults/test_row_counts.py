"""Rows inserted, updated, deleted and unchanged are told apart as the source itself would: by Change Tracking and by
difference, once each, whatever dies on the way."""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import groupby
from operator import add
from pathlib import Path
from typing import Any, cast

import pytest

from hygge_engine.flow.slices import SliceResult
from hygge_engine.homes.base import Batch, HighWater, Position, ReadWindow
from hygge_engine.project.models.project import WatermarkSettings
from hygge_engine.project.models.settings import CHANGE_TRACKING
from hygge_engine.row_counts import RowCounts, counts_of
from tests.faults.world import FragileLake, Watching
from tests.support.hostile_table import BATCH_ROWS, KEYS, HostileTable
from tests.support.reload_world import ReloadWorld

# A killed attempt leaves its files open.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@dataclass
class TrackedTable(HostileTable):
    """Knows which rows were inserted, updated and deleted, in this order."""

    log: list[tuple[int, str]] = field(default_factory=list)

    def work(self, random_: random.Random) -> None:
        """Insert, update and delete rows at random, the same ones several times."""
        for _ in range(random_.randrange(1, 12)):
            number = random_.randrange(30)
            if number in self.rows and random_.random() < 0.4:
                del self.rows[number]
                self.log.append((number, "D"))
            else:
                self.log.append((number, "U" if number in self.rows else "I"))
                self.change(random_, number, silent=random_.random() < 0.2)

    def high_water(self, cursor: str) -> HighWater:
        if cursor == CHANGE_TRACKING:
            return HighWater(str(len(self.log)), "version", oldest="0")
        return super().high_water(cursor)

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        if window.cursor != CHANGE_TRACKING or window.lower is None:
            yield from super().read(replace(window, cursor=None, lower=None, upper=None), after)
            return
        changes = sorted(self.log[int(window.lower) : int(window.upper or 0)], key=lambda change: change[0])
        net = [(number, [op for _, op in each]) for number, each in groupby(changes, key=lambda change: change[0])]
        for start in range(int(after[0]) if after else 0, len(net), BATCH_ROWS):
            part = dict(net[start : start + BATCH_ROWS])
            gone = [number for number, ops in part.items() if ops[-1] == "D"]
            there = [number for number in part if number not in gone]
            keys = self.keys
            deleted = [{f"k{at}": make(number) for at, (_, make) in enumerate(keys)} for number in gone]
            rows = self.table(there)
            yield Batch(
                rows,
                [str(start + BATCH_ROWS)],
                deleted=rows.from_pylist(deleted, schema=self.schema) if gone else None,
                inserted=sum(part[number][0] == "I" for number in there),
            )


class CountedWorld(ReloadWorld):
    """A world that dies now and then, and whose loads have to count what the source says has changed."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
        self.random = random.Random(seed)
        self._deaths = 0
        super().__init__(root, monkeypatch, "numbers", in_slices=True)
        self.table = TrackedTable(KEYS["numbers"])
        self.things = self.table
        self.home = cast("Any", self.table)
        self.landed: dict[int, dict[str, Any]] = {}
        self.seen = 0

    def new_lake(self) -> FragileLake:
        """Also the next process may die, twice as often before it has done anything than after."""
        lake = super().new_lake()
        if self._deaths:
            self._deaths -= 1
            lake.die_at, lake.die_after = self.random.randrange(1, 25), self.random.random() < 0.5
        return lake

    def counted(self, run_type: str) -> tuple[int, RowCounts, RowCounts]:
        """Load, now and then after another load that is cancelled, and return how many rows have landed, what was
        counted, and by the table itself before and after what should have been."""
        self._run_type = cast("Any", run_type)
        self._loads += 1
        ended = []
        if self.random.random() < 0.4:
            ended.append(self.slice(f"early{self._loads}", watch=Watching(1)))
            assert ended[0].status in ("cancelled", "done"), ended
        self._deaths = self.random.randrange(4)
        self.new_lake()
        ended.append(self.load(f"load{self._loads}"))
        self._deaths = 0
        self.new_lake()
        again = self.slice(f"load{self._loads}", 99)
        assert [ended[-1].status, again.status] == ["done", "done"], ended
        assert _counts(ended[-1]) == _counts(again), "the slice was delivered again"
        before, now = self.landed, {number: dict(row) for number, row in self.table.rows.items()}
        if run_type == "full_drop":
            same = sum(number in now and repr(now[number]) == repr(row) for number, row in before.items())
            stayed = len(before.keys() & now)
            expected = RowCounts(len(now) - stayed, stayed - same, len(before.keys() - now), same)
        else:
            touched = {number for number, _ in self.table.log[self.seen :]}
            there = touched & now.keys()
            expected = RowCounts(len(there - before.keys()), len(there & before.keys()), len(touched - there))
        self.landed, self.seen = now, len(self.table.log)
        return sum(result.rows for result in ended), reduce(add, map(_counts, ended)), expected


def _counts(result: SliceResult) -> RowCounts:
    return counts_of(vars(result), result.rows)


@pytest.mark.parametrize("seed", range(2))
def test_rows_are_told_apart_as_their_source_says_and_counted_once(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = CountedWorld(tmp_path, monkeypatch, seed)
    world.entity = replace(world.entity, watermark=WatermarkSettings(change_tracking=True))
    world.table.work(world.random)
    for number in range(8):
        rows, found, expected = world.counted("full_drop" if number in (2, 3, 6) else "incremental")
        if number == 0:
            expected = RowCounts(len(world.landed), 0, 0)
        assert found == expected, number
        assert found.fits(rows)
        assert world.read() == sorted(map(repr, world.table.table(list(world.table.rows)).to_pylist()))
        if number != 2:
            world.table.work(world.random)


def test_what_a_watermark_cannot_tell_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = ReloadWorld(tmp_path, monkeypatch, "numbers", in_slices=True)
    world.entity = replace(world.entity, reload="drop")
    random_ = random.Random(1)

    def counts(load_id: str) -> tuple[int, RowCounts]:
        result = world.load(load_id)
        return result.rows, counts_of(vars(result), result.rows)

    world.things.change(random_, *range(10))
    assert counts("first") == (10, RowCounts(10, 0, 0))
    assert counts("nothing new") == (0, RowCounts(0, 0, 0))
    world.things.change(random_, 3, 20)
    assert counts("increment") == (2, RowCounts(None, None, 0))
    world._run_type = cast("Any", "full_drop")
    assert counts("drop") == (11, RowCounts(11, 0, 0))
