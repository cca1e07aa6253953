"""What a comparison has found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

# behind: the destination has not been given all rows yet, or not applied them; failed: a side could not be asked.
Verdict = Literal["equal", "differs", "behind", "not readable", "failed"]

Side = Literal["source", "destination"]

# What is wrong with a row at the destination: not there, there without a row at the source, or not as at the source.
Kind = Literal["missing", "extra", "different"]


@dataclass(frozen=True)
class Example:
    """One row that differs: its key as text, and, where it is different, the names of the columns. Never the value of
    another column."""

    kind: Kind
    key: dict[str, str]
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reconciliation:
    """One entity, source against destination.

    ``source_rows`` and ``destination_rows`` count what was compared, of several versions of a row the newest; None
    where a side was not read. The checksums (16 hexadecimal digits) hold within one run only. ``compared`` says which
    rows those are, and ``moving`` how many keys were left out because they have changed since the last load.
    ``missing``, ``extra`` and ``different`` count all rows that differ, ``examples`` names some. ``not_compared`` are
    columns that only one side has. ``error`` is the code of what went wrong, ``seconds`` how long it took.
    """

    flow: str
    entity: str
    verdict: Verdict
    source_rows: int | None = None
    destination_rows: int | None = None
    source_checksum: str = ""
    destination_checksum: str = ""
    compared: str = ""
    moving: int = 0
    missing: int = 0
    extra: int = 0
    different: int = 0
    examples: tuple[Example, ...] = ()
    not_compared: tuple[str, ...] = ()
    message: str = ""
    hint: str = ""
    error: str = ""
    seconds: float = field(default=0.0, compare=False)

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping."""
        return asdict(self)


class ComparisonObserver(Protocol):
    """How a comparison is watched."""

    def read(self, side: Side, rows: int) -> None:
        """``rows`` of a side have been read so far; called between batches, by the thread that compares."""
        ...


class Unwatched:
    """Without a watcher."""

    def read(self, side: Side, rows: int) -> None:
        return
