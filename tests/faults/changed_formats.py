"""A table's format is changed while a load of it is open: wherever that load died, and whatever comes next.

`python -m tests.faults.changed_formats` tries all cases; `test_changed_formats.py` a few of them.
"""

from __future__ import annotations

import itertools
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import duckdb
import pytest
from deltalake import DeltaTable

from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceResult, SliceTask, numbers_in
from hygge_engine.project.models.project import Options
from hygge_engine.project.models.settings import RunType
from hygge_engine.stores.folder_table import FolderTable
from hygge_engine.stores.lake_files.delta import DeltaFilesTable
from hygge_engine.stores.landing import lease
from hygge_engine.stores.landing.lake_lease import LakeTableLease
from hygge_engine.stores.landing.ranges import RangeLease
from tests.faults.source import Row, SourceHome
from tests.faults.world import Killed
from tests.integration.warehouse import AskedToStop
from tests.support.file_warehouse import FORMATS, FileWarehouse

# Slices that end after their first batch.
MANY_SLICES = 1e-9
ONE_SLICE = 4.0

# Of the cases in which two loads die, every so manieth is tried: a prime number, so that each choice has its turn.
EACH_OF_TWICE = 23

# Another place for the table.
ELSEWHERE = "elsewhere"

type Moment = Literal[
    "between slices", "ranges read", "before an intent", "intent written", "half visible", "visible", "dropping",
]  # fmt: skip
MOMENTS: tuple[Moment, ...] = Moment.__value__.__args__

type Next = Literal["goes on", "closing", "another load", "full_drop"]
NEXT: tuple[Next, ...] = Next.__value__.__args__


@dataclass(frozen=True)
class Case:
    """A load in format ``before`` dies at a ``moment``; then the settings say ``after``, and what is ``next`` comes."""

    before: str
    after: str
    run_type: RunType
    history: bool
    moment: Moment
    next: Next

    def __str__(self) -> str:
        landed = "over rows" if self.history else "first"
        return f"{self.before} to {self.after}, {landed} {self.run_type}, {self.moment}, {self.next}"


def cases() -> Iterator[Case]:
    """All of them, but for those that cannot come up."""
    pairs = [pair for pair in itertools.product(FORMATS, FORMATS) if pair[0] != pair[1]]
    run_types: tuple[RunType, ...] = ("incremental", "full_drop")
    for (before, after), run_type, history, moment, next_ in itertools.product(
        pairs, run_types, (False, True), MOMENTS, NEXT
    ):
        increments = run_type == "incremental"
        in_ranges = moment == "ranges read" and increments and history
        if not in_ranges and not (moment == "dropping" and increments):
            yield Case(before, after, run_type, history, moment, next_)


type Second = Literal[Moment, "cancelled"]
SECOND: tuple[Second, ...] = (*MOMENTS, "cancelled")


@dataclass(frozen=True)
class Twice:
    """After ``first``, a full_drop in its new format dies or is cancelled at a moment, too; then a load in a format."""

    first: Case
    second: Second
    format: str
    run_type: RunType

    def __str__(self) -> str:
        return f"{self.first}, {self.second}, {self.run_type} in {self.format}"


def twice() -> Iterator[Twice]:
    """All of them, over rows and as a first load, with every format that may come third."""
    run_types: tuple[RunType, ...] = ("incremental", "full_drop")
    for case, second, format_, run_type in itertools.product(cases(), SECOND, FORMATS, run_types):
        if case.next == "full_drop":
            yield Twice(case, second, format_, run_type)


