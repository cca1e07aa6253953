"""The landing protocol on a lake: intents, publication and commit over a lake's operations.

The rules, and why nothing is lost or doubled when an attempt dies between any two of them:

1. Staged files are complete before an intent names them; no reader sees them.
2. The intent (files, final names, the position after them) is one conditional write. From then on it only rolls
   forward.
3. A staged file that an intent names disappears only by its rename. Staged file present: not published yet. Absent:
   published, by whichever attempt, even if the reader has moved or purged the final file since.
4. The commit (sequence, position, intent gone) is one conditional write, made after the last rename. The last commit of
   a load also moves the watermark and releases the table.
5. Taking over raises the epoch first, so that the predecessor's next state write fails; a rename it may still send
   finds its source gone. Then the predecessor's intent is finished, and only then is anything numbered.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from hygge_engine.errors import LakeConflict, LakeNotFound, LandingBroken
from hygge_engine.lake.base import Lake, Staged
from hygge_engine.stores.landing.lease import TableLease
from hygge_engine.stores.landing.settled import RELOAD
from hygge_engine.stores.landing.state import LandingState, StagedFile, StateFile

# The names that `LakeTableLease.staged_path` gives to files, and `LakeTableLease.new_division` to folders.
_STAGED = re.compile(r"(?P<epoch>\d{8,})-\d{4,}-\d{5,}\.\w+")
_DIVISION = re.compile(r"(?P<epoch>\d{8,})-[0-9a-f]{16}")


class LakeTableLease(TableLease):
    """A hold on a table that is a folder of files. ``folder`` is where readers look, ``staging`` where they do not."""

    def __init__(
        self,
        lake: Lake,
        *,
        state_path: str,
        staging: str,
        folder: str,
        load_id: str,
        attempt: int,
        file_format: str = "",
    ) -> None:
        self._lake = lake
        self._file_format = file_format
        self._staging = staging
        self._folder = folder
        self._staged_files = 0
        super().__init__(StateFile(lake, state_path), load_id=load_id, attempt=attempt)

    @property
    def place(self) -> str:
        return self._folder

    @property
    def file_format(self) -> str:
        return self._file_format

    def staged_path(self, extension: str = "parquet") -> str:
        """A path of this epoch that no other attempt writes to."""
        self._staged_files += 1
        return f"{self._staging}/{self.state.epoch:08d}-{self._attempt:04d}-{self._staged_files:05d}.{extension}"

    def new_division(self) -> str:
        """An id of this epoch for the ranges that a load is divided into."""
        return f"{self.state.epoch:08d}-{uuid.uuid4().hex[:16]}"

    def _disowned(self) -> LandingState:
        """See `TableLease._disowned`. Renamed files of its intent stay ours, though no number covers them."""
        intent = self.state.open.intent if self.state.open is not None else ()
        renamed = [file.final for file in intent if self._lake.info(file.staged) is None]
        return replace(self.state, left_over=tuple(dict.fromkeys((*self.state.left_over, *renamed))))

    def sweep(self) -> None:
        """Delete staged files that no intent can name any more.

        Of the epochs before that of the state only what the state names can still be published; any attempt may delete
        the rest. The state's own epoch belongs to its owner, who may have staged files that only the next intent will
        name: deleted by another attempt, they would count as published. The ranges of a divided load have a folder,
        which goes as a whole.
        """
        named, divisions = self.state.staged_paths, self.state.divisions
        newest = self.state.epoch if self._owned else self.state.epoch - 1
        for entry in self._lake.list(self._staging):
            staged = _STAGED.fullmatch(entry.name)
            if staged is not None and int(staged["epoch"]) <= newest and entry.path not in named:
                self._lake.delete(entry.path)
            division = _DIVISION.fullmatch(entry.name) if entry.is_directory else None
            if division is not None and int(division["epoch"]) <= newest and entry.name not in divisions:
                self._lake.delete_directory(entry.path)

    def _now(self) -> datetime:
        return self._lake.now()

    def _make_visible(self, files: Sequence[StagedFile]) -> None:
        if not self.state.has_history:
            self._lake.make_directory(self._folder)
        for file in files:
            self._publish(file)

    def _publish(self, file: StagedFile) -> None:
        try:
            self._lake.rename(file.staged, file.final)
        except (LakeNotFound, LakeConflict) as error:
            if self._lake.info(file.staged) is None:
                return  # rule 3: published already
            if isinstance(error, LakeConflict):
                raise LandingBroken(
                    f"{file.final} exists already, and not by this engine: another publisher writes to the table",
                    hint=f"Stop the other publisher and move its files away. Then {RELOAD}",
                ) from error
            raise LandingBroken(
                f"the table's folder {self._folder} has disappeared while it was being written",
                hint=f"Find out who deleted it. Then {RELOAD}",
            ) from error


def staged_file(staged: Staged, *, rows: int = 0, final: str = "") -> StagedFile:
    """What the state keeps of a staged file."""
    return StagedFile(staged.path, staged.length, staged.sha256, rows, final)
