"""`MssqlHome`: a table, a view or a query of SQL Server as Arrow record batches."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Self

import pyarrow as pa

from hygge_engine.errors import (
    BoundUnusable,
    ConfigurationError,
    CursorUnusable,
    HomeError,
    HomeNotFound,
    HomeUnavailable,
)
from hygge_engine.homes.base import Batch, Column, HighWater, KeyCost, Position, ReadWindow, SourceSchema
from hygge_engine.homes.mssql.access import check_select
from hygge_engine.homes.mssql.batching import read_batches
from hygge_engine.homes.mssql.bounds import bound_text
from hygge_engine.homes.mssql.capture import (
    NOT_SCANNED,
    Captured,
    captured_columns,
    captured_source,
    is_scanned,
    look_at_captured,
    lsn_text,
)
from hygge_engine.homes.mssql.catalogue import SourceObject, covering_index, describe_source
from hygge_engine.homes.mssql.convert import convert
from hygge_engine.homes.mssql.dividing import Division
from hygge_engine.homes.mssql.drivers import loads_pyodbc
from hygge_engine.homes.mssql.identifiers import quote
from hygge_engine.homes.mssql.keys import KeyWatch, null_in_key, repeated_key
from hygge_engine.homes.mssql.parallel import Read, read_ranges
from hygge_engine.homes.mssql.query import (
    OFFSET_SUFFIX,
    Selection,
    Statement,
    compare,
    position_texts,
    read_statement,
    select,
    window_condition,
)
from hygge_engine.homes.mssql.ranges import RANGES_AT_MOST, RANGES_PER_READER, KeyRange, position_of, ranges_of
from hygge_engine.homes.mssql.rate_limit import RateLimit
from hygge_engine.homes.mssql.session import BEGIN_READING, END_READING, Session, whole
from hygge_engine.homes.mssql.sessions import open_session
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from hygge_engine.homes.mssql.throttle import Throttle, paces
from hygge_engine.homes.mssql.tracking import (
    BEGAN,
    OPERATION,
    VERSIONS,
    changes_in,
    changes_source,
    explain_missing_grant,
    table_text,
)
from hygge_engine.homes.mssql.trial import Trial
from hygge_engine.homes.mssql.types import SourceColumn, arrow_type, cursor_type, exact_text, keeps_apart, loss
from hygge_engine.homes.mssql.values import Parameter, parameter, to_text
from hygge_engine.hosts import identity_of
from hygge_engine.letter_case import columns_meant
from hygge_engine.project.models.settings import CHANGE_CURSORS, CHANGE_DATA_CAPTURE, CHANGE_TRACKING
from hygge_engine.project.telling.problems import suggest
from hygge_engine.watermark import CursorType
from hygge_engine.watermark.bounds import shown
from hygge_engine.watermark.values import order_of

_MIB = 1 << 20

# Fewer rows are read in a second or so by one, and a second one would first have to sample the key and connect.
ROWS_WORTH_A_READER = 250_000

# How often a largest value is looked for that no row has: it may have changed between the two questions.
_LOOKS = 3

_BEGIN_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRANSACTION; SELECT 1"

_UPDATEABILITY = "SELECT CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128))"

# A timestamp with a digit that no driver's own type holds, to see whether the server's text keeps it.
_PROBE = "2001-02-03T04:05:06.1234567"


class MssqlHome:
    """One entity's rows; a `hygge_engine.homes.base.Home`.

    It opens one connection with its first query, and gives it back at the end of the ``with`` block.
    """

    def __init__(
        self,
        connection: MssqlConnection,
        settings: MssqlHomeSettings,
        described: SourceObject | None = None,
        throttle: Throttle | None = None,
        captured_by: bool | str = False,
    ) -> None:
        """``described``: what another home has found the source to be, which is not queried again then; ``throttle``:
        its own. ``captured_by``: the capture instance whose columns alone count, True for any."""
        self._connection = connection
        self._settings = settings
        self._session: Session | None = None
        self._bounded: Session | None = None  # the one that an upper bound was read by
        self._source = described
        self._tracked = ""  # which table's versions it was first asked for
        self._captured_by = captured_by
        self._omissions: tuple[str, ...] = ()
        if throttle is None and settings.throttle == "auto":
            throttle = Throttle(paces.of(identity_of(f"{connection.address}/{connection.database}")))
        self._throttle = throttle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back. A later query opens another one."""
        if self._session is not None:
            session, self._session = self._session, None
            if self._in_transaction:
                with suppress(HomeError):  # a connection that is lost has ended both by itself
                    session.fetch_all(END_READING, doing="Ending the reading")
            session.close()

    def describe(self) -> SourceSchema:
        """Read the catalogue, once. Raises HomeNotFound, HomePermissionDenied, UnsupportedType."""
        source = self._described()
        keeps_offset = self._settings.keep_offset
        columns = [
            Column(
                column.name,
                arrow_type(column),
                column.declaration,
                column.nullable,
                loss(column, keeps_offset=keeps_offset),
                keeps_apart(column),
                column.folding,
                column.order,
            )
            for column in source.columns
        ]
        if keeps_offset:
            columns += [
                Column(column.name + OFFSET_SUFFIX, pa.int16(), "smallint", column.nullable)
                for column in source.columns
                if column.base_type == "datetimeoffset"
            ]
        is_declared = bool(self._settings.key)
        return SourceSchema(
            source.name,
            tuple(columns),
            source.key,
            source.approximate_rows,
            key_is_declared=is_declared,
            omissions=self._omissions,
            stands_for=source.stands_for,
        )

    def remarks(self) -> Sequence[str]:
        """Why the reading was slowed down, where it was."""
        return self._throttle.remarks if self._throttle else ()

    def check_access(self) -> None:
        """Select every column, and no row. Raises HomePermissionDenied, by the names of those that may not be read."""
        check_select(self._open(), self._described())

    def high_water(self, cursor: str) -> HighWater:
        """Fix the upper bound of an incremental read. Raises CursorUnusable, HomeNotFound for an unknown column."""
        if cursor == CHANGE_TRACKING:
            high = self._versions()
            self._tracked = self._tracked or high.table
            return high
        if cursor == CHANGE_DATA_CAPTURE:
            captured = self._captured()
            self._tracked = self._tracked or captured.table
            return HighWater(
                lsn_text(captured.newest),
                "binary",
                oldest=lsn_text(captured.oldest),
                table=captured.table,
                may_lag=self._connection.application_intent != "read_write" and self._is_read_only(),
            )
        column = self._column(cursor)
        kind = cursor_type(column)
        nulls = self._count(f"{quote(column.name)} IS NULL") if column.nullable else 0
        if kind == "binary":
            return HighWater(self._oldest_uncommitted(column), kind, null_cursors=nulls)
        value, ties = self._largest(column)
        self._bounded = self._session
        clock = self._clock(column) if kind == "datetime" and value is not None else None
        lags = self._connection.application_intent != "read_write" and self._updateability() != "READ_WRITE"
        if clock is None or value is None or order_of(value, kind) <= order_of(clock, kind):
            return HighWater(value, kind, ties, nulls, clock=clock, order=column.order, may_lag=lags)
        placeholder, bound = parameter(column, clock)
        later = self._count(f"{quote(column.name)} > {placeholder}", bound)
        newest, ties_then = self._largest(column, clock)
        present = HighWater(newest, kind, ties_then, nulls)
        return HighWater(value, kind, ties, nulls, clock=clock, later=later, present=present, may_lag=lags)

    def _clock(self, column: SourceColumn) -> str | None:
        """The server's own time as a value of a column, None from a server that does not say.

        Where a column has no offset, it is unknown whether it counts in the server's zone or in UTC: by the later of
        the two no present row seems to lie in the future.
        """
        now = "SYSDATETIMEOFFSET()"
        if column.base_type != "datetimeoffset":
            now = "CASE WHEN SYSDATETIME() > SYSUTCDATETIME() THEN SYSDATETIME() ELSE SYSUTCDATETIME() END"
        value = f"CAST({now} AS {column.declaration})"
        try:
            rows = self._ask(f"SELECT {exact_text(value) if column.has_tenths_of_microseconds else value}")
        except HomeError as error:
            if error.transient:
                raise
            return None
        return to_text(column, rows[0][0])

    def _largest(self, column: SourceColumn, up_to: str | None = None) -> tuple[str | None, int]:
        """The largest value of a column, None where it has none, and how many rows have it; ``up_to`` bounds it.

        Raises CursorUnusable where none has, again and again: what has been read is not what the server compares with,
        so that a bound made of it would leave rows out.
        """
        value: str | None = None
        condition, bounds = "", []
        if up_to is not None:
            placeholder, bound = parameter(column, up_to)
            condition, bounds = f"{quote(column.name)} <= {placeholder}", [bound]
        for _ in range(_LOOKS):
            largest = f"MAX({quote(column.name)})"
            text = exact_text(largest) if column.has_tenths_of_microseconds else largest
            rows = self._ask(select(text, self._described().sql, condition), *bounds)
            if not rows or rows[0][0] is None:
                return None, 0
            value = to_text(column, rows[0][0])
            if ties := self.count_at(column.name, value):
                return value, ties
        if column.has_tenths_of_microseconds:
            self._check_exact_text(f"of the watermark {column.name!r}, a {column.declaration},")
        raise CursorUnusable(
            f"The largest value of {column.name!r} is {value!r}, and no row of {self._described().name} has it: "
            "the server does not find what it has sent.",
            hint="Use another column as the watermark, or compare the column's collation and type with the database's.",
        )

    def cursor_type(self, cursor: str) -> CursorType:
        """The type of a watermark, by the catalogue alone. Raises CursorUnusable, HomeNotFound."""
        if cursor == CHANGE_DATA_CAPTURE:
            return "binary"
        return "version" if cursor == CHANGE_TRACKING else cursor_type(self._column(cursor))

    def bound(self, cursor: str, text: str, *, upper: bool) -> str:
        """A window's bound in the column's exact text form. Raises BoundUnusable, CursorUnusable, HomeNotFound."""
        column = self._column(cursor)
        cursor_type(column)
        exact = bound_text(column, text, upper=upper)
        if column.base_type in ("char", "varchar"):
            placeholder, value = parameter(column, exact)
            kept = str(self._ask(f"SELECT CAST({placeholder} AS nvarchar(max))", value)[0][0])
            if kept.rstrip(" ") != exact.rstrip(" "):
                raise BoundUnusable(
                    f"{shown(exact)} has letters that {column.name} ({column.declaration}) cannot hold: "
                    f"the server makes {shown(kept)} of it.",
                    hint="Write a bound in the letters of the column's code page.",
                )
        return exact

    def is_after(self, cursor: str, one: str, other: str) -> bool:
        """Whether one value of a column comes after another, by the column's collation."""
        column = self._column(cursor)
        (left, first), (right, second) = parameter(column, one), parameter(column, other)
        rows = self._ask(f"SELECT CASE WHEN {left} > {right} THEN 1 ELSE 0 END", first, second)
        return bool(rows) and rows[0][0] == 1

    def count(self, window: ReadWindow) -> int:
        """How many rows `read` yields of a window that is not one of Change Tracking."""
        if window.cursor is None:
            return self._count("")
        condition, parameters = window_condition(self._column(window.cursor), window)
        return self._count(condition, *parameters)

    def count_at(self, cursor: str, value: str) -> int:
        """How many rows have exactly this cursor value; 0 for a rowversion, which never repeats."""
        column = self._column(cursor)
        if column.base_type == "rowversion":
            return 0
        placeholder, bound = parameter(column, value)
        return self._count(f"{quote(column.name)} = {placeholder}", bound)

    def divide(self, window: ReadWindow, parts: int | None = None) -> list[Position]:
        """Ranges of the key as positions, see `hygge_engine.homes.base.Divides`; none where one connection has to read
        all, or the server gives no bounds. Raises KeyUnusable, and HomeUnavailable."""
        source, settings = self._described(), self._settings
        range_rows = settings.range_rows if parts is None else 0
        is_of_changes = window.cursor in CHANGE_CURSORS and window.lower is not None
        alone = settings.consistency == "snapshot" or settings.max_rows_per_second is not None
        if not source.key or is_of_changes or alone or (parts is None and not range_rows):
            return []
        self._check_identity(window)
        condition, parameters = "", list[Parameter]()
        if window.cursor is not None and window.cursor not in CHANGE_CURSORS:
            condition, parameters = window_condition(self._column(window.cursor), window)
        most = RANGES_AT_MOST if parts is None else min(parts, RANGES_AT_MOST)
        ranges = self._division(condition, parameters).ranges(most, range_rows)
        return [position_of([range_], len(source.key)) for range_ in ranges] if len(ranges) > 1 else []

    def _division(self, condition: str = "", parameters: Sequence[Parameter] = ()) -> Division:
        source = self._described()

        def ask_once(sql: str, most: int, values: Sequence[Parameter]) -> list[tuple[object, ...]]:
            try:
                return self._open().fetch_some(sql, most, values, doing=f"Dividing {source.name}")
            except HomeError:
                self.close()  # its transaction may have ended, or its response be on the way still
                raise

        def ask(sql: str, most: int, values: Sequence[Parameter]) -> list[tuple[object, ...]]:
            once = partial(ask_once, sql, most, values)
            return self._throttle.ask(once, self.close) if self._throttle else once()

        return Division(ask, source.sql, self._key, source.approximate_rows, condition, parameters)

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        """The window's rows after a position, in key order where the source has a key and one reader reads it.

        Closing the iterator early cancels the statements on the server. Raises KeyUnusable, before the first row where
        it can be, where the key does not identify every row.
        """
        if after is None:
            self._check_identity(window)
        ranges = self._ranges(window, after)
        readers = min(self._settings.readers or 1, len(ranges))
        if window.cursor in CHANGE_CURSORS and window.lower is not None:
            lower, upper = window.lower, window.upper or window.lower
            read = self._read_captured if window.cursor == CHANGE_DATA_CAPTURE else self._read_changes
            yield from self._patiently(ranges[0], lambda left: read(lower, upper, left))
        elif len(ranges) == 1 and ranges[0].to is None:
            yield from self.read_range(window, ranges[0])
        elif len(ranges) == 1:
            # Its end has to be part of every position.
            for batch in self.read_range(window, ranges[0]):
                left = replace(ranges[0], after=batch.position)
                yield replace(batch, position=position_of([left], len(self._described().key)))
                del batch
        else:
            self.close()  # the readers have connections of their own
            key_columns = len(self._described().key)
            trial = Trial() if self._settings.readers_on_trial and readers > 1 else None
            yield from read_ranges(ranges, readers, lambda: self._reader(window, readers), key_columns, trial)

    def _ranges(self, window: ReadWindow, after: Position | None) -> list[KeyRange]:
        """What is to be read: what a position leaves of it, else the whole, shared out where that is worth while."""
        source = self._described()
        if after is not None:
            return ranges_of(after, len(source.key)) or [KeyRange(after)]
        worth = (source.approximate_rows or 0) // ROWS_WORTH_A_READER
        readers = min(self._settings.readers or 1, worth)
        if readers < 2 or not source.key or window.lower is not None:
            return [KeyRange()]
        return self._division().ranges(readers * RANGES_PER_READER, numbering=False)

    @contextmanager
    def _reader(self, window: ReadWindow, readers: int) -> Iterator[Read]:
        """A reader with a connection of its own, and with its share of what one may hold and of the rate limit."""
        rate = self._settings.max_rows_per_second
        share = {
            "batch_mb": max(1, self._settings.batch_mb // readers),
            "max_rows_per_second": rate and max(1, rate // readers),
        }
        with MssqlHome(self._connection, self._settings.model_copy(update=share), self._source, self._throttle) as home:
            yield lambda range_: home.read_range(window, range_)

    def read_keys(self, columns: Sequence[str], after: Position | None = None) -> Generator[Batch]:
        """These columns alone of all rows after a position, in key order where the source has a key; see
        `hygge_engine.homes.base.ListsKeys`."""
        return self._patiently(KeyRange(after), lambda left: self._read_keys(columns, left))

    def find_rows(self, keys: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
        """The rows that have one of these keys now, see `hygge_engine.homes.base.ListsKeys`. Raises HomeUnavailable for
        a response that no question of keys has."""
        asked = [self._column(name) for name in keys.schema.names]
        texts = [[to_text(column, value) for value in keys.column(column.name).to_pylist()] for column in asked]
        parameters: list[Parameter] = []
        wanted = [f"({compare(asked, '=', list(key), parameters)})" for key in zip(*texts, strict=True)]
        source, named = self._described(), [self._column(name) for name in columns]
        selected = self._with_key(named)
        selection, condition = self._selection(source.sql, selected), " OR ".join(wanted)
        sql = select(", ".join(selection.expressions), source.sql, condition, self._key)
        statement = Statement(sql, parameters, source.sql, condition)
        found: list[pa.RecordBatch] = []
        for rows, _ in self._fetch(statement, selected, self._schema_of(selected)):
            found.append(rows.select(list(columns)))
            if sum(each.num_rows for each in found) > 2 * keys.num_rows:
                raise HomeUnavailable(
                    f"{source.name}: the server was asked for {keys.num_rows} keys, and sends more than twice as many "
                    f"rows: by ({', '.join(keys.schema.names)}) it does not identify rows."
                )
        schema = self._schema_of(named)
        joined = pa.Table.from_batches(found, schema).combine_chunks().to_batches()
        return next(iter(joined), pa.RecordBatch.from_pylist([], schema=schema))

    def key_cost(self, columns: Sequence[str]) -> KeyCost:
        """What reading these columns costs, by the catalogue; see `hygge_engine.homes.base.EstimatesKeys`."""
        source, named = self._described(), self._with_key([self._column(name) for name in columns])
        length = sum(column.max_length for column in named) if all(each.max_length > 0 for each in named) else 0
        index = None
        if self._settings.table and source.tracked:
            index = covering_index(self._open(), source.tracked, {column.name for column in named}, source.name)
        return KeyCost(length, index)

    def _read_keys(self, columns: Sequence[str], range_: KeyRange) -> Generator[Batch]:
        if range_.after and self._settings.key:
            self._check_alone(range_.after)
        source, selected = self._described(), self._with_key([self._column(name) for name in columns])
        statement = read_statement(self._selection(source.sql, selected), ReadWindow(), None, range_)
        for rows, position in self._fetch(statement, selected, self._schema_of(selected)):
            yield Batch(rows.select(list(columns)), position)
            del rows

    def _with_key(self, columns: Sequence[SourceColumn]) -> list[SourceColumn]:
        """Columns, and those of the source's key, after which reading continues."""
        return [*columns, *(column for column in self._key if column not in columns)]

    def _schema_of(self, columns: Sequence[SourceColumn]) -> pa.Schema:
        return pa.schema([pa.field(column.name, arrow_type(column)) for column in columns])

    def read_range(self, window: ReadWindow, range_: KeyRange) -> Generator[Batch]:
        """The window's rows in one range of the key, in its order; see `read`."""
        return self._patiently(range_, lambda left: self._read_range(window, left))

    def _patiently(self, range_: KeyRange, read: Read) -> Generator[Batch]:
        """What ``read`` yields of a range, also where the source is short meanwhile, as far as the settings say."""
        return self._throttle.read(range_, read, self.close) if self._throttle else read(range_)

    def _read_range(self, window: ReadWindow, range_: KeyRange) -> Generator[Batch]:
        source = self._described()
        cursor = None
        if window.cursor is not None and window.cursor not in CHANGE_CURSORS:
            cursor = self._column(window.cursor)
            cursor_type(cursor)
            self._check_reached(cursor, window)
        if range_.after and self._settings.key:
            self._check_alone(range_.after)
        statement = read_statement(self._selection(source.sql, source.columns), window, cursor, range_)
        for rows, position in self._fetch(statement, source.columns, self.describe().schema):
            yield Batch(rows, position)
            # Or this batch would still be held while the next one is fetched.
            del rows

    def _read_changes(self, lower: str, upper: str, range_: KeyRange) -> Generator[Batch]:
        """Rows that changed after one version and not after another.

        The server may clean up while it is being read, so that its oldest version is compared again at the end.
        """
        source = self._described()
        self._check_versions(lower, upper)
        columns = (OPERATION, *source.columns)
        schema = pa.schema([pa.field(OPERATION.name, pa.string()), *self.describe().schema])
        changes = changes_source(source.tracked, source.columns, source.key)
        selection = self._selection(changes, columns, int(lower), int(upper))
        statement = read_statement(selection, ReadWindow(), None, range_)
        for fetched, position in self._fetch(statement, columns, schema):
            batch = changes_in(fetched, position)
            yield batch
            del fetched, batch
        self._check_versions(lower, upper)

    def _read_captured(self, lower: str, upper: str, range_: KeyRange) -> Generator[Batch]:
        """The net changes after one LSN up to another, whatever is captured meanwhile.

        The server may clean up while it is being read, and then refuses or returns less: see `_read_changes`.
        """
        source = self._described()
        parts = self._check_captured(lower, upper).parts(int(lower, 16), int(upper, 16))
        if not parts:
            return
        columns = (OPERATION, *source.columns)
        schema = pa.schema([pa.field(OPERATION.name, pa.string()), *self.describe().schema])
        changes, bounds = captured_source(parts, source.columns, source.key)
        statement = read_statement(self._selection(changes, columns, *bounds), ReadWindow(), None, range_)
        try:
            for fetched, position in self._fetch(statement, columns, schema):
                batch = changes_in(fetched, position)
                yield batch
                del fetched, batch
        except HomeError as error:
            if not error.transient:
                self._check_captured(lower, upper)
            raise
        self._check_captured(lower, upper)

    def _fetch(
        self, statement: Statement, columns: Sequence[SourceColumn], schema: pa.Schema
    ) -> Generator[tuple[pa.RecordBatch, Position | None]]:
        """The rows of a statement of `read_statement`, in batches of ``schema``, each with the position after it."""
        doing = f"Reading {self._described().name}"
        if self._throttle and not self._in_transaction:
            self._throttle.look(self._ask)
        limit = RateLimit(self._settings.max_rows_per_second)
        stream = self._open().stream(statement.sql, statement.parameters, doing=doing)
        rows = 0
        key, source = self._key, self._described().name
        watch = KeyWatch(source, key, declared=bool(self._settings.key))
        try:
            fetched_columns = [*columns, *position_texts(self._key)]
            limit_rows, limit_bytes = limit.at_once(self._settings.batch_rows), self._settings.batch_mb * _MIB
            began = time.monotonic()
            for fetched in read_batches(stream, fetched_columns, limit_rows, limit_bytes):
                batch = convert(fetched, columns, schema)
                rows += batch.num_rows
                keys = _key_arrays(key, columns, fetched, batch)
                watch.see(keys)
                position = [to_text(column, array[-1].as_py()) for column, array in zip(key, keys, strict=True)]
                if self._throttle:
                    self._throttle.rest(time.monotonic() - began)
                limit.keep(batch.num_rows)
                del keys
                yield batch, position or None
                del fetched, batch
                began = time.monotonic()
        finally:
            stream.close()
        self._check_complete(statement, rows)

    def _check_identity(self, window: ReadWindow) -> None:
        """Count the rows of a window that have NULL where a row must be identified, as far as the catalogue allows it.

        One question to the server, and only for columns that were declared to be a key.
        """
        if window.cursor in CHANGE_CURSORS and window.lower is not None:
            return  # by the table's own primary key
        source = self._described()
        named = [self._column(name) for name in dict.fromkeys([*source.key, *window.identified_by])]
        nullable = [column for column in named if column.nullable]
        if not nullable:
            return
        counts = ", ".join(f"SUM(CASE WHEN {quote(column.name)} IS NULL THEN 1 ELSE 0 END)" for column in nullable)
        condition = ""
        parameters: list[Parameter] = []
        if window.cursor is not None and window.cursor not in CHANGE_CURSORS:
            condition, parameters = window_condition(self._column(window.cursor), window)
        found = self._ask(select(counts, source.sql, condition), *parameters)[0]
        doing = f"Counting the rows of {source.name} that have no key"
        nulls = {column.name: whole(count or 0, doing) for column, count in zip(nullable, found, strict=True)}
        for names in (source.key, window.identified_by):
            if missing := {name: nulls[name] for name in names if nulls.get(name)}:
                raise null_in_key(source.name, missing, names)

    def _check_alone(self, position: Position) -> None:
        """Raise KeyUnusable where several rows have the key after which reading continues: it would leave all but one
        out, and the slice before has seen no more than one."""
        source = self._described()
        parameters: list[Parameter] = []
        condition = compare(self._key, "=", position, parameters)
        rows = self._count(condition, *parameters)
        if rows > 1:
            raise repeated_key(source.name, rows - 1, source.key)

    def _versions(self) -> HighWater:
        """The range of versions of Change Tracking. Raises CursorUnusable where it is off or may not be seen."""
        source = self._described()
        reason = "Change Tracking lists the changes of a table by its primary key alone."
        self._check_is_table(source, reason, "Change Tracking")
        try:
            current, oldest = self._ask(VERSIONS, source.tracked)[0]
        except HomeError as error:
            if error.transient:
                raise
            if self._is_read_only():
                raise CursorUnusable(
                    "This database is a copy for readers, and Change Tracking works on its primary alone. "
                    f"{error.message}",
                    hint="Remove application_intent from the connection, or use a time of last change with a lag.",
                ) from error
            raise CursorUnusable(
                f"This server has no Change Tracking. {error.message}",
                hint="Use a rowversion or a time of last change as the watermark, or run_type full_drop, which "
                "replaces the table each time.",
            ) from error
        if current is None:
            raise CursorUnusable(
                "Change Tracking is off in this database.",
                hint="ALTER DATABASE … SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 7 DAYS, AUTO_CLEANUP = ON).",
                unkept=True,
            )
        if oldest is None:
            reason, hint, is_off = explain_missing_grant(self._open(), source.tracked, source.name)
            raise CursorUnusable(reason, hint=hint, unkept=is_off)
        # A database that does not say what it is, and knows of versions, is no copy of SQL Server's.
        lags = self._connection.application_intent != "read_write" and self._is_read_only()
        since, table = self._tracked_since(source.tracked)
        return HighWater(str(current), "version", oldest=str(oldest), since=since, table=table, may_lag=lags)

    def _check_is_table(self, source: SourceObject, by_key: str, account: str) -> None:
        """Raise CursorUnusable where changes are not those of a table of this database, read by its own key."""
        if not self._settings.table or self._settings.key:
            raise CursorUnusable(by_key, hint="Remove query and key from home.")
        if not source.tracked:
            raise CursorUnusable(
                f"{source.name} stands for a table of another database, whose {account} this one cannot query.",
                hint="Read the table itself, over a connection to its database.",
            )

    def _captured(self) -> Captured:
        """What change data capture keeps of the table. Raises CursorUnusable where it is off or may not be seen."""
        return self._captured_of(self._described())

    def _captured_of(self, source: SourceObject) -> Captured:
        reason = "Change data capture keeps the changes of a table by its own key alone."
        self._check_is_table(source, reason, "captured changes")
        return look_at_captured(self._open(), source, self._captured_by)

    def _check_captured(self, lower: str, upper: str) -> Captured:
        """As `_check_versions`: a transient error where changes between two LSNs are lost."""
        found, name = self._captured(), self._described().name
        if self._tracked and found.table and found.table != self._tracked:
            raise HomeUnavailable(f"{name} became another table while its changes were read.")
        if found.oldest > int(lower, 16):
            raise HomeUnavailable(f"{name}: the changes since LSN {lower} were cleaned up while they were read.")
        if found.newest < int(upper, 16):
            raise HomeUnavailable(
                f"{name} is captured up to LSN {lsn_text(found.newest)}, and its changes are to be read up to {upper}: "
                "it was restored, or this copy of it is behind."
            )
        return found

    def _as_captured(self, source: SourceObject) -> SourceObject:
        """The source with those of its columns alone whose changes are known; as it is, where none are."""
        try:
            captured = self._captured_of(source)
        except CursorUnusable:
            return source
        kept, told = captured_columns(self._open(), source, captured)
        self._omissions = told if is_scanned(self._open()) else (*told, NOT_SCANNED)
        return replace(source, columns=kept)

    def _tracked_since(self, table: str) -> tuple[str, str]:
        """From which version on changes have been kept without a break, and of which table; each of them empty from a
        server that does not say."""
        try:
            rows = self._ask(BEGAN, table)
        except HomeError as error:
            if error.transient:
                raise
            return "", ""
        if not rows:
            return "", ""
        object_id, since, created = rows[0]
        return "" if since is None else str(since), table_text(object_id, created)

    def _check_reached(self, cursor: SourceColumn, window: ReadWindow) -> None:
        """Secondaries lag, each by a time of its own: rows up to a bound that another one has shown may not have
        reached the one that responds now. A transient error, because they will."""
        if (
            self._connection.application_intent == "read_write"
            or window.upper is None
            or cursor.base_type == "rowversion"
        ):
            return
        if self._bounded is not None and self._bounded is self._session:
            return
        placeholder, bound = parameter(cursor, window.upper)
        if not self._ask(
            select("TOP (1) 1 AS reached", self._described().sql, f"{quote(cursor.name)} >= {placeholder}"), bound
        ):
            raise HomeUnavailable(
                f"{self._described().name}: the secondary that responds has no row of {cursor.name} as new as "
                f"{window.upper}, where this load's window ends.",
                hint="It lags behind the one that was read before, or the newest rows are gone: if it lasts, remove "
                "application_intent from the connection, or reload the table with run_type full_drop.",
            )

    def _is_read_only(self) -> bool:
        """Whether the database takes no writes, as the secondary of an availability group or a geo-replica."""
        return self._updateability() == "READ_ONLY"

    def _updateability(self) -> str:
        """Whether the database takes writes, in the server's words; empty from one that does not say."""
        try:
            rows = self._ask(_UPDATEABILITY)
        except HomeError as error:
            if error.transient:
                raise
            return ""
        return str(rows[0][0] or "") if rows else ""

    def _check_versions(self, lower: str, upper: str) -> None:
        """A transient error: the next slice finds the same before it reads, and does what the settings say."""
        found, name = self._versions(), self._described().name
        if self._tracked and found.table and found.table != self._tracked:
            raise HomeUnavailable(f"{name} became another table while its changes were read.")
        if int(found.oldest or 0) > int(lower):
            raise HomeUnavailable(f"{name}: the changes since version {lower} were cleaned up while they were read.")
        if int(found.value or 0) < int(upper):
            raise HomeUnavailable(
                f"{name} is at version {found.value}, and its changes are to be read up to {upper}: it was restored, "
                "or this copy of it is behind."
            )

    def _check_complete(self, statement: Statement, rows: int) -> None:
        """A short read must never pass for the end: compare with the server's own count, where it keeps one.

        Not every server that speaks the protocol means the same by @@ROWCOUNT, so a second count has to agree.
        """
        try:
            counted = self._ask("SELECT @@ROWCOUNT")[0][0]
        except HomeError as error:
            if error.transient:
                raise
            return
        if isinstance(counted, int) and counted > rows:
            again = self._ask(select("COUNT_BIG(*)", statement.source, statement.condition), *statement.parameters)
            name = self._described().name
            if whole(again[0][0], f"Counting the rows of {name}") > rows:
                raise HomeUnavailable(f"Reading {name}: the server sent {counted} rows, {rows} arrived.")

    @property
    def _key(self) -> list[SourceColumn]:
        return [self._column(name) for name in self._described().key]

    def _described(self) -> SourceObject:
        if self._source is None:
            self._source = source = describe_source(self._open(), self._settings)
            if self._settings.as_text:
                self._source = source = replace(source, columns=self._with_texts(source.columns))
            if self._settings.key:
                key = tuple(self._column(name).name for name in self._settings.key)
                self._source = replace(source, key=key)
            if self._captured_by:
                self._source = source = self._as_captured(self._source)
            if self._settings.consistency == "snapshot":
                self._choose_driver()  # before anything is read: a snapshot is its connection's own
        return self._source

    def _with_texts(self, columns: Sequence[SourceColumn]) -> tuple[SourceColumn, ...]:
        """The columns, those of ``as_text`` marked. Raises HomeNotFound, ConfigurationError for one of another type."""
        named = {self._column(name).name for name in self._settings.as_text}
        self._check_exact_text(f"of {', '.join(sorted(named))} as_text")
        for column in columns:
            if column.name in named and column.base_type not in ("datetime2", "datetimeoffset"):
                raise ConfigurationError(
                    f"as_text names `{column.name}`, a {column.declaration}: datetime2 and datetimeoffset alone lose "
                    "digits that a text keeps",
                    hint="Remove it from as_text.",
                )
        return tuple(replace(column, as_text=column.name in named) for column in columns)

    @property
    def _is_unbounded(self) -> bool:
        return any(column.is_unbounded for column in self._described().columns)

    def _choose_driver(self) -> None:
        """Go over to pyodbc, where it loads, for a source with values of any length.

        mssql-python makes Python objects of such rows too, without the seventh digit of a time, and takes more memory
        for them.
        """
        if self._is_unbounded and self._connection.driver == "mssql-python" and loads_pyodbc():
            self.close()
            self._connection = self._connection.model_copy(update={"driver": "pyodbc"})

    def _selection(self, source: str, columns: Sequence[SourceColumn], *parameters: Parameter) -> Selection:
        """What is read of a source, for the driver that is to read."""
        return Selection(source, columns, self._key, self._settings.keep_offset, self._ticks_as_text(), parameters)

    def _ticks_as_text(self) -> bool:
        """Whether a time has to be read as text, for the driver that is to read."""
        if self._settings.consistency != "snapshot":
            self._choose_driver()
        return self._is_unbounded and self._connection.driver == "mssql-python"

    @property
    def _in_transaction(self) -> bool:
        return self._settings.consistency == "snapshot" or self._settings.query is not None

    def _open(self) -> Session:
        if self._session is None:
            self._session = open_session(self._connection)
            if self._settings.consistency == "snapshot":
                self._session.fetch_all(_BEGIN_SNAPSHOT, doing="Beginning a snapshot")
            elif self._in_transaction:
                self._session.fetch_all(BEGIN_READING, doing="Beginning to read")
        return self._session

    def _ask(self, sql: str, *parameters: str | bytes | int | float) -> list[tuple[object, ...]]:
        return self._open().fetch_all(sql, parameters, doing=f"Asking about {self._described().name}")

    def _count(self, condition: str, *parameters: str | bytes | int | float) -> int:
        rows = self._ask(select("COUNT_BIG(*)", self._described().sql, condition), *parameters)
        return whole(rows[0][0], f"Counting the rows of {self._described().name}")

    def _column(self, name: str) -> SourceColumn:
        """The column of this name, or of one that differs in case alone. Raises HomeNotFound."""
        source = self._described()
        found = columns_meant(name, source.columns)
        if len(found) > 1:
            raise HomeNotFound(
                f"{source.name} has several columns that differ from {name!r} in case alone.",
                hint=f"Write one of them as it is: {', '.join(column.name for column in found)}.",
            )
        if not found:
            raise HomeNotFound(
                f"{source.name} has no column {name!r}.",
                hint=suggest(name, [column.name for column in source.columns]),
            )
        return found[0]

    def _oldest_uncommitted(self, column: SourceColumn) -> str:
        """The lowest rowversion that a transaction still running may have taken: below it nothing will change."""
        if self._is_read_only():
            raise CursorUnusable(
                f"Column {column.name!r} is a rowversion, and this database is a copy for readers, which does not know "
                "the transactions that are still running on its primary: their rows would be lost.",
                hint="Remove application_intent from the connection, or use a time of last change with a lag.",
            )
        try:
            rows = self._ask("SELECT MIN_ACTIVE_ROWVERSION()")
        except HomeError as error:
            if error.transient:
                raise
            raise CursorUnusable(
                f"Column {column.name!r} is a rowversion, and this server has no MIN_ACTIVE_ROWVERSION(), without "
                f"which rows of transactions that are still running would be lost. {error.message}",
                hint="Use a time of last change with a lag, or a full_drop, which replaces the table each time.",
            ) from error
        return to_text(column, rows[0][0])

    def _check_exact_text(self, values: str) -> None:
        """Rule out that the server cuts its text of timestamps. Raises CursorUnusable."""
        rows = self._open().fetch_all(
            f"SELECT {exact_text('CAST(? AS datetime2(7))')}", (_PROBE,), doing="Asking for a timestamp's text"
        )
        if rows[0][0] != _PROBE:
            raise CursorUnusable(
                f"This server writes timestamps without all their digits: values {values} would be inexact.",
                hint="Use a datetime2(6) column, or an integer.",
            )


def _key_arrays(
    key: Sequence[SourceColumn], columns: Sequence[SourceColumn], fetched: pa.RecordBatch, batch: pa.RecordBatch
) -> list[pa.Array[Any]]:
    """The key's columns with every digit: as the server wrote them out where Arrow has fewer."""
    numbers = {column.name: number for number, column in enumerate(columns)}
    texts = position_texts(key)
    first_text = fetched.num_columns - len(texts)
    return [
        fetched.column(first_text + texts.index(column)) if column in texts else batch.column(numbers[column.name])
        for column in key
    ]
