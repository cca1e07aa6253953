"""Ways to break the landing protocol on purpose, to see that the prover notices. Applied in the workers only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from unittest.mock import patch

from hygge_engine.errors import LakeConditionNotMet
from hygge_engine.flow import reach
from hygge_engine.flow import reading as flow_reading
from hygge_engine.flow import run as flow_run
from hygge_engine.flow.comparing import KeyComparison
from hygge_engine.flow.divided import Gathering
from hygge_engine.flow.planner import LoadPlanner
from hygge_engine.flow.slices import SliceResult
from hygge_engine.flow.steps import LeaveOutUnchanged
from hygge_engine.flow.versions import Operation, VersionWriter
from hygge_engine.journal.journal import Journal
from hygge_engine.lake.base import Lake
from hygge_engine.stores.base import RowWriter
from hygge_engine.stores.landing.lake_lease import LakeTableLease
from hygge_engine.stores.landing.lease import TableLease
from hygge_engine.stores.landing.ranges import RangeFile, RangeState
from hygge_engine.stores.landing.state import LandingState, StagedFile, StateFile, with_open
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable

# The patched methods are given plain functions that reach into the engine: typing them would say no more.
Self = Any


@dataclass(frozen=True)
class Sabotage:
    """What is broken, in words; a scenario and a kind of lake that notice; and the function that breaks it."""

    what: str
    noticed_by: str
    apply: Callable[[], object]


def _trust_any_nonce() -> None:
    def trust(self: Self, nonce: str, error: LakeConditionNotMet) -> str:
        etag: str = self._lake.read(self.path).etag
        return etag

    patch.object(StateFile, "_etag_of_own_write", trust).start()


def _distrust_own_nonce() -> None:
    def distrust(self: Self, nonce: str, error: LakeConditionNotMet) -> str:
        raise error

    patch.object(StateFile, "_etag_of_own_write", distrust).start()


def _write_unconditionally() -> None:
    def write(self: Self, state: LandingState) -> LandingState:
        self._etag = self._lake.put(self.path, state.to_json("nonce"))
        return state

    patch.object(StateFile, "write", write).start()


def _publish_before_the_intent() -> None:
    intend = LakeTableLease.intend

    def publish_first(self: Self, files: Sequence[StagedFile], **rest: Any) -> None:
        if not self.state.has_history:
            self._lake.make_directory(self._folder)
        for file in files:
            self._lake.rename(file.staged, file.final)
        intend(self, files, **rest)

    patch.object(LakeTableLease, "intend", publish_first).start()


def _commit_before_the_last_rename() -> None:
    roll_forward = LakeTableLease._roll_forward

    def commit_first(self: Self) -> None:
        *_, last = self.state.open.intent
        later: list[StagedFile] = []

        def publish(lease: Self, file: StagedFile) -> None:
            if file is last:
                later.append(file)
            else:
                genuine(lease, file)

        genuine = LakeTableLease._publish
        with patch.object(LakeTableLease, "_publish", publish):
            roll_forward(self)
        for file in later:
            self._lake.rename(file.staged, file.final)

    patch.object(LakeTableLease, "_roll_forward", commit_first).start()


def _commit_the_position_later() -> None:
    write = LakeTableLease._write

    def write_twice(self: Self, state: LandingState, **rest: Any) -> None:
        before = self.state.open
        if before is not None and before.intent and state.open is not None and not state.open.intent:
            write(self, with_open(state, position=before.position), **rest)
        write(self, state, **rest)

    patch.object(LakeTableLease, "_write", write_twice).start()


def _move_the_watermark_first() -> None:
    begin = LakeTableLease.begin

    def begin_with_watermark(self: Self, opened: Any, **rest: Any) -> None:
        self.state = replace(self.state, watermark=opened.upper)
        begin(self, opened, **rest)

    patch.object(LakeTableLease, "begin", begin_with_watermark).start()


def _name_the_files_of_a_range_later() -> None:
    write = RangeFile.write

    def write_twice(self: RangeFile, document: RangeState) -> RangeState:
        if document.staged:
            write(self, replace(document, staged=document.staged[:-1]))
        return write(self, document)

    patch.object(RangeFile, "write", write_twice).start()


def _publish_unread_ranges() -> None:
    patch.object(Gathering, "left", property(lambda self: [])).start()


def _take_over_without_an_epoch() -> None:
    def take_over(self: Self) -> None:
        self._owned = True
        if self.state.open is not None and self.state.open.intent:
            self._roll_forward()

    patch.object(LakeTableLease, "take_over", take_over).start()


def _begin_without_an_epoch() -> None:
    begin = LakeTableLease.begin

    def begin_in_the_same_epoch(self: Self, opened: Any, **rest: Any) -> None:
        self._owned = True
        begin(self, opened, **rest)

    patch.object(LakeTableLease, "begin", begin_in_the_same_epoch).start()
    _take_over_without_an_epoch()


def _sweep_young_files() -> None:
    def sweep(self: Self) -> None:
        opened = self.state.open
        named = {file.staged for file in (*opened.staged, *opened.intent)} if opened else set()
        for entry in self._lake.list(self._staging):
            if int(entry.name.split("-", 1)[0]) <= self.state.epoch and entry.path not in named:
                self._lake.delete(entry.path)

    patch.object(LakeTableLease, "sweep", sweep).start()


def _sweep_named_files() -> None:
    def sweep(self: Self) -> None:
        for entry in self._lake.list(self._staging):
            if int(entry.name.split("-", 1)[0]) < self.state.epoch:
                self._lake.delete(entry.path)

    patch.object(LakeTableLease, "sweep", sweep).start()


def _never_sweep() -> None:
    patch.object(LakeTableLease, "sweep", lambda self: None).start()


def _withdraw_everything() -> None:
    def withdraw(self: Self) -> None:
        for entry in self._lake.list(self._staging):
            if int(entry.name.split("-", 1)[0]) == self.state.epoch:
                self._lake.delete(entry.path)

    patch.object(LakeTableLease, "withdraw", withdraw).start()


def _forget_what_was_set_aside() -> None:
    patch.object(LandingState, "reopened", property(lambda self: replace(self, set_aside=None))).start()


def _drop_first() -> None:
    reload = flow_run._Slice._reload

    def drop_then_read(self: Self, opened: Any) -> Any:
        if opened.phase == "staging" and opened.position is None:
            self._destination.lake.delete_directory(self._destination.places.folder)
        return reload(self, opened)

    patch.object(flow_run._Slice, "_reload", drop_then_read).start()


def _drop_unconditionally() -> None:
    drop = OpenMirroringTable.drop

    def drop_any_folder(self: Self, lease: LakeTableLease) -> bool:
        lake = self.lake
        self.lake = _Careless(lake)
        try:
            return drop(self, lease)
        finally:
            self.lake = lake

    patch.object(OpenMirroringTable, "drop", drop_any_folder).start()


class _Careless:
    """A lake that deletes folders whatever their etag."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lake, name)

    def delete_directory(self, path: str, *, if_match: str | None = None) -> bool:
        return self._lake.delete_directory(path)


