"""The watermark: which column orders the changes of a table, and up to which value they have landed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from hygge_engine.errors import CursorUnusable
from hygge_engine.watermark.values import CursorType, earlier, order_of

# Types whose values never repeat, so that nothing can appear later at a value that has been reached.
_UNIQUE: frozenset[CursorType] = frozenset({"binary", "version"})


@dataclass(frozen=True)
class Boundary:
    """The rows at exactly a cursor's ``value`` that have landed, each as a digest of its content. Not ``complete``:
    there were too many to remember.

    ``columns`` are those that the digests are made of; empty for all that there were, in documents of earlier versions.
    ``detailed``: each is a digest of every column, one after another, so that rows are recognised by those that are
    left where the source has lost some.
    """

    value: str
    rows: tuple[str, ...] = ()
    complete: bool = True
    columns: tuple[str, ...] = ()
    detailed: bool = False

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """The inverse of ``dataclasses.asdict``."""
        return cls(**{**entry, "rows": tuple(entry["rows"]), "columns": tuple(entry.get("columns", ()))})

    def recognises(self, columns: Sequence[str]) -> bool:
        """Whether a row with these columns is distinguished from those that have landed."""
        return self.complete and (self.detailed or set(self.columns) <= set(columns))


@dataclass(frozen=True)
class Watermark:
    """How far an incremental table has come.

    ``value`` is in its home's own exact text form, None where the source was empty. ``ties`` counts the rows that had
    exactly ``value`` when the bound was fixed; ``boundary`` holds those that landed.
    ``later`` rows waited beyond the source's ``clock`` then, further ahead than is allowed.
    ``since`` and ``table`` are what the home says of Change Tracking, ``order`` what it says of the order of texts
    (`HighWater`).
    """

    column: str
    type: CursorType
    value: str | None = None
    ties: int = 0
    boundary: Boundary | None = None
    since: str = ""
    order: str = ""
    table: str = ""
    later: int = field(default=0, compare=False)
    clock: str = field(default="", compare=False)

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping, as the landing state keeps it."""
        entry = asdict(self)
        table = entry.pop("table")
        if self.type == "version":
            entry["clock"] = table  # of which versions have none, so that earlier versions of the engine leave it alone
        elif table:
            entry["table"] = table
        return entry

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`, also of what earlier versions wrote, which had no boundary. Raises
        TypeError or KeyError for anything else."""
        boundary = entry.get("boundary")
        table = {"table": entry.get("clock", ""), "clock": ""} if entry["type"] == "version" else {}
        return cls(**{**entry, **table, "boundary": None if boundary is None else Boundary.from_json(boundary)})

    @property
    def repeats(self) -> bool:
        """Whether rows may appear later with a value that has been reached."""
        return self.type not in _UNIQUE

    @property
    def counted_in(self) -> str:
        """What a source counts by that lists its changes, for people."""
        return "version" if self.type == "version" else "LSN"

    def recognises(self, columns: Sequence[str]) -> bool:
        """Whether every row at exactly ``value`` is known, so that a new one, of a source with these columns, is
        distinguished from those that have landed."""
        return self.boundary is not None and self.boundary.recognises(columns)

    @property
    def is_of_unnamed_columns(self) -> bool:
        """Whether rows are known by a digest of all the columns that there were, as earlier versions made it."""
        return self.boundary is not None and bool(self.boundary.rows) and not self.boundary.columns

    @property
    def remembered(self) -> int:
        """How many rows at exactly ``value`` are known."""
        return len(self.boundary.rows) if self.boundary is not None else 0

    def check_cursor(self, other: Watermark) -> None:
        """Raise CursorUnusable where ``other``, of the configuration, belongs to another cursor, or to one that its
        source orders otherwise now."""
        if (self.column, self.type) != (other.column, other.type):
            raise CursorUnusable(
                f"the table was loaded by {self.column} ({self.type}) so far, "
                f"the configuration now says {other.column} ({other.type})",
                hint="Restore the watermark, or replace what has landed: run_type full_drop.",
            )
        if self.order and other.order and self.order != other.order:
            raise CursorUnusable(
                f"the table was loaded by {self.column} in the order of {self.order} so far, and its source has the "
                f"order of {other.order} now, in which other values lie after {self.value}",
                hint="Restore the column's type and collation, or replace what has landed: run_type full_drop.",
            )

    def check_lag(self) -> None:
        """Raise CursorUnusable where the cursor is not a time, so that no lag can go back in it."""
        if self.type != "datetime":
            raise CursorUnusable(
                f"A watermark of type {self.type} has no minutes that a lag could go back.",
                hint="Remove lag, or use a time of last change as the watermark.",
            )

    def lagged(self, value: str, seconds: float) -> str:
        """``value`` of this cursor, a number of seconds back. Raises CursorUnusable where the cursor is not a time."""
        self.check_lag()
        return earlier(value, seconds)

    def is_within(self, oldest: str | None, newest: str | None) -> bool:
        """Whether what has been reached lies between two values of the same cursor, both included."""
        if self.value is None or oldest is None or newest is None:
            return False
        low, reached, high = (order_of(value, self.type) for value in (oldest, self.value, newest))
        return low <= reached <= high
