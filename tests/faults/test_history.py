"""A history has each version of a row that its loads have seen, once, in order: whatever the loads are, whatever is
read twice, and wherever they die."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise, product
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest

from devcloud.replicator import check_landing_zone
from hygge_engine.errors import NotOurs
from hygge_engine.flow import planner
from hygge_engine.flow import run as flow_run
from hygge_engine.flow.claims import check_versions_stay
from hygge_engine.flow.due import compares_keys
from hygge_engine.flow.ownership import adoption_of
from hygge_engine.flow.reach import on_backwards
from hygge_engine.flow.versions import polish_for
from hygge_engine.project.models.disk import DiskReach
from hygge_engine.project.models.polish import PolishSettings
from hygge_engine.project.models.project import DeletesSettings, WatermarkSettings
from hygge_engine.stores.base import Destination, ReadBack
from hygge_engine.stores.database.table import DatabaseTable
from hygge_engine.stores.landing.state import Author
from hygge_engine.stores.open_mirroring.layout import layout_of
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable
from hygge_engine.stores.sqlite.database import SqliteDatabase
from tests.faults.source import COLUMNS, Row, Source, SourceHome
from tests.faults.world import World

# Processes that die leave what they have opened to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

type Version = Row | None

HOW: dict[str, WatermarkSettings | None] = {
    "tracking": WatermarkSettings(change_tracking=True, on_expired="reload"),
    "watermark": WatermarkSettings(column="modified"),
    "compared": WatermarkSettings(column="modified"),
    "whole": None,
}


class HistoryWorld(World):
    """A world whose table is the history of another one; ``seen`` are the versions that its loads must have seen."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, how: str, *, in_slices: bool = False) -> None:
        super().__init__(root, monkeypatch, slice_minutes=1e-9 if in_slices else 4, tick_between=False)
        store = self.settings.of_history("things")
        assert store is not None
        deletes = DeletesSettings(compare=how == "compared", every=0)
        table = replace(self.entity, watermark=HOW[how], history="versions", deletes=deletes)
        self.entity = table.with_history(store)
        self.settings = cast("Any", store)
        self.layout = layout_of(self.settings, "flow", self.entity.name)
        self.things = Source(root / "source.json")
        self.home = SourceHome(self.things)
        self.seen: dict[int, list[Version]] = defaultdict(list)
        self.seen_at: dict[int, list[int]] = defaultdict(list)
        self.hours = 0
        self._how = how
        self._loads = 0
        self._reached = 0

    def run(self, run_type: str = "incremental", *, die_at: int | None = None, die_after: bool = False) -> str:
        """Load, and return the journal's message."""
        self._loads += 1
        self._run_type = cast("Any", "full_drop" if self._how == "whole" else run_type)
        self._see(whole=self._how != "watermark" or run_type == "full_drop" or self._loads == 1)
        self.new_lake()
        self.lake.die_at, self.lake.die_after = die_at, die_after
        result = self.load(f"load{self._loads}")
        assert result.status == "done", result
        state = self.state()
        assert state.generation <= 2
        assert state.open is None
        assert state.owner is None
        return result.message

    def _see(self, *, whole: bool) -> None:
        rows = {row[0]: row for row in self.things.rows}
        for id_ in sorted({*rows, *self.seen}):
            row = rows.get(id_)
            if not whole and (row is None or row[2] <= self._reached):
                continue
            before = self.seen[id_][-1] if id_ in self.seen else None
            if row != before:
                self.seen[id_].append(row)
                self.seen_at[id_].append(self.hours)
        self._reached = max((row[2] for row in rows.values()), default=self._reached)

    @property
    def clock(self) -> type[datetime]:
        """The engine's clock, some hours ahead."""
        world = self

        class Ahead(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
                return datetime.now(tz) + timedelta(hours=world.hours)

        return Ahead

    def versions(self) -> dict[int, list[Version]]:
        """What readers of the mirrored table see of each key, in the order of the versions."""
        self.tick()
        self.tick()
        table = self.replicator.table("dbo", "things_history")
        found: dict[int, list[Version]] = defaultdict(list)
        kept: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
        names = (*COLUMNS, "__operation", "__version", "__valid_from")
        rows = zip(*(table[name].to_pylist() for name in names), strict=True)
        for id_, value, modified, operation, version, seen in sorted(rows, key=lambda row: (row[0], row[4])):
            gone = operation == "delete"
            assert gone == (value is None), operation
            found[id_].append(None if gone else (id_, value, modified))
            kept[id_].append((version, seen))
        for each in kept.values():
            assert len(set(each)) == len(each)
            assert sorted(each) == sorted(each, key=lambda pair: pair[1]), "what is newer has a later time"
        return dict(found)

    def check_versions(self) -> None:
        """The mirrored history is what loads have seen; the landing zone is as Fabric wants it."""
        assert self.versions() == {id_: versions for id_, versions in self.seen.items() if versions}
        assert [str(finding) for finding in check_landing_zone(self.root / "mirror")] == []


def change(source: Source, random_: random.Random, how: str) -> None:
    ids = random_.sample(range(8), random_.randint(1, 4))
    source.put(*ids, 9)  # the newest row stays, or a watermark would fall back
    if random_.random() < 0.6:
        source.remove(*random_.sample(range(8), 2))
    if how not in ("watermark", "compared"):  # which see no change without a newer watermark
        source.correct(*random_.sample(range(8), random_.randint(0, 2)))
        source.touch(*random_.sample(range(8), 3))
        source.put(11)
        source.remove(11)  # nobody has seen it


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("seed", range(2))
def test_each_version_that_loads_have_seen_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, seed: int
) -> None:
    random_ = random.Random(f"{how} {seed}")
    world = HistoryWorld(tmp_path, monkeypatch, how, in_slices=seed % 2 == 1)
    for _ in range(6):
        for _ in range(random_.choice([0, 1, 1, 2])):
            change(world.things, random_, how)
        if not world.things.rows:
            continue
        run_type = random_.choices(["incremental", "full_drop"], [3, 1])[0]
        world.run(run_type, die_at=random_.choice([None, *range(1, 16)]), die_after=random_.random() < 0.5)
    world.check_versions()


