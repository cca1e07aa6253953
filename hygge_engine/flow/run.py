"""One slice of one entity run: from where the landing state says it stopped, for as long as a slice may take."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from hygge_engine.errors import (
    ExpectationError,
    ExpectationFailed,
    HomeError,
    HyggeError,
    LakeError,
    LandingBusy,
    LandingFenced,
    SourceChanged,
    StoreError,
)
from hygge_engine.flow.claims import author_of
from hygge_engine.flow.comparing import KeyComparison, NotCompared
from hygge_engine.flow.digests import SnapshotUnusable
from hygge_engine.flow.divided import Gathering, divide, publish_ranges, read_range
from hygge_engine.flow.ending import (
    checked_result,
    ended_result,
    is_table_gone,
    let_go,
    range_result,
    replace_table,
    seconds_from_now,
    slice_result,
    times_since,
    totals_in,
)
from hygge_engine.flow.factory import journal_of, open_home, open_table
from hygge_engine.flow.gate import ExpectationGate
from hygge_engine.flow.ownership import check_author
from hygge_engine.flow.planner import LoadPlanner
from hygge_engine.flow.reading import Cut, WindowReader
from hygge_engine.flow.slices import CANCELLED, SliceObserver, SliceResult, SliceTask, as_text
from hygge_engine.journal.manifest import Manifest
from hygge_engine.memory import give_memory_back
from hygge_engine.retry import backoff_seconds
from hygge_engine.stopping import Stopped, stops_when
from hygge_engine.stores.base import Destination
from hygge_engine.stores.landing.lease import TableLease
from hygge_engine.stores.landing.ranges import RangeLease
from hygge_engine.stores.landing.settled import check_place
from hygge_engine.stores.landing.state import ExpectationResult, OpenLoad, StagedFile
from hygge_engine.stores.landing.transitions import is_continued

if TYPE_CHECKING:
    from hygge_engine.homes.base import Home
    from hygge_engine.project import Entity, Project

_log = logging.getLogger(__name__)

# How soon a load tries again to own a table that another load owns: after a second, then after twice as long each time,
# but never after more than half a minute. After these tries it gives up with `skip: busy`; together they take five
# minutes, as long as one slice of the other load can.
BUSY_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, *[30.0] * 9)

# A fenced attempt comes back this soon, to find out how its successor is doing.
FENCED_PAUSE_SECONDS = 5.0

# The message of an attempt that found a fault in a table which others have continued with since.
MOVED_ON = "waiting: another load has continued with this table meanwhile"

# The message of an attempt that may not use the source any longer.
PERMIT_LOST = "waiting: the connections to the source were not renewed in time and may be others' by now"

# How soon to begin again with files that have just changed.
CHANGED_PAUSE_SECONDS = 2.0


def run_slice(project: Project, entity: Entity, task: SliceTask, watch: SliceObserver) -> SliceResult:
    """Work on an entity run until it is done, cancelled, or the slice's time is up. Failures are values."""
    if task.division:
        return _run_range(project, entity, task, watch)
    started = datetime.now(UTC)
    give_memory_back()
    lease: TableLease | None = None
    try:
        destination = open_table(project, entity)
        lease = destination.attach(task.load_id, task.attempt)
        if task.closing:
            return let_go(destination, lease, started, waits=not task.hurried)
        lease.author = author_of(project, entity)
        moved = check_author(lease.state, lease.author, entity)
        with stops_when(watch.cancelled), open_home(project, entity.with_connections(task.connections)) as home:
            manifest = Manifest(*journal_of(project, entity))
            planner = LoadPlanner(home, destination, lease, manifest, entity, task)
            if moved:
                planner.note(moved)
            gate = ExpectationGate(entity, lease, planner)
            seconds = project.options.slice_minutes * 60
            reader = WindowReader(home, destination, lease, planner, gate, watch, seconds)
            return _Slice(home, destination, lease, planner, gate, reader, entity, task).run()
    except Stopped:
        if not watch.cancelled():
            return _withdrawn(lease, PERMIT_LOST, started)
        return _cancelled(lease, started)
    except LandingBusy as busy:
        return _turned_away(busy, task, started)
    except LandingFenced as fenced:
        return _withdrawn(lease, fenced.message, started)
    except HyggeError as error:
        if lease is not None and _rests_on_state(error) and lease.is_outdated():
            return _withdrawn(lease, MOVED_ON, started)
        return _failed(lease, error, task, started)


