"""The landing protocol: ownership, intents, publication and commit over a lake's verbs.

The rules, and why nothing is lost or doubled when an attempt dies between any two of them:

1. Staged files are complete before an intent names them; nobody reads them.
2. The intent (files, final names, the position after them) is one conditional write. From then on it only rolls
   forward.
3. A staged file that an intent names disappears only by its rename. Staged file present: not published yet. Absent:
   published, whoever did it, even if the reader has moved or purged the final file since.
4. The commit (sequence, position, intent gone) is one conditional write, made after the last rename. The last commit of
   a load also moves the watermark and gives the table up.
5. Taking over raises the epoch first, so that the predecessor's next state write fails; a rename it may still send
   finds its source gone. Then the predecessor's intent is finished, and only then is anything numbered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from hygge_engine.errors import LakeConflict, LakeNotFound, LandingBroken, LandingBusy
from hygge_engine.lake.base import Lake, Staged
from hygge_engine.stores.landing.state import (
    Finished,
    LandingState,
    Mode,
    OpenLoad,
    Owner,
    StagedFile,
    StateFile,
    expired,
    with_open,
)

# How long an owner that says nothing keeps the table. Renewed with every state write and at least every
# RENEWAL_SECONDS, so that a load which died keeps the next one waiting for two minutes at most; longer pauses only
# cost liveness, never safety.
OWNERSHIP_SECONDS = 120.0
RENEWAL_SECONDS = 30.0


class TableLanding:
    """One attempt's hold on one table. Not thread-safe: one slice, one thread."""

    def __init__(self, lake: Lake, *, state_path: str, staging: str, folder: str, load_id: str, attempt: int) -> None:
        self._lake = lake
        self._file = StateFile(lake, state_path)
        self._staging = staging
        self._folder = folder
        self._load_id = load_id
        self._attempt = attempt
        self._staged_files = 0
        self._owned = False
        found = self._file.read()
        self.is_new = found is None
        self.state = found or LandingState()
        owner = self.state.owner
        if owner and owner.load_id != load_id and not expired(owner, lake.now()) and not self.finished:
            raise LandingBusy(f"load {owner.load_id} owns this table until {owner.expires}")

    @property
    def finished(self) -> Finished | None:
        """The totals of this very load, where an earlier attempt has finished it already."""
        done = self._ended
        return None if done is None or done.partial else done

    @property
    def carried(self) -> Finished | None:
        """What this load has landed of a load that it had adopted, where its own share is still to come."""
        done = self._ended
        return done if done is not None and done.partial else None

    @property
    def _ended(self) -> Finished | None:
        done = self.state.finished
        return done if done is not None and done.load_id == self._load_id else None

    @property
    def open(self) -> OpenLoad | None:
        """The load of this table that has begun and not ended, by whichever load it was begun."""
        return self.state.open

    def take_over(self) -> None:
        """Own the table and finish the intent that an earlier attempt left. A no-op where it is owned already."""
        if not self._owned:
            self._write(replace(self.state, epoch=self.state.epoch + 1))
            self._owned = True
        if self.state.open is not None and self.state.open.intent:
            self._roll_forward()

    def begin(self, opened: OpenLoad, *, key_columns: Sequence[str], columns: dict[str, str]) -> None:
        """Open a load of the table: one write, which also takes the table over."""
        epoch = self.state.epoch if self._owned else self.state.epoch + 1
        self._write(
            replace(self.state, epoch=epoch, open=opened, key_columns=tuple(key_columns), columns=dict(columns))
        )
        self._owned = True

    def adopt(self) -> None:
        """Go on with another load's open load as if it were our own.

        what that load landed is in its own journal row.
        """
        self.update(load_id=self._load_id, adopted=True, rows=0, bytes=0, files=0)

    def discard(self) -> None:
        """Forget an open load that cannot be resumed. What it has published stays; what it has staged is swept."""
        self._write(replace(self.state, open=None))
        self.sweep()

    def record_drop(self, folder_etag: str) -> None:
        """Remember which folder is about to be deleted.

        fails, and nothing is deleted, where another attempt took over.
        """
        self._write(replace(with_open(self.state, phase="dropping"), folder_etag=folder_etag))

    def update(self, **changes: object) -> None:
        """Replace fields of the open load, conditionally."""
        self._write(with_open(self.state, **changes))

    def renew(self) -> None:
        """Say that the attempt is alive. Raises LandingFenced where another one has taken over.

        Nothing happens before the table is owned: whoever only read the state has nothing to renew.
        """
        if self._owned:
            self._write(self.state)

    def staged_path(self, extension: str = "parquet") -> str:
        """A path of this epoch that nobody else writes to."""
        self._staged_files += 1
        return f"{self._staging}/{self.state.epoch:08d}-{self._attempt:04d}-{self._staged_files:05d}.{extension}"

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
        """
        state = with_open(self.state, phase="landing", staged=(), intent=tuple(files), after_intent=position, last=last)
        if new_generation:
            state = replace(state, generation=state.generation + 1, next_sequence=1, folder_etag="")
        self._write(state)
        self._roll_forward()

    def finish(self) -> None:
        """End the open load without anything (more) to publish."""
        self._end(self.state)

    def drop_finished(self) -> None:
        """End a reload whose source was empty: the table is gone, and its next generation has no file yet."""
        self._end(replace(self.state, generation=self.state.generation + 1, next_sequence=1, folder_etag=""))

    def release(self) -> None:
        """Give the table up between loads; an open load stays open for whoever comes next."""
        if self._owned:
            self._write(replace(self.state, owner=None), keep_owner=False)

    def sweep(self) -> None:
        """Delete staged files that no intent can name any more.

        Of the epochs before that of the state only what the state names can still be published; anybody may delete the
        rest. The state's own epoch belongs to its owner, who may have staged files that only the next intent will name:
        deleted by somebody else, they would count as published.
        """
        opened = self.state.open
        named = {file.staged for file in (*opened.staged, *opened.intent)} if opened else set()
        newest = self.state.epoch if self._owned else self.state.epoch - 1
        for entry in self._lake.list(self._staging):
            epoch = entry.name.split("-", 1)[0]
            if epoch.isdigit() and int(epoch) <= newest and entry.path not in named:
                self._lake.delete(entry.path)

    def withdraw(self) -> None:
        """Clear up after being fenced: what this attempt has staged, as far as its successors do not need it.

        Its last intent may have been accepted although it was told otherwise, so the state decides, read anew.
        """
        self._owned = False
        self.state = self._file.read() or LandingState()
        self.sweep()

    def _opened(self) -> OpenLoad:
        if self.state.open is None:
            raise LandingBroken("there is no open load")
        return self.state.open

    def _end(self, state: LandingState) -> None:
        """Watermark, totals and ownership in one write. An adopted load's owner goes on to its own increment."""
        opened = state.open
        if opened is None:
            raise LandingBroken("there is no open load to end")
        reached = opened.upper if opened.upper is not None and opened.upper.value is not None else None
        kept = None if opened.mode == "reload" else state.watermark
        totals = Finished(opened.load_id, opened.mode, opened.rows, opened.bytes, opened.files, opened.adopted)
        self._write(
            replace(
                state,
                open=None,
                owner=None,
                watermark=reached or kept,
                finished=totals,
            ),
            keep_owner=opened.adopted,
        )
        self.sweep()

    def _roll_forward(self) -> None:
        opened = self._opened()
        if not self.state.has_history:
            self._lake.make_directory(self._folder)
        for file in opened.intent:
            self._publish(file)
        published = [file for file in opened.intent if file.rows]
        committed = with_open(
            replace(self.state, next_sequence=self.state.next_sequence + len(published)),
            intent=(),
            after_intent=None,
            position=opened.after_intent,
            rows=opened.rows + sum(file.rows for file in published),
            bytes=opened.bytes + sum(file.length for file in published),
            files=opened.files + len(published),
        )
        if opened.last:
            self._end(committed)
        else:
            self._write(committed)

    def _publish(self, file: StagedFile) -> None:
        try:
            self._lake.rename(file.staged, file.final)
        except (LakeNotFound, LakeConflict) as error:
            if self._lake.info(file.staged) is None:
                return  # rule 3: published already
            if isinstance(error, LakeConflict):
                raise LandingBroken(
                    f"{file.final} exists already, and not by this engine: another publisher writes to the table",
                    hint="Stop the other publisher, then reload the table with run_type full_drop.",
                ) from error
            raise LandingBroken(
                f"the table's folder {self._folder} has disappeared while it was being written",
                hint="Reload the table with run_type full_drop.",
            ) from error

    def _write(self, state: LandingState, *, keep_owner: bool = True) -> None:
        if keep_owner:
            expires = self._lake.now() + timedelta(seconds=OWNERSHIP_SECONDS)
            state = replace(state, owner=Owner(self._load_id, self._attempt, expires.isoformat()))
        self.state = self._file.write(state)


def staged_file(staged: Staged, *, rows: int = 0, final: str = "") -> StagedFile:
    """What the state remembers of a staged file."""
    return StagedFile(staged.path, staged.length, staged.sha256, rows, final)


def is_resumable(opened: OpenLoad, load_id: str) -> bool:
    """Whether ``load_id`` may go on where an open load stopped instead of starting it again.

    Its own load always may. Another load's staged reload may not: rows staged long ago would land as if they were
    new. What has a fixed upper bound may, because the next increment begins exactly there.
    """
    if opened.load_id == load_id or opened.phase in ("dropping", "waiting"):
        return True
    if opened.mode == "reload":
        return opened.phase == "landing"
    return opened.upper is not None


def mode_of(state: LandingState, *, reload: bool) -> Mode:
    """What a new load of the table does."""
    if reload:
        return "reload"
    return "changes" if state.has_history else "initial"