@pytest.mark.parametrize("how", HOW)
def test_rows_that_change_while_they_are_read_lose_no_version_and_double_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    random_ = random.Random(how)
    world = HistoryWorld(tmp_path, monkeypatch, how)
    world.things.put(*range(10))

    def change_some(batch: int) -> None:
        world.things.put(*random_.sample(range(9), 2), 9)
        world.things.remove(*random_.sample(range(9), 1))

    for number in range(4):
        world.home = SourceHome(world.things, before_batch=change_some)
        world.run("full_drop" if number % 2 else "incremental")
    world.home = SourceHome(world.things)
    world.run("full_drop")
    rows = {row[0]: row for row in world.things.rows}
    for id_, versions in world.versions().items():
        assert versions[-1] == rows.get(id_)
        assert all(one != other for one, other in pairwise(versions))
        assert {version for version in versions if version is not None} <= world.things.history
    assert world.run("full_drop").startswith("reloaded by difference: 0 new or changed, 0 deleted")


def _lose_the_snapshot(world: HistoryWorld) -> None:
    snapshot = world.state().snapshot
    assert snapshot is not None
    (world.root / snapshot.files[0].staged).unlink()


def _hash_otherwise(world: HistoryWorld) -> None:
    path = world.root / world.layout.state
    document = json.loads(path.read_bytes())
    document["snapshot"]["made_of"] = "0000000000000000/" + document["snapshot"]["made_of"].partition("/")[2]
    path.write_text(json.dumps(document))


def _land_other_columns(world: HistoryWorld) -> None:
    world.entity = replace(world.entity, polish=PolishSettings(constants={"region": "north"}))


BASELINES = {
    "lost": (_lose_the_snapshot, "is missing, or is not what was written", False),
    "of another version": (_hash_otherwise, "by another version of hygge-engine", False),
    "of other columns": (_land_other_columns, "are not those of what has landed", True),
}


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
@pytest.mark.parametrize("harm", BASELINES)
def test_where_it_is_unknown_what_has_landed_every_row_lands_once_more_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str, run_type: str
) -> None:
    do_harm, told, knows_keys = BASELINES[harm]
    world = HistoryWorld(tmp_path, monkeypatch, "tracking")
    world.things.put(1, 2, 3, 4)
    world.run()
    world.things.put(2)
    world.run()
    before = world.versions()
    do_harm(world)
    world.things.put(3)
    world.things.remove(4)
    message = world.run(run_type)
    assert "each row of the source lands once more, as a baseline: " in message
    assert told in message
    found = world.versions()
    rows = {row[0]: row for row in world.things.rows}
    assert found[1] == [*before[1], rows[1]]
    assert found[3] == [*before[3], rows[3]]
    assert found[4] == [*before[4], None] if knows_keys else found[4] == before[4]
    world.things.put(1)
    assert "once more" not in world.run()
    assert world.versions()[1][:-1] == found[1]


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
def test_a_column_of_another_type_stops_a_history_and_drops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_type: str
) -> None:
    world = HistoryWorld(tmp_path, monkeypatch, "watermark")
    world.things.put(1, 2)
    world.run()
    before = world.versions()
    world.things.narrow()
    world.things.put(2)
    world._run_type = cast("Any", run_type)
    failed = world.load("narrowed")
    assert (failed.status, failed.error) == ("failed", "store.schema_changed")
    assert "`rename` of polish" in failed.hint
    assert world.versions() == before
    world.entity = replace(world.entity, polish=PolishSettings(rename={"modified": "changed"}))
    world.run(run_type)
    assert {id_: len(versions) for id_, versions in world.versions().items()} == {1: 2, 2: 2}


