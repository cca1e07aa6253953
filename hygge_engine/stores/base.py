"""What a store promises: a table where rows land, staged first and made visible once, by one landing state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import pyarrow as pa

from hygge_engine.errors import LandingUnreadable, NotReadable, StoreError
from hygge_engine.stores.column_names import ColumnNames
from hygge_engine.stores.landing.lease import StateStore, TableLease
from hygge_engine.stores.landing.ranges import RangeLease, Ranges
from hygge_engine.stores.landing.state import LandingState, StagedFile


class Wait(NamedTuple):
    """What a load waits for, and in how many seconds to check again."""

    message: str
    seconds: float


class RowWriter(Protocol):
    """Takes batches of one schema and stages them where no reader sees them. Bounded memory; not thread-safe."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Hand a batch over; may block while earlier ones are being written, and raise what writing them raised."""
        ...

    def delete(self, rows: pa.RecordBatch) -> None:
        """Hand over rows that the source no longer has: of the batch's columns only the key is filled.

        Raises StoreError where the store cannot delete rows (`StoreSettings.deletes`).
        """
        ...

    def finish(self) -> list[StagedFile]:
        """Complete what was staged and name it, in order; nothing staged is ever without rows."""
        ...

    def abandon(self) -> None:
        """Drop what was staged; never raises. What cannot be deleted now is swept by the next load."""
        ...


@dataclass(frozen=True)
class Adoption:
    """What taking a table over would mean: ``found`` is what is there, ``replaced`` what the next full_drop removes,
    ``kept`` what stays, ``then`` how loads continue; all for people. ``confirm`` writes the landing state that says
    so."""

    name: str
    found: str
    replaced: str
    kept: str
    confirm: Callable[[], None]
    then: str = "Its first load has to be a full_drop."


@dataclass(frozen=True)
class Claim:
    """Another entity's landing state, which says that a table is that one's; ``states`` is where it is kept."""

    entity: str
    state: LandingState
    states: StateStore


def claim_among(others: Iterable[tuple[str, StateStore]], entity: str, is_here: Callable[[str], bool]) -> Claim | None:
    """The first of the ``others``, entities with their landing states, whose rows have landed where ``is_here`` says.

    Those of the same name as ``entity`` (``flow.entity``) come first: mostly only the flow differs. A
    state that cannot be read claims nothing.
    """
    own = _name_in_flow(entity)
    for other, states in sorted(others, key=lambda found: _name_in_flow(found[0]) != own):
        with suppress(LandingUnreadable):
            state = states.read()
            if state is not None and is_here(state.place_of_rows or ""):
                return Claim(other, state, states)
    return None


def _name_in_flow(entity: str) -> str:
    return entity.partition(".")[2]


class ReadBack(ABC):
    """What a destination's readers see. Every method raises StoreError or LakeError.

    Where the store can hold on to one version of a table, all reads of one object are of the version that the first has
    found.

    ``keeps_versions``: the table has every version of a row, and the newest of each key counts. ``floats`` are those
    that the store can hold; it has NULL in place of the others.
    """

    keeps_versions: bool = False
    floats: Literal["all", "without NaN", "finite"] = "all"

    @abstractmethod
    def count(self) -> int:
        """How many rows there are, all versions counted."""

    @abstractmethod
    def read(self, columns: Sequence[str]) -> Generator[pa.RecordBatch]:
        """All rows in bounded batches, older versions before newer ones as far as the store knows.

        A column that the table lacks is left out. Values have the type that was landed, or one that holds the same:
        numbers in place of booleans and durations, text in place of anything. Text is ISO 8601 for times, decimal
        digits for numbers, Base64 for bytes.
        """

    def version(self) -> str:
        """A unique name of the version that readers see now; empty where the store keeps no versions.

        Call it before and after rows are read: the same name means that nothing was written between.
        """
        return ""

    def pending(self, landed: LandingState) -> str:
        """Why not all of what ``landed`` names may be seen yet, as a clause; empty only where all of it provably is."""
        return ""


