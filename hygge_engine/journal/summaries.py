"""What the journal's rows say about loads, flows and entities; one answer for the API, command line and mirror."""

from __future__ import annotations

from typing import Literal

import polars as pl
import pyarrow as pa

Level = Literal["load", "flow", "entity"]

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
}
LOADS_SCHEMA = pa.schema(_LOADS_COLUMNS)

_KEYS: dict[Level, list[str]] = {
    "load": ["coordinator_run_id"],
    "flow": ["flow"],
    "entity": ["flow", "entity"],
}

_START = pl.col("start_time").replace("", None)
_FINISH = pl.col("finish_time").replace("", None)
_IS_ENTITY = pl.col("entity").fill_null("") != ""


def summarize_loads(rows: pl.DataFrame) -> pl.DataFrame:
    """One row for each load, newest first, with the columns of `LOADS_SCHEMA`.

    ``duration`` is in seconds from the first start to the last finish, ``message`` the first error or, where nothing
    failed, the first reason to skip or cancel. ``run_type`` is ``mixed`` where entities differ.
    """
    loads = (
        rows.lazy()
        .group_by("coordinator_run_id")
        .agg(
            coordinator=pl.col("coordinator").first(),
            started=_START.min(),
            finished=_FINISH.max(),
            status=_gravest(),
            entities=_IS_ENTITY.sum().cast(pl.Int64),
            succeeded=_count("success"),
            failed=_count("fail"),
            skipped=_count("skip"),
            cancelled=_count("cancel"),
            rows=pl.col("row_count").sum(),
            bytes=pl.col("bytes").sum(),
            requested_by=pl.col("requested_by").drop_nulls().first(),
            run_type=pl.when(pl.col("run_type").n_unique() > 1)
            .then(pl.lit("mixed"))
            .otherwise(pl.col("run_type").first()),
            message=pl.coalesce(_first_message("fail"), _first_message("skip", "cancel")),
        )
        .with_columns(duration=_seconds(pl.col("started"), pl.col("finished")))
        .select(LOADS_SCHEMA.names)
        .sort("started", "coordinator_run_id", descending=True, nulls_last=True)
    )
    return loads.collect()


def summarize(rows: pl.DataFrame, by: Level) -> pl.DataFrame:
    """Counts by status, rows, bytes and time for each load, flow or entity, in the order of their last start.

    ``runs`` counts entity runs, ``duration`` adds up their seconds, ``last_status`` is that of the newest, and
    ``first_error`` the message of the oldest that failed. Rows about a load as a whole count for loads only.
    """
    newest = pl.col("start_time").fill_null("").arg_max()
    entity_runs = rows.lazy() if by == "load" else rows.lazy().filter(_IS_ENTITY)
    return (
        entity_runs.group_by(_KEYS[by])
        .agg(
            runs=pl.len().cast(pl.Int64),
            success=_count_all("success"),
            fail=_count_all("fail"),
            skip=_count_all("skip"),
            cancel=_count_all("cancel"),
            rows=pl.col("row_count").sum(),
            bytes=pl.col("bytes").sum(),
            duration=pl.col("duration").sum().round(3),
            started=_START.min(),
            finished=_FINISH.max(),
            last_status=pl.col("status").get(newest),
            first_error=_first_message("fail"),
        )
        .sort("started", *_KEYS[by], descending=[True] + [False] * len(_KEYS[by]), nulls_last=True)
        .collect()
    )


def _gravest() -> pl.Expr:
    status = pl.col("status")
    return (
        pl.when((status == "cancel").any())
        .then(pl.lit("cancel"))
        .when((status == "fail").any())
        .then(pl.lit("fail"))
        .when((status == "success").any())
        .then(pl.lit("success"))
        .otherwise(pl.lit("skip"))
    )


def _count(status: str) -> pl.Expr:
    return (_IS_ENTITY & (pl.col("status") == status)).sum().cast(pl.Int64)


def _count_all(status: str) -> pl.Expr:
    return (pl.col("status") == status).sum().cast(pl.Int64)


def _first_message(*statuses: str) -> pl.Expr:
    matching = pl.col("status").is_in(statuses)
    return pl.col("message").filter(matching).sort_by(pl.col("finish_time").filter(matching)).first()


def _seconds(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    # Journals of the original framework may hold times without an offset: both are read as UTC.
    moments = [time.str.to_datetime(time_unit="us", time_zone="UTC", strict=False) for time in (start, end)]
    # Polars divides several values another way than one, and the last bit may differ. Rounded, a load's summary is the
    # same whichever others are summed up beside it, and a mirror of it never drifts.
    return ((moments[1] - moments[0]).dt.total_microseconds() / 1e6).round(6)