@pytest.mark.parametrize("compare", [True, False])
@pytest.mark.parametrize("word", ["", "fail", "reload", "ignore"])
def test_a_source_that_fell_back_holds_up_no_history_whose_table_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, compare: bool
) -> None:
    world = HistoryWorld(tmp_path, monkeypatch, "watermark")
    settings = WatermarkSettings.model_validate({"column": "modified"} | ({"on_backwards": word} if word else {}))
    deletes = DeletesSettings(compare=compare)
    table = replace(world.entity.reads_as, watermark=settings, deletes=deletes, run_type="incremental", history_of="")
    world.entity = table.with_history(world.settings)
    world.things.put(1, 2)
    world.things.put(3)
    world.run()
    newest = world.things.rows[-1]
    world.things.remove(3)
    verdict = on_backwards("it has fallen back", settings, compares=compares_keys(table))
    assert verdict is not None
    result = world.load("fallen")
    assert (result.status == "failed") == (verdict.action == "fail"), result
    if verdict.action in ("reload", "difference"):
        world.things.put(4)
        world.run()
        assert (world.versions()[3], list(world.versions())) == ([newest, None], [1, 2, 3, 4])


@pytest.mark.parametrize("how", ["tracking", "compared"])
def test_a_database_keeps_versions_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    random_ = random.Random(1)
    world = HistoryWorld(tmp_path, monkeypatch, how)
    database = SqliteDatabase(tmp_path / "warehouse.db", DiskReach(tmp_path, "anywhere"))
    table = DatabaseTable(database, world.entity.id, "things_history", key_columns=("id",))
    monkeypatch.setattr(flow_run, "open_table", lambda project, entity: table)
    monkeypatch.setattr(world, "state", lambda: table.state())
    for number in range(5):
        change(world.things, random_, how)
        world.run("full_drop" if number == 3 else "incremental")
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as connection:
        rows = connection.execute("SELECT id, value, modified FROM things_history ORDER BY id, __version").fetchall()
    found: dict[int, list[Version]] = defaultdict(list)
    for id_, value, modified in rows:
        found[id_].append(None if value is None else (id_, value, modified))
    assert found == {id_: versions for id_, versions in world.seen.items() if versions}


@pytest.mark.parametrize("store", ["open_mirroring", "sqlite"])
def test_no_load_of_an_entity_without_versions_replaces_a_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str
) -> None:
    world = HistoryWorld(tmp_path, monkeypatch, "watermark")
    if store == "sqlite":
        database = SqliteDatabase(tmp_path / "warehouse.db", DiskReach(tmp_path, "anywhere"))
        table = DatabaseTable(database, world.entity.id, "things_history", key_columns=("id",))
        monkeypatch.setattr(flow_run, "open_table", lambda project, entity: table)
        monkeypatch.setattr(world, "state", lambda: table.state())
    history, kept = world.entity, replace(world.entity, name="things_history", history_of="", deletes=DeletesSettings())
    for _ in range(2):
        world.things.put(1, 2)
        world.run()
    landed = world.state()
    for run_type, reload in product(["full_drop", "incremental"], ["drop", "difference"]):
        world.entity = replace(kept, reload=cast("Any", reload))
        world._run_type = cast("Any", run_type)
        refused = world.load(f"{run_type} {reload}")
        assert (refused.status, refused.error) == ("failed", "store.not_ours")
        assert "`hygge adopt flow.things_history`" in refused.hint
    found = world.state()
    assert (found.generation, found.next_sequence) == (landed.generation, landed.next_sequence)
    # Once it is given up a full_drop replaces it; and what is no history becomes one by the same way.
    for entity in (kept, history):
        world.entity = entity
        world._run_type = "full_drop"
        assert world.load(f"not yet {entity.history_of}").status == "failed"
        opened = cast("Any", flow_run).open_table(world.project, entity)
        adoption_of(world.project, entity, opened).confirm()
        assert world.load(f"given up {entity.history_of}").status == "done"
        world._run_type = "incremental"
        assert world.load(f"goes on {entity.history_of}").status == "done"


