"""An open load that is continued meets a source, or settings, that are not those it was begun with."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast

import pyarrow as pa
import pytest

from hygge_engine.errors import HomeUnavailable, HyggeError
from hygge_engine.flow import blocked, planner
from hygge_engine.flow.blocked import try_to_go_on
from hygge_engine.flow.run import run_slice
from hygge_engine.flow.slices import SliceTask
from hygge_engine.homes.base import Batch, Column, Position, ReadWindow, SourceSchema
from hygge_engine.project.models.expectations import ExpectationsSettings
from hygge_engine.project.models.polish import PolishSettings
from hygge_engine.project.models.project import Entity, SchemaChangesSettings, WatermarkSettings
from hygge_engine.project.models.settings import HomeSettings, RunType
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable
from tests.faults.source import SourceHome
from tests.faults.world import KeyedTable, Watching
from tests.support.blocked_world import BlockedWorld, finish, open_slice

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

COLUMNS: dict[str, pa.DataType] = {"id": pa.int64(), "value": pa.string(), "modified": pa.int64()}


class Shaped(SourceHome):
    """The source with other columns: of another type, new ones (NULL), or fewer; ``key`` is what it is read by."""

    def __init__(self, source: KeyedTable, *, key: Sequence[str] = ("id",), **columns: pa.DataType) -> None:
        super().__init__(source)
        self._columns = {name: type_ for name, type_ in (COLUMNS | columns).items() if type_ != pa.null()}
        self._key = tuple(key)

    def describe(self) -> SourceSchema:
        columns = tuple(Column(name, type_, str(type_)) for name, type_ in self._columns.items())
        return SourceSchema("dbo.things", columns, self._key)

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        for batch in super().read(window, after):
            rows = batch.rows
            arrays = [
                rows.column(name).cast(type_)
                if name in rows.schema.names
                else pa.nulls(rows.num_rows, cast("Any", type_))
                for name, type_ in self._columns.items()
            ]
            yield replace(batch, rows=pa.RecordBatch.from_arrays(arrays, schema=self.describe().schema))


class Backwards(SourceHome):
    """The source once it orders its key the other way round, as after a change of the key's collation."""

    order = "backwards"

    def describe(self) -> SourceSchema:
        known = super().describe()
        key, *others = known.columns
        return replace(known, columns=(replace(key, order=self.order), *others))

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        for batch in reversed(list(super().read(window))):
            turned = batch.rows.take(pa.array(range(batch.rows.num_rows - 1, -1, -1)))
            ids = turned.column("id").to_pylist()
            left = [number for number, id_ in enumerate(ids) if after is None or (id_ or 0) < int(after[-1])]
            if left:
                yield Batch(turned.take(pa.array(left)), [str(ids[left[-1]])])


class Forwards(SourceHome):
    """The source before that."""

    def describe(self) -> SourceSchema:
        known = super().describe()
        key, *others = known.columns
        return replace(known, columns=(replace(key, order="forwards"), *others))


class Led(SourceHome):
    """A synonym, and what it stands for."""

    def __init__(self, source: KeyedTable, base: str) -> None:
        super().__init__(source)
        self._base = base

    def describe(self) -> SourceSchema:
        return replace(super().describe(), stands_for=self._base)


def foretold(world: BlockedWorld, monkeypatch: pytest.MonkeyPatch) -> str:
    """What `hygge doctor` says that the next load would fail at; empty where it would go on."""
    monkeypatch.setattr(blocked, "open_home", lambda project, entity: world.home)
    monkeypatch.setattr(blocked, "open_table", lambda *_: OpenMirroringTable(world.lake, world.settings, world.layout))
    try:
        try_to_go_on(world.project, world.entity, world.state())
    except HyggeError as error:
        return error.message
    return ""


CHANGES: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "a type": ({"modified": pa.int32()}, {}, "modified was int64, is int32"),
    "a new column that is not wanted": ({"note": pa.string()}, {"added": "fail"}, "new columns: note"),
    "a column that is gone and is wanted": ({"value": pa.null()}, {"removed": "fail"}, "no longer the columns value"),
    "the source's key": ({"key": ["modified"]}, {}, "to (modified)"),
}


