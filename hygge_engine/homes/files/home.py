"""`FilesHome`: the files of a path as Arrow record batches, in slices that resume by file and place in it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC
from typing import Any, Protocol, Self, cast

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.errors import (
    CursorUnusable,
    HomeError,
    HomeNotFound,
    HomeUnavailable,
    LakeConditionNotMet,
    LakeNotFound,
    SourceChanged,
    Unreadable,
)
from hygge_engine.homes.base import Batch, Column, HighWater, Position, ReadWindow, SourceSchema
from hygge_engine.homes.files.convert import arrow_type, fitting, to_values
from hygge_engine.homes.files.csv import CsvFormat
from hygge_engine.homes.files.cursor import (
    bound_text,
    boundary_of,
    comparable,
    cursor_type,
    equal_to,
    files_within,
    modified_text,
    text_of,
    within,
)
from hygge_engine.homes.files.declared import Spellings
from hygge_engine.homes.files.listing import Listing, SourceFile, followed_links, list_files, partition_names
from hygge_engine.homes.files.ndjson import NdjsonFormat
from hygge_engine.homes.files.parquet import Group, ParquetFormat
from hygge_engine.homes.files.settings import ColumnSettings, FilesHomeSettings
from hygge_engine.lake.base import Lake
from hygge_engine.lake.local import LocalLake
from hygge_engine.letter_case import columns_meant, meant
from hygge_engine.masking import mask_quoted
from hygge_engine.panics import panics_as
from hygge_engine.project.models.settings import CHANGE_CURSORS, FILE_MODIFIED
from hygge_engine.project.telling.problems import suggest, suggest_each
from hygge_engine.watermark import CursorType

# The last part of the position after a file's last row.
_END = "end"

_REPORT = "Leave the column out, or write the file with other types; and report what the file holds."

_RELOAD = "Reload the table with run_type full_drop, which replaces what has landed by what the source has now."


class Format(Protocol):
    """One format of files: columns first, then rows with positions of its own."""

    def describe(self, files: Sequence[SourceFile]) -> tuple[list[Column], int | None]: ...

    def read(
        self, file: SourceFile, after: Sequence[str], only: Sequence[str] | None = None
    ) -> Iterator[tuple[pa.RecordBatch, list[str]]]: ...


class FilesHome:
    """One entity's rows; a `hygge_engine.homes.base.Home`. Files come in the order of their paths.

    A position is (path, etag, place within the file). ``pattern`` is a path in ``lake``, see `list_files`. ``folder``
    is where the lake's root is, as errors call it.
    """

    def __init__(self, lake: Lake, pattern: str, settings: FilesHomeSettings, folder: str = "") -> None:
        self._lake = lake
        self._pattern = pattern
        self._folder = folder
        self._settings = settings
        self._parquet = ParquetFormat(lake, settings) if settings.format == "parquet" else None
        texts = {"csv": CsvFormat, "ndjson": NdjsonFormat}
        self._format: Format = self._parquet or texts[settings.format](lake, settings)
        self._listing: Listing | None = None
        self._table: SourceSchema | None = None
        self._partitions: dict[str, pa.Scalar[Any]] = {}
        self._partition_settings: dict[str, ColumnSettings] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return

    @property
    def files(self) -> list[SourceFile]:
        """The files as they were found first, by path. Raises HomeNotFound where there are none."""
        return self._listed.files

    @property
    def omissions(self) -> tuple[str, ...]:
        """Which files are there and are not read, and why."""
        return self._listed.omissions

    @property
    def _listed(self) -> Listing:
        if self._listing is None:
            settings = self._settings
            self._listing = list_files(
                self._lake, self._pattern, settings.format, partitions=settings.partitions, folder=self._folder
            )
        return self._listing

    @property
    def links(self) -> list[str]:
        """The symbolic links that files were found through, with where they lead."""
        return followed_links(self._lake, self.files) if isinstance(self._lake, LocalLake) else []

    def describe(self) -> SourceSchema:
        """The columns of all files and their folders. Raises HomeNotFound, HomeError, Unreadable, UnsupportedType."""
        if self._table is None:
            with self._reading():
                columns, rows = self._format.describe(self.files)
            if not columns:
                raise Unreadable(
                    f"{self.files[0].name} has no columns, and so its rows hold nothing that could land.",
                    hint="Write at least one value in a row, or leave the file out of path.",
                )
            folders = self._folder_columns()
            names = {column.name for column in folders}
            columns = [*(column for column in columns if column.name not in names), *folders]
            self._check_key(columns)
            name = f"{self._lake.url}/{self._pattern}"
            notes = (f"links followed: {', '.join(links)}; each file counts once",) if (links := self.links) else ()
            self._table = SourceSchema(
                name,
                tuple(columns),
                self._settings.key,
                rows,
                resumes_without_key=True,
                notes=notes,
                omissions=self.omissions,
            )
        return self._table

    def high_water(self, cursor: str) -> HighWater:
        """Fix the upper bound of an incremental read. Raises CursorUnusable, HomeNotFound for an unknown column."""
        if cursor in CHANGE_CURSORS:
            return self._no_change_tracking()
        if cursor == FILE_MODIFIED:
            return self._newest_files()
        column = self._find(self.describe().columns, cursor)
        kind = cursor_type(column)
        largest, nulls = self._largest(column)
        if largest is None:
            return HighWater(None, kind, null_cursors=nulls)
        high = self._bound(column, kind, largest, nulls)
        if kind != "datetime":
            return high
        now = self._lake.now().astimezone(UTC)
        clock: Any = now if pa.types.is_timestamp(column.type) else now.date()
        if largest <= clock:
            return replace(high, clock=text_of(clock))
        later = self.count(ReadWindow(cursor, text_of(clock)))
        newest, _ = self._largest(column, clock)
        present = self._bound(column, kind, newest, nulls)
        return replace(high, clock=text_of(clock), later=later, present=present)

    def _newest_files(self) -> HighWater:
        """The bound of a read by times of last change; the lake's own clock says what is in the future."""
        clock = text_of(self._lake.now())

        def bound(files: Sequence[SourceFile]) -> HighWater:
            value = max((modified_text(file.info) for file in files), default=None)
            if value is None:
                return HighWater(None, "datetime")
            return HighWater(value, "datetime", self.count_at(FILE_MODIFIED, value), boundary=boundary_of(files, value))

        present = [file for file in self.files if modified_text(file.info) <= clock]
        high = replace(bound(self.files), clock=clock)
        later = len(self.files) - len(present)
        return replace(high, later=later, present=bound(present)) if later else high

    def _bound(self, column: Column, kind: CursorType, largest: Any, nulls: int) -> HighWater:
        """The upper bound at a column's largest value. Raises CursorUnusable where no row is found at what was read."""
        if largest is None:
            return HighWater(None, kind, null_cursors=nulls)
        value = text_of(largest)
        ties = self.count_at(column.name, value)
        if not ties:
            raise CursorUnusable(
                f"The largest value of {column.name!r} is {value!r}, and no row has it: its text is not exact.",
                hint="Use another column as the watermark, or watermark: {file_modified: true}.",
            )
        return HighWater(value, kind, ties, nulls)

    def _largest(self, column: Column, up_to: Any = None) -> tuple[Any, int]:
        """The largest value of a column, None where it has none, and how many rows have NULL; ``up_to`` bounds it."""
        largest: Any = None
        nulls = 0
        with self._reading():
            for file, groups in self._cursor_groups(column):
                exact = [
                    group
                    for group in groups
                    if group.high is not None and group.nulls is not None and (up_to is None or group.high <= up_to)
                ]
                for group in exact:
                    largest = group.high if largest is None else max(largest, group.high)
                    nulls += group.nulls or 0
                rest = [group for group in groups if group not in exact and group.nulls != group.rows]
                nulls += sum(group.rows for group in groups if group.nulls == group.rows and group not in exact)
                for values in self._values(file, column, rest):
                    nulls += values.null_count
                    reached = values
                    if up_to is not None:
                        reached = values.filter(pc.less_equal(values, pa.scalar(up_to, values.type)))
                    top = pc.max(reached).as_py()
                    if top is not None:
                        largest = top if largest is None else max(largest, top)
        return largest, nulls

    def cursor_type(self, cursor: str) -> CursorType:
        """The type of a watermark, by the columns alone. Raises CursorUnusable, HomeNotFound."""
        return "datetime" if cursor == FILE_MODIFIED else cursor_type(self._find(self.describe().columns, cursor))

    def bound(self, cursor: str, text: str, *, upper: bool) -> str:
        """A window's bound as the values of a column are compared. Raises BoundUnusable, HomeNotFound."""
        if cursor == FILE_MODIFIED:
            return bound_text(text, "the time of a file's last change", pa.timestamp("us", tz="UTC"))
        column = self._find(self.describe().columns, cursor)
        cursor_type(column)
        return bound_text(text, f"{column.name} ({column.source_type})", column.type)

    def count(self, window: ReadWindow) -> int:
        """How many rows `read` yields of a window; of whole Parquet files their footers say it, others are read."""
        if window.cursor is None and (rows := self.describe().approximate_rows) is not None:
            return rows
        return sum(batch.rows.num_rows for batch in self.read(window))

    def count_at(self, cursor: str, value: str) -> int:
        """How many rows have exactly this cursor value; with times of last change: how many files."""
        if cursor == FILE_MODIFIED:
            return sum(modified_text(file.info) == value for file in self.files)
        column = self._find(self.describe().columns, cursor)
        sought = comparable(value, column.type)
        count = 0
        with self._reading():
            for file, groups in self._cursor_groups(column):
                maybe = [group for group in groups if _may_hold(group, sought, sought)]
                count += sum(equal_to(values, value) for values in self._values(file, column, maybe))
        return count

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        """The window's rows after a position, file by file in the order of their paths.

        Raises SourceChanged where the file of the position is not the same any more, HomeUnavailable where one changes
        while it is read.
        """
        table = self.describe()
        by_file = window.cursor == FILE_MODIFIED
        files = files_within(self.files, window) if by_file else self.files
        column = None if by_file or window.cursor is None else self._find(table.columns, window.cursor)
        if after is not None:
            files = self._files_after(files, after, strictly=by_file)
        for file in files:
            place = after[2:] if after is not None and file.path == after[0] else []
            if place == [_END]:
                continue
            with self._reading(file):
                for rows, reached in self._read_file(file, place, column, window):
                    batch = self._with_folders(rows, file, table)
                    if column is not None:
                        inside = within(batch.column(column.name), window)
                        batch = batch if inside is None else batch.filter(inside)
                    yield Batch(batch, [file.path, file.info.etag, *reached])
                    del rows, batch

    def _read_file(
        self, file: SourceFile, place: Sequence[str], column: Column | None, window: ReadWindow
    ) -> Iterator[tuple[pa.RecordBatch, list[str]]]:
        """A file's rows, without row groups that have none in the window."""
        if self._parquet is None or column is None:
            return self._format.read(file, place)
        if column.name in self._partition_settings:
            return self._format.read(file, place)
        lower = None if window.lower is None else comparable(window.lower, column.type)
        upper = None if window.upper is None else comparable(window.upper, column.type)
        first = int(place[0]) if place else 0
        groups = self._parquet.groups(file, column.name, first)
        kept = [group.number for group in groups if window.lower is None and group.nulls != 0]
        kept += [
            group.number
            for group in groups
            if group.number not in kept and _may_hold(group, lower, upper, inclusive=window.lower_inclusive)
        ]
        return self._parquet.read(file, place, groups=kept)

    def _files_after(self, files: Sequence[SourceFile], after: Position, *, strictly: bool) -> list[SourceFile]:
        """What is left; ``strictly`` without the position's own file if that has changed: it is new then."""
        path, etag, *place = after
        left = [file for file in files if file.path >= path]
        if left and left[0].path == path and left[0].info.etag == etag:
            return left
        if strictly or place == [_END]:
            return [file for file in left if file.path > path]
        raise SourceChanged(
            f"{path} was read in part, and has changed or gone since: "
            "its rest cannot be distinguished from what has landed.",
            hint=_RELOAD,
        )

    def _cursor_groups(self, column: Column) -> Iterator[tuple[SourceFile, list[Group]]]:
        """What is known of a column; of CSV and NDJSON a single group of which nothing is known."""
        for file in self.files:
            if column.name in self._partition_settings:
                value = self._folder_value(file, column.name).as_py()
                # One value for the whole file; how many rows it has, only reading shows.
                yield file, [Group(0, 1, value, value, int(value is None))]
            elif self._parquet is not None:
                yield file, self._parquet.groups(file, column.name)
            else:
                yield file, [Group(0, -1)]

    def _values(self, file: SourceFile, column: Column, groups: Sequence[Group]) -> Iterator[pa.Array[Any]]:
        """The values of one column in some row groups."""
        if not groups:
            return
        if column.name in self._partition_settings:
            for rows, _ in self._format.read(file, []):
                yield self._repeated(file, column.name, rows.num_rows)
        elif self._parquet is not None:
            numbers = [group.number for group in groups]
            for rows, _ in self._parquet.read(file, [], [column.name], numbers):
                yield rows.column(0)
        else:
            for rows, _ in self._format.read(file, [], [column.name]):
                yield rows.column(0)

    def _with_folders(self, rows: pa.RecordBatch, file: SourceFile, table: SourceSchema) -> pa.RecordBatch:
        if not self._partition_settings:
            return rows
        arrays = [
            self._repeated(file, column.name, rows.num_rows)
            if column.name in self._partition_settings
            else rows.column(column.name)
            for column in table.columns
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=table.schema)

    def _repeated(self, file: SourceFile, name: str, rows: int) -> pa.Array[Any]:
        value = self._folder_value(file, name)
        repeated = pa.repeat(cast("Any", value), rows) if value.is_valid else pa.nulls(rows, value.type)
        return cast("pa.Array[Any]", repeated)

    def _folder_value(self, file: SourceFile, name: str) -> pa.Scalar[Any]:
        values = self._to_values(name, [file.partitions[name]], self._partition_settings[name], [file])
        return cast("pa.Scalar[Any]", values[0])

    def _folder_columns(self) -> list[Column]:
        """Partition columns, with the type that fits all folders, or the declared one."""
        columns = []
        declared_names = Spellings(self._settings.columns)
        for name in partition_names(self.files):
            spelt = declared_names.find(name)
            declared = self._settings.columns[spelt] if spelt is not None else None
            texts = [file.partitions[name] for file in self.files]
            settings = declared or ColumnSettings(type=_folder_type(texts))
            self._to_values(name, texts, settings, self.files)
            self._partition_settings[name] = settings
            columns.append(Column(name, arrow_type(settings), "folder", True))
        return columns

    def _to_values(
        self, name: str, texts: Sequence[str | None], settings: ColumnSettings, files: Sequence[SourceFile]
    ) -> pa.Array[Any]:
        values = to_values(pl.Series(name, texts, pl.String), settings)
        if isinstance(values, int):
            found = f"{files[values].name}: the folder's {name!r} is {texts[values]!r}, not a valid {settings.type}."
            raise HomeError(found, hint=f"Declare it: columns: {{{name}: string}}.")
        return values

    def _check_key(self, columns: Sequence[Column]) -> None:
        """Raise HomeNotFound for all columns of the key that the files do not have."""
        names = [column.name for column in columns]
        if unknown := [name for name in self._settings.key if not meant(name, names)]:
            told = " and no column ".join(map(repr, unknown))
            where = f"The files at {self._lake.url}/{self._pattern}"
            raise HomeNotFound(f"{where} have no column {told}, which key names.", hint=suggest_each(unknown, names))
        for name in self._settings.key:
            self._find(columns, name)  # which may be two but for case

    def _find(self, columns: Iterable[Column], name: str) -> Column:
        """The column of this name, or of one that differs in case alone. Raises HomeNotFound."""
        known = list(columns)
        found = columns_meant(name, known)
        if len(found) != 1:
            hint = suggest(name, [column.name for column in known])
            raise HomeNotFound(f"The files at {self._lake.url}/{self._pattern} have no column {name!r}.", hint=hint)
        return found[0]

    def _no_change_tracking(self) -> HighWater:
        raise HomeError("Files have no account of changes.", hint="Use watermark.column or watermark.file_modified.")

    @contextmanager
    def _reading(self, file: SourceFile | None = None) -> Iterator[None]:
        """A file that changes while it is read is a matter of trying again, from the last commit on; one that its
        reader panics at is not."""
        name = file.name if file is not None else f"{self._lake.url}/{self._pattern}"
        try:
            with panics_as(lambda text: Unreadable(f"{name}: its reader failed: {mask_quoted(text)}", hint=_REPORT)):
                yield
        except (LakeConditionNotMet, LakeNotFound) as error:
            what = name if file is not None else f"A file of {name}"
            raise HomeUnavailable(f"{what} changed while it was being read: {error.message}") from error
        except (UnicodeDecodeError, IndexError) as error:
            if self._parquet is None:
                raise
            # What pyarrow raises where a footer describes what cannot be.
            raise Unreadable(f"{name}: its footer is damaged.", hint="Write the file again.") from error
        except OverflowError as error:
            raise Unreadable(
                f"{name}: a date or time lies outside the years 1 to 9999: {error}.",
                hint="Such a column cannot be a watermark or be compared; correct the file.",
            ) from error


def _folder_type(texts: Sequence[str | None]) -> str:
    """As Spark reads folders: whole numbers also with zeros in front, dates, else text."""
    plain = pl.Series(texts, dtype=pl.String).drop_nulls()
    if len(plain) and plain.str.contains(r"^-?\d{1,18}$").all():
        return "int64"
    fits = fitting(plain, ("date", "string"))
    return "date" if len(plain) and "date" in fits else "string"


def _may_hold(group: Group, lower: Any, upper: Any, *, inclusive: bool = True) -> bool:
    """Whether a row group may have a value between two bounds, by its extremes; ``inclusive`` of the lower one."""
    if group.nulls == group.rows:
        return False
    if group.low is None or group.high is None:
        return True
    above = lower is None or group.high > lower or (inclusive and group.high == lower)
    return above and (upper is None or group.low <= upper)
