"""What becomes of a landing state at each turn of a load: from one state to the next, without asking anything."""

from __future__ import annotations

from dataclasses import replace

from hygge_engine.errors import LandingBroken
from hygge_engine.row_counts import NOTHING_LANDED, UNKNOWN, RowCounts
from hygge_engine.stores.landing.state import Finished, LandingState, Mode, OpenLoad, Snapshot, with_open

# In place of columns in what a snapshot is made of: of several, one after another.
SEVERAL_SHAPES = "several shapes"


def committed(state: LandingState) -> LandingState:
    """The state once the files of its intent are visible."""
    opened = state.open
    if opened is None:
        raise LandingBroken("there is no open load to commit")
    published = [file for file in opened.intent if file.rows]
    sequence = state.next_sequence + len(published)
    divided = opened.divided
    if divided is not None:
        divided = replace(divided, published=divided.published + len(published))
    rows = sum(file.rows for file in published)
    mark = state.watermark
    if opened.compares and mark is not None and published:
        # A row that was deleted may come back as it was: what is known of rows at the watermark must not leave it out.
        mark = replace(mark, ties=0, boundary=None)
    return with_open(
        counted(
            replace(state, next_sequence=sequence, snapshot=_snapshot_at(sequence, state, opened), watermark=mark), rows
        ),
        intent=(),
        after_intent=None,
        position=opened.after_intent,
        rows=opened.rows + rows,
        bytes=opened.bytes + sum(file.length for file in published),
        files=opened.files + len(published),
        digests=(),
        folded=0,
        divided=divided,
    )


def counted(state: LandingState, rows: int) -> LandingState:
    """The state once so many ``rows`` of what its open load has read are visible, and the others left out."""
    opened = state.open
    if opened is None:
        raise LandingBroken("there is no open load to count rows of")
    if opened.adds:
        counts = RowCounts(rows, 0, 0)
    elif opened.divided is not None:
        counts = RowCounts(deleted=0) if rows else NOTHING_LANDED
    else:
        # An earlier version has written the intent where it has other rows than were counted.
        counts = opened.counting if opened.counting.fits(rows) else UNKNOWN
    return with_open(state, counts=opened.counts + counts, counting=UNKNOWN)


def _snapshot_at(sequence: int, state: LandingState, opened: OpenLoad) -> Snapshot | None:
    """The digests of what has landed once the intent of an open load is visible; None where some are missing."""
    before = Snapshot(opened.made_of, state.generation, state.next_sequence, keyed=opened.keyed)
    if opened.mode != "reload" and state.has_history:
        before = state.true_snapshot or replace(before, made_of="", keyed="")
    made_of, is_of_these_rows = opened.made_of, before.made_of == opened.made_of
    if not made_of or not (is_of_these_rows or (opened.keyed and before.keyed == opened.keyed)):
        return None
    if not is_of_these_rows:
        made_of = f"{made_of.partition('/')[0]}/{SEVERAL_SHAPES}"  # its keys alone can be compared
    kept = before.files[: len(before.files) - opened.folded]
    return replace(before, made_of=made_of, keyed=opened.keyed, sequence=sequence, files=(*kept, *opened.digests))


def ended(state: LandingState) -> LandingState:
    """The state after its open load: the watermark moves to the upper bound, and the table is given up."""
    opened = state.open
    if opened is None:
        raise LandingBroken("there is no open load to end")
    reached = None
    if opened.upper is not None and opened.upper.value is not None and not opened.backfill:
        reached = replace(opened.upper, boundary=opened.boundary or opened.upper.boundary)
    kept = None if opened.mode == "reload" else state.watermark
    compares = opened.compares or (opened.made_of != "" and opened.mode != "changes")
    newest = ({} if opened.mode == "reload" else state.newest) | opened.checked.newest
    handed_over_at = "" if opened.mode == "reload" and not opened.handed_over else state.handed_over_at
    return replace(
        state,
        open=None,
        owner=None,
        watermark=reached or kept,
        finished=totals_of(opened),
        newest=newest,
        handed_over_at=handed_over_at,
        went_back="" if opened.mode == "reload" and not opened.outlived else state.went_back,
        compared_at=opened.started if compares else state.compared_at,
    )


def totals_of(opened: OpenLoad) -> Finished:
    """What an open load has landed, as it stands once the load has ended."""
    return Finished(
        opened.load_id,
        opened.mode,
        opened.rows,
        opened.bytes,
        opened.files,
        opened.continued,
        opened.checked,
        opened.message,
        opened.counts,
        opened.compares_next and not opened.continued,
    )


def is_resumable(opened: OpenLoad, load_id: str) -> bool:
    """Whether ``load_id`` may continue where an open load stopped instead of starting it again.

    Its own load always may. Another load's staged reload may not: rows staged long ago would land as if they were
    new. What has a fixed upper bound may, because the next increment begins exactly there.
    """
    if opened.load_id == load_id or opened.phase in ("dropping", "waiting"):
        return True
    if opened.mode == "reload":
        return opened.phase == "landing"
    return opened.upper is not None


def is_continued(opened: OpenLoad, load_id: str, *, reloads: bool) -> bool:
    """Whether ``load_id`` continues an open load, and does not discard it; ``reloads``: it is itself a full reload.

    A reload builds on nothing but rows that may be all there is of the table: those that are staged to the last.
    """
    if opened.load_id == load_id:
        return True
    is_whole = opened.mode == "reload" and opened.phase != "staging"
    return is_resumable(opened, load_id) and (is_whole or not reloads)


def discarded(state: LandingState, load_id: str, *, for_reload: bool) -> LandingState:
    """The state once ``load_id`` has discarded its open load, see `TableLease.discard`."""
    opened = state.open
    if opened is None:
        return state if for_reload else state.reopened
    before = state.shape
    if opened.before is not None and not opened.has_landed:
        before = opened.before  # or the next increment would take what was only meant to land for what has
    finished = totals_of(opened) if opened.continued and opened.load_id == load_id else state.finished
    aside = opened if for_reload and opened.has_landed else state.set_aside
    snapshot = None if opened.intent else state.snapshot  # some of its rows may be visible
    state = replace(state, **vars(before), open=None, set_aside=aside, finished=finished, snapshot=snapshot)
    return state if for_reload else state.reopened


def rolled_forward(state: LandingState) -> LandingState:
    """The state once the intent of its open load is visible; the same where there is none."""
    if state.open is None or not state.open.intent:
        return state
    is_last = state.open.last
    return ended(committed(state)) if is_last else committed(state)


def taken_over(state: LandingState, *, reloads: bool) -> LandingState:
    """The state of a table without what another load than its open one discards before it continues from there;
    ``reloads``: it is itself a full reload."""
    while state.open is not None and not is_continued(state.open, "", reloads=reloads):
        state = discarded(state, "", for_reload=reloads)
    return state


def mode_of(state: LandingState, *, reload: bool) -> Mode:
    """What a new load of the table does."""
    if reload:
        return "reload"
    return "changes" if state.has_history else "initial"


def next_generation(state: LandingState) -> LandingState:
    """The state of a table whose rows are replaced by others: its files are numbered from the start."""
    return replace(
        state,
        generation=state.generation + 1,
        next_sequence=1,
        folder_etag="",
        removed_columns={},
        left_over=(),
        snapshot=None,
    )