def _take_absent_for_lost() -> None:
    def publish(self: Self, file: StagedFile) -> None:
        self._lake.rename(file.staged, file.final)

    patch.object(LakeTableLease, "_publish", publish).start()


def _leave_the_reload() -> None:
    def let_go(table: Any, lease: LakeTableLease, started: datetime, *, waits: bool) -> SliceResult:
        lease.release()
        return SliceResult("cancelled")

    patch.object(flow_run, "let_go", let_go).start()


def _overwrite_the_journal() -> None:
    def fold(self: Self, after_loads: int = 64) -> int:
        files = self._files.list_runs(None)
        if len(files) < after_loads:
            return 0
        for path, table in self._files.read_runs(files).items():
            self._files.lake.delete(path)
            self._files.replace_canonical(self._files.read_canonical(), table)
        return len(files)

    patch.object(Journal, "fold", fold).start()


def _look_at_nothing() -> None:
    patch.object(LoadPlanner, "must_begin_again", lambda self, opened: False).start()


def _keep_what_was_meant() -> None:
    begin = TableLease.begin

    def begin_without(self: Self, *arguments: Any, **keys: Any) -> None:
        begin(self, *arguments, **keys)
        self.write_changes(before=None)

    patch.object(TableLease, "begin", begin_without).start()


def _trust_the_bound() -> None:
    patch.object(flow_reading, "earned_watermark", lambda *_: None).start()


def _never_look_back() -> None:
    patch.object(reach, "_is_below", lambda home, newest, mark: False).start()


def _take_nothing_away() -> None:
    patch.object(LeaveOutUnchanged, "_stage_deletes", lambda self, files: None).start()


def _compare_nothing() -> None:
    patch.object(KeyComparison, "find_gone", lambda self: ([], None)).start()