def _run_range(project: Project, entity: Entity, task: SliceTask, watch: SliceObserver) -> SliceResult:
    """Read on in one range of an open load. Its end says that the range has nothing left to read, and nothing more: the
    next slice of the entity run looks for itself."""
    started = datetime.now(UTC)
    give_memory_back()
    lease: RangeLease | None = None
    try:
        destination = open_table(project, entity)
        lease = destination.hold_range(task.load_id, task.attempt, task.division, task.range_number)
        if lease.is_over:
            return range_result(lease, "done", started)
        lease.author = author_of(project, entity)
        with stops_when(watch.cancelled), open_home(project, entity.with_connections(task.connections)) as home:
            planner = LoadPlanner(home, destination, lease, Manifest(*journal_of(project, entity)), entity, task)
            if lease.open is not None and planner.must_begin_again(lease.open):
                return range_result(lease, "done", started)
            gate = ExpectationGate(entity, lease, planner)
            seconds = project.options.slice_minutes * 60
            reader = WindowReader(home, destination, lease, planner, gate, watch, seconds, whole=False)
            cut = read_range(lease, reader)
            return range_result(lease, cut.value if cut else "done", started)
    except Stopped:
        if not watch.cancelled():
            return _withdrawn_range(lease, PERMIT_LOST, started)
        return range_result(lease, "cancelled", started)
    except LandingFenced as fenced:
        return _withdrawn_range(lease, fenced.message, started)
    except HyggeError as error:
        if lease is not None and _rests_on_state(error) and lease.is_outdated():
            return _withdrawn_range(lease, MOVED_ON, started)
        pause = backoff_seconds(task.attempt, error.retry_after_seconds) if error.transient else None
        outcome = error.outcome if isinstance(error, ExpectationFailed) else ""
        return SliceResult.failure(error, retry_after_seconds=pause, expectations=outcome, **times_since(started))


