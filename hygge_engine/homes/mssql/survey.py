"""The survey: what a slice would ask of each of many tables to see whether there is news, in a statement for hundreds.

A table about which the survey cannot say it, or not cheaply, is left out: `SurveyedHome`s stand for the others.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import batched
from typing import Any

from hygge_engine.errors import CursorUnusable, HomeError, HomeUnavailable
from hygge_engine.homes.base import HighWater, ReadWindow
from hygge_engine.homes.mssql.capture import (
    ALL_INSTANCES,
    STATUS_OF_MANY,
    Captured,
    instances_of,
    lsn_number,
    lsn_text,
    readable,
)
from hygge_engine.homes.mssql.catalogue import SourceObject
from hygge_engine.homes.mssql.catalogue_of_many import TABLES_AT_ONCE as CATALOGUE_AT_ONCE
from hygge_engine.homes.mssql.catalogue_of_many import Described, describe_tables
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.identifiers import parse_table_name, quote
from hygge_engine.homes.mssql.session import Session, whole
from hygge_engine.homes.mssql.sessions import open_session
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from hygge_engine.homes.mssql.tracking import BEGAN_OF_MANY, table_text
from hygge_engine.homes.mssql.types import SourceColumn, cursor_type, exact_text
from hygge_engine.homes.mssql.values import Parameter, to_text
from hygge_engine.letter_case import meant
from hygge_engine.project.models.settings import CHANGE_DATA_CAPTURE, CHANGE_TRACKING
from hygge_engine.watermark import CursorType
from hygge_engine.watermark.values import order_of

_log = logging.getLogger(__name__)

# Tables whose rows, and whose versions, one statement is about.
TABLES_AT_ONCE = 180
TRACKED_AT_ONCE = 400

# Capture instances of a database that are looked at; of one with more, nothing is known of the rest.
MOST_INSTANCES = 20_000

# Rows that are looked through where no index begins with the watermark's column: a moment for the server.
SCANNED_ROWS = 20_000

# The longest wait for one response, and to log in; a server that takes longer is better left alone.
RESPONSE_SECONDS = 30
LOGIN_SECONDS = 15

# How long a statement waits for a lock: a table that somebody holds is left out, and must not hold up the others.
LOCK_MILLISECONDS = 500

# A statement that fails because of some of its tables is divided until they are found. To find one takes as many
# failures as a statement can be halved, and one more; as many are granted for each that was found, so that denied
# tables never end the search for others. Where a statement fails whatever it is about, the first number ends it, and
# where tables are locked, so that each failure takes its time, the last.
MOST_FAILURES = 24
FAILURES_PER_TABLE = TABLES_AT_ONCE.bit_length() + 1
MOST_FAILED_TABLES = 64
FAILING_SECONDS = 20.0

_CURRENT_VERSION = "SELECT CHANGE_TRACKING_CURRENT_VERSION()"

_LOWEST_ACTIVE = "SELECT MIN_ACTIVE_ROWVERSION()"
_UPDATEABILITY = "SELECT CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128))"


_DOING = "Asking many tables whether they have news"

# A timestamp with a digit that no driver's own type holds.
_DIGITS = "2001-02-03T04:05:06.1234567"


@dataclass(frozen=True)
class Asked:
    """A table, and up to where it was loaded: ``reached`` by ``cursor``."""

    settings: MssqlHomeSettings
    cursor: str
    reached: str
    captured_by: bool | str = False


class NotSurveyed(Exception):
    """The survey does not know: the table has to be asked itself."""


class SurveyedHome(MssqlHome):
    """A table as the survey has found it. Whatever else is asked of it raises NotSurveyed; it never connects."""

    def __init__(
        self, connection: MssqlConnection, settings: MssqlHomeSettings, described: SourceObject, high: HighWater
    ) -> None:
        super().__init__(connection, settings, described)
        self._high = high

    def high_water(self, cursor: str) -> HighWater:
        return self._high

    def count_at(self, cursor: str, value: str) -> int:
        if value != self._high.value:
            raise NotSurveyed
        return self._high.ties

    def count(self, window: ReadWindow) -> int:
        raise NotSurveyed

    def _open(self) -> Session:
        raise NotSurveyed


def quick(connection: MssqlConnection) -> MssqlConnection:
    """A connection for what a load can do without: it waits no longer than that is worth."""
    limits = {
        "query_timeout_seconds": min(connection.query_timeout_seconds or RESPONSE_SECONDS, RESPONSE_SECONDS),
        "login_timeout_seconds": min(connection.login_timeout_seconds, LOGIN_SECONDS),
    }
    return connection.model_copy(update=limits)


def survey(
    connection: MssqlConnection, tables: Mapping[str, Asked], seconds: float, cancelled: Callable[[], bool]
) -> dict[str, SurveyedHome]:
    """Those of the tables, by any name, of which the survey knows whether they have news.

    It begins no statement after so many ``seconds``, nor once it is ``cancelled``. Failures cost what they are about,
    and are logged; this raises none.
    """
    connection = quick(connection)
    found: dict[str, SurveyedHome] = {}
    try:
        session = open_session(connection)
        try:
            with _short_locks(session):
                _Survey(connection, session, time.monotonic() + seconds, cancelled).run(tables, found)
        finally:
            session.close()
    except (HomeError, ValueError, TypeError, IndexError) as error:  # also responses that do not match the requests
        _log.warning("Not all tables could be asked at once whether they have news: %s", error)
    return found


@contextmanager
def _short_locks(session: Session) -> Iterator[None]:
    """Wait for no lock for long within this. A server that cannot promise it is bounded by its response alone."""
    with suppress(HomeError):
        session.execute(f"SET LOCK_TIMEOUT {LOCK_MILLISECONDS}", doing=_DOING)
    try:
        yield
    finally:
        with suppress(HomeError):  # a connection that is lost has ended it by itself
            session.execute("SET LOCK_TIMEOUT -1", doing=_DOING)


@dataclass(frozen=True)
class _Table:
    name: str
    asked: Asked
    described: Described

    def column(self) -> SourceColumn | None:
        """The column of the watermark; None where none is meant for sure."""
        source = self.described.source
        spelt = meant(self.asked.cursor, [column.name for column in source.columns])
        found = [column for column in source.columns if column.name in spelt]
        return found[0] if len(found) == 1 else None

    def is_cheap(self, column: SourceColumn) -> bool:
        """Whether the largest value of a column is found at once, or soon."""
        rows = self.described.source.approximate_rows
        return column.name in self.described.leading or (rows is not None and rows <= SCANNED_ROWS)


class _Survey:
    def __init__(
        self, connection: MssqlConnection, session: Session, until: float, cancelled: Callable[[], bool]
    ) -> None:
        self._connection = connection
        self._session = session
        self._until = until
        self._cancelled = cancelled
        self._failures = 0
        self._failed_tables = 0
        self._failing_seconds = 0.0
        self._clocks: dict[str, str | None] = {}

    def run(self, tables: Mapping[str, Asked], found: dict[str, SurveyedHome]) -> None:
        """Add to ``found`` what is known, as soon as it is."""
        names = {name: parse_table_name(asked.settings.table or "") for name, asked in tables.items()}
        described = describe_tables(self._ask, set(names.values()))
        tracked: list[_Table] = []
        captured: list[_Table] = []
        versioned: list[tuple[_Table, SourceColumn]] = []
        ordered: defaultdict[str, list[tuple[_Table, SourceColumn]]] = defaultdict(list)
        for name, asked in tables.items():
            if names[name] not in described:
                continue
            table = _Table(name, asked, described[names[name]])
            if asked.cursor == CHANGE_TRACKING:
                tracked.append(table)
            elif asked.cursor == CHANGE_DATA_CAPTURE:
                captured.append(table)
            elif column := table.column():
                if column.base_type == "rowversion":
                    versioned.append((table, column))
                elif _kind(column) in ("datetime", "int") and table.is_cheap(column):
                    ordered[column.declaration].append((table, column))
        parts: list[Callable[[], list[tuple[_Table, HighWater]]]] = []
        for group in ordered.values():  # what is known of some is kept where no time is left for the others
            parts += [partial(self._of_order, some) for some in batched(group, TABLES_AT_ONCE, strict=False)]
        parts += [partial(self._of_rowversions, versioned)] if versioned else []
        parts += [partial(self._of_changes, tracked)] if tracked else []
        parts += [partial(self._of_captured, captured)] if captured else []
        for part in parts:
            try:
                for table, high in part():
                    source = table.described.source
                    found[table.name] = SurveyedHome(self._connection, table.asked.settings, source, high)
            except HomeError as error:
                if error.transient:
                    raise
                _log.warning("Some tables could not be asked at once whether they have news: %s", error)

    def _of_order(self, tables: Sequence[tuple[_Table, SourceColumn]]) -> list[tuple[_Table, HighWater]]:
        """Of tables whose watermarks are times or numbers of one declaration."""
        column = tables[0][1]
        kind = cursor_type(column)
        clock = self._clock(column)
        largest = self._largest(tables)
        empty = self._without_nulls([pair for pair in tables if pair[0].name in largest])
        known = []
        for table, _ in tables:
            if table.name not in largest or table.name not in empty:
                continue
            value, ties = largest[table.name]
            # Rows ahead of the clock have to be counted, and looked at.
            if kind == "int" or (clock is not None and order_of(value, kind) <= order_of(clock, kind)):
                lags = self._connection.application_intent != "read_write"
                known.append((table, HighWater(value, kind, ties, clock=clock, may_lag=lags)))
        return known

    def _of_rowversions(self, tables: Sequence[tuple[_Table, SourceColumn]]) -> list[tuple[_Table, HighWater]]:
        """Of tables with rowversions that the database has given out none of since. Where it has, an activity moves the
        watermark on: one that stays behind would not show that the database was restored."""
        if self._one(_UPDATEABILITY) == "READ_ONLY":
            return []
        lowest = to_text(tables[0][1], self._one(_LOWEST_ACTIVE))
        known = {table.name for table, _ in tables if table.asked.reached == lowest}
        empty = self._without_nulls([pair for pair in tables if pair[0].name in known])
        return [(table, HighWater(table.asked.reached, "binary")) for table, _ in tables if table.name in empty]

    def _of_changes(self, tables: Sequence[_Table]) -> list[tuple[_Table, HighWater]]:
        """Of tables that are tracked, in a database that has had no change since, as in `_of_rowversions`."""
        current = whole(self._one(_CURRENT_VERSION), "Asking for the current version of Change Tracking")
        unchanged = {table.name for table in tables if int(table.asked.reached) == current}
        versions = self._versions(tables)
        return [
            (table, HighWater(table.asked.reached, "version", oldest=oldest, since=since, table=which))
            for table in tables
            if table.name in unchanged and table.described.id in versions
            for oldest, since, which in [versions[table.described.id]]
        ]

    def _of_captured(self, tables: Sequence[_Table]) -> list[tuple[_Table, HighWater]]:
        """Of captured tables in a database whose log has shown no captured change since. Of others it is not known,
        for what has changed may be another table, and to find out costs as much as to read it. One that has columns
        which are not captured is left to an activity, too."""
        ids = ", ".join(str(table.described.id) for table in tables)
        status = {
            whole(row[2], _DOING): (lsn_number(row[0]), table_text(row[2], row[3]), row[1])
            for row in self._ask(STATUS_OF_MANY.format(created=exact_text("t.create_date"), ids=ids), len(tables) + 1)
        }
        found = instances_of(self._ask(ALL_INSTANCES, MOST_INSTANCES))
        known = []
        for table in tables:
            source, number = table.described.source, table.described.id
            reached, which, computed = status.get(number, (None, "", None))
            try:
                listed = found.get(number, [])
                instances = readable(source.name, listed, reached, source.key, table.asked.captured_by)
            except CursorUnusable:
                continue
            kept = Captured(reached or 0, which, instances)
            all_there = {column.name for column in source.columns} <= set(instances[0].columns) and not computed
            if all_there and lsn_text(kept.newest) == table.asked.reached:
                high = HighWater(table.asked.reached, "binary", oldest=lsn_text(kept.oldest), table=which)
                known.append((table, high))
        return known

    def _largest(self, tables: Sequence[tuple[_Table, SourceColumn]]) -> dict[str, tuple[str, int]]:
        """The largest value of each table that has one, and how many rows have it."""
        found = {}
        for some in batched(tables, TABLES_AT_ONCE, strict=False):
            for (table, column), (value, ties) in self._numbered(some, _largest_of):
                if value is not None:
                    found[table.name] = to_text(column, value), whole(ties, "Counting rows at a watermark")
        return found

    def _without_nulls(self, tables: Iterable[tuple[_Table, SourceColumn]]) -> set[str]:
        """Those of the tables in which each row has a value."""
        tables = list(tables)
        found = {table.name for table, column in tables if not column.nullable}
        for some in batched([pair for pair in tables if pair[1].nullable], TABLES_AT_ONCE, strict=False):
            found |= {table.name for (table, _), (nulls,) in self._numbered(some, _nulls_of) if nulls == 0}
        return found

    def _versions(self, tables: Sequence[_Table]) -> dict[int, tuple[str, str, str]]:
        """From which version on the changes of each table are known, since when without a break, and which table it is,
        by its id."""
        found, began = {}, {}
        for some in batched(tables, CATALOGUE_AT_ONCE, strict=False):
            ids = ", ".join(str(table.described.id) for table in some)
            for number, since, created in self._ask(BEGAN_OF_MANY.format(ids=ids), len(some) + 1):
                version = str(whole(since, "Reading versions"))
                began[whole(number, "Reading versions")] = version, table_text(number, created)
        for some in batched(tables, TRACKED_AT_ONCE, strict=False):
            for table, (oldest,) in self._numbered(some, _oldest_of):
                if oldest is not None and table.described.id in began:
                    oldest_text = str(whole(oldest, "Reading versions"))
                    found[table.described.id] = oldest_text, *began[table.described.id]
        return found

    def _clock(self, column: SourceColumn) -> str | None:
        """The server's time as a value of columns like this one, asked once; None for what is no time, and from a
        server that does not say. Raises HomeError where it cuts its text of timestamps: values would be inexact."""
        if cursor_type(column) != "datetime":
            return None
        if column.declaration not in self._clocks:
            if column.has_tenths_of_microseconds:
                self._check_exact_text()
            self._clocks[column.declaration] = self._time_as(column)
        return self._clocks[column.declaration]

    def _time_as(self, column: SourceColumn) -> str | None:
        now = "SYSDATETIMEOFFSET()"
        if column.base_type != "datetimeoffset":
            now = "CASE WHEN SYSDATETIME() > SYSUTCDATETIME() THEN SYSDATETIME() ELSE SYSUTCDATETIME() END"
        value = f"CAST({now} AS {column.declaration})"
        clock = self._one(f"SELECT {exact_text(value) if column.has_tenths_of_microseconds else value}")
        return None if clock is None else to_text(column, clock)

    def _check_exact_text(self) -> None:
        rows = self._ask(f"SELECT {exact_text('CAST(? AS datetime2(7))')}", 1, (_DIGITS,))
        if not rows or rows[0][0] != _DIGITS:
            raise HomeError("This server writes timestamps without all their digits.")

    def _numbered[T](
        self, tables: Sequence[T], part: Callable[[int, T], str], first: int = 0
    ) -> list[tuple[T, tuple[Any, ...]]]:
        """The tables with the rows that one statement has for them, which begin with their numbers. ``part`` is what of
        it is about one.

        What fails for a table leaves that one out, and where much does, those that are asked with it. Raises HomeError
        where there is no time left.
        """
        began = time.monotonic()
        try:
            return self._rows_of(tables, part, first)
        except HomeError as error:
            self._failures += 1
            self._failing_seconds += time.monotonic() - began
            if self._is_over:
                raise
            if len(tables) == 1:
                self._failed_tables += 1
                _log.info("A table could not be asked beside others whether it has news: %s", error)
                return []
            if not self._may_divide:
                _log.warning("%s tables could not be asked at once whether they have news: %s", len(tables), error)
                return []
        half = len(tables) // 2
        return [*self._numbered(tables[:half], part, first), *self._numbered(tables[half:], part, first + half)]

    def _rows_of[T](
        self, tables: Sequence[T], part: Callable[[int, T], str], first: int
    ) -> list[tuple[T, tuple[Any, ...]]]:
        """Raises HomeUnavailable where the rows do not fit what was asked."""
        parts = [part(number, table) for number, table in enumerate(tables, start=first)]
        rows = self._ask(" UNION ALL ".join(parts), len(parts) + 1)
        numbers = [whole(row[0], _DOING) - first for row in rows]
        if len(set(numbers)) < len(numbers) or not set(numbers) <= set(range(len(parts))):
            raise HomeUnavailable(f"{_DOING}: the server's response does not match the request.")
        return [(tables[number], tuple(row[1:])) for number, row in zip(numbers, rows, strict=True)]

    @property
    def _may_divide(self) -> bool:
        granted = MOST_FAILURES + FAILURES_PER_TABLE * min(self._failed_tables, MOST_FAILED_TABLES)
        return self._failures <= granted and self._failing_seconds <= FAILING_SECONDS

    @property
    def _is_over(self) -> bool:
        return self._cancelled() or time.monotonic() > self._until

    def _one(self, sql: str) -> Any:
        rows = self._ask(sql, 1)
        return rows[0][0] if rows else None

    def _ask(self, sql: str, rows: int, parameters: Sequence[Parameter] = ()) -> list[tuple[Any, ...]]:
        if self._is_over:
            raise HomeUnavailable("There was no time left.")
        return self._session.fetch_some(sql, rows, parameters, doing=_DOING)


def _largest_of(number: int, pair: tuple[_Table, SourceColumn]) -> str:
    table, column = pair
    name, source = quote(column.name), table.described.source.sql
    text = exact_text(name) if column.has_tenths_of_microseconds else name
    return (
        f"SELECT * FROM (SELECT TOP (1) {number} AS number, {text} AS value, COUNT_BIG(*) AS ties "  # noqa: S608 - quoted
        f"FROM {source} GROUP BY {name} ORDER BY {name} DESC) AS t{number}"
    )


def _nulls_of(number: int, pair: tuple[_Table, SourceColumn]) -> str:
    table, column = pair
    source = table.described.source.sql
    return f"SELECT {number} AS number, COUNT_BIG(*) AS nulls FROM {source} WHERE {quote(column.name)} IS NULL"  # noqa: S608 - quoted


def _oldest_of(number: int, table: _Table) -> str:
    return f"SELECT {number} AS number, CHANGE_TRACKING_MIN_VALID_VERSION({table.described.id}) AS oldest"


def _kind(column: SourceColumn) -> CursorType | None:
    """What kind of watermark a column is; None where it cannot be one."""
    try:
        return cursor_type(column)
    except HomeError:
        return None
