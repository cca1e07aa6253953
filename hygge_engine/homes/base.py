"""What a home promises: rows out of a source, as Arrow record batches whose schema comes from the catalogue, never
from data."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

import pyarrow as pa

from hygge_engine.watermark import Boundary, CursorType

# Where reading stopped, in the home's own exact texts, so that no digit is lost. What they say is the home's business:
# SQL Server's hold the key of the last row, or what is left of each range of it; those of files hold path, etag and the
# place in the file. JSON-serialisable; opaque to all but the home that made it.
Position = list[str]


# Keys that a source is asked for in one statement.
KEYS_AT_ONCE = 200

# Which texts a source treats as equal, though a destination distinguishes them: those that differ in trailing blanks,
# or in case too; turkic: dotless and dotted i differ. Empty: none that is known.
Folding = Literal["", "blanks", "case", "turkic"]


@dataclass(frozen=True)
class Column:
    """One column as the destination will hold it. ``loss`` says what is lost, empty where nothing is;
    ``keeps_apart`` whether values that differ still stay different (None: only where nothing is lost),
    ``folding`` which of its texts are one to the source, ``order`` by what it orders them (a collation), empty for what
    is no text, or where it is unknown."""

    name: str
    type: pa.DataType
    source_type: str
    nullable: bool = True
    loss: str = ""
    keeps_apart: bool | None = None
    folding: Folding = ""
    order: str = ""

    @property
    def blurs(self) -> bool:
        """Whether two values of the source may become one, so that rows cannot be distinguished by them."""
        return bool(self.loss) if self.keeps_apart is None else not self.keeps_apart


@dataclass(frozen=True)
class SourceSchema:
    """A source as its catalogue describes it.

    ``key`` are the columns of a unique, non-null, orderable key, empty where there is none; only a table with a key can
    be read in slices, unless ``resumes_without_key`` says that reading resumes by another position.
    ``key_is_declared``: by the settings, without a guarantee that it is unique. ``approximate_rows`` comes from the
    catalogue's statistics and is None where it keeps none. ``notes`` are what a plan and the first load say of the
    source beside its columns, ``omissions`` what a plan and every load say of what is there and is not read.
    ``stands_for`` is what a synonym leads to; empty for everything else.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    approximate_rows: int | None = None
    resumes_without_key: bool = False
    key_is_declared: bool = False
    notes: tuple[str, ...] = ()
    omissions: tuple[str, ...] = ()
    stands_for: str = ""

    @property
    def resumable(self) -> bool:
        """Whether a later slice can continue where one has stopped."""
        return bool(self.key) or self.resumes_without_key

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of every batch; all columns nullable, because Delta cannot drop a required one later."""
        return pa.schema([pa.field(column.name, column.type) for column in self.columns])


@dataclass(frozen=True)
class ReadWindow:
    """Which rows to read.

    Without ``cursor``: all rows. With it: rows with ``lower < cursor <= upper``; ``lower`` None means from the
    beginning, NULL cursors included; ``lower_inclusive`` reads the rows at ``lower`` again. A rowversion's bounds
    come from MIN_ACTIVE_ROWVERSION() and mean ``lower <= cursor < upper``. Values are in the home's own exact text
    forms. With one of `hygge_engine.project.models.settings.CHANGE_CURSORS`: all rows where ``lower`` is None,
    else those that changed after ``lower`` and not after ``upper``. With `FILE_MODIFIED` of the same module: the rows
    of the files whose time of last change lies between the bounds, without those at ``lower`` that ``landed`` names,
    and at ``upper`` with those alone that ``known`` names.

    ``identified_by`` names the columns by which the destination identifies rows. A home that can find NULLs there
    before it reads raises KeyUnusable; the rows are checked again as they are read.
    """

    cursor: str | None = None
    lower: str | None = None
    upper: str | None = None
    lower_inclusive: bool = False
    landed: Boundary | None = None
    known: Boundary | None = None
    identified_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class HighWater:
    """The upper bound of an incremental read, fixed before its first row. ``value`` is None where the table is empty.

    ``ties`` counts the rows at the watermark, at exactly that value: when more of them appear later, the next load
    reads the value again, so that rows which share the boundary's timestamp are never lost. ``null_cursors`` counts the
    rows whose cursor is NULL: an incremental read never sees them. ``oldest`` is the oldest value after which all
    changes are still known; None where that is any. ``since`` distinguishes one stretch of kept changes from a later
    one, after a time in which none were kept, and ``table`` the one whose changes these are from any other that has its
    name before or after; both are empty where the home does not know. ``boundary`` names what is at exactly that value,
    where the home knows it without reading rows. ``may_lag``: it is that of a copy of the source, which may be behind
    another one that was asked before. ``order`` is that of a cursor of texts (`Column.order`).

    Of a cursor of times, ``clock`` is the source's own time, as one of its values; None where it has none. Where rows
    lie after it, ``later`` counts them, and ``present`` is the upper bound without them.
    """

    value: str | None
    type: CursorType
    ties: int = 0
    null_cursors: int = 0
    oldest: str | None = None
    since: str = ""
    table: str = ""
    boundary: Boundary | None = None
    clock: str | None = None
    later: int = 0
    present: HighWater | None = None
    order: str = ""
    may_lag: bool = False


@dataclass(frozen=True)
class Batch:
    """Rows in the order of reading, and the position after the last of them (None where the home cannot resume).

    ``deleted`` are rows of the same schema that the source no longer has; of them only the key is known. ``inserted``:
    how many of ``rows`` are new to the source, by its own account; None where it keeps none.
    """

    rows: pa.RecordBatch
    position: Position | None = None
    deleted: pa.RecordBatch | None = None
    inserted: int | None = None


@runtime_checkable
class ChecksCursors(Protocol):
    """What a home may offer besides: facts about its cursors, without reading a row. Every home of this engine does."""

    def cursor_type(self, cursor: str) -> CursorType:
        """The type of the value that `Home.high_water` returns. Raises CursorUnusable, HomeNotFound for an unknown
        column."""
        ...

    def bound(self, cursor: str, text: str, *, upper: bool) -> str:
        """The bound of a requested window, in the home's own exact text form, so that the rows at this very
        value are in the window. Raises BoundUnusable where the column cannot have it."""
        ...


@runtime_checkable
class OrdersTexts(Protocol):
    """What a home may be asked besides, whose source alone knows the order of its texts."""

    def is_after(self, cursor: str, one: str, other: str) -> bool:
        """Whether one value of a cursor comes after another."""
        ...


@runtime_checkable
class ChecksAccess(Protocol):
    """What a home may offer besides whose source has permissions of its own for what is read."""

    def check_access(self) -> None:
        """Raise HomePermissionDenied, by name, where the login may not read what `Home.read` would; reads no row."""
        ...


@runtime_checkable
class Divides(Protocol):
    """What a home may offer besides whose source can be read by several at once, each over a home of its own."""

    def divide(self, window: ReadWindow, parts: int | None = None) -> list[Position]:
        """Positions at each of which `Home.read` reads its own share of the window and nothing else: together, in this
        order, all rows of the window, each once, as long as none changes its key. Two at least; empty where the source
        cannot be divided, or where that is not worth while.

        At most ``parts``; None: as many as the home's settings want for this window, none where they do not divide.
        What a position of a share's batch leaves is of that share alone. Raises what `Home.read` raises before its
        first row.
        """
        ...


@runtime_checkable
class ListsKeys(Protocol):
    """What a home may offer besides whose source can be asked for keys without the rows (`deletes.compare`), and for
    the rows of some keys."""

    def read_keys(self, columns: Sequence[str], after: Position | None = None) -> Generator[Batch]:
        """Yield these columns, in this order and no others, of all rows after a position, as `Home.read` does."""
        ...

    def find_rows(self, keys: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
        """These columns, in this order, of the rows that have one of these keys now, by the source's own comparison.

        ``keys`` are `KEYS_AT_ONCE` at most. Whatever is not among the result was not there when the source was asked.
        """
        ...


class KeyCost(NamedTuple):
    """What it costs a source to read a key: ``bytes_`` of it at most (0: unknown), and the index that has it without
    the rows (``covering``); empty where there is none, None where that is unknown."""

    bytes_: int
    covering: str | None


@runtime_checkable
class EstimatesKeys(Protocol):
    """What a home may offer besides that lists keys, for a plan."""

    def key_cost(self, columns: Sequence[str]) -> KeyCost:
        """What reading these columns of a row costs; reads none."""
        ...


@runtime_checkable
class Remarks(Protocol):
    """What a home may offer besides that meets with more than rows while it reads."""

    def remarks(self) -> Sequence[str]:
        """What its reading has met with so far, for the journal: a few, each of them once."""
        ...


class Home(Protocol):
    """One entity's source. Not thread-safe; use as a context manager, one per slice."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...

    def describe(self) -> SourceSchema:
        """Read the catalogue. Raises HomeNotFound, HomePermissionDenied, UnsupportedType."""
        ...

    def high_water(self, cursor: str) -> HighWater:
        """Fix the upper bound for an incremental read of ``cursor``. Raises CursorUnusable with the reason."""
        ...

    def count(self, window: ReadWindow) -> int:
        """How many rows `read` yields of a window that is not one of Change Tracking."""
        ...

    def count_at(self, cursor: str, value: str) -> int:
        """How many rows have exactly this cursor value; 0 for a rowversion, which never repeats."""
        ...

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        """Yield the window's rows after a position, in key order where the table has a key.

        Batches are bounded in bytes and rows. Closing the generator early cancels the statement.
        """
        ...
