"""Open loads that cannot be finished: a reload is always the way back, and a window of rows never stands in the way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import CursorUnusable, HyggeError
from hygge_engine.flow import blocked
from hygge_engine.flow.blocked import try_to_reload
from hygge_engine.homes.base import Batch, Position, ReadWindow
from hygge_engine.project.models.polish import PolishSettings
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable
from tests.faults.source import SourceHome
from tests.faults.world import KeyedTable, Killed, World
from tests.support.blocked_world import BlockedWorld, finish, open_slice

# A killed process closes no file; here its files are closed by the garbage collector, which says so.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


class Unreadable(SourceHome):
    """A source that can no longer read on from where a load has stopped, as after its key has changed."""

    def __init__(self, source: KeyedTable) -> None:
        super().__init__(source)
        self._known: list[Position | None] = [None]

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        if after not in self._known:
            raise CursorUnusable("the load stopped at a row with another key")
        for batch in super().read(window, after):
            self._known.append(batch.position)
            yield batch


class Failing(SourceHome):
    """A source that cannot be read at all."""

    def read(self, window: ReadWindow, after: Position | None = None) -> Any:
        raise CursorUnusable("the server is not in the mood")


class Windowless(SourceHome):
    """A source that cannot read a window of one value."""

    def read(self, window: ReadWindow, after: Position | None = None) -> Any:
        if window.lower is not None and window.lower == window.upper:
            raise CursorUnusable("the server cannot convert the bound")
        return super().read(window, after)


def die_with_an_intent(world: World) -> None:
    """A load that dies once its intent is written, before the first rename."""
    for die_at in range(1, 40):
        lake = world.new_lake()
        lake.die_at, lake.die_after = die_at, True
        try:
            world.slice("open")
        except Killed:
            begun = (world.root / world.layout.state).exists()
            opened = world.state().open if begun else None
            if opened is not None and opened.intent:
                return
    raise AssertionError("no intent was written")


def change_polish(world: World) -> None:
    open_slice(world)
    world.entity = replace(world.entity, polish=PolishSettings.model_validate({"rename": {"value": "renamed"}}))
    world.home = SourceHome(world.source)


def change_the_key(world: World) -> None:
    open_slice(world)
    world.home = Unreadable(world.source)


def put_a_foreign_file(world: World) -> None:
    die_with_an_intent(world)
    opened = world.state().open
    assert opened is not None
    final = world.root / opened.intent[-1].final
    final.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(world.root / opened.intent[-1].staged, final)


def drop_the_folder(world: World) -> None:
    die_with_an_intent(world)
    shutil.rmtree(world.root / world.layout.folder)


def take_the_grant_away(world: World) -> None:
    open_slice(world)
    world.home = Failing(world.source)


def put_right(world: World, message: str) -> None:
    """Do what no reload does: grant what is missing, move the file away that ``message`` names."""
    world.home = SourceHome(world.source)
    foreign = message.rpartition("written: ")[2].partition(" ")[0].rstrip(".")
    if foreign.endswith(".parquet"):
        next((world.root / world.layout.folder).glob(foreign)).unlink()


def foretold(world: World) -> str:
    """What `hygge doctor` says that a reload would fail at; empty where it says that one frees the table."""
    try:
        try_to_reload(world.project, world.entity, world.state())
    except HyggeError as error:
        return error.message
    return ""


# Before the first file there is none that could go.
NO_FOLDER = ("initial", "the folder is gone")

OBSTACLES: dict[str, Callable[[World], None]] = {
    "polish changed": change_polish,
    "the key has changed": change_the_key,
    "a foreign file": put_a_foreign_file,
    "the folder is gone": drop_the_folder,
    "the source refuses": take_the_grant_away,
}


@pytest.mark.parametrize(
    ("mode", "obstacle"),
    [(mode, obstacle) for mode in ("initial", "changes") for obstacle in OBSTACLES if (mode, obstacle) != NO_FOLDER],
)
def test_a_reload_discards_whatever_stands_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, obstacle: str
) -> None:
    world = BlockedWorld(tmp_path, monkeypatch, slice_minutes=0)
    monkeypatch.setattr(blocked, "open_home", lambda project, entity: world.home)
    monkeypatch.setattr(blocked, "open_table", lambda *_: OpenMirroringTable(world.lake, world.settings, world.layout))
    if mode == "changes":
        world.source.put(*range(3))
        world.load("first")
    world.source.put(*range(1, 9))
    OBSTACLES[obstacle](world)
    refused = finish(world, "plain", "incremental")
    assert (refused.status, refused.transient) == ("failed", False)
    world.source.remove(1)
    refusal = foretold(world)
    assert bool(refusal) == (obstacle in ("a foreign file", "the source refuses"))
    if refusal:
        result = finish(world, "refused", "full_drop")
        assert (result.status, refusal in result.message) == ("failed", True)
        put_right(world, result.message)
        assert foretold(world) == ""
    result = finish(world, "reload", "full_drop")
    assert (result.status, result.rows) == ("done", len(world.source.rows)), result.message
    assert world.ids() == sorted(world.source.rows)
    assert world.state().open is None
    assert list((world.root / world.layout.staging).iterdir()) == []
    world.source.put(30)
    assert finish(world, "next", "incremental").rows == 1


def test_a_window_that_cannot_be_read_does_not_block_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = BlockedWorld(tmp_path, monkeypatch)
    world.source.put(1, 2, 3)
    world.load("first")
    world.home = Windowless(world.source)
    assert finish(world, "window", "incremental", ("1", "1")).error == "home.cursor_unusable"
    assert world.state().open is not None
    world.source.put(4)
    result = finish(world, "plain", "incremental")
    assert (result.status, result.rows) == ("done", 1)
    assert "given up: the server cannot convert the bound" in result.message
    world.check()


def test_a_reload_of_another_load_past_its_reading_is_finished_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = BlockedWorld(tmp_path, monkeypatch, run_type="full_drop", drop_wait_seconds=300, tick_between=False)
    world.source.put(1, 2)
    world.load("first")
    world.source.put(3)
    assert "waiting" in world.slice("waits").message
    # What it has staged is all there is of the table: a source that fails now must not leave it empty.
    world.home = Failing(world.source)
    assert finish(world, "next", "full_drop").error == "home.cursor_unusable"
    assert world.ids() == [1, 2, 3]


def test_a_window_loads_both_bounds_whatever_has_landed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = BlockedWorld(tmp_path, monkeypatch)
    world.entity = replace(world.entity, polish=PolishSettings.model_validate({"constants": {"origin": "old"}}))
    for number in (1, 2, 3):
        world.source.put(number)
    world.load("first")
    world.entity = replace(world.entity, polish=PolishSettings.model_validate({"constants": {"origin": "new"}}))
    assert finish(world, "window", "incremental", ("1", "3")).rows == 3
    world.check()
    assert world.replicator.table("dbo", "things")["origin"].to_pylist() == ["new"] * 3
