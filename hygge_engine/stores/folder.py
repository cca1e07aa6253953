"""A table that is a folder of numbered files in a lake: what every store of files shares."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hygge_engine.errors import LakeConditionNotMet, LakeConflict, LandingBroken
from hygge_engine.lake.base import Lake, PathInfo
from hygge_engine.stores.base import Destination
from hygge_engine.stores.landing.protocol import TableLanding
from hygge_engine.stores.landing.state import LandingState, StagedFile, StateFile

# A folder's etag may move while Fabric moves files out of it; after so many changes in a row it is left in peace for a
# while.
DROP_ATTEMPTS = 5


@dataclass(frozen=True)
class Places:
    """Where a table is, as paths in its lake: its folder, its landing state, and where files are completed before they
    are renamed into the folder."""

    folder: str
    state: str
    staging: str


def places_of(folder: str, journal: str, flow: str, entity: str) -> Places:
    """The places of an entity's table; ``journal`` is the folder of everything that is ours."""
    return Places(folder, f"{journal}/landing/{flow}/{entity}.json", f"{journal}/staging/{flow}/{entity}")


class FolderTable(Destination[TableLanding]):
    """The landing protocol on a folder. Subclasses say what a file is called and how one is written."""

    def __init__(self, lake: Lake, places: Places) -> None:
        self.lake = lake
        self.places = places

    @abstractmethod
    def data_file(self, state: LandingState, sequence: int) -> str:
        """The final path of the table's ``sequence``-th file, counted from 1."""

    def state(self) -> LandingState | None:
        return StateFile(self.lake, self.places.state).read()

    def attach(self, load_id: str, attempt: int) -> TableLanding:
        return TableLanding(
            self.lake,
            state_path=self.places.state,
            staging=self.places.staging,
            folder=self.places.folder,
            load_id=load_id,
            attempt=attempt,
        )

    def check_history(self, landing: TableLanding) -> None:
        """Raises LandingBroken where the state and the folder tell different stories."""
        folder = self.places.folder
        exists = self._folder() is not None
        if landing.state.has_history and not exists:
            raise LandingBroken(
                f"the table's folder {folder} is missing, though {landing.state.next_sequence - 1} "
                "files have been landed in it",
                hint="If it was deleted on purpose, reload the table with run_type full_drop.",
            )
        if landing.is_new and exists:
            raise LandingBroken(
                f"{folder} exists already, but its landing state {self.places.state} does not: "
                "another publisher may be writing there",
                hint="Stop the other publisher, then reload the table with run_type full_drop.",
            )

    def publish(
        self,
        landing: TableLanding,
        files: Sequence[StagedFile],
        *,
        position: list[str] | None,
        last: bool,
        new_generation: bool = False,
    ) -> None:
        """Number staged files and land them."""
        state = landing.state
        if new_generation:
            state = replace(state, generation=state.generation + 1, next_sequence=1)
        first = state.next_sequence
        intent = [replace(file, final=self.data_file(state, number)) for number, file in enumerate(files, start=first)]
        if first == 1 and intent:
            intent = [*self.first_files(landing), *intent]
        landing.intend(intent, position=position, last=last, new_generation=new_generation)

    def first_files(self, landing: TableLanding) -> list[StagedFile]:
        """Staged files, with their final names, that have to be there before a generation's first data file."""
        return []

    def drop(self, landing: TableLanding) -> bool:
        """Delete the table's folder, on the etag that the state holds; False where somebody is at work in it just now.

        A zombie's delete cannot hit the table's next generation: it would have to write the state first.
        """
        for _ in range(DROP_ATTEMPTS):
            folder = self._folder()
            if folder is None:
                if not landing.state.folder_etag:  # there never was a table to drop, nor to wait for
                    landing.update(phase="waiting")
                    return True
                break
            landing.record_drop(folder.etag)
            try:
                self.lake.delete_directory(self.places.folder, if_match=folder.etag or None)
            except LakeConditionNotMet:
                continue
            except LakeConflict:
                return False
            break
        else:
            return False
        landing.update(phase="waiting", dropped_at=self.lake.now().isoformat())
        return True

    def _folder(self) -> PathInfo | None:
        """The table's folder; its parent's listing decides where a service does not answer HEAD for folders."""
        found = self.lake.info(self.places.folder)
        if found is not None:
            return found
        parent = self.places.folder.rpartition("/")[0]
        return next((entry for entry in self.lake.list(parent) if entry.path == self.places.folder), None)
