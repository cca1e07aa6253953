"""A table that is a folder of numbered files in a lake: what every store of files shares.

Whatever is in the folder and has another name than the landing state gives its files is foreign, and is never touched.
"""

from __future__ import annotations

import hashlib
import time
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa

from hygge_engine.errors import LakeNotFound, LandingBroken, LandingUnreadable, NotOurs
from hygge_engine.lake.base import Lake, PathInfo, bounded
from hygge_engine.stores.base import Adoption, Claim, Destination, claim_among
from hygge_engine.stores.landing.lake_lease import LakeTableLease
from hygge_engine.stores.landing.lease import (
    A_LOAD_MAKES_IT,
    NOT_OURS_HINT,
    NOTHING_TO_HAND_OVER,
    RENEWAL_SECONDS,
)
from hygge_engine.stores.landing.ranges import RangeLease, Ranges
from hygge_engine.stores.landing.settled import RELOAD, check_format
from hygge_engine.stores.landing.state import LandingState, StagedFile, StateFile, fresh_epoch
from hygge_engine.stores.landing.transitions import next_generation

# How many names a message shows, and up to how many are counted.
NAMED_ENTRIES = 5
COUNTED_ENTRIES = 1_000


@dataclass(frozen=True)
class Places:
    """Where a table is, as paths in its lake: its folder, its landing state, and where files are completed before they
    are renamed into the folder."""

    folder: str
    state: str
    staging: str

    @property
    def journal(self) -> str:
        """The folder of everything that is the engine's."""
        return self.state.rsplit("/", 3)[0]

    @property
    def entity(self) -> str:
        """``flow.entity``, as in the landing state's path."""
        flow, name = self.state.removesuffix(".json").split("/")[-2:]
        return f"{flow}.{name}"


def places_of(folder: str, journal: str, flow: str, entity: str) -> Places:
    """The places of an entity's table; ``journal`` is the folder of everything that is the engine's."""
    return Places(folder, f"{journal}/landing/{flow}/{entity}.json", f"{journal}/staging/{flow}/{entity}")