class _Slice:
    """What becomes of a table in one slice: which load goes on, and what is made visible of what it reads."""

    def __init__(
        self,
        home: Home,
        destination: Destination[Any],
        lease: TableLease,
        planner: LoadPlanner,
        gate: ExpectationGate,
        reader: WindowReader,
        entity: Entity,
        task: SliceTask,
    ) -> None:
        self._entity = entity
        self._home = home
        self._destination = destination
        self._lease = lease
        self._planner = planner
        self._gate = gate
        self._reader = reader
        self._task = task
        self._started = datetime.now(UTC)
        self._checked = ExpectationResult()

    def run(self) -> SliceResult:
        """Finish what an earlier attempt began, then this load's own share."""
        if self._lease.own_result:
            self._lease.sweep()
            return self._done()
        self._planner.check_versions_stay()
        if not self._planner.reloads:
            check_place(self._lease.state, self._lease.place)
        if self._lease.open is not None:
            self._take_over()
        while not self._lease.own_result:
            if self._planner.has_lost_changes():
                self._lease.discard(for_reload=True)
            found = self._lease.open
            opened = found or self._begin()
            if opened is None:
                self._lease.sweep()  # what a fenced attempt staged after its successor had swept
                self._lease.release()
                notes = (self._planner.message, *self._reader.notes)
                return checked_result(self._lease, self._started, self._checked, *notes)
            try:
                if opened.compares:
                    if found is not None and self._planner.must_compare_again(opened):
                        self._discard()
                    elif isinstance(compared := self._compare(opened), SliceResult):
                        return compared
                    continue
                if found is not None and self._planner.must_begin_again(opened):
                    # What has landed rows is restarted by a reload alone.
                    self._lease.discard(for_reload=self._planner.reloads or opened.has_landed)
                    continue
                if found is not None and (upper := self._planner.lowered(opened)):
                    self._lease.stage_changes(upper=upper)
                    opened = replace(opened, upper=upper)
                cut = self._load_or_forget(opened)
            except SnapshotUnusable as unusable:
                self._planner.distrust_snapshot(str(unusable))
                self._lease.forget_snapshot()
                self._discard()
                continue
            except NotCompared as refused:
                self._planner.refuse_comparison(str(refused))
                self._discard()
                continue
            except SourceChanged as changed:
                cut = self._start_over(opened, changed)
            except (HomeError, StoreError, ExpectationError) as error:
                self._clear_the_way(opened, error)
                continue
            if isinstance(cut, SliceResult):
                return cut
            # Where an adopted load has ended, this load's own share begins now.
        return self._done()

    def _begin(self) -> OpenLoad | None:
        """Open what this load does next: its own share, and then a comparison of keys where one is due."""
        done = self._lease.adopted_result
        if done is not None and done.compares_next:
            self._checked = done.checked
        elif opened := self._planner.begin():
            return opened
        else:
            self._checked = self._gate.judge_nothing()
        return self._planner.begin_comparison(self._checked)

    def _compare(self, opened: OpenLoad) -> SliceResult | None:
        """Read keys until they end, or the slice does, then land the deletes that were found; what was compared and the
        deletes commit together. None once the comparison has ended."""
        files, cut = KeyComparison(
            self._home, self._destination, self._lease, self._planner, self._reader, opened
        ).find_gone()
        if cut is Cut.CANCELLED:
            self._discard()
        elif files:
            self._destination.publish(self._lease, files, position=None, last=cut is None)
        elif cut is None:
            self._lease.finish()
        else:
            self._lease.write_changes()
        return self._stopped(cut)

    def _take_over(self) -> None:
        """Own the table, and continue the open load, or drop it: where it cannot be resumed, has begun in another
        place or kind of files, or is in the way of a reload.

        Another load's reload is dropped only while it still reads: past that its rows are all there is of the table.
        What that reload had set aside is then open again.
        """
        try:
            self._lease.take_over()
        except StoreError as broken:
            # An intent that cannot be finished leaves a table that only a reload repairs.
            if broken.transient or not self._planner.reloads:
                raise
            self._give_up(broken)
        while opened := self._lease.open:
            resumable = not self._lease.began_otherwise
            if resumable and self._lease.owns_open:
                break
            if resumable and is_continued(opened, self._task.load_id, reloads=self._planner.reloads):
                self._lease.adopt()
            else:
                self._discard()

    def _clear_the_way(self, opened: OpenLoad, error: HyggeError) -> None:
        """Drop another's open load that cannot be finished, where this load's own share does not build on it; else
        raise what it failed with.

        A reload builds on nothing. A requested window is not part of what is new: its own load has reported why it
        failed, and it can be requested again.
        """
        if error.transient or not opened.continued or not (self._planner.reloads or opened.backfill):
            raise error
        self._give_up(error)

    def _give_up(self, error: HyggeError) -> None:
        opened = self._lease.open
        if opened is not None:
            what = "a window that was to be loaded again" if opened.backfill else "an earlier load"
            self._planner.note(f"{what}, begun {opened.started}, could not be finished and was given up: {error}")
            self._discard()

    def _discard(self) -> None:
        self._lease.discard(for_reload=self._planner.reloads)

    def _start_over(self, opened: OpenLoad, changed: SourceChanged) -> SliceResult:
        """Restart an open load that cannot continue where it stopped, if no row doubles by that; else raise.

        No reader has seen what a reload has staged, and a store that merges by key takes rows again. Elsewhere only a
        reload helps.
        """
        merges = self._destination.merges and bool(self._lease.state.key_columns)
        if opened.mode != "reload" and not merges and not self._planner.reloads:
            raise changed
        self._discard()
        result = self._result(
            "continue", message=f"{changed.message} Begun again.", not_before=seconds_from_now(CHANGED_PAUSE_SECONDS)
        )
        return replace(result, begun_again=True)

    def _load_or_forget(self, opened: OpenLoad) -> SliceResult | None:
        """`_load`; where it raises, nothing of what it has noted goes with whatever is written next: neither a renewal
        nor a release may say of rows that they have landed."""
        try:
            return self._load(opened)
        except BaseException:
            self._lease.forget_changes()
            raise

    def _load(self, opened: OpenLoad) -> SliceResult | None:
        """Get ahead with the open load. The slice's result where it ends before the load; None where that has ended."""
        if opened.divided is None:
            divide(self._home, self._destination, self._lease, self._planner, self._entity)
            opened = self._lease.open or opened
        if opened.is_read_in_ranges and (unread := self._gather(opened)):
            return unread
        return self._reload(opened) if opened.mode == "reload" else self._append(opened)

    def _gather(self, opened: OpenLoad) -> SliceResult | None:
        """Put together what the ranges of a divided load have staged; a result that names those that are to be read
        first, None where all are read."""
        division = opened.divided
        if division is None:
            return None
        gathering = Gathering(self._destination, division)
        if gathering.left:
            left, count = as_text(gathering.left), division.count
            result = self._result("continue", message=gathering.message)
            return replace(result, ranges=count, ranges_left=left, division=division.id, reached=gathering.reached)
        if not gathering.is_whole:
            self._discard()
            message = "what was staged in ranges is gone in part. Begun again."
            return replace(self._result("continue", message=message), begun_again=True)
        try:
            found = gathering.findings(self._home, self._lease, self._gate, opened)
        except ExpectationError:
            self._discard()  # the next load reads the rows as they are then
            raise
        self._lease.stage_changes(**found, divided=replace(division, files=len(gathering.files)))
        if opened.mode == "reload":
            self._lease.write_changes(phase="dropping")
        return None

    def _append(self, opened: OpenLoad) -> SliceResult | None:
        """Read until the window or the slice ends, then land what was read; position and data commit together."""
        if opened.divided is not None:
            publish_ranges(self._destination, self._lease)
            return None
        rows, position, cut, deletes = self._reader.read(opened)
        if files := [*rows, *deletes]:
            self._destination.publish(self._lease, files, position=position, last=cut is None)
        elif cut is None:
            self._lease.finish()
        else:
            self._lease.move_on(position)  # all that was read had landed before
        return self._stopped(cut)

    def _reload(self, opened: OpenLoad) -> SliceResult | None:
        """Stage everything, drop the old table, wait until it is gone, land: each step can be resumed."""
        if opened.phase == "staging" and opened.divided is None:
            files, position, cut, deletes = self._reader.read(opened)
            if cut is Cut.CANCELLED:
                self._lease.discard(goes_on=False)  # the old table is untouched
                return self._stopped(cut)
            staged = (*opened.staged, *files)
            if opened.difference and cut is None:
                ordered = (*deletes, *staged) if self._destination.deletes_first else (*staged, *deletes)
                self._land_difference(ordered)
                return None
            self._lease.write_changes(staged=staged, position=position, phase="staging" if cut else "dropping")
            if cut:
                return self._stopped(cut)
        if wait := replace_table(self._destination, self._lease):
            return self._result("continue", message=wait.message, not_before=seconds_from_now(wait.seconds))
        return None

    def _land_difference(self, files: Sequence[StagedFile]) -> None:
        """Publish what differs, and nothing else; where nothing does, the digests that there are stay true."""
        if files:
            self._destination.publish(self._lease, files, position=None, last=True)
        else:
            self._lease.finish()

    def _stopped(self, cut: Cut | None) -> SliceResult | None:
        """The slice's result where reading has stopped before the end of the window; None where it has not."""
        if cut is None:
            return None
        if cut is Cut.TIME_UP:
            return self._result("continue")
        self._lease.release()
        return self._result("cancelled", message=CANCELLED)

    def _done(self) -> SliceResult:
        return ended_result(self._lease, self._started, *self._reader.notes)

    def _result(
        self, status: Literal["continue", "cancelled"], *, message: str = "", not_before: str | None = None
    ) -> SliceResult:
        return slice_result(self._lease, status, self._started, message=message, not_before=not_before)


