"""What the landing protocol asks of a database, so that each can serve it in its own dialect."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol

import pyarrow as pa

from hygge_engine.errors import NotOurs
from hygge_engine.letter_case import in_ascii_case
from hygge_engine.plain_text import counted
from hygge_engine.stores.base import ReadBack
from hygge_engine.stores.column_names import ColumnNames

# The engine's own tables: the landing states of all tables of a database, and what is staged beside each table.
LANDING_TABLE = "__hygge_landing"
LANDING_COLUMNS = ["name", "nonce", "state"]
STAGE_MARK = "__hygge_stage_"

# Orders the rows of a stage as they came: of two versions of a row the later one counts.
ROW_NUMBER = "__hygge_row"

# In a stage of changes: true for a row that the source no longer has, of which only the key is filled.
DELETED = "__hygge_deleted"


# How many columns a message names, and up to how many rows it counts.
NAMED_COLUMNS = 8
COUNTED_ROWS = 1_000

# The end of a stage's name.
_STAGE_END = re.compile(r"(?P<epoch>\d{8,})_\d{4,}_\d{5,}")


class StoredState(NamedTuple):
    """A landing state as the database has it: a JSON document, and the nonce that it was written with."""

    document: str
    nonce: str


class Inserter(Protocol):
    """Adds rows to one stage, each batch durably before `insert` returns."""

    def insert(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


class Transaction(Protocol):
    """Statements that take effect together or not at all. Every method raises StoreError alone."""

    def replace_state(self, name: str, state: StoredState, previous: str | None) -> str | None:
        """Put a state in place of the one with the nonce ``previous``, or where there is none yet (None).

        Also locks it until the transaction ends. Returns the nonce that is there now: another one than the state's
        where nothing was replaced.
        """
        ...

    def table_id(self, table: str) -> str | None:
        """What distinguishes a table or view from any other that ever had its name; None where there is none, and empty
        where it has no mark, as for a table that an earlier version has made."""
        ...

    def merge(
        self,
        stage: str,
        table: str,
        schema: pa.Schema,
        key: Sequence[str],
        told_apart: Mapping[str, str],
        mark: str = "",
    ) -> None:
        """Move all rows of a stage into a table, in place of those with the same key; the stage is gone then.

        Of the columns of ``told_apart`` (`hygge_engine.stores.landing.state.OpenLoad`) texts are the same only where
        the source takes them for the same, whatever the database does. The table is created, or gets the columns that
        it lacks. Of the versions of a row in the stage the last one counts; where the stage has a column `DELETED`
        and that is true, the row is taken away; where there is a column ``mark``, it stays, and gets what the stage has
        there, unless it has been marked before.
        """
        ...

    def replace(
        self, stages: Sequence[str], table: str, schema: pa.Schema, key: Sequence[str], told_apart: Mapping[str, str]
    ) -> None:
        """Put the rows of all stages in place of a table; the stages are gone then. ``told_apart`` as in `merge`."""
        ...


class Database(ABC):
    """One database. Each method opens its own connection: what a load holds between two calls is only its state.

    ``names`` are those that columns may have. ``equates_texts``: keys of texts or bytes that differ may be one to it.
    """

    names: ColumnNames = ColumnNames(taken=(ROW_NUMBER, DELETED))
    equates_texts = False

    @abstractmethod
    def now(self) -> datetime:
        """The clock that all attempts share, in UTC."""

    @abstractmethod
    def read_state(self, name: str) -> StoredState | None:
        """The landing state of that name, after any transaction that is changing it; None where there is none."""

    @abstractmethod
    def transaction(self) -> AbstractContextManager[Transaction]:
        """A transaction that commits where its body ends, and rolls back where it raises."""

    @abstractmethod
    def has_table(self, table: str) -> bool:
        """Whether there is such a table."""

    @abstractmethod
    def table_id(self, table: str) -> str | None:
        """As `Transaction.table_id`."""

    @abstractmethod
    def plain_columns(self, table: str) -> list[str] | None:
        """All columns of a table, in order; none of a view or whatever else has the name, None where nothing has it."""

    def has_landing_table(self) -> bool:
        """Whether there is the table of landing states. Raises NotOurs where its name is taken by a foreign table."""
        found = self.plain_columns(LANDING_TABLE)
        if found is not None and [in_ascii_case(name) for name in found] != LANDING_COLUMNS:
            raise NotOurs(
                f"{LANDING_TABLE}, where landing states are kept, is not one of this engine's tables: "
                f"{self.describe_table(LANDING_TABLE)}",
                hint="Rename it, or let the store land in another database or schema.",
            )
        return found is not None

    @abstractmethod
    def state_names(self) -> list[str]:
        """The names of all landing states."""

    def check_access(self) -> None:
        """Raise StoreError, by name, for permissions that a load needs and the login is known to lack."""
        return

    def check_names(self, table: str) -> None:
        """Raise NotOurs where a name that a reload of the table needs meanwhile is taken."""
        return

    def columns(self, table: str) -> list[str]:
        """The columns of a table that hold values of their own, in order; none where there is no such table."""
        return []

    def describe_table(self, table: str) -> str:
        """A short description of a foreign table and its rows."""
        return ", ".join(self.columns(table)[:NAMED_COLUMNS])

    @abstractmethod
    def create_stage(self, stage: str, schema: pa.Schema, key: Sequence[str]) -> Inserter:
        """Create a table for staged rows."""

    @abstractmethod
    def stages(self, table: str) -> list[str]:
        """The stages of a table, whichever load has left them there: tables with the column `ROW_NUMBER`."""

    @abstractmethod
    def drop_stage(self, stage: str) -> None:
        """Drop a stage, if it is there. One that is still being written to may be left for the next sweep."""

    @abstractmethod
    def read_back(self, table: str) -> ReadBack:
        """A table as its readers see it; without rows where there is no such table."""


def stage_name(table: str, epoch: int, attempt: int, number: int) -> str:
    """The name of a stage of a table, which holds the epoch of the attempt that filled it."""
    return f"{table}{STAGE_MARK}{epoch:08d}_{attempt:04d}_{number:05d}"


def epoch_of(table: str, stage: str) -> int | None:
    """The epoch in a stage's name; None for a name that no stage of the table has."""
    prefix = f"{table}{STAGE_MARK}"
    found = _STAGE_END.fullmatch(stage.removeprefix(prefix)) if stage.startswith(prefix) else None
    return int(found["epoch"]) if found else None


def described(kind: str, columns: Sequence[str], rows: int) -> str:
    """A foreign table, for messages; ``rows`` are counted up to one more than `COUNTED_ROWS`."""
    more = ", …" if len(columns) > NAMED_COLUMNS else ""
    count = f"more than {COUNTED_ROWS:,} rows" if rows > COUNTED_ROWS else counted(rows, "row")
    return f"a {kind} of {count} with the columns {', '.join(columns[:NAMED_COLUMNS])}{more}"
