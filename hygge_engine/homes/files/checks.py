"""What `hygge doctor` checks of a home of files: whether they can be read, and what key and watermark make of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from hygge_engine.checks import DoctorCheck, attempt, failure
from hygge_engine.errors import CursorUnusable, HyggeError
from hygge_engine.homes.base import SourceSchema
from hygge_engine.homes.files.cursor import cursor_type
from hygge_engine.homes.files.home import FilesHome
from hygge_engine.homes.files.settings import FilesHomeSettings
from hygge_engine.lake.probe import check_responds
from hygge_engine.lake.settings import LakeSettings
from hygge_engine.letter_case import columns_meant, meant
from hygge_engine.plain_text import counted
from hygge_engine.project.models.project import WatermarkSettings
from hygge_engine.project.telling.problems import suggest

_MIB = 1 << 20

_NOT_READ = "Nothing, if they are not meant; else give them the format's ending, or name them by a pattern in path."

# Text beyond this takes longer to look through than a slice should spend on it.
_LARGE_TEXT_BYTES = 1024 * _MIB


def check_files(
    home: FilesHome,
    settings: FilesHomeSettings,
    watermark: WatermarkSettings | None = None,
    *,
    key_columns: Sequence[str] = (),
) -> list[DoctorCheck]:
    """Whether the files can be found and read, and how. ``key_columns`` are those that the store names."""
    try:
        if isinstance(settings, LakeSettings):
            check_responds(settings.account_url)
        files = home.files
    except HyggeError as error:
        return [failure("files", "list path", error)]
    size = sum(file.info.length for file in files)
    checks = [
        DoctorCheck("files", "ok", f"{len(files):,}, {size / _MIB:,.1f} MiB, the first {files[0].path}", "list path")
    ]
    if links := home.links:
        checks.append(DoctorCheck("links", "ok", f"followed: {', '.join(links)}; each file counts once", "list path"))
    checks += [DoctorCheck("files", "warning", told, "list path", _NOT_READ) for told in home.omissions]
    how = "the footers of all files" if settings.format == "parquet" else "all files, once"
    if settings.format != "parquet" and settings.infer and size > _LARGE_TEXT_BYTES:
        remedy = "Declare the columns, and set infer: false, or write Parquet."
        found = "each slice looks through all of the text for the columns and their types"
        return [*checks, DoctorCheck("columns", "warning", found, "infer: true", remedy)]
    try:
        table = home.describe()
    except HyggeError as error:
        return [*checks, failure("columns", how, error)]
    checks.append(_columns(table, how))
    checks.append(_key(table, key_columns))
    if watermark is not None and watermark.names_column:
        checks.append(_watermark(table, watermark))
    return checks


def _columns(table: SourceSchema, how: str) -> DoctorCheck:
    lost = [f"{column.name}: {column.loss}" for column in table.columns if column.loss]
    rows = "" if table.approximate_rows is None else f", {counted(table.approximate_rows, 'row')}"
    return DoctorCheck("columns", "ok", "; ".join([f"{counted(len(table.columns), 'column')}{rows}", *lost]), how)


def _key(table: SourceSchema, key_columns: Sequence[str]) -> DoctorCheck:
    key = tuple(key_columns) or table.key
    how = "store.key_columns" if key_columns else "home.key"
    names = [column.name for column in table.columns]
    for name in key:
        if not meant(name, names):
            hint = suggest(name, names)
            where = PurePosixPath(table.name).name
            return DoctorCheck("key", "failed", f"{where} has no column {name!r}", how, hint, "home.not_found")
    return DoctorCheck(
        "key", "ok", ", ".join(key) or "none; slices resume without one, stores that merge need one", how
    )


def _watermark(table: SourceSchema, watermark: WatermarkSettings) -> DoctorCheck:
    how = "the columns' types"
    named = columns_meant(watermark.column, table.columns)
    if not named:
        hint = suggest(watermark.column, [column.name for column in table.columns])
        return DoctorCheck("watermark", "failed", f"no column {watermark.column!r}", how, hint, "home.not_found")

    def look() -> DoctorCheck:
        kind = cursor_type(named[0])
        if watermark.lag and kind != "datetime":
            reason = f"{watermark.column} is a watermark of type {kind}, which has no minutes that a lag could go back"
            raise CursorUnusable(reason, hint="Remove lag, or use a time of last change as the watermark.")
        return DoctorCheck("watermark", "ok", f"{named[0].name} ({named[0].type})", how)

    return attempt("watermark", how, look)
