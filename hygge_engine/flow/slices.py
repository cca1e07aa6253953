"""The task and the result of an activity: plain values that travel through the orchestration's history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hygge_engine.errors import HyggeError
from hygge_engine.masking import mask
from hygge_engine.plain_text import recordable

if TYPE_CHECKING:
    from hygge_engine.project.models.settings import Reload, RunType

SliceStatus = Literal["done", "continue", "failed", "skipped", "cancelled"]


@dataclass(frozen=True)
class SliceTask:
    """One slice of one entity run. ``attempt`` counts the activities scheduled for this entity run, from 1.

    ``window_from`` and ``window_to`` bound a backfill, both inclusive; without either it is an ordinary load.
    ``reload`` overrules how the entity is reloaded (empty: as its settings say).
    ``connections`` to the source are the slice's own, by ``connection`` of the project (empty: it needs none); ``busy``
    counts the results in a row that another load owns the table. A ``closing`` slice reads nothing: the entity run must
    not continue, and releases what it holds; a ``hurried`` one does so without waiting for the destination first. With
    a ``division`` it reads but one range of an open load, the ``range_number``-th from 0.
    """

    load_id: str
    entity_run_id: str
    flow: str
    entity: str
    run_type: RunType
    settings_hash: str
    attempt: int = 1
    window_from: str = ""
    window_to: str = ""
    connections: int = 1
    connection: str = ""
    busy: int = 0
    closing: bool = False
    hurried: bool = False
    reload: Reload | Literal[""] = ""
    division: str = ""
    range_number: int = 0

    @property
    def is_backfill(self) -> bool:
        """Whether a window is loaded again, rather than what is new."""
        return bool(self.window_from or self.window_to)

    @property
    def part(self) -> int | None:
        """The range that it reads; None where it is an ordinary slice."""
        return self.range_number if self.division else None

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SliceTask:
        """The inverse of `to_json`."""
        return cls(**value)


@dataclass(frozen=True)
class SliceResult:
    """How a slice ended.

    ``continue``: schedule another slice, not before ``not_before`` (ISO 8601, UTC) where that is given. ``rows``,
    ``bytes`` and ``files`` count what the whole entity run has landed so far, over all its slices: the landing state
    keeps them, so a slice that was killed is not counted twice. ``rows_inserted`` and its likes tell them apart
    (`RowCounts`), also None where nothing has landed at all. ``reached`` differs between two slices if, and only if,
    the load has progressed between them (`LandingState.reached`); it is empty where a slice does not know.
    ``begun_again``: what was read so far had to be discarded. ``error``, ``hint`` (the part of ``message`` that says
    what to do), ``transient`` and ``retry_after_seconds`` (jitter included) go with ``failed``. ``expectations`` counts
    those that were met and those that were not, as JSON. ``table_gone``: the old table has been dropped and the new
    rows have not landed; None where the slice does not know. ``busy``: another load owns the table. ``ranges``: the
    load is read in so many, under ``division``, of which ``ranges_left`` (`as_text`) are to be read before the next
    slice.
    """

    status: SliceStatus
    rows: int = 0
    bytes: int = 0
    files: int = 0
    message: str = ""
    error: str = ""
    hint: str = ""
    transient: bool = False
    retry_after_seconds: float | None = None
    not_before: str | None = None
    started: str = ""
    finished: str = ""
    primary_key: str = ""
    watermark_column: str = ""
    watermark_type: str = ""
    watermark: str = ""
    expectations: str = ""
    reached: str = ""
    begun_again: bool = False
    table_gone: bool | None = None
    busy: bool = False
    ranges: int = 0
    ranges_left: str = ""
    division: str = ""
    rows_inserted: int | None = None
    rows_updated: int | None = None
    rows_deleted: int | None = None
    rows_unchanged: int | None = None

    def __post_init__(self) -> None:
        """Whatever a source, a driver or a row has put into them, the texts show no secret and can be written down
        everywhere."""
        for name, value in vars(self).items():
            if isinstance(value, str) and (plain := recordable(mask(value))) != value:
                object.__setattr__(self, name, plain)

    def with_expectations(self, outcome: str) -> SliceResult:
        """The same, with what has come of the expectations."""
        return replace(self, expectations=outcome)

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> SliceResult:
        """The inverse of `to_json`."""
        return cls(**value)

    @classmethod
    def failure(cls, error: HyggeError, *, retry_after_seconds: float | None = None, **totals: Any) -> SliceResult:
        """An expected failure as a value."""
        return cls(
            status="failed",
            message=str(error).strip() or f"{type(error).__name__}, without a message",
            error=error.code,
            hint=error.hint,
            transient=error.transient,
            retry_after_seconds=retry_after_seconds,
            **totals,
        )


# What an entity says that was stopped after it had begun.
CANCELLED = "The load was cancelled; what had been committed stays."


def as_text(numbers: Iterable[int]) -> str:
    """Numbers in ascending order as a short text: ``0-4,7``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] + 1 == number:
            runs[-1][1:] = [number]
        else:
            runs.append([number])
    return ",".join("-".join(str(number) for number in run) for run in runs)


def numbers_in(text: str) -> list[int]:
    """The inverse of `as_text`."""
    found: list[int] = []
    for run in filter(None, text.split(",")):
        first, _, last = run.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


class SliceObserver(Protocol):
    """How a running slice is watched from outside."""

    def progress(self, rows: int, bytes_: int) -> None:
        """Rows and bytes of the whole entity run read so far; called between batches, cheap."""
        ...

    def cancelled(self) -> bool:
        """Whether the load was asked to stop; called between batches, cheap."""
        ...