def _cancelled(lease: TableLease | None, started: datetime) -> SliceResult:
    """The result of an attempt that was stopped before its first row, or between two of them."""
    if lease is None:
        return SliceResult("cancelled", message=CANCELLED, **times_since(started))
    _release(lease)
    return slice_result(lease, "cancelled", started, message=CANCELLED)


def _turned_away(busy: LandingBusy, task: SliceTask, started: datetime) -> SliceResult:
    """The result of an attempt whose table another load owns."""
    if task.closing:
        return SliceResult("cancelled", **times_since(started))  # it owns nothing of this table any more
    if task.busy < len(BUSY_PAUSES_SECONDS):
        due = seconds_from_now(BUSY_PAUSES_SECONDS[task.busy])
        message = f"waiting: {busy.message}"
        return SliceResult("continue", message=message, not_before=due, busy=True, **times_since(started))
    return SliceResult("skipped", message=f"busy: {busy.message}", error=busy.code, **times_since(started))


def _failed(lease: TableLease | None, error: HyggeError, task: SliceTask, started: datetime) -> SliceResult:
    """The result of an attempt that has failed, with what its load has landed. The table is released, unless the next
    attempt may succeed."""
    landed: dict[str, Any] = {}
    if lease is not None:
        if lease.open is not None and lease.owns_open:
            landed = totals_in(lease.open)
            landed["reached"] = lease.state.reached
        landed["table_gone"] = is_table_gone(lease)
        if isinstance(error, ExpectationFailed):
            landed["expectations"] = error.outcome
        if not error.transient:
            _release(lease)
    pause = backoff_seconds(task.attempt, error.retry_after_seconds) if error.transient else None
    return SliceResult.failure(error, retry_after_seconds=pause, **landed, **times_since(started))


