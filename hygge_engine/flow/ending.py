"""How an entity's part in a load ends: what is staged takes the old table's place, or the table is released."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hygge_engine.errors import LandingBroken
from hygge_engine.expectations.checks import outcome_of, warning_of
from hygge_engine.flow.divided import publish_ranges
from hygge_engine.flow.slices import SliceResult, SliceStatus
from hygge_engine.row_counts import RowCounts
from hygge_engine.stores.base import Destination, Wait
from hygge_engine.stores.landing.lease import TableLease
from hygge_engine.stores.landing.ranges import RangeLease
from hygge_engine.stores.landing.state import ExpectationResult, Finished, OpenLoad

# Pause before the next try to drop a table that is being read.
DROP_PAUSE_SECONDS = 5.0


def replace_table(destination: Destination[Any], lease: TableLease) -> Wait | None:
    """Drop the old table, wait until it is gone, land what the reload has staged: each step can be resumed.

    Asks nothing of the source. None once the reload has ended, else what has to be waited for. Raises LandingBroken,
    before anything is dropped, where the settings cannot finish it.
    """
    lease.check_finishable()
    opened = lease.open
    if opened is not None and opened.divided is not None and opened.phase == "landing":
        publish_ranges(destination, lease)  # the old table is gone, and some of the new one is there
        return None
    if opened is not None and opened.phase == "dropping":
        lease.sweep()  # no attempt may still publish what an earlier load, now abandoned, had staged
        if not destination.drop(lease):
            return Wait("The table's folder is in use and cannot be deleted yet", DROP_PAUSE_SECONDS)
    if wait := destination.drop_wait(lease):
        return wait
    if lease.open is not None and lease.open.divided is not None:
        publish_ranges(destination, lease)
    elif lease.open is not None and lease.open.staged:
        destination.publish(lease, lease.open.staged, position=None, last=True, new_generation=True)
    else:
        destination.clear(lease)
    return None


def let_go(destination: Destination[Any], lease: TableLease, started: datetime, *, waits: bool) -> SliceResult:
    """The last slice of an entity run that must not continue: nothing is read, and the table is released.

    A reload that has staged everything is finished, because its old table may be gone already, unless the settings name
    another place by now; what another one has staged is discarded, and its old table stays. Returns ``done`` where the
    load has ended by that, ``continue`` while the old table is being dropped, if the run ``waits`` for that, else
    ``cancelled``. Raises LandingBroken where what the load lands is of another kind of files than the settings say.
    """
    if lease.is_owner or (lease.owns_open and _is_all_staged(lease)):
        _take_over(lease)
        opened = lease.open
        if opened is not None and lease.owns_open and opened.mode == "reload":
            if opened.phase == "staging":
                lease.discard(goes_on=False)
            elif not lease.began_elsewhere and (wait := replace_table(destination, lease)) and waits:
                due = seconds_from_now(wait.seconds)
                return slice_result(lease, "continue", started, message=wait.message, not_before=due)
    lease.sweep()
    if lease.own_result is not None:
        return ended_result(lease, started)
    lease.release()
    return slice_result(lease, "cancelled", started)


def _take_over(lease: TableLease) -> None:
    """Own the table. What is visible of a load that was begun in another format stays as it is, and so does the load;
    raises LandingBroken where there is more to do about it."""
    try:
        lease.take_over()
    except LandingBroken:
        if lease.open is None or lease.open.intent or lease.open.mode == "reload":
            raise


def is_table_gone(lease: TableLease) -> bool:
    """Whether the table's old rows have been dropped, or are about to be, and the new ones have not landed."""
    reloads = [each for each in (lease.open, lease.state.set_aside) if each is not None and each.mode == "reload"]
    return any(each.dropped_at or lease.state.folder_etag for each in reloads)


def slice_result(
    lease: TableLease, status: SliceStatus, started: datetime, *, message: str = "", not_before: str | None = None
) -> SliceResult:
    """A result with what the entity run has landed so far."""
    totals = lease.own_result or (lease.open if lease.owns_open else None) or lease.adopted_result
    state = lease.state
    watermark = state.watermark
    return SliceResult(
        status,
        **(totals_in(totals) if totals else {}),
        message=message,
        not_before=not_before,
        table_gone=is_table_gone(lease) or None,
        primary_key=",".join(state.key_columns),
        watermark_column=watermark.column if watermark else "",
        watermark_type=watermark.type if watermark else "",
        watermark=(watermark.value or "") if watermark else "",
        reached=state.reached,
        **times_since(started),
    )


def totals_in(totals: OpenLoad | Finished) -> dict[str, Any]:
    """What a load has landed, by the names of a result. The counts of one that has landed nothing are left out, as far
    as they are known by that (`counts_of`)."""
    counts = totals.counts if totals.rows else RowCounts(unchanged=totals.counts.unchanged)
    return {"rows": totals.rows, "bytes": totals.bytes, "files": totals.files, **counts.by_name()}


def range_result(lease: RangeLease | None, status: SliceStatus, started: datetime) -> SliceResult:
    """How a slice of a range ended, with what the range has staged so far."""
    if lease is None:
        return SliceResult(status, **times_since(started))
    found = lease.range
    return SliceResult(
        status,
        rows=found.staged_rows,
        bytes=found.staged_bytes,
        files=len(found.staged),
        reached=found.reached,
        **times_since(started),
    )


def ended_result(lease: TableLease, started: datetime, *notes: str) -> SliceResult:
    """The result of a load that has ended; ``notes`` are the journal's message about its last slice."""
    done = lease.own_result
    checked, beginning = (done.checked, done.message) if done else (ExpectationResult(), "")
    return checked_result(lease, started, checked, beginning, *notes)


def checked_result(lease: TableLease, started: datetime, checked: ExpectationResult, *notes: str) -> SliceResult:
    """``done``, with what has come of the expectations."""
    message = "; ".join(note for note in (*notes, warning_of(checked)) if note)
    result = slice_result(lease, "done", started, message=message)
    return result.with_expectations(outcome_of(checked))


def times_since(started: datetime) -> dict[str, Any]:
    """When a slice began, and now, as its result has them."""
    return {"started": started.isoformat(), "finished": datetime.now(UTC).isoformat()}


def seconds_from_now(seconds: float) -> str:
    """A future time, as ``not_before`` has it."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def _is_all_staged(lease: TableLease) -> bool:
    opened = lease.open
    return opened is not None and opened.mode == "reload" and opened.phase != "staging"