def test_a_history_that_was_given_up_is_replaced_by_a_reload_that_was_asked_for_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = HistoryWorld(tmp_path, monkeypatch, "tracking")
    world.things.put(1, 2)
    world.run()
    world.entity = replace(world.entity, name="things_history", history_of="")
    opened = cast("Any", flow_run).open_table(world.project, world.entity)
    adoption_of(world.project, world.entity, opened).confirm()
    given_up = world.state()
    world.things.lose(1)  # its increment would be a reload
    world._run_type = "incremental"
    for number in range(2):
        refused = world.load(f"increment {number}")
        assert (refused.status, refused.error) == ("failed", "store.landing_broken")
    assert world.state().place_of_rows == given_up.place_of_rows
    assert (world.state().generation, world.state().next_sequence) == (given_up.generation, given_up.next_sequence)
    world._run_type = "full_drop"
    assert world.load("reload").status == "done"
    world._run_type = "incremental"
    assert world.load("goes on").status == "done"


def test_a_copy_of_a_history_is_loaded_like_any_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = HistoryWorld(tmp_path, monkeypatch, "watermark")
    world.things.put(1)
    world.run()
    state, author = world.state(), Author("shop", "server/shop, dbo.things_history")
    state = replace(state, author=author)
    copy, place = replace(world.entity, history_of=""), state.place_of_rows or ""
    with world.home as home:
        copied, others = polish_for(home.describe(), world.entity), polish_for(home.describe(), copy)
    check_versions_stay(state, place, author, copy, copied)
    check_versions_stay(state, "elsewhere", author, copy, others)
    for source, polish in [("server/shop, dbo.things", copied), (author.source, others)]:
        with pytest.raises(NotOurs):
            check_versions_stay(state, place, replace(author, source=source), copy, polish)


class _SeenByReaders(ReadBack):
    """The mirrored history, as the replicator has it."""

    def __init__(self, world: HistoryWorld) -> None:
        self._table = world.replicator.table("dbo", "things_history")

    def count(self) -> int:
        return self._table.num_rows

    def read(self, columns: Sequence[str]) -> Generator[pa.RecordBatch]:
        yield from self._table.select(list(columns)).to_batches(max_chunksize=3)


@pytest.mark.parametrize("how", HOW)
def test_versions_leave_that_tell_nothing_of_the_time_that_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    random_ = random.Random(f"{how} old")
    world = HistoryWorld(tmp_path, monkeypatch, how)
    monkeypatch.setattr(OpenMirroringTable, "read_back", lambda _: _SeenByReaders(world))
    monkeypatch.setattr(planner, "datetime", world.clock)
    world.entity = replace(world.entity, history_retention=86_400.0)
    for hours in (0, 1, 2, 26, 27, 52):
        world.hours = hours
        change(world.things, random_, how)
        message = world.run(die_at=random_.choice([None, 3, 6, 9]))
        world.versions()
        # A day and more after the first ones; what the last one sees is younger than a day.
        assert (" removed" in message) == (hours in (26, 52)), (hours, message)
    kept: dict[int, list[Version]] = {}
    for id_, versions in world.seen.items():
        hours_of = world.seen_at[id_]
        old = sum(hours < 52 - 24 for hours in hours_of)
        if (left := versions[max(old - 1, 0) :]) and (left[0] is None and old):
            left = left[1:]
        kept |= {id_: left} if left else {}
    assert world.versions() == kept
    assert sum(map(len, kept.values())) < sum(map(len, world.seen.values()))


def test_a_history_that_cannot_be_read_back_keeps_its_versions_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = HistoryWorld(tmp_path, monkeypatch, "tracking")
    world.entity = replace(world.entity, history_retention=86_400.0)
    monkeypatch.setattr(OpenMirroringTable, "read_back", Destination.read_back)
    for _ in range(2):
        world.things.put(1)
        message = world.run()
    assert "stay for now: the table things_history cannot be read back" in message
    world.check_versions()
