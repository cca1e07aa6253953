"""A source that has lost changes since the last load: whatever becomes of the reload, none later takes it for whole."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.project.models.settings import RunType
from tests.support.gap_world import GapWorld, LosingSource

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")

# How the source loses what the next increment needs. A copy that lags can show the last two as well.
LOSSES: dict[str, Callable[[LosingSource], None]] = {
    "cleaned up": LosingSource.forget,
    "off and on": LosingSource.keep_anew,
    "another table": LosingSource.replace_table,
    "tables swapped": LosingSource.swap_table,
    "truncated": LosingSource.truncate,
    "off and on for the database": LosingSource.begin_anew,
    "restored": LosingSource.restore,
}
LAG_SHOWS = ("off and on for the database", "restored")

# What becomes of the load that finds it: at which operation on the lake it dies, where it does. The first is that what
# it has found is remembered, the second begins the reload.
FATES: dict[str, int | None] = {
    "fails": None,
    "ends": None,
    "unmet": None,
    "cancelled": None,
    "killed at once": 2,
    "killed late": 6,
}
RELOAD: dict[str, Any] = {"on_expired": "reload", "on_backwards": "reload"}


def meet(world: GapWorld, fate: str, run_type: RunType) -> None:
    """The first load after the loss."""
    if fate == "fails":
        world.run()
        return
    world.say(**RELOAD, most_rows=0 if fate == "unmet" else None)
    world.run(run_type, die_at=FATES[fate], cancel_after=1 if fate == "cancelled" else None)


@pytest.mark.parametrize(
    ("loss", "fate", "tracks"),
    [
        *itertools.product(LAG_SHOWS, FATES, [True]),
        *itertools.product(["restored"], FATES, [False]),
        # Of these the source shows some sign for good.
        *itertools.product(
            [loss for loss in LOSSES if loss not in LAG_SHOWS], ["fails", "unmet", "killed late"], [True]
        ),
    ],
)
def test_what_was_lost_is_lost_until_a_reload_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str, fate: str, tracks: bool
) -> None:
    number = list(LOSSES).index(loss) + list(FATES).index(fate)
    world = GapWorld(tmp_path, monkeypatch, tracks=tracks, reload="difference" if number % 2 else "drop")
    world.home.lags = number % 3 != 0 and loss not in LAG_SHOWS
    world.grow()
    LOSSES[loss](world.things)
    asks_for_reload = loss == "restored" and (tracks or fate == "cancelled")
    meet(world, fate, "full_drop" if asks_for_reload else "incremental")
    world.things.count_on()
    world.say(**(RELOAD if number % 4 > 1 else {}))
    world.check_next()
    world.say(**RELOAD)
    world.check_next()
    world.things.put(3)
    assert world.check_next().rows == 1


def _begun(world: GapWorld) -> None:
    """An increment that has landed nothing."""
    world.run(die_at=3)


def _landed_in_part(world: GapWorld) -> None:
    world.run(slices=1)


def _reload_in_part(world: GapWorld) -> None:
    world.run("full_drop", slices=1)


def _reload_over_an_increment(world: GapWorld) -> None:
    world.run(slices=1)
    world.run("full_drop", slices=1)


def _reload_dropping(world: GapWorld) -> None:
    world.run("full_drop", die_at=6)
    assert (opened := world.state().open) is not None
    assert opened.phase == "dropping"


def _reload_landing(world: GapWorld) -> None:
    world.run("full_drop", die_at=12)
    assert (opened := world.state().open) is not None
    assert opened.phase == "landing"


def _nothing(world: GapWorld) -> None:
    """No load is open."""


OPEN = (
    _nothing,
    _begun,
    _landed_in_part,
    _reload_in_part,
    _reload_over_an_increment,
    _reload_dropping,
    _reload_landing,
)


@pytest.mark.parametrize("loss", [None, "cleaned up", "off and on", "tables swapped", "restored"])
@pytest.mark.parametrize("leave_open", OPEN)
def test_what_is_foretold_of_a_table_with_an_open_load_is_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leave_open: Callable[[GapWorld], None], loss: str | None
) -> None:
    number = OPEN.index(leave_open) + (0 if loss is None else 1 + list(LOSSES).index(loss))
    world = GapWorld(tmp_path, monkeypatch, tracks=number % 3 != 0 or loss not in (None, "restored"))
    world.grow()
    world.things.put(2, 3, 4, 5)
    leave_open(world)
    if loss is not None:
        LOSSES[loss](world.things)
    world.say(**(RELOAD if number % 2 else {}))
    world.check_next()
    world.things.count_on()
    world.check_next()


@pytest.mark.parametrize("loss", [*LAG_SHOWS, "tables swapped"])
@pytest.mark.parametrize("run_type", ["initial", "full_drop"])
def test_a_whole_read_in_slices_whose_source_loses_its_history_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: str, run_type: str
) -> None:
    world = GapWorld(tmp_path, monkeypatch)
    if run_type == "initial":
        world.things.count_on()
        world.things.put(*range(9))
    else:
        world.grow()
    world.begin_slices("incremental" if run_type == "initial" else "full_drop")
    world.go_on()
    LOSSES[loss](world.things)
    world.go_on()
    world.things.count_on()
    world.things.count_on()
    while world.go_on().status == "continue":
        pass
    world.check_next()
    world.say(**RELOAD)
    world.check_next()


def test_a_copy_that_is_behind_has_lost_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = GapWorld(tmp_path, monkeypatch)
    world.home.lags = True
    world.grow()
    version, world.things.version = world.things.version, 3
    assert world.check_next().error == "home.changes_expired"
    world.things.version = version
    world.things.remove(2)
    assert world.check_next().status == "done"


def test_changes_that_were_not_kept_when_a_load_looked_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = GapWorld(tmp_path, monkeypatch)
    world.grow()
    world.things.is_kept = False
    failed = world.run()
    assert failed is not None
    assert failed.error == "home.cursor_unusable"
    world.things.remove(2)
    world.things.restart()
    world.things.count_on()
    assert "were not kept: Change Tracking is off" in world.check_next().message
    world.run("full_drop")
    world.check_next()


def test_a_reload_that_was_set_aside_before_does_not_bring_back_what_was_lost_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings name another place for a while, so that another reload begins, meets the loss, and dies."""
    world = GapWorld(tmp_path, monkeypatch)
    world.grow()
    _reload_dropping(world)
    world.things.restore()
    here = world.layout
    world.layout = replace(here, table_name="elsewhere")
    world.run("full_drop", die_at=4)
    world.layout = here
    world.things.count_on()
    assert world.check_next().error == "home.changes_expired"
    world.run("full_drop")
    world.check_next()
