"""The ranges that an open load is read in: a small document for each, beside the files that its readers stage.

Whoever reads a range moves its document, and nothing else: position, files and findings together, in one conditional
write. What becomes visible is the business of the table's owner alone (docs/divided.md).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

from hygge_engine.errors import LakeConditionNotMet, LandingFenced, LandingUnreadable
from hygge_engine.lake.base import Lake, bounded
from hygge_engine.plain_text import document_fault
from hygge_engine.stores.landing.document import DocumentFile
from hygge_engine.stores.landing.lake_lease import LakeTableLease
from hygge_engine.stores.landing.lease import OWNERSHIP_SECONDS
from hygge_engine.stores.landing.state import (
    FORMAT,
    ExpectationResult,
    LandingState,
    Owner,
    StagedFile,
    checked_from_json,
    digest_of,
    with_open,
)
from hygge_engine.watermark import Boundary

# Documents that are written or read at the same time, where there are more than this.
_AT_ONCE = 8

# The owner's time is renewed once less than this is left of it: of many readers that look every half minute one does.
_RENEWED_BELOW = timedelta(seconds=OWNERSHIP_SECONDS * 0.7)


@dataclass(frozen=True)
class RangeState:
    """How far one range has been read. ``position`` is the home's; ``seen``, ``boundary`` and ``checked`` are what an
    open load keeps of its rows, of those of this range; ``notes`` are for the journal. Once it is ``done`` nothing of
    it changes any more. ``number``: which range it is, from 0; None where another version has written it."""

    position: list[str]
    number: int | None = None
    epoch: int = 0
    staged: tuple[StagedFile, ...] = ()
    done: bool = False
    seen: str | None = None
    boundary: Boundary | None = None
    checked: ExpectationResult = field(default_factory=ExpectationResult)
    notes: tuple[str, ...] = ()

    @property
    def staged_rows(self) -> int:
        """How many rows are staged."""
        return sum(file.rows for file in self.staged)

    @property
    def staged_bytes(self) -> int:
        """How many bytes are staged."""
        return sum(file.length for file in self.staged)

    @property
    def reached(self) -> str:
        """A text that changes whenever the range gets ahead, as `LandingState.reached`."""
        return digest_of([self.position, len(self.staged), self.done])

    def to_json(self, nonce: str) -> bytes:
        """The document."""
        return json.dumps({"format": FORMAT, "nonce": nonce, **asdict(self)}, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, path: str) -> tuple[RangeState, str]:
        """State and nonce. Raises LandingUnreadable for a document that this version cannot read."""
        try:
            value = json.loads(data)
            if value.pop("format") != FORMAT:
                raise ValueError("another version of hygge-engine has written it")
            nonce = str(value.pop("nonce"))
            return cls(**value | _fields_of(value)), nonce
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise LandingUnreadable(
                f"{path} cannot be read: {document_fault(error)}",
                hint="It says how far a part of the table has been read. Load the table with run_type full_drop, which "
                "reads it anew.",
            ) from error


def _fields_of(value: dict[str, Any]) -> dict[str, Any]:
    position, epoch, done = value["position"], value["epoch"], value["done"]
    if not isinstance(position, list) or not all(isinstance(text, str) for text in position):
        raise ValueError("its 'position' is no list of texts")
    if type(epoch) is not int or epoch < 0 or type(done) is not bool:
        raise ValueError("its 'epoch' or 'done' is of another kind than it has to be")
    return {
        "staged": tuple(StagedFile(**file) for file in value["staged"]),
        "boundary": Boundary.from_json(value["boundary"]) if value["boundary"] else None,
        "checked": checked_from_json(value["checked"]),
        "notes": tuple(value["notes"]),
    }


class RangeFile(DocumentFile[RangeState]):
    """The document of one range."""

    def _encode(self, document: RangeState, nonce: str) -> bytes:
        return document.to_json(nonce)

    def _decode(self, data: bytes) -> tuple[RangeState, str]:
        return RangeState.from_json(data, self.path)

    def read(self) -> RangeState | None:
        """See `DocumentFile.read`; None also for another range's document in the place of this one's."""
        found = super().read()
        number = int(self.path.rpartition("/")[2].removesuffix(".json"))
        return found if found is not None and found.number in (None, number) else None


class Ranges:
    """The documents and staged files of one division, all in one folder."""

    def __init__(self, lake: Lake, folder: str) -> None:
        self._lake = lake
        self.folder = folder

    def document(self, number: int) -> RangeFile:
        """The document of a range, counted from 0."""
        return RangeFile(self._lake, self._path(number))

    def create(self, positions: Sequence[list[str]]) -> None:
        """Write the documents of all ranges, of which nothing is read yet."""

        def write(number: int) -> None:
            # Only where there is none: a request that is repeated must not meet one that has moved on meanwhile.
            with suppress(LakeConditionNotMet):
                self._lake.put(
                    self._path(number), RangeState(positions[number], number).to_json("made"), if_absent=True
                )

        _for_each(write, len(positions))

    def read(self, count: int) -> list[RangeState] | None:
        """All ranges, in their order; None where a document is missing."""
        found = _for_each(lambda number: self.document(number).read(), count)
        states = [state for state in found if state is not None]
        return states if len(states) == count else None

    def has(self, files: Iterable[StagedFile]) -> bool:
        """Whether all of these files are there, with their lengths."""
        there = {entry.path: entry.length for entry in bounded(self._lake.list(self.folder), self.folder)}
        return all(there.get(file.staged) == file.length for file in files)

    def delete(self) -> None:
        """Delete all that there is. Only once no landing state names the division any more."""
        self._lake.delete_directory(self.folder)

    def _path(self, number: int) -> str:
        return f"{self.folder}/{number:05d}.json"


def _for_each[T](work: Callable[[int], T], count: int) -> list[T]:
    """What ``work`` returns for each range, in their order."""
    if count <= _AT_ONCE:
        return [work(number) for number in range(count)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(work, range(count)))


class RangeLease(LakeTableLease):
    """One attempt's hold on one range of an open load. ``state`` is the landing state with what is known of this range
    in its open load, as if that were all of it; of the landing state itself only the owner's time is ever written.

    ``is_over``: there is nothing to read, because the range is done, or the open load is another one by now.
    """

    def __init__(self, lake: Lake, ranges: Ranges, number: int, **of_table: Any) -> None:
        super().__init__(lake, **of_table)
        self._number = number
        self._ranges = ranges
        self._division = ranges.folder.rpartition("/")[2]
        self._document = ranges.document(number)
        self.range = RangeState([])
        self.is_over = True

    def attach(self) -> Self:
        """Read landing state and document, and raise no objection: see ``is_over``."""
        self.state = self._states.read() or LandingState()
        if not self._is_current(self.state):
            return self
        found = self._document.read()
        if found is None:
            return self
        self.range, self.is_over = found, found.done
        self.state = with_open(
            self.state,
            position=found.position,
            staged=found.staged,
            seen=found.seen,
            boundary=found.boundary,
            checked=found.checked,
            rows=0,
            bytes=0,
            files=0,
        )
        return self

    def take_over(self) -> None:
        """Own the range: whoever has read it so far can write its document no more."""
        self._keep_owned()
        self.range = self._document.write(replace(self.range, epoch=self.range.epoch + 1))

    def staged_path(self, extension: str = "parquet") -> str:
        """A path of this epoch of the range that no other attempt writes to."""
        self._staged_files += 1
        return f"{self._ranges.folder}/{self._number:05d}-{self.range.epoch:05d}-{self._staged_files:05d}.{extension}"

    def commit(
        self, files: Sequence[StagedFile], position: list[str] | None, notes: Sequence[str], *, done: bool
    ) -> None:
        """Keep what was read: files, the position after them, and what `stage_changes` has noted of their rows."""
        self._keep_owned()
        opened = self._opened()
        self.range = self._document.write(
            replace(
                self.range,
                position=position or self.range.position,
                staged=(*self.range.staged, *files),
                done=done,
                seen=opened.seen,
                boundary=opened.boundary,
                checked=opened.checked,
                notes=tuple(dict.fromkeys((*self.range.notes, *notes))),
            )
        )

    def renew(self) -> None:
        """Keep the table owned. Raises LandingFenced where there is nothing to read any more, or another attempt reads
        the range."""
        self._keep_owned()
        found = self._ranges.document(self._number).read()
        if found is None or found.epoch != self.range.epoch:
            raise LandingFenced("another attempt has taken over the range")

    def withdraw(self) -> None:
        """Clear up after a division that nothing names any more: a folder that was deleted may have come back by what
        this attempt has staged since. While it is named, nobody deletes anything of it."""
        state = self._states.read() or LandingState()
        if self._division not in state.divisions:
            self._ranges.delete()

    def release(self) -> None:
        """Nothing: the table is not this attempt's."""

    def sweep(self) -> None:
        """Nothing: only the table's owner sweeps."""

    def _has_changed(self) -> bool:
        """Whether the open load is another one by now, or the range is read by another attempt: `renew` raises then."""
        self.renew()
        return False

    def _keep_owned(self) -> None:
        """Renew the owner's time where it runs out, on condition that the state is as it was read. Raises LandingFenced
        where the range belongs to no open load of ours."""
        state = self._states.read() or LandingState()
        owner = state.owner
        if not self._is_current(state) or owner is None:
            raise LandingFenced("the load that the range belongs to has ended, or another load has continued it")
        if datetime.fromisoformat(owner.expires) - self._now() < _RENEWED_BELOW:
            expires = (self._now() + timedelta(seconds=OWNERSHIP_SECONDS)).isoformat()
            kept = replace(state, owner=Owner(owner.load_id, owner.attempt, expires))
            with suppress(LandingFenced):  # somebody else has just written it: that shows life as well
                self._states.write(kept)

    def _is_current(self, state: LandingState) -> bool:
        """Whether the open load is still ours, in this division, and not all of it is read."""
        opened, owner = state.open, state.owner
        if opened is None or opened.divided is None or opened.divided.id != self._division or opened.is_all_read:
            return False
        return opened.load_id == self._load_id and owner is not None and owner.load_id == self._load_id

    def _write(self, state: LandingState, *, keep_owner: bool = True) -> None:
        raise RuntimeError("the reader of a range replaces no landing state")
