"""What the journal's rows say about loads, flows and entities; one result for API, command line and mirror."""

from __future__ import annotations

from typing import Literal, get_args

import polars as pl
import pyarrow as pa

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
}
LOADS_SCHEMA = pa.schema(_LOADS_COLUMNS)

_START = pl.col("start_time").replace("", None)
_FINISH = pl.col("finish_time").replace("", None)
_IS_ENTITY = pl.col("entity").fill_null("") != ""


def summarize(rows: pl.DataFrame, by: Level = "load") -> pl.DataFrame:
    """One row for each load, flow or entity, the one that started last first.

    All have ``started`` (the first start), ``finished`` (the last finish), ``status``, ``succeeded``, ``failed``,
    ``skipped`` and ``cancelled`` (entity runs), ``rows``, ``bytes``, ``duration`` (seconds) and ``message``.

    ``load`` has the columns of `LOADS_SCHEMA`: ``status`` is the gravest, ``duration`` runs from the first start to the
    last finish, ``message`` is the first error or, where nothing failed, the first reason to skip or cancel, and
    ``run_type`` is ``mixed`` where entities differ.

    ``flow`` and ``entity`` have these names first, then ``runs``; ``status`` is that of the newest run,
    ``succeeded_at`` when one was last well, ``duration`` adds up, and ``message`` is the newest error. Rows about a
    load as a whole count for loads only.
    """
    return _loads(rows) if by == "load" else _parts(rows, ["flow"] if by == "flow" else ["flow", "entity"])


def _loads(rows: pl.DataFrame) -> pl.DataFrame:
    loads = (
        rows.lazy()
        .group_by("coordinator_run_id")
        .agg(
            coordinator=pl.col("coordinator").first(),
            started=_START.min(),
            finished=_FINISH.max(),
            status=_gravest(),
            entities=_IS_ENTITY.sum().cast(pl.Int64),
            **_COUNTS,
            requested_by=pl.col("requested_by").drop_nulls().first(),
            run_type=pl.when(pl.col("run_type").n_unique() > 1)
            .then(pl.lit("mixed"))
            .otherwise(pl.col("run_type").first()),
            principal=pl.col("principal").drop_nulls().first(),
            message=pl.coalesce(_first_message("fail"), _first_message("skip", "cancel")),
        )
        .with_columns(duration=_seconds(pl.col("started"), pl.col("finished")))
        .select(LOADS_SCHEMA.names)
        .sort("started", "coordinator_run_id", descending=True, nulls_last=True)
    )
    return loads.collect()


def _parts(rows: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    newest = pl.col("start_time").fill_null("").arg_max()
    failed, finish = pl.col("status") == "fail", pl.col("finish_time")
    return (
        rows.lazy()
        .filter(_IS_ENTITY)
        .group_by(keys)
        .agg(
            runs=pl.len().cast(pl.Int64),
            started=_START.min(),
            finished=_FINISH.max(),
            status=pl.col("status").get(newest),
            succeeded_at=_FINISH.filter(pl.col("status") == "success").max(),
            **_COUNTS,
            duration=pl.col("duration").sum().round(3),
            message=pl.col("message").filter(failed).sort_by(finish.filter(failed)).last(),
            latest=_START.max(),
        )
        .sort("latest", *keys, descending=[True] + [False] * len(keys), nulls_last=True)
        .drop("latest")
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


_COUNTS: dict[str, pl.Expr] = {
    "succeeded": _count("success"),
    "failed": _count("fail"),
    "skipped": _count("skip"),
    "cancelled": _count("cancel"),
    "rows": pl.col("row_count").sum(),
    "bytes": pl.col("bytes").sum(),
}


def _first_message(*statuses: str) -> pl.Expr:
    matching = pl.col("status").is_in(statuses)
    return pl.col("message").filter(matching).sort_by(pl.col("finish_time").filter(matching)).first()


def _seconds(start: pl.Expr, end: pl.Expr) -> pl.Expr:
    # Journals of the original framework may hold times without an offset: both are read as UTC.
    moments = [time.str.to_datetime(time_unit="us", time_zone="UTC", strict=False) for time in (start, end)]
    # Polars divides several values another way than one, and the last bit may differ. Rounded, a load's summary is the
    # same whichever others are summed up beside it, and a mirror of it never drifts.
    return ((moments[1] - moments[0]).dt.total_microseconds() / 1e6).round(6)