class FolderTable(Destination[LakeTableLease]):
    """The landing protocol on a folder. Subclasses say what a file is called and how one is written."""

    # What kind of files the settings ask for; empty where there is only one.
    format: str = ""
    divides = True

    def __init__(self, lake: Lake, places: Places) -> None:
        self.lake = lake
        self.places = places

    @property
    def where(self) -> str:
        """The table's folder with its lake, for messages."""
        return f"{self.lake.url}/{self.places.folder}"

    @abstractmethod
    def data_file(self, state: LandingState, sequence: int) -> str:
        """The final path of the table's ``sequence``-th file, counted from 1."""

    def state(self) -> LandingState | None:
        return self.states().read()

    def states(self) -> StateFile:
        return StateFile(self.lake, self.places.state)

    def claim(self) -> Claim | None:
        folder = f"{self.places.journal}/landing"
        entries = bounded(self.lake.list(folder, recursive=True), folder)
        paths = [entry.path for entry in entries if not entry.is_directory and entry.name.endswith(".json")]
        others = [replace(self.places, state=path) for path in paths if path != self.places.state]
        states = [(places.entity, StateFile(self.lake, places.state)) for places in others]
        return claim_among(states, self.places.entity, lambda place: place == self.places.folder)

    def attach(self, load_id: str, attempt: int) -> LakeTableLease:
        return LakeTableLease(self.lake, **self._hold(load_id, attempt)).attach()

    def ranges(self, division: str) -> Ranges:
        return Ranges(self.lake, f"{self.places.staging}/{division}")

    def hold_range(self, load_id: str, attempt: int, division: str, number: int) -> RangeLease:
        return RangeLease(self.lake, self.ranges(division), number, **self._hold(load_id, attempt)).attach()

    def _hold(self, load_id: str, attempt: int) -> dict[str, Any]:
        """What a lease of the table is made with, besides its lake."""
        return {
            "state_path": self.places.state,
            "staging": self.places.staging,
            "folder": self.places.folder,
            "load_id": load_id,
            "attempt": attempt,
            "file_format": self.format,
        }

    def check_history(self, lease: LakeTableLease) -> None:
        """Raises LandingBroken where the state and the folder disagree."""
        if lease.state.has_history and self._folder() is None:
            raise LandingBroken(
                f"the table's folder {self.where} is missing, though {lease.state.next_sequence - 1} "
                "files have been landed in it",
                hint=f"If it was deleted on purpose, {RELOAD}",
            )

    def check_place(self, state: LandingState, schema: pa.Schema, *, reload: bool) -> list[str]:
        """An increment of the engine's table checks nothing: it adds files under unused names."""
        folder = self.places.folder
        self._check_is_no_link()
        if not state.owns(folder):
            self._check_unclaimed()
            return []
        check_format(state, folder, self.format, reload=reload)
        return self._strangers(state) if reload else []

    def adopt(self) -> Adoption:
        """The files that have the engine's names become the table's; all others stay foreign."""
        state, unreadable = self.state_to_replace()
        self._check_is_not_ours(state)
        entries = bounded(self.lake.list(self.places.folder), self.places.folder)
        self._check_is_no_file()
        if not entries and not unreadable:
            raise LandingBroken(f"there is nothing at {self.where}", hint=A_LOAD_MAKES_IT)
        ours = [entry for entry in entries if not entry.is_directory and self.claimed(entry.name)]
        adopted = self.state_of(ours)
        others = [entry for entry in entries if entry not in ours]
        return Adoption(
            self.table_name,
            named(entries) or "nothing",
            named(ours) or "nothing",
            named(others) or "nothing",
            lambda: self._write_adopted(state, adopted),
        )

    def claimed(self, name: str) -> bool:
        """Whether a file of this name could be the engine's, whatever the landing state says."""
        return False

    def state_of(self, files: Sequence[PathInfo]) -> LandingState:
        """The landing state of a table that consists of ``files``, each of them `claimed`."""
        return LandingState()

    def publish(
        self,
        lease: LakeTableLease,
        files: Sequence[StagedFile],
        *,
        position: list[str] | None,
        last: bool,
        new_generation: bool = False,
    ) -> None:
        """Number staged files and land them."""
        state = next_generation(lease.state) if new_generation else lease.state
        first = state.next_sequence
        intent = [replace(file, final=self.data_file(state, number)) for number, file in enumerate(files, start=first)]
        if first == 1 and intent:
            intent = [*self.first_files(lease), *intent]
        lease.intend(intent, position=position, last=last, new_generation=new_generation)

    def first_files(self, lease: LakeTableLease) -> list[StagedFile]:
        """Staged files, with their final names, that have to be there before a generation's first data file."""
        return []

    def drop(self, lease: LakeTableLease) -> bool:
        """Delete the files that the landing state names, and nothing else.

        A zombie's delete cannot hit the table's next generation, whose files have other names.
        """
        self._check_is_no_link()
        renewed = time.monotonic()
        ours = self._ours(lease.state) if lease.owns_place else set()
        for entry in [entry for entry in self.lake.list(self.places.folder) if entry.path in ours]:
            self.lake.delete(entry.path)
            if time.monotonic() - renewed > RENEWAL_SECONDS:
                lease.renew()
                renewed = time.monotonic()
        lease.write_changes(phase="waiting")
        return True

    def read_digests(self, file: StagedFile) -> bytes | None:
        info = self.lake.info(file.staged)
        if info is None or info.is_directory or info.length != file.length:
            return None
        try:
            data = self.lake.read(file.staged).data
        except LakeNotFound:
            return None
        return data if hashlib.sha256(data).hexdigest() == file.sha256 else None

    def landed_paths(self, state: LandingState) -> set[str]:
        """The final paths of the files that the landing state says we have written in this generation."""
        return {self.data_file(state, number) for number in range(1, state.next_sequence)}

    def _ours(self, state: LandingState) -> set[str]:
        return self.landed_paths(state) | set(state.left_over)

    def _check_is_no_link(self) -> None:
        """Raises NotOurs where the folder is a link: another folder's files may have the engine's names."""
        info = self.lake.info(self.places.folder)
        if info is not None and info.link:
            raise NotOurs(
                f"{self.where} is a link to {info.link}, and may lead to files that no load has written",
                hint="Put the folder itself in its place, or let the store's path lead where the link leads.",
            )

    def _check_is_no_file(self) -> None:
        """Raises NotOurs where the folder's name is a file's."""
        info = self.lake.info(self.places.folder)
        if info is not None and not info.is_directory:
            raise NotOurs(
                f"{self.where} is a file, and the table needs a folder",
                hint="Move it away, or name another place in the store's settings.",
            )

    def _check_is_not_ours(self, state: LandingState | None) -> None:
        """Raises LandingBroken where there is nothing to adopt: the table is this entity's already."""
        if state is not None and state.owns(self.places.folder):
            where = f"{self.places.folder} is this entity's table already, as {self.places.state} says"
            raise LandingBroken(where, hint=NOTHING_TO_HAND_OVER)

    def _check_unclaimed(self) -> None:
        """Raises NotOurs where the folder, in which nothing is the engine's, is not empty, or there can be no landing
        state."""
        folder, journal = self.places.folder, self.places.journal
        kept = self.lake.info(journal)
        if kept is not None and not kept.is_directory:
            raise NotOurs(
                f"{journal} in {self.lake.url} is a file, and landing states need a folder of this name",
                hint="Move it away, or let the store land elsewhere.",
            )
        self._check_is_no_file()
        if found := named(self.lake.list(folder)):
            raise NotOurs(
                f"{self.where} exists, and no load of {self.places.entity} has written it; in it: {found}",
                hint=self._not_ours_hint(),
            )

    def _strangers(self, state: LandingState) -> list[str]:
        """What is foreign in the folder; it stays there."""
        ours = self._ours(state)
        others = named(entry for entry in self.lake.list(self.places.folder) if entry.path not in ours)
        return [f"in {self.places.folder}, not by this engine, and left there: {others}"] if others else []

    def _write_adopted(self, before: LandingState | None, adopted: LandingState) -> None:
        states = self.states()
        with suppress(LandingUnreadable):
            states.read()
        now, folder = self.lake.now(), self.places.folder
        epoch = fresh_epoch(before, now)
        states.write(replace(adopted, epoch=epoch, place=folder, landed_in=folder, handed_over_at=now.isoformat()))

    def _not_ours_hint(self) -> str:
        return NOT_OURS_HINT.format(self.places.entity)

    def _folder(self) -> PathInfo | None:
        """The table's folder; its parent's listing decides where a service does not support HEAD for folders."""
        found = self.lake.info(self.places.folder)
        if found is not None:
            return found
        parent = self.places.folder.rpartition("/")[0]
        return next((entry for entry in self.lake.list(parent) if entry.path == self.places.folder), None)


def named(entries: Iterable[PathInfo]) -> str:
    """The first few names of a listing and how many more there are; empty where there is nothing."""
    found = list(islice(entries, COUNTED_ENTRIES + 1))
    names = [f"{entry.name}/" if entry.is_directory else entry.name for entry in found[:NAMED_ENTRIES]]
    more = len(found) - len(names)
    if len(found) > COUNTED_ENTRIES:
        return f"{', '.join(names)} and more than {COUNTED_ENTRIES - NAMED_ENTRIES:,} others"
    return ", ".join(names) + (f" and {more} more" if more else "")