def _number_versions_anew() -> None:
    begin = VersionWriter.__init__

    def numbered(self: VersionWriter, writer: RowWriter, version: int, seen: datetime, operation: Operation) -> None:
        begin(self, writer, 1, seen, operation)

    patch.object(VersionWriter, "__init__", numbered).start()


SABOTAGES: dict[str, Sabotage] = {
    "unlooked-at": Sabotage(
        "an open load reads on whatever the source has become", "initial in slices: another shape", _look_at_nothing
    ),
    "meant-to-land": Sabotage(
        "what a discarded load meant to land is taken for what has landed",
        "rebuild in slices: abandoned",
        _keep_what_was_meant,
    ),
    "never-back": Sabotage(
        "the source's newest value is not compared with what was loaded",
        "going back in slices: killed",
        _never_look_back,
    ),
    "bound-trusted": Sabotage(
        "the watermark moves to the bound that was fixed, whatever was read",
        "increment in slices: a bound taken back",
        _trust_the_bound,
    ),
    "any-nonce": Sabotage(
        "a refused state write is taken for the worker's own, whatever nonce is there",
        "increment: asleep while delivered again",
        _trust_any_nonce,
    ),
    "no-nonce": Sabotage(
        "a lost response to a state write is never recognised as the worker's own",
        "increment: response lost",
        _distrust_own_nonce,
    ),
    "unconditional": Sabotage(
        "the state is replaced without a condition", "increment: asleep while delivered again", _write_unconditionally
    ),
    "publish-first": Sabotage(
        "files become visible before the intent is written", "increment: killed", _publish_before_the_intent
    ),
    "commit-early": Sabotage(
        "the commit is written before the last rename", "increment: killed", _commit_before_the_last_rename
    ),
    "position-later": Sabotage(
        "the position is committed in a write of its own, after the rows",
        "initial in slices: killed",
        _commit_the_position_later,
    ),
    "watermark-first": Sabotage(
        "the watermark moves when the load begins", "reload over changes: abandoned", _move_the_watermark_first
    ),
    "no-epoch-takeover": Sabotage(
        "taking over writes nothing", "increment: awake while delivered again", _take_over_without_an_epoch
    ),
    "no-epochs": Sabotage(
        "the epoch is never raised", "increment: awake while delivered again", _begin_without_an_epoch
    ),
    "sweep-young": Sabotage(
        "an attempt that finds its load finished sweeps the current epoch as well",
        "increment: overtaking a finished load",
        _sweep_young_files,
    ),
    "sweep-named": Sabotage(
        "the sweep takes files that an intent or a staging reload names",
        "reload in slices: awake while delivered again",
        _sweep_named_files,
    ),
    "no-sweep": Sabotage("nothing is swept", "increment: killed", _never_sweep),
    "withdraw-all": Sabotage(
        "a fenced attempt deletes all that it has staged", "random schedules", _withdraw_everything
    ),
    "forget-aside": Sabotage(
        "a load that makes way for a reload is dropped at once",
        "parquet, initial in slices: a reload given up over it",
        _forget_what_was_set_aside,
    ),
    "drop-first": Sabotage("a reload drops the table before it reads the source", "reload: killed", _drop_first),
    "drop-any": Sabotage(
        "the folder is deleted whatever its etag", "reload: asleep while delivered again", _drop_unconditionally
    ),
    "absent-is-lost": Sabotage(
        "a staged file that is gone is an error, not a published file", "increment: killed", _take_absent_for_lost
    ),
    "leave-reload": Sabotage(
        "a cancelled reload is left where it was", "reload: cancelled between slices", _leave_the_reload
    ),
    "range-files-later": Sabotage(
        "what a range has staged is named in a write of its own, after the position",
        "divided, initial in slices: killed",
        _name_the_files_of_a_range_later,
    ),
    "publish-unread": Sabotage(
        "ranges are published that are not read to their end", "divided, reload: killed", _publish_unread_ranges
    ),
    "never-gone": Sabotage(
        "a reload by difference takes no row away", "difference, reload in slices: killed", _take_nothing_away
    ),
    "compare-nothing": Sabotage(
        "a comparison of keys ends before it has read any", "comparing, rows lost: killed", _compare_nothing
    ),
    "number-again": Sabotage(
        "versions are numbered anew by each load", "history, increment: killed", _number_versions_anew
    ),
    "fold-first": Sabotage(
        "the fold deletes small files before it has written their rows", "fold: killed", _overwrite_the_journal
    ),
}
