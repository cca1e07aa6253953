"""One attempt's hold on one table: ownership, the open load, and how it ends. Where the state lives, and how rows
become visible, is the business of its subclasses."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol, Self

from hygge_engine.errors import HyggeError, LandingBroken, LandingBusy, LandingFenced
from hygge_engine.row_counts import NOTHING_LANDED
from hygge_engine.stores.landing.process import has_ended, this_process
from hygge_engine.stores.landing.settled import began_elsewhere, check_finishable, other_format
from hygge_engine.stores.landing.state import (
    Author,
    Finished,
    LandingState,
    OpenLoad,
    Owner,
    StagedFile,
    expired,
    with_open,
)
from hygge_engine.stores.landing.transitions import committed, counted, discarded, ended, next_generation
from hygge_engine.watermark import Watermark

# How long an owner that says nothing keeps the table. Renewed with every state write and at least every
# RENEWAL_SECONDS, so that a load which died keeps the next one waiting for two minutes at most; longer pauses only
# cost liveness, never safety.
OWNERSHIP_SECONDS = 120.0
RENEWAL_SECONDS = 30.0

# What is said where an adoption has nothing to do.
NOTHING_TO_HAND_OVER = "There is nothing to hand over: its loads continue as they are."
A_LOAD_MAKES_IT = "There is nothing to hand over: its first load makes it."

# What can be done where a view, an index or whatever else has the name of a table, which no load replaces.
NO_TABLE_HINT = "Drop or rename it, or name another place in the store's settings."

# What can be done where the place of a table, `flow.entity`, holds something foreign.
NOT_OURS_HINT = (
    "Name another place in the store's settings. Or, if what is there is to become this table: `hygge adopt {}` says "
    "what would be replaced, and asks."
)


class StateStore(Protocol):
    """Where a landing state is kept: read once, then replaced on condition that it has not changed."""

    def read(self) -> LandingState | None:
        """The state; None where the table has none yet. Raises LandingUnreadable for an unreadable one."""
        ...

    def write(self, state: LandingState) -> LandingState:
        """Replace what was read or written last. Raises LandingFenced where another attempt has written since."""
        ...


class TableLease(ABC):
    """One attempt's hold on one table. Not thread-safe: one slice, one thread.

    ``author`` is whose the table becomes with the next load that begins; None leaves it whose it is.
    """

    author: Author | None = None

    def __init__(self, states: StateStore, *, load_id: str, attempt: int) -> None:
        self._states = states
        self._load_id = load_id
        self._attempt = attempt
        self._owned = False
        self.state = LandingState()
        # Without what `stage_changes` and its likes have noted since.
        self._written = self.state

    def attach(self) -> Self:
        """Read the state, before anything else is asked of the lease. Raises LandingBusy where another load owns the
        table, LandingUnreadable for a state that cannot be read."""
        self.state = self._written = self._states.read() or LandingState()
        owner = self.state.owner
        if owner and owner.load_id != self._load_id and not self._is_free(owner) and not self.own_result:
            raise LandingBusy(f"load {owner.load_id} owns this table until {owner.expires}")
        return self

    def _is_free(self, owner: Owner) -> bool:
        return expired(owner, self._now()) or has_ended(owner.process)

    @abstractmethod
    def sweep(self) -> None:
        """Delete what was staged and can never be published any more."""

    @abstractmethod
    def _now(self) -> datetime:
        """The clock that all attempts share: the destination's own, in UTC."""

    @abstractmethod
    def _make_visible(self, files: Sequence[StagedFile]) -> None:
        """Publish the files of the intent in this order; what has been published already stays as it is."""

    @property
    def place(self) -> str:
        """Where the table's rows land, in the words of its store; empty where its state cannot belong to another."""
        return ""

    @property
    def moved_from(self) -> str:
        """Where rows have landed so far, if that is not where they would land now; else empty."""
        return "" if self.state.place_of_rows is None or self.owns_place else self.state.place_of_rows or ""

    @property
    def owns_place(self) -> bool:
        """Whether what is where the rows land was written by this engine, or handed over to it."""
        return self.state.owns(self.place)

    @property
    def file_format(self) -> str:
        """What kind of files the rows are in; empty where they are in none."""
        return ""

    @property
    def began_elsewhere(self) -> bool:
        """Whether the open load began when the settings named another place."""
        return began_elsewhere(self.state, self.place)

    @property
    def began_otherwise(self) -> bool:
        """Whether the open load began when the settings named another place, or another kind of files."""
        opened = self.state.open
        return self.began_elsewhere or (opened is not None and bool(other_format(opened, self.file_format)))

    @property
    def own_result(self) -> Finished | None:
        """The totals of this very load, where an earlier attempt has finished it already."""
        done = self._result
        return None if done is None or done.is_partial else done

    @property
    def adopted_result(self) -> Finished | None:
        """What this load has landed of a load that it had adopted, or of its own increment, where more is to come."""
        done = self._result
        return done if done is not None and done.is_partial else None

    @property
    def _result(self) -> Finished | None:
        done = self.state.finished
        return done if done is not None and done.load_id == self._load_id else None

    @property
    def open(self) -> OpenLoad | None:
        """The load of this table that has begun and not ended, by whichever load it was begun."""
        return self.state.open

    @property
    def owns_open(self) -> bool:
        """Whether the open load is this one's, begun by it or adopted."""
        return self.state.open is not None and self.state.open.load_id == self._load_id

    @property
    def is_owner(self) -> bool:
        """Whether the table is kept for this load, by whichever of its attempts."""
        return self.state.owner is not None and self.state.owner.load_id == self._load_id

    @property
    def _holds(self) -> bool:
        """Whether this attempt owns the table, and has not given it up."""
        return self._owned and self.state.owner is not None

    def take_over(self) -> None:
        """Own the table and finish the intent that an earlier attempt left. A no-op where it is owned already.

        Raises LandingBroken, before anything but the owner has changed, where rows of the open load are visible, or
        about to become so, in another kind of files or another place than the settings say.
        """
        if not self._owned:
            self._write(replace(self.state, epoch=self.state.epoch + 1))
            self._owned = True
        self.check_finishable()
        if self.state.open is not None and self.state.open.intent:
            self._roll_forward()

    def check_finishable(self) -> None:
        """Raise LandingBroken where the settings cannot finish the open load, see `settled.check_finishable`."""
        check_finishable(self.state, self.place, self.file_format)

    def begin(
        self,
        opened: OpenLoad,
        *,
        key_columns: Sequence[str],
        columns: dict[str, str],
        treatments: Mapping[str, str] | None = None,
    ) -> None:
        """Open a load of the table: one write, which also takes the table over."""
        epoch = self.state.epoch if self._owned else self.state.epoch + 1
        known = {**self.state.removed_columns, **self.state.columns}
        self._write(
            replace(
                self.state,
                epoch=epoch,
                place=self.place,
                landed_in=self.state.place_of_rows,
                file_format=self.file_format if self.state.place_of_rows is None else self.state.file_format,
                author=self.author or self.state.author,
                open=replace(opened, before=self.state.shape, file_format=self.file_format),
                set_aside=self.state.set_aside if opened.mode == "reload" else None,
                key_columns=tuple(key_columns),
                columns=dict(columns),
                removed_columns={name: type_ for name, type_ in known.items() if name not in columns},
                treatments={name: text for name, text in (treatments or {}).items() if name in columns},
            )
        )
        self._owned = True

    def adopt(self) -> None:
        """Continue another load's open load as this one's own.

        Rows, bytes and files are counted from here on: what that load has landed is in its own row of the journal.
        """
        none: dict[str, object] = {"counts": NOTHING_LANDED, "rows": 0, "bytes": 0, "files": 0}
        self.write_changes(load_id=self._load_id, continued=True, **none)

    def discard(self, *, for_reload: bool = False, goes_on: bool = True) -> None:
        """Drop an open load that cannot be resumed. What it has published stays; what it has staged is swept.

        ``for_reload``: a reload is begun next. A load that has landed rows is only set aside for it, because the reload
        may end before it takes their place: then increments have to continue from its position, not from the watermark
        behind its rows; and so is another reload that has read all of its rows, which may be all that is left of the
        table. Without, what was set aside for the dropped load is open again. What this load has landed of one that it
        had adopted stays its own (`adopted_result`).

        What is open again is taken over like any other open load: its intent is finished, and LandingBroken is raised,
        before anything has changed, where the settings cannot finish it. Without ``goes_on`` nothing follows by this
        attempt, and it stays as it is.
        """
        state = discarded(self._disowned(), self._load_id, for_reload=for_reload)
        if goes_on:
            check_finishable(state, self.place, self.file_format)
        self._write(state)
        self.sweep()
        if goes_on and state.open is not None:
            self.take_over()

    def _disowned(self) -> LandingState:
        """The state before its open load is discarded, with what that leaves behind where it is visible already."""
        return self.state

    def record_drop(self, folder_etag: str) -> None:
        """Record by its etag which folder is about to be deleted.

        Raises LandingFenced where another attempt has taken over, so that nothing is deleted then.
        """
        self._write(replace(with_open(self.state, phase="dropping"), folder_etag=folder_etag))

    def write_changes(self, **changes: object) -> None:
        """Replace fields of the open load, conditionally."""
        self._write(with_open(self.state, **changes))

    def stage_changes(self, **changes: object) -> None:
        """Replace fields of the open load with the next write, together with whatever that one says."""
        self.state = with_open(self.state, **changes)

    def forget_changes(self) -> None:
        """Take back what was to go with the next write: its slice has failed, and the next one notes it anew."""
        self.state = self._written

    def note_pruned(self, at: str) -> None:
        """Remember with the next write that old versions were taken out of a history by a load that began ``at``."""
        self.state = replace(self.state, pruned_at=at)

    def forget_snapshot(self) -> None:
        """Give up the digests of what has landed, with the next write: they cannot be read, or not be believed."""
        self.state = replace(self.state, snapshot=None)

    def renew(self) -> None:
        """Renew the ownership. Raises LandingFenced where another attempt has taken over.

        Does nothing before the table is owned, and once it is given up: what comes after the end of a load may fail.
        """
        if self._holds:
            self._write(self.state)

    def is_outdated(self) -> bool:
        """Whether another attempt has changed the state since this one has read or written it.

        A fault that it has found may then be an effect of that, and says nothing about the table: the folder in the old
        state may just have been dropped, or an unknown one just landed in.
        """
        try:
            return self._has_changed()
        except LandingFenced:
            return True
        except HyggeError:
            return False

    def _has_changed(self) -> bool:
        if not (self._owned and self.is_owner):  # a load that has ended must not own the table again
            return (self._states.read() or LandingState()) != self.state
        self.renew()
        return False

    def intend(
        self,
        files: Sequence[StagedFile],
        *,
        position: list[str] | None,
        last: bool,
        new_generation: bool = False,
    ) -> None:
        """Write the intent to publish ``files``, in this order, and roll it forward to the commit.

        With ``last`` the commit ends the load; ``new_generation`` begins the numbering again after a confirmed drop.
        Raises LandingBroken, before anything has changed, where a file is of another kind than the settings say.
        """
        state = self._intent(files, position=position, last=last, new_generation=new_generation)
        check_finishable(state, self.place, self.file_format)
        self._write(state)
        self._roll_forward()

    def finish(self) -> None:
        """End the open load without anything (more) to publish."""
        self._end(counted(self.state, 0))

    def move_on(self, position: list[str] | None) -> None:
        """Continue the open load behind a position, without anything to publish of the rows before."""
        self._write(with_open(counted(self.state, 0), position=position))

    def drop_finished(self) -> None:
        """End a reload whose source was empty: the table is gone, and its next generation has no file yet."""
        self._end(replace(next_generation(self.state), landed_in=self.place, file_format=self.file_format))

    def note_back(self, found: str) -> None:
        """Remember until a reload has ended that the source has fallen behind the watermark, or lost changes since: it
        may grow past it again, and what came below is never read then. What was found first stays.

        A reload that is set aside meanwhile does not end it: its rows may be older than what was lost."""
        before, aside = self.state, self.state.set_aside
        if aside is not None and aside.mode == "reload":
            aside = replace(aside, outlived=True)
        found_so_far = replace(before, went_back=before.went_back or found, set_aside=aside)
        if found_so_far != before:
            self._write(found_so_far, keep_owner=False)

    def note_waiting(self, found: Watermark) -> None:
        """Remember how many rows wait beyond the source's clock, where these are not as many as before."""
        mark = self.state.watermark
        if mark is not None and mark.later != found.later:
            kept = replace(mark, later=found.later, clock=found.clock)
            self._write(replace(self.state, watermark=kept), keep_owner=False)

    def release(self) -> None:
        """Release the table between loads; an open load stays open for the next attempt.

        An earlier attempt of this load may have died before it could.
        """
        if self.is_owner:
            self._write(replace(self.state, owner=None), keep_owner=False)

    def withdraw(self) -> None:
        """Clear up after being fenced: what this attempt has staged, as far as its successors do not need it.

        Its last intent may have been accepted although the response said otherwise, so the state decides, read again.
        """
        self._owned = False
        self.state = self._written = self._states.read() or LandingState()
        self.sweep()

    def _intent(
        self, files: Sequence[StagedFile], *, position: list[str] | None, last: bool, new_generation: bool
    ) -> LandingState:
        state = with_open(self.state, phase="landing", staged=(), intent=tuple(files), after_intent=position, last=last)
        state = replace(state, landed_in=self.place, file_format=self.file_format)
        return next_generation(state) if new_generation else state

    def _roll_forward(self) -> None:
        opened = self._opened()
        self._make_visible(opened.intent)
        state = committed(self.state)
        if opened.last:
            self._end(state)
        else:
            self._write(state)

    def _opened(self) -> OpenLoad:
        if self.state.open is None:
            raise LandingBroken("there is no open load")
        return self.state.open

    def _end(self, state: LandingState) -> None:
        """Watermark, totals and ownership in one write. An adopted load's owner continues with its own increment, and
        then perhaps with a comparison."""
        state = ended(state)
        self._write(state, keep_owner=state.finished is not None and state.finished.is_partial)
        self.sweep()

    def _write(self, state: LandingState, *, keep_owner: bool = True) -> None:
        if state.open is not None and state.open.has_landed:
            state = replace(state, set_aside=None)  # the reload replaces the old rows: this cannot be undone
        self.state = self._written = self._states.write(self._with_owner(state) if keep_owner else state)

    def _with_owner(self, state: LandingState) -> LandingState:
        expires = self._now() + timedelta(seconds=OWNERSHIP_SECONDS)
        # Ranges are read in any process: that this one has ended would say nothing.
        process = "" if state.open is not None and state.open.is_read_in_ranges else this_process()
        return replace(state, owner=Owner(self._load_id, self._attempt, expires.isoformat(), process))