def _rests_on_state(error: HyggeError) -> bool:
    """Whether a failure may follow from the landing state that was read; one of the source that passes by itself does
    not."""
    return not error.transient or isinstance(error, LakeError | StoreError)


def _withdrawn(lease: TableLease | None, message: str, started: datetime) -> SliceResult:
    """The result of an attempt whose table others have continued with: it leaves nothing behind if possible, and tries
    again."""
    try:
        if lease is not None:
            lease.withdraw()
    except HyggeError as failure:
        _log.warning("what a fenced attempt has staged stays until the next load sweeps it: %s", failure)
    due = seconds_from_now(FENCED_PAUSE_SECONDS)
    return SliceResult("continue", message=message, not_before=due, **times_since(started))


def _withdrawn_range(lease: RangeLease | None, message: str, started: datetime) -> SliceResult:
    """The result of an attempt at a range that another one reads, or nobody: it asks again what there is to do."""
    result = _withdrawn(lease, message, started)
    return replace(result, reached=lease.range.reached if lease is not None else "")


def _release(lease: TableLease) -> None:
    """Give the table up after a permanent failure, so that the next load need not wait for the ownership to expire."""
    try:
        lease.release()
    except HyggeError as error:
        _log.warning("the table's ownership could not be released and will expire by itself: %s", error)