@pytest.fixture(params=["initial", "changes"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlockedWorld:
    """A load has landed two of its rows, and is never heard of again."""
    world = BlockedWorld(tmp_path, monkeypatch, slice_minutes=0)
    world.settings = world.settings.model_copy(update={"key_columns": ()})
    world.source.put(*range(7))
    if request.param == "changes":
        world.load("before")
        world.source.put(*range(7))
    open_slice(world)
    return world


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_lands_that_would_not_have_begun(
    world: BlockedWorld, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    columns, policy, words = CHANGES[change]
    assert foretold(world, monkeypatch) == ""
    world.entity = replace(world.entity, schema_changes=SchemaChangesSettings.model_validate(policy))
    world.home = Shaped(world.source, **columns)
    landed = world.ids()
    assert words in foretold(world, monkeypatch)
    for load in ("next", "another"):
        result = finish(world, load, "incremental")
        assert (result.status, result.error) == ("failed", "store.schema_changed")
        assert words in result.message
    assert world.ids() == landed
    assert world.slice("open", 3).error == "store.schema_changed"  # its own later slices neither
    world.home = SourceHome(world.source)
    assert finish(world, "last", "incremental").status == "done"
    world.check()


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
def test_a_position_is_none_in_another_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_type: RunType
) -> None:
    world = BlockedWorld(tmp_path, monkeypatch, slice_minutes=0, run_type=run_type)
    world.source.put(*range(7))
    world.home = Forwards(world.source)
    open_slice(world)
    world.home = Backwards(world.source)
    assert foretold(world, monkeypatch) == ""
    assert world.load("open").status == "done"
    world.check()


@pytest.mark.parametrize("moved", ["what a synonym stands for", "the setting"])
def test_no_load_reads_two_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: str) -> None:
    world = BlockedWorld(tmp_path, monkeypatch, slice_minutes=0)
    monkeypatch.setattr(HomeSettings, "origin", lambda *_: "dbo.first")
    world.source.put(*range(7))
    world.home = Led(world.source, "dbo.first")
    open_slice(world)
    landed = world.ids()
    if moved == "the setting":
        monkeypatch.setattr(HomeSettings, "origin", lambda *_: "dbo.second")
    else:
        world.home = Led(world.source, "dbo.second")
    words = "its rows came from dbo.first so far, and come from dbo.second now, while a load was under way"
    assert words in foretold(world, monkeypatch)
    for load in ("open", "next"):
        result = finish(world, load, "incremental")
        assert (result.error, words in result.message, world.ids()) == ("store.landing_broken", True, landed)
    assert finish(world, "reload", "full_drop").status == "done"
    world.check()


def test_a_rebuild_is_one_for_an_open_load_as_well(world: BlockedWorld) -> None:
    world.entity = replace(
        world.entity, schema_changes=SchemaChangesSettings.model_validate({"retyped": "rebuild", "added": "rebuild"})
    )
    world.home = Shaped(world.source, modified=pa.int32(), note=pa.string())
    assert finish(world, "next", "incremental").status == "done"
    world.check()
    assert world.state().columns == {"id": "int64", "value": "string", "modified": "int32", "note": "string"}


def test_rows_that_are_read_again_never_land_beside_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With another row marker than 4 Fabric replaces no row: what a window has not read yet would come twice."""
    world = BlockedWorld(tmp_path, monkeypatch, slice_minutes=0)
    world.source.put(*range(7))
    assert world.load("first").status == "done"
    window = SliceTask("open", "open-things", "flow", "things", "incremental", "hash", 1, "0", "9")
    assert run_slice(world.project, world.entity, window, Watching()).status == "continue"
    upserts = world.settings, world.entity
    world.settings = world.settings.model_copy(update={"row_marker": 0})
    world.entity = replace(world.entity, store=world.settings)
    assert finish(world, "open", "incremental", ("0", "9")).error == "home.cursor_unusable"
    assert world.mirrored() == world.source.as_multiset()
    world.settings, world.entity = upserts
    assert finish(world, "open", "incremental", ("0", "9")).status == "done"
    world.check()


def test_what_policies_allow_is_left_to_the_next_load(world: BlockedWorld) -> None:
    world.home = Shaped(world.source, note=pa.string())
    result = finish(world, "next", "incremental")
    world.source.put(1)
    assert (result.status, finish(world, "last", "incremental").status) == ("done", "done")
    world.check()
    assert "note" in world.state().columns


def test_expectations_that_do_not_fit_stop_an_open_load_before_its_first_row(world: BlockedWorld) -> None:
    landed = world.ids()
    world.entity = replace(
        world.entity, expectations=ExpectationsSettings.model_validate({"not_null": {"columns": ["nothing"]}})
    )
    assert finish(world, "next", "incremental").error == "configuration"
    assert world.ids() == landed


def test_a_load_that_has_landed_nothing_begins_again_with_what_the_source_has_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = BlockedWorld(tmp_path, monkeypatch)

    def fail(number: int) -> None:
        if number:
            raise HomeUnavailable("the value is no int")

    world.source.put(*range(7))
    world.home = SourceHome(world.source, before_batch=fail)
    assert world.slice("open").status == "failed"
    world.home = Shaped(world.source, modified=pa.int32())
    assert finish(world, "next", "incremental").status == "done"
    world.check()
    assert world.state().columns["modified"] == "int32"


class LaterPolish(PolishSettings):
    """The settings of a later version, which knows one more."""

    later: bool = False


def earlier_digest(entity: Entity) -> str:
    """What earlier versions have recorded of a polish."""
    settings = "" if entity.polish is None else entity.polish.model_dump_json()
    return hashlib.blake2b(settings.encode(), digest_size=8).hexdigest()


@pytest.mark.parametrize("begun_by", ["this version", "an earlier one"])
@pytest.mark.parametrize(
    "polish", [{"constants": {"origin": "new"}}, {"constants": {"origin": "old", "more": 1}}, {"trim": ["value"]}]
)
def test_no_load_lands_by_two_kinds_of_polish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, polish: dict[str, Any], begun_by: str
) -> None:
    if begun_by == "an earlier one":
        monkeypatch.setattr(planner, "polish_digest", earlier_digest)
    world = BlockedWorld(tmp_path, monkeypatch, slice_minutes=0)
    old = replace(world.entity, polish=PolishSettings.model_validate({"constants": {"origin": "old"}}))
    new = replace(world.entity, polish=PolishSettings.model_validate(polish))
    world.entity = old
    world.source.put(*range(7))
    open_slice(world)
    world.entity = new
    landed = world.ids()
    message = foretold(world, monkeypatch)
    result = finish(world, "next", "incremental")
    assert (result.error, message in result.message, bool(message)) == ("store.schema_changed", True, True)
    assert world.ids() == landed
    later = LaterPolish.model_validate({"constants": {"origin": "old"}})
    world.entity = replace(old, polish=later) if begun_by == "this version" else old
    assert finish(world, "last", "incremental").status == "done"
    assert set(world.replicator.table("dbo", "things")["origin"].to_pylist()) == {"old"}


@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
@pytest.mark.parametrize("seed", range(12))
def test_rows_above_what_has_landed_land_whatever_is_taken_back_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, run_type: RunType
) -> None:
    """Between its slices, rows of a load are moved back or deleted; the next one has to find what comes then."""
    random = Random(seed)
    world = BlockedWorld(tmp_path, monkeypatch, slice_minutes=0)
    world.source.put_at({id_: random.randint(1, 9) for id_ in range(6)})
    world.load("before")
    world.source.put_at({id_: random.randint(10, 90) for id_ in range(random.randint(0, 3), random.randint(3, 9))})
    world._run_type = run_type
    slices = random.randint(0, 3)
    for _ in range(slices):
        if world.slice("open").status == "done":
            break
        taken = {id_: at for id_, (_, at) in world.source.rows.items() if at > 9 and random.random() < 0.7}
        world.source.remove(*(id_ for id_ in taken if random.random() < 0.5))
        world.source.put_at({id_: random.randint(10, at) for id_, at in taken.items() if random.random() < 0.5})
    world._run_type = "incremental"
    settings = WatermarkSettings(column="modified", primary_key="id", on_backwards="ignore")
    world.entity = replace(world.entity, watermark=settings)
    own = world.state().open is not None and random.random() < 0.5 and run_type == "incremental"
    assert finish(world, "open" if own else "next", "incremental").status == "done"
    mark = world.state().watermark
    landed = max(int(at or 0) for at in world.replicator.table("dbo", "things")["modified"].to_pylist())
    assert mark is not None
    assert int(mark.value or 0) <= landed
    world.source.put_at({100: int(mark.value or 0) + 1})
    assert finish(world, "last", "incremental").status == "done"
    assert 100 in world.ids()


@pytest.mark.parametrize("how", ["dies", "is cancelled"])
@pytest.mark.parametrize(
    ("columns", "policy"), [({"modified": pa.int32()}, {"retyped": "rebuild"}), ({"key": ["modified"]}, {})]
)
def test_what_a_reload_meant_to_land_is_not_taken_for_what_has_landed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, columns: dict[str, Any], policy: dict[str, str]
) -> None:
    """A reload with other columns, or another key, ends before the old table is touched."""
    world = BlockedWorld(tmp_path, monkeypatch, slice_minutes=0)
    world.settings = world.settings.model_copy(update={"key_columns": ()})
    world.entity = replace(world.entity, schema_changes=SchemaChangesSettings.model_validate(policy))
    world.source.put(*range(7))
    world.load("before")
    world.source.put(*range(7))
    landed = world.mirrored()
    world.home = Shaped(world.source, **columns)
    world._run_type = "incremental" if policy else "full_drop"
    world.slice("reload", watch=Watching(cancel_after=2 if how == "is cancelled" else None))
    assert world.mirrored() == landed
    world._run_type = "incremental"
    result = finish(world, "next", "incremental")
    if policy:
        assert (result.status, result.rows) == ("done", 7)
        world.check()
    else:
        assert (result.error, world.mirrored()) == ("store.schema_changed", landed)
