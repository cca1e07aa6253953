"""What the journal's rows say about loads, flows and entities; one result for API, command line and mirror."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Literal, get_args

import polars as pl
import pyarrow as pa

from hygge_engine.journal.rows import LONGEST_SECONDS
from hygge_engine.row_counts import COUNT_NAMES

Level = Literal["load", "flow", "entity"]
LEVELS: tuple[Level, ...] = get_args(Level)

# One row for each load; `status` is the gravest of its entities', cancel before fail before success before skip.
_LOADS_COLUMNS: dict[str, pa.DataType] = {
    "coordinator_run_id": pa.string(),
    "coordinator": pa.string(),
    "started": pa.string(),
    "finished": pa.string(),
    "status": pa.string(),
    "entities": pa.int64(),
    "succeeded": pa.int64(),
    "failed": pa.int64(),
    "skipped": pa.int64(),
    "cancelled": pa.int64(),
    "rows": pa.int64(),
    "bytes": pa.int64(),
    "duration": pa.float64(),
    "requested_by": pa.string(),
    "run_type": pa.string(),
    "message": pa.string(),
    "principal": pa.string(),
    **dict.fromkeys(COUNT_NAMES, pa.int64()),
}
LOADS_SCHEMA = pa.schema(_LOADS_COLUMNS)

_START = pl.col("start_time").replace("", None)
_FINISH = pl.col("finish_time").replace("", None)
_IS_ENTITY = pl.col("entity").fill_null("") != ""
_STATUS = pl.col("status")

# The columns of the journal that summaries are made of.
SUMMARY_COLUMNS = (
    *("coordinator_run_id", "coordinator", "flow", "entity", "start_time", "finish_time", "status", "run_type"),
    *("row_count", "duration", "message", "bytes", "requested_by", "principal", *COUNT_NAMES),
)

_KEYS: dict[Level, list[str]] = {"load": ["coordinator_run_id"], "flow": ["flow"], "entity": ["flow", "entity"]}


def summarize(rows: pl.DataFrame, by: Level = "load") -> pl.DataFrame:
    """One row for each load, flow or entity, the one that started last first.

    All have ``started`` (the first start), ``finished`` (the last finish), ``status``, ``succeeded``, ``failed``,
    ``skipped`` and ``cancelled`` (entity runs), ``rows``, ``bytes``, ``duration`` (seconds) and ``message``; and
    ``rows_inserted``, ``rows_updated`` and ``rows_deleted``, null where that is not known of every run that has landed
    rows, and ``rows_unchanged``, null where no run has compared any.

    ``load`` has the columns of `LOADS_SCHEMA`: ``status`` is the gravest, ``duration`` runs from the first start to the
    last finish, ``message`` is the first error or, where nothing failed, the first reason to skip or cancel, and
    ``run_type`` is ``mixed`` where entities differ.

    ``flow`` and ``entity`` have these names first, then ``runs``; ``status`` is that of the newest run,
    ``succeeded_at`` when one was last well, ``duration`` adds up, and ``message`` is the newest error. Rows about a
    load as a whole count for loads only.
    """
    return summarize_pieces([rows], by)


def summarize_pieces(pieces: Iterable[pl.DataFrame], by: Level = "load") -> pl.DataFrame:
    """The same of rows that come in pieces, of which one is in memory at a time beside the result."""
    return finished(combined((piece_of(rows, by) for rows in pieces), by), by)


def piece_of(rows: pl.DataFrame, by: Level) -> pl.DataFrame:
    """What some of the rows say of each load, flow or entity: for `combined` and `finished`. The rows need
    `SUMMARY_COLUMNS` only."""
    chosen = rows.lazy() if by == "load" else rows.lazy().filter(_IS_ENTITY)
    return chosen.group_by(_KEYS[by], maintain_order=True).agg(**(_OF_LOAD if by == "load" else _OF_PART)).collect()


def combined(pieces: Iterable[pl.DataFrame], by: Level) -> pl.DataFrame:
    """Pieces as one, in their order; one is in memory at a time beside the result."""
    again = _AGAIN_OF_LOAD if by == "load" else _AGAIN_OF_PART

    def both(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
        return pl.concat([one, other]).lazy().group_by(_KEYS[by], maintain_order=True).agg(**again).collect()

    return reduce(both, pieces)


def finished(piece: pl.DataFrame, by: Level) -> pl.DataFrame:
    """The result of all pieces, combined: see `summarize`."""
    if by != "load":
        keys = _KEYS[by]
        ordered = piece.sort("latest", *keys, descending=[True] + [False] * len(keys), nulls_last=True)
        return ordered.with_columns(duration=pl.col("duration").round(3)).select(*keys, *_PART_COLUMNS)
    loads = piece.with_columns(
        status=pl.when("is_cancelled")
        .then(pl.lit("cancel"))
        .when("has_failed")
        .then(pl.lit("fail"))
        .when("has_succeeded")
        .then(pl.lit("success"))
        .otherwise(pl.lit("skip")),
        run_type=pl.when("is_mixed").then(pl.lit("mixed")).otherwise("run_type"),
        message=pl.coalesce("failure", "reason"),
        duration=_seconds(pl.col("started"), pl.col("finished")),
    )
    return loads.select(LOADS_SCHEMA.names).sort("started", "coordinator_run_id", descending=True, nulls_last=True)


def _count(status: str) -> pl.Expr:
    return (_IS_ENTITY & pl.col("status").eq(status)).sum().cast(pl.Int64)


def _in_time(column: str, at: str, when: pl.Expr) -> pl.Expr:
    """A column of some of the rows, in the order of a time."""
    return pl.col(column).filter(when).sort_by(pl.col(at).filter(when), maintain_order=True)


_FAILED, _STOPPED = _STATUS == "fail", _STATUS.is_in(["skip", "cancel"])

_LANDED_NAMES, _UNCHANGED = COUNT_NAMES[:3], COUNT_NAMES[3]


def _known_of_all(count: pl.Expr) -> pl.Expr:
    return pl.when(count.is_not_null().all()).then(count.sum())


def _known_of_some(count: pl.Expr) -> pl.Expr:
    return pl.when(count.is_not_null().any()).then(count.sum())


def _landed(name: str) -> pl.Expr:
    """How many of the rows that have landed are of a kind: none where none have landed."""
    return pl.when(pl.col("row_count").fill_null(0) == 0).then(pl.col(name).fill_null(0)).otherwise(name)


_COUNTS = ("succeeded", "failed", "skipped", "cancelled", "rows", "bytes")
_BOTH = {
    "started": _START.min(),
    "finished": _FINISH.max(),
    "succeeded": _count("success"),
    "failed": _count("fail"),
    "skipped": _count("skip"),
    "cancelled": _count("cancel"),
    "rows": pl.col("row_count").sum(),
    "bytes": pl.col("bytes").sum(),
    **{name: _known_of_all(_landed(name)) for name in _LANDED_NAMES},
    _UNCHANGED: _known_of_some(pl.col(_UNCHANGED)),
}
_BOTH_AGAIN = {
    "started": pl.col("started").min(),
    "finished": pl.col("finished").max(),
    **{name: pl.col(name).sum() for name in _COUNTS},
    **{name: _known_of_all(pl.col(name)) for name in _LANDED_NAMES},
    _UNCHANGED: _known_of_some(pl.col(_UNCHANGED)),
}

_OF_LOAD = {
    **_BOTH,
    "coordinator": pl.col("coordinator").first(),
    "entities": _IS_ENTITY.sum().cast(pl.Int64),
    "requested_by": pl.col("requested_by").drop_nulls().first(),
    "principal": pl.col("principal").drop_nulls().first(),
    "run_type": pl.col("run_type").first(),
    "is_mixed": pl.col("run_type").n_unique() > 1,
    "is_cancelled": (_STATUS == "cancel").any(),
    "has_failed": _FAILED.any(),
    "has_succeeded": (_STATUS == "success").any(),
    "has_stopped": _STOPPED.any(),
    "failure": _in_time("message", "finish_time", _FAILED).first(),
    "failure_at": _in_time("finish_time", "finish_time", _FAILED).first(),
    "reason": _in_time("message", "finish_time", _STOPPED).first(),
    "reason_at": _in_time("finish_time", "finish_time", _STOPPED).first(),
}
_AGAIN_OF_LOAD = {
    **_BOTH_AGAIN,
    "coordinator": pl.col("coordinator").first(),
    "entities": pl.col("entities").sum(),
    "requested_by": pl.col("requested_by").drop_nulls().first(),
    "principal": pl.col("principal").drop_nulls().first(),
    "run_type": pl.col("run_type").first(),
    "is_mixed": pl.col("is_mixed").any() | (pl.col("run_type").n_unique() > 1),
    **{name: pl.col(name).any() for name in ("is_cancelled", "has_failed", "has_succeeded", "has_stopped")},
    **{name: _in_time(name, "failure_at", pl.col("has_failed")).first() for name in ("failure", "failure_at")},
    **{name: _in_time(name, "reason_at", pl.col("has_stopped")).first() for name in ("reason", "reason_at")},
}

_PART_COLUMNS = (
    *("runs", "started", "finished", "status", "succeeded_at", *_COUNTS, "duration", "message"),
    *COUNT_NAMES,
)
_LATEST = pl.col("start_time").fill_null("").arg_max()
_OF_PART = {
    **_BOTH,
    "runs": pl.len().cast(pl.Int64),
    "status": _STATUS.get(_LATEST),
    "succeeded_at": _FINISH.filter(_STATUS == "success").max(),
    "duration": pl.col("duration").sum(),
    "message": _in_time("message", "finish_time", _FAILED).last(),
    "failed_at": _in_time("finish_time", "finish_time", _FAILED).last(),
    "latest": _START.max(),
}
_AGAIN_OF_PART = {
    **_BOTH_AGAIN,
    "runs": pl.col("runs").sum(),
    "status": _STATUS.get(pl.col("latest").fill_null("").arg_max()),
    "succeeded_at": pl.col("succeeded_at").max(),
    "duration": pl.col("duration").sum(),
    "message": _in_time("message", "failed_at", pl.col("failed") > 0).last(),
    "failed_at": pl.col("failed_at").max(),
    "latest": pl.col("latest").max(),
}


def _seconds(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    # Journals of the original framework may hold times without an offset: both are read as UTC.
    moments = [time.str.to_datetime(time_unit="us", time_zone="UTC", strict=False) for time in (start, end)]
    # Polars divides several values another way than one, and the last bit may differ. Rounded, a load's summary is the
    # same whichever others are summed up beside it, and a mirror of it never drifts.
    seconds = ((moments[1] - moments[0]).dt.total_microseconds() / 1e6).round(6)
    return pl.when(seconds.is_between(0, LONGEST_SECONDS)).then(seconds)
