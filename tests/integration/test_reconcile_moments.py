"""A verdict holds for one point in time: writes while rows are compared never make a false difference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from devcloud.onelake import OneLake
from devcloud.replicator.journey import TableJourney
from hygge_engine.errors import HomeUnavailable
from hygge_engine.lake.local import LocalLake
from hygge_engine.reconcile import compare
from hygge_engine.reconcile.result import Reconciliation
from tests.faults.source import SourceHome
from tests.integration.onelake_clients import ITEM, WORKSPACE
from tests.support.reconciled_places import MirroredPlace, SomeWarehouse, choose

# What a comparison asks of a lake; more would be read again without end.
MOST_MOMENTS = 300


@pytest.fixture(scope="module")
def lake(module_lake: OneLake) -> OneLake:
    return module_lake


class Moments:
    """Every point before a request that a lake serves, in their order: what comes after one comes before the next."""

    def __init__(self, lake: OneLake, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._act: Callable[[int], None] | None = None
        perform = lake._perform

        async def performed(*arguments: Any) -> Any:
            act = self._act
            if act is not None:
                number, self.count = self.count, self.count + 1
                assert number < MOST_MOMENTS
                await asyncio.to_thread(act, number)
            return await perform(*arguments)

        monkeypatch.setattr(lake, "_perform", performed)

    @contextmanager
    def each(self, act: Callable[[int], None]) -> Iterator[None]:
        """Call ``act`` with the number of each point."""
        self.count = 0
        self._act = act
        try:
            yield
        finally:
            self._act = None


@pytest.fixture
def moments(lake: OneLake, monkeypatch: pytest.MonkeyPatch) -> Moments:
    return Moments(lake, monkeypatch)


def mirrored(lake: OneLake, directory: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> MirroredPlace:
    """A mirrored table that was never read or written."""
    directory.mkdir(exist_ok=True)
    store = {"type": "open_mirroring", "account_url": lake.url, "credential": "account_key", **lake.credential}
    warehouse = SomeWarehouse(directory, monkeypatch, name, store | {"filesystem": WORKSPACE, "mirror_name": ITEM})
    monkeypatch.setattr(compare, "open_home", lambda project, entity: warehouse.home)
    return MirroredPlace(warehouse, lake.path(WORKSPACE, ITEM), name)


def tick_at(place: MirroredPlace, chosen: int, number: int) -> None:
    if number == chosen:
        place.replicator.tick()


def never_differs(found: Reconciliation) -> None:
    assert found.verdict in ("equal", "behind"), found
    assert "full_drop" not in found.hint


def test_a_replicator_that_applies_an_increment_at_any_moment_makes_no_difference(
    lake: OneLake, moments: Moments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = mirrored(lake, tmp_path, monkeypatch, "any")
    place.source.put(*range(6))
    place.load()
    place.source.put(0)
    place.warehouse.load()
    with moments.each(lambda number: None):
        assert place.reconcile(all_rows=True).verdict == "behind"
    place.replicator.tick()
    for chosen in range(moments.count):
        place.source.put(1, 10 + chosen)
        place.warehouse.load()
        with moments.each(partial(tick_at, place, chosen)):
            never_differs(place.reconcile(all_rows=True))
        place.replicator.tick()
    assert place.reconcile(all_rows=True).verdict == "equal"


def test_a_replicator_that_applies_a_first_file_at_any_moment_makes_no_difference(
    lake: OneLake, moments: Moments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = 0
    while chosen <= moments.count:
        place = mirrored(lake, tmp_path / str(chosen), monkeypatch, f"first{chosen}")
        place.source.put(1, 2, 3)
        place.warehouse.load()
        with moments.each(partial(tick_at, place, chosen)):
            never_differs(place.reconcile())
        place.replicator.tick()
        assert place.reconcile().verdict == "equal"
        chosen += 2


def test_a_replicator_that_commits_at_every_moment_makes_no_difference(
    lake: OneLake, moments: Moments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file at a time, for longer than a comparison takes."""
    monkeypatch.setattr(compare, "ATTEMPTS", 1)
    place = mirrored(lake, tmp_path, monkeypatch, "every")
    choose_all = TableJourney._choose
    monkeypatch.setattr(TableJourney, "_choose", lambda journey, files: choose_all(journey, files)[:1])
    for id_ in range(20):
        place.source.put(id_, id_ // 2)
        place.warehouse.load()
    found: list[Reconciliation] = []
    while not found or found[-1].verdict != "equal":
        with moments.each(lambda number: tick_at(place, number, number)):
            found.append(place.reconcile())
        never_differs(found[-1])
    assert any(each.verdict == "behind" for each in found)


@pytest.mark.parametrize("kind", ["local-parquet", "local-delta", "sqlite", "open_mirroring"])
@pytest.mark.parametrize("counts_only", [False, True])
def test_loads_that_land_while_rows_are_compared_make_no_difference(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, counts_only: bool
) -> None:
    place = choose(request, tmp_path, monkeypatch, *kind.split("-"))
    place.source.put(*range(6))
    place.load()

    def land(number: int) -> None:
        place.source.put(number, 20 + number)
        place.load()

    compared = SourceHome(place.source, before_batch=land)
    monkeypatch.setattr(compare, "open_home", lambda project, entity: compared)
    never_differs(place.reconcile(counts_only=counts_only))
    monkeypatch.setattr(compare, "open_home", lambda project, entity: place.warehouse.home)
    assert place.reconcile(counts_only=counts_only).verdict == "equal"


def test_files_that_a_load_is_publishing_are_no_difference(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the renames of one intent the landing state stays as it is."""
    place = choose(request, tmp_path, monkeypatch, "local", "parquet")
    place.source.put(*range(6))
    place.load()
    rename = LocalLake.rename
    found: list[Reconciliation] = []

    def renamed(self: Any, *arguments: Any, **options: Any) -> Any:
        answer = rename(self, *arguments, **options)
        found.append(place.reconcile(all_rows=True))
        return answer

    monkeypatch.setattr(LocalLake, "rename", renamed)
    place.source.put(2, 7)
    place.load()
    assert found
    for each in found:
        never_differs(each)


@pytest.mark.parametrize("kind", ["local-parquet", "local-delta", "sqlite", "open_mirroring"])
def test_what_a_load_lands_after_both_sides_were_read_is_no_difference(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """At the end of each pass over the source: one such is the last before the verdict."""
    place = choose(request, tmp_path, monkeypatch, *kind.split("-"))
    place.source.put(*range(6))
    place.load()
    for chosen in range(2):
        place.source.put(3, 10 + chosen)
        passes = iter(range(100))

        def land(number: int, chosen: int = chosen, passes: Iterator[int] = passes) -> None:
            if number == 2 and next(passes) == chosen:
                place.load()

        compared = SourceHome(place.source, before_batch=land)
        monkeypatch.setattr(compare, "open_home", lambda project, entity, compared=compared: compared)
        assert place.reconcile(all_rows=True).verdict == "equal"


def test_numbers_of_a_source_that_grows_while_it_is_counted_are_no_difference(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = choose(request, tmp_path, monkeypatch, "local", "parquet")
    place.source.put(*range(6))
    place.load()
    new = iter(range(100, 200))
    growing = SourceHome(place.source, before_batch=lambda number: place.source.put(next(new)))
    place.source.put(next(new))
    monkeypatch.setattr(compare, "open_home", lambda project, entity: growing)
    never_differs(place.reconcile(all_rows=True, counts_only=True))


@pytest.mark.parametrize("kind", ["local-parquet", "sqlite"])
def test_a_source_that_changes_all_the_time_is_not_a_difference(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = choose(request, tmp_path, monkeypatch, *kind.split("-"))
    place.source.put(*range(6))
    place.load()
    place.source.put(*range(6))
    busy = SourceHome(place.source, before_batch=lambda number: place.source.put(*range(6)))
    monkeypatch.setattr(compare, "open_home", lambda project, entity: busy)
    found = place.reconcile(all_rows=True)
    never_differs(found)
    assert "changed while they were compared" in found.message


@pytest.mark.parametrize(("breaks", "verdict"), [(1, "equal"), (100, "failed")])
def test_a_source_that_breaks_off_in_the_midst_is_read_again(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: int, verdict: str
) -> None:
    place = choose(request, tmp_path, monkeypatch, "sqlite")
    place.source.put(*range(6))
    place.load()
    left = iter(range(breaks))

    def break_off(number: int) -> None:
        if number and next(left, None) is not None:
            raise HomeUnavailable("A file changed while it was being read.")

    breaking = SourceHome(place.source, before_batch=break_off)
    monkeypatch.setattr(compare, "open_home", lambda project, entity: breaking)
    assert place.reconcile().verdict == verdict
    assert next(left, breaks) == (breaks if breaks == 1 else compare.ATTEMPTS)


def test_a_row_that_is_lost_is_a_difference_whatever_else_moves(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = choose(request, tmp_path, monkeypatch, "sqlite")
    place.source.put(*range(6))
    place.load()
    place.tamper(lambda rows: [row for row in rows if row["id"] != 3])
    busy = SourceHome(place.source, before_batch=lambda number: place.source.put(0))
    monkeypatch.setattr(compare, "open_home", lambda project, entity: busy)
    found = place.reconcile(all_rows=True)
    assert (found.verdict, found.missing, [each.key for each in found.examples]) == ("differs", 1, [{"id": "3"}]), found
