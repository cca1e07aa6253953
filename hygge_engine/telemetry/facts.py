"""What is known of a load that has ended, for log, traces, metrics and lineage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hygge_engine.plain_text import counted
from hygge_engine.row_counts import RowCounts, counts_of
from hygge_engine.statuses import JOURNAL_STATUS


@dataclass(frozen=True)
class EntityRun:
    """One entity's part in a load. ``status`` in the journal's words; ``started`` is None where it never began.
    ``lag_seconds``: how far the watermark is behind the run's end, None where it is not a time."""

    entity_run_id: str
    flow: str
    entity: str
    run_type: str
    status: str
    rows: int
    bytes: int
    files: int
    counts: RowCounts
    attempts: int
    started: datetime | None
    finished: datetime | None
    error: str
    message: str
    lag_seconds: float | None

    @property
    def failure(self) -> str:
        """What went wrong; empty where nothing did."""
        return self.message if self.status == "fail" else ""

    @property
    def duration_seconds(self) -> float | None:
        """From the first slice to the end; None where it never began."""
        if self.started is None or self.finished is None:
            return None
        return round((self.finished - self.started).total_seconds(), 3)


@dataclass(frozen=True)
class LoadRun:
    """A load that has ended. ``requested_by`` is what the caller claims to be, ``principal`` whom the platform has
    authenticated (empty: none)."""

    load_id: str
    status: str
    requested_by: str
    principal: str
    started: datetime
    finished: datetime
    error: str
    message: str
    entities: Sequence[EntityRun]

    @property
    def failure(self) -> str:
        """What went wrong with the load as a whole; empty where nothing did."""
        if self.status != "fail":
            return ""
        return (
            self.message
            or f"{counted(sum(run.status == 'fail' for run in self.entities), 'entity', 'entities')} failed"
        )


def load_run_of(summary: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> LoadRun:
    """From what ``settle_load`` is given: the summary (`summary.summarize`) and the entities' last results."""
    return LoadRun(
        load_id=summary["load_id"],
        status=summary["status"],
        requested_by=summary["requested_by"],
        principal=summary.get("principal", ""),
        started=datetime.fromisoformat(summary["started"]),
        finished=datetime.fromisoformat(summary["finished"]),
        error=summary.get("error", ""),
        message=summary.get("message", ""),
        entities=[entity_run_of(result) for result in results],
    )


def entity_run_of(result: Mapping[str, Any]) -> EntityRun:
    """From an entity's last result (`SliceResult`, keys with default values left out) with the plan's names for it."""
    finished = _time(result.get("finished"))
    return EntityRun(
        entity_run_id=result["entity_run_id"],
        flow=result["flow"],
        entity=result["entity"],
        run_type=result["run_type"],
        status=JOURNAL_STATUS[result["status"]],
        rows=result.get("rows", 0),
        bytes=result.get("bytes", 0),
        files=result.get("files", 0),
        counts=counts_of(result, result.get("rows", 0)),
        attempts=result["attempts"],
        started=_time(result.get("started")),
        finished=finished,
        error=result.get("error", ""),
        message=result.get("message", ""),
        lag_seconds=_lag(result, finished),
    )


def _lag(result: Mapping[str, Any], finished: datetime | None) -> float | None:
    """Of a watermark that is a time: the source's wall clock, taken for UTC as everywhere."""
    watermark = result.get("watermark")
    if finished is None or not watermark or result.get("watermark_type") != "datetime":
        return None
    try:
        time = datetime.fromisoformat(watermark)
    except ValueError:
        return None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    return round((finished - time).total_seconds(), 3)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