class Story:
    """What happens to one table, and what its readers find."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch, case: Case, second: Second | None = None) -> None:
        self.case = case
        self._patch = patch
        self.warehouse = self._warehouse(directory, second)
        self.told: list[str] = []

    def _warehouse(self, directory: Path, second: Second | None) -> FileWarehouse:
        store = {"type": "local", "path": "out", "format": self.case.before}
        found = FileWarehouse(directory, self._patch, "things", store, directory / "project/out/things")
        ranged = bool({"ranges read", "half visible"} & {self.case.moment, second})  # which takes several files
        found.home = SourceHome(found.source, ranges=3 if ranged else 0)
        return found

    def copied(self, directory: Path) -> Story:
        """The same story up to here, in another place, so that it can end in more than one way."""
        shutil.copytree(self.warehouse.directory, directory)
        other = Story(directory, self._patch, self.case)
        other.warehouse.settle(self.warehouse.format)
        other.warehouse.source.history |= self.warehouse.source.history
        other.told = [*self.told]
        return other

    def begin(self) -> None:
        """The load that dies."""
        case, source = self.case, self.warehouse.source
        source.put(*range(6))
        if case.history:
            assert self.load("before", "full_drop").status == "done"
            source.put(3, 50)
            source.put(1, 51)
        self.die("first", case.run_type, case.moment)
        source.put(60)
        self.warehouse.settle(case.after)

    def die(self, load_id: str, run_type: RunType, moment: Second) -> None:
        """A load that dies at a moment, where it gets there, or is cancelled between slices."""
        short = moment in ("between slices", "cancelled")
        with dying("between slices" if moment == "cancelled" else moment, self._patch) as died:
            try:
                self.load(load_id, run_type, MANY_SLICES if short else ONE_SLICE, slices=2 if short else 60)
            except Killed:
                died.append(True)
        if moment == "cancelled":
            self.slice(load_id, run_type, 3, closing=True)
        self.told.append(f"{moment}, died: {bool(died)}")

    def load(
        self, load_id: str, run_type: RunType, slice_minutes: float = ONE_SLICE, *, first: int = 1, slices: int = 60
    ) -> SliceResult:
        """A load, as the orchestrator schedules its slices and ranges."""
        for attempt in range(first, first + slices):
            result = self.slice(load_id, run_type, attempt, slice_minutes)
            if result.status != "continue":
                break
            for number in numbers_in(result.ranges_left) if result.ranges_left else []:
                self.slice(load_id, run_type, attempt, slice_minutes, division=result.division, range_number=number)
        self.told.append(f"{self.warehouse.format} {load_id} {run_type}: {result.status} {result.message}")
        return result

    def slice(
        self, load_id: str, run_type: RunType, attempt: int, slice_minutes: float = ONE_SLICE, **of_range: object
    ) -> SliceResult:
        """One slice of a load, or of one of its ranges."""
        project = replace(self.warehouse.known_project(run_type), options=Options(slice_minutes=slice_minutes))
        (entity,) = project.entities
        task = SliceTask(load_id, f"run-{load_id}", entity.flow, entity.name, run_type, "hash", attempt, **of_range)  # type: ignore[arg-type]
        return flow_run.run_slice(project, entity, task, AskedToStop())

    def go_on(self) -> SliceResult:
        """What comes next, by the new settings."""
        match self.case.next:
            case "goes on":
                return self.load("first", self.case.run_type, first=20)
            case "closing":
                return self.slice("first", self.case.run_type, 20, closing=True)
            case "another load":
                return self.load("second", "incremental")
            case "full_drop":
                return self.load("second", "full_drop")

    def check_landed(self, *, all_of_it: bool) -> None:
        """Whatever is in the table's folder is of one kind, and each row version is there once; ``all_of_it``: none is
        missing. Delta's readers see what its log names, others every file."""
        folder, source = self.warehouse.folder, self.warehouse.source
        rows = rows_in(folder)
        assert len(rows) == len(set(rows)), f"rows twice: {rows}"
        assert set(rows) <= source.history
        if all_of_it:
            newest = {row[0]: row for row in sorted(rows, key=lambda row: row[2])}
            assert sorted(newest.values()) == source.rows, f"{sorted(newest.values())} is not {source.rows}"
            assert kind_of(folder) == self.warehouse.format

    def check_nothing_is_left(self) -> None:
        """Nothing is staged, and nothing open."""
        staging = self.warehouse.directory / "project/out/.hygge_journal/staging"
        assert [path for path in staging.rglob("*") if path.is_file()] == []


def run(case: Case, directory: Path, patch: pytest.MonkeyPatch) -> None:
    """Raises AssertionError, with what has happened, where a row is lost, doubled or mixed with files of another kind,
    where something moves that is then refused, or a remedy that a message names does not help."""
    patch.setattr(lease, "has_ended", lambda process: True)
    story = told = Story(directory / "story", patch, case)
    try:
        story.warehouse.directory.mkdir()
        story.begin()
        before = contents(story.warehouse.folder)
        result = story.go_on()
        if result.status == "failed":
            assert result.error == "store.landing_broken", result
            assert contents(story.warehouse.folder) == before, "it was refused, and has moved something"
        if case.next == "closing" and case.moment == "between slices":
            assert result.status == "cancelled", "there is nothing to make visible"
        story.check_landed(all_of_it=case.next != "closing" and result.status == "done")
        for number, remedy in enumerate(remedies(story, result)):
            ending = told = story.copied(directory / f"ending-{number}")
            remedy(ending)
            ending.check_landed(all_of_it=True)
            ending.check_nothing_is_left()
    except AssertionError as error:
        raise AssertionError(f"{case}: {error}\n" + "\n".join(told.told)) from error


def run_twice(case: Twice, directory: Path, patch: pytest.MonkeyPatch) -> None:
    """Raises AssertionError where a row is lost, doubled or mixed with files of another kind, or where something moves
    that is then refused, or the format that the refusal names to be restored does not finish it."""
    patch.setattr(lease, "has_ended", lambda process: True)
    story = Story(directory / "story", patch, case.first, case.second)
    try:
        story.warehouse.directory.mkdir()
        story.begin()
        story.die("second", "full_drop", case.second)
        story.check_landed(all_of_it=False)
        story.warehouse.settle(case.format)
        before = contents(story.warehouse.folder)
        result = story.load("third", case.run_type)
        for name in ("fourth", "fifth"):  # one may have to be restored for each of the two loads
            if result.status == "done":
                break
            assert result.error == "store.landing_broken", result
            assert contents(story.warehouse.folder) == before, "it was refused, and has moved something"
            named = re.search(r"Restore format: (\w+)", result.message)
            assert named, "it does not say which format to restore"
            story.warehouse.settle(named[1])
            result = story.load(name, "incremental")
        assert result.status == "done", result
        story.warehouse.source.put(70)
        assert story.load("sixth", "incremental").status == "done"
        story.check_landed(all_of_it=True)
        story.check_nothing_is_left()
    except AssertionError as error:
        raise AssertionError(f"{case}: {error}\n" + "\n".join(story.told)) from error