class Destination[L: TableLease](ABC):
    """One table of a store. A third party's store subclasses this, or one of the bases built on it.

    ``schema_name`` (empty where the store has none) and ``table_name`` name it in the schema manifest. ``key_columns``
    are those that the settings name. ``merges`` says whether a row that lands again replaces the one with its key;
    where it does not, each version of a row lands once. ``merges_marked_alone``: of a table's first rows it does so
    only where they are marked. ``needs_key`` refuses increments of a source without a key.
    ``names`` says which columns it can hold. ``keeps_digests``: it has a place for digests of what has landed, so that
    reloads can compare; ``equates_texts``: texts, or bytes, that differ may be one key to it; ``deletes_first``: in
    what they land, deletes have to come before upserts. ``divides``: a load can be read in ranges by several attempts
    at once; ``replaces_at_once``: all rows of a reload have to become visible by one intent;
    ``is_missed_when_dropped``: readers see no table from the drop of one until the new one is there. ``L`` is the kind
    of hold that the store has on its tables.
    """

    schema_name: str = ""
    table_name: str
    names: ColumnNames = ColumnNames()
    key_columns: tuple[str, ...] = ()
    merges: bool = False
    merges_marked_alone: bool = False
    needs_key: bool = False
    keeps_digests: bool = False
    equates_texts: bool = False
    deletes_first: bool = False
    divides: bool = False
    replaces_at_once: bool = False
    is_missed_when_dropped: bool = False

    @abstractmethod
    def state(self) -> LandingState | None:
        """How far the table has come, without a claim on it; None where nothing ever landed."""

    def check_columns(self, columns: Sequence[str], landed: Collection[str] = ()) -> None:
        """Raise ColumnRefused for names that the table cannot hold; those that have ``landed`` have shown it can."""
        self.names.check(columns, landed)

    def check_access(self) -> None:
        """Raise StoreError, by name, for permissions that a load needs and the login is known to lack."""
        return

    def check_place(self, state: LandingState, schema: pa.Schema, *, reload: bool) -> list[str]:
        """Examine the place where rows of ``schema`` will land, before the first of them is read.

        Returns what is there, was not written by the engine, and stays. Raises NotOurs where the engine would have to
        add to it or replace it, LandingBroken where what it has written has changed.
        """
        return []

    def states(self) -> StateStore:
        """Where the landing state is kept. Raises StoreError where the store does not say."""
        raise StoreError(f"{self.table_name} cannot be handed over: its store does not say where its state is kept")

    def claim(self) -> Claim | None:
        """The landing state of another entity in the same store that says this place is that one's; None where no state
        does."""
        return None

    def state_to_replace(self) -> tuple[LandingState | None, bool]:
        """The landing state that an adoption replaces, None where there is none; and whether one cannot be read."""
        try:
            return self.state(), False
        except LandingUnreadable:
            return None, True

    def adopt(self) -> Adoption:
        """What lies in the place and has no landing state, or one that cannot be read, and how it could be taken over.
        Raises StoreError where that is not possible."""
        raise StoreError(f"{self.table_name} cannot be taken over: its store does not know how")

    @abstractmethod
    def attach(self, load_id: str, attempt: int) -> L:
        """Read the landing state for one attempt. Raises LandingBusy where another load owns the table."""

    def ranges(self, division: str) -> Ranges:
        """The documents and staged files of ranges, by the id of their division."""
        raise self._is_undivided()

    def hold_range(self, load_id: str, attempt: int, division: str, number: int) -> RangeLease:
        """Read landing state and document for one attempt at one range, counted from 0."""
        raise self._is_undivided()

    def _is_undivided(self) -> StoreError:
        return StoreError(f"{self.table_name} is not read in ranges: its store does not know how")

    def check_history(self, lease: L) -> None:
        """Compare the landing state with the table before anything is added; raises LandingBroken."""
        return

    @abstractmethod
    def writer(self, lease: L, schema: pa.Schema, *, marked: bool) -> RowWriter:
        """Where the rows of a slice are staged; ``marked`` rows are changes to a table that has rows already, or may
        hold several versions of a row."""

    @abstractmethod
    def publish(
        self,
        lease: L,
        files: Sequence[StagedFile],
        *,
        position: list[str] | None,
        last: bool,
        new_generation: bool = False,
    ) -> None:
        """Make staged rows visible, and commit position and rows together (`TableLease.intend`).

        ``last`` ends the load; ``new_generation`` replaces all that was landed before.
        """

    def drop(self, lease: L) -> bool:
        """Remove the old rows before a new generation lands; False where that has to be tried again later.

        A store that replaces a table in one step has nothing to do here.
        """
        lease.write_changes(phase="waiting")
        return True

    def clear(self, lease: L) -> None:
        """End a reload whose source had no rows: what was landed before is gone."""
        lease.drop_finished()

    def drop_wait(self, lease: L) -> Wait | None:
        """What to wait for between dropping and landing; None where nothing."""
        return None

    def digest_writer(self, lease: L, schema: pa.Schema) -> RowWriter:
        """Where digests of rows are staged, in files that `read_digests` can take whole. They stay where they are as
        long as a landing state names them. Raises StoreError where the store has no place for them."""
        raise StoreError(f"{self.table_name}: its store has no place for digests of rows")

    def read_digests(self, file: StagedFile) -> bytes | None:
        """What `digest_writer` has staged there, a Parquet file; None where it is missing, or is not what was
        written."""
        return None

    def read_back(self) -> ReadBack:
        """The table as its readers see it. Raises NotReadable where a store cannot be read back."""
        raise NotReadable(f"the table {self.table_name} cannot be read back: its store only takes rows")