def remedies(story: Story, result: SliceResult) -> Iterator[Callable[[Story], None]]:
    """What may follow. The format is restored in any case; what the message of a refusal names has to work as well."""
    case, said = story.case, result.message

    def restore(ending: Story) -> None:
        ending.warehouse.settle(case.before)
        result = ending.load("third", "incremental")
        if result.status != "done":  # what comes next was done in the new format
            assert f"landed as {case.after}" in result.message
            ending.warehouse.settle(case.after)
            assert ending.load("fourth", "incremental").status == "done"
        ending.warehouse.source.put(70)
        assert ending.load("fifth", "incremental").status == "done"

    def move(ending: Story) -> None:
        old, left = ending.warehouse.folder, contents(ending.warehouse.folder)
        ending.warehouse.settle(case.after, ELSEWHERE)
        assert ending.load("third", "full_drop").status == "done"
        ending.warehouse.source.put(70)
        assert ending.load("fourth", "incremental").status == "done"
        assert contents(old) == left, "the old table stays"

    def reload(ending: Story) -> None:
        assert ending.load("third", "full_drop").status == "done"
        ending.warehouse.source.put(70)
        assert ending.load("fourth", "incremental").status == "done"

    apart = "delta" in (case.before, case.after)
    if result.status == "failed":
        assert f"Restore format: {case.before}" in said
        assert ("another table_name" in said) == apart
    yield restore
    yield move if apart else reload


@contextmanager
def dying(moment: Moment, patch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Let what runs here die at a moment."""
    publish, visible = LakeTableLease._publish, LakeTableLease._roll_forward

    def die(*args: object, **more: object) -> None:
        raise Killed

    def publish_one(self: LakeTableLease, file: object) -> None:
        publish(self, file)  # type: ignore[arg-type]
        raise Killed

    def commit_nothing(self: LakeTableLease) -> None:
        self._make_visible(self._opened().intent)
        raise Killed

    with patch.context() as dead:
        match moment:
            case "before an intent":
                dead.setattr(LakeTableLease, "_intent", die)
            case "intent written":
                dead.setattr(LakeTableLease, "_roll_forward", die)
            case "half visible":
                dead.setattr(LakeTableLease, "_publish", publish_one)
            case "visible":
                dead.setattr(LakeTableLease, "_roll_forward", commit_nothing)
            case "dropping":
                dead.setattr(FolderTable, "drop", die)
                dead.setattr(DeltaFilesTable, "drop", die)
            case "ranges read":
                dead.setattr(RangeLease, "commit", _committing(RangeLease.commit))
            case "between slices":
                pass
        yield []
    assert (LakeTableLease._publish, LakeTableLease._roll_forward) == (publish, visible)


def _committing(commit: Callable[..., None]) -> Callable[..., None]:
    """The commit of a range after which its reader dies."""

    def committed(*args: object, **more: object) -> None:
        commit(*args, **more)
        raise Killed

    return committed


def kind_of(folder: Path) -> str:
    """The one kind of files that a folder holds, whatever the settings say; empty where it holds none."""
    suffixes = {path.suffix.removeprefix(".") for path in folder.glob("*") if path.is_file()}
    if (folder / "_delta_log").exists():
        assert suffixes <= {"parquet"}, f"a Delta table among {suffixes}"
        return "delta"
    assert len(suffixes) <= 1, f"files of several kinds: {suffixes}"
    return next(iter(suffixes), "")


def rows_in(folder: Path) -> list[Row]:
    """What readers of another library find in a folder, by the names of its files alone."""
    kind, found = kind_of(folder), "*.*"
    read = {
        "delta": f"read_parquet({DeltaTable(str(folder)).file_uris() if kind == 'delta' else []})",
        "parquet": f"read_parquet('{folder}/{found}')",
        "csv": f"read_csv('{folder}/{found}', header = true)",
        "ndjson": f"read_json('{folder}/{found}', format = 'newline_delimited')",
    }
    if not kind or read[kind] == "read_parquet([])":
        return []
    with duckdb.connect() as connection:
        return connection.execute(f"SELECT id, value, modified FROM {read[kind]} ORDER BY ALL").fetchall()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def main() -> int:
    failed = 0
    todo: list[Case | Twice] = [*cases(), *itertools.islice(twice(), 0, None, EACH_OF_TWICE)]
    for number, case in enumerate(todo, start=1):
        with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
            try:
                if isinstance(case, Twice):
                    run_twice(case, Path(directory), patch)
                else:
                    run(case, Path(directory), patch)
            except AssertionError as error:
                failed += 1
                print(error, flush=True)
        if number % 100 == 0:
            print(f"{number} of {len(todo)} cases, {failed} failed", flush=True)
    print(f"{len(todo)} cases, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
