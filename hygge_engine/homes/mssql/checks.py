"""What `hygge doctor` checks of a SQL Server: about the connection, its database, and each source in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from hygge_engine.checks import DoctorCheck, attempt, failure
from hygge_engine.errors import CursorUnusable, HomeError, HyggeError
from hygge_engine.homes.mssql.access import check_select
from hygge_engine.homes.mssql.capture import (
    LOG_SCANS,
    NOT_SCANNED,
    START_JOB,
    captured_columns,
    look_at_captured,
    lsn_text,
)
from hygge_engine.homes.mssql.catalogue import SourceObject, describe_source
from hygge_engine.homes.mssql.session import BEGIN_READING, END_READING, Session
from hygge_engine.homes.mssql.sessions import check_responds, open_session
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from hygge_engine.homes.mssql.tracking import VERSIONS, explain_missing_grant
from hygge_engine.homes.mssql.types import SourceColumn, arrow_type, cursor_type, loss
from hygge_engine.lake.probe import clock_check
from hygge_engine.letter_case import columns_meant, meant
from hygge_engine.plain_text import counted
from hygge_engine.project.models.project import WatermarkSettings
from hygge_engine.project.telling.problems import suggest

# A host that responds does so to a first packet at once; the login may take longer, for a paused database wakes up for
# it.
CONNECT_TIMEOUT_SECONDS = 5

NOT_AVAILABLE = "not available on this server"

_LOOPBACK = ("127.", "localhost", "::1")

_VERSION = """\
SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)), CAST(SERVERPROPERTY('Edition') AS nvarchar(128))"""
_ENCRYPTION = "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID"
_CLOCK = "SELECT CONVERT(nvarchar(33), SYSUTCDATETIME(), 126)"
_SNAPSHOT = """\
SELECT snapshot_isolation_state_desc, is_read_committed_snapshot_on FROM sys.databases WHERE name = DB_NAME()"""
_TRACKING = """\
SELECT retention_period, retention_period_units_desc FROM sys.change_tracking_databases WHERE database_id = DB_ID()"""

CAPTURE_HOW = "sys.sp_cdc_help_change_data_capture"


def check_connection(connection: MssqlConnection) -> tuple[list[DoctorCheck], Session | None]:
    """Whether the server can be reached and logged in to, and what it is; with an open session where it can."""
    checks = [_check_reachable(connection)]
    if checks[0].result == "failed":
        return checks, None
    how = f"log in with auth: {connection.auth}, driver {connection.driver}"
    try:
        session = open_session(connection)
        user, database = session.fetch_all("SELECT USER_NAME(), DB_NAME()", doing="Asking for the current user")[0]
    except HyggeError as error:
        return [*checks, failure("login", how, error)], None
    checks.append(DoctorCheck("login", "ok", f"user {user} of database {database}", how))
    about: dict[str, Callable[[], DoctorCheck]] = {
        "version": lambda: _check_version(session),
        "encryption": lambda: _check_encryption(session, connection),
        "clock": lambda: _check_clock(session),
        "snapshot isolation": lambda: _check_snapshot(session),
        "change tracking": lambda: _check_tracking(session),
    }
    return [*checks, *(attempt(name, "ask the server", look) for name, look in about.items())], session


def check_source(
    session: Session,
    settings: MssqlHomeSettings,
    watermark: WatermarkSettings | None = None,
    *,
    key_columns: Sequence[str] = (),
    fold: bool | Sequence[str] = False,
) -> list[DoctorCheck]:
    """Whether one table, view or query can be read, and how: permission, key, watermark, size, Change Tracking.

    ``key_columns`` are those that the store names, ``fold`` those whose texts polish makes one.
    """
    how = "the catalogue" if settings.table else "sp_describe_first_result_set"
    try:
        if settings.query:
            session.fetch_all(BEGIN_READING, doing="Beginning to read")
        return _check_source(session, settings, watermark, how, key_columns, fold)
    except HyggeError as error:
        return [failure("table", how, error)]
    finally:
        if settings.query:
            with suppress(HyggeError):  # a connection that is lost has ended the transaction by itself
                session.fetch_all(END_READING, doing="Ending the reading")


def _check_source(
    session: Session,
    settings: MssqlHomeSettings,
    watermark: WatermarkSettings | None,
    how: str,
    key_columns: Sequence[str],
    fold: bool | Sequence[str],
) -> list[DoctorCheck]:
    source = describe_source(session, settings)
    checks = [_check_columns(source, settings, how), _check_select(session, source), _check_key(source, settings)]
    checks += _check_masks(source)
    strangers = [name for name in key_columns if _find(source, name) is None]
    checks += [_no_column("store.key_columns", source, name, how) for name in strangers]
    tracks = watermark is not None and watermark.change_tracking
    captured_by = watermark.cdc if watermark is not None else False
    if watermark is not None:
        checks += _check_spellings(source, key_columns or settings.key or source.key, fold)
    if watermark is not None and watermark.names_column:
        checks.append(_check_watermark(session, source, watermark.column, lag=watermark.lag > 0))
    checks.append(_check_rows(source))
    if settings.consistency == "snapshot":
        checks.append(attempt("consistency", "sys.databases", lambda: _check_consistency(session)))
    if captured_by:
        look = partial(_check_captured, session, source, captured_by)
        checks.append(attempt("change data capture", CAPTURE_HOW, look))
        checks.append(attempt("capture job", "sys.dm_cdc_log_scan_sessions", partial(_check_capture_job, session)))
    if settings.table and not captured_by:
        look = partial(_check_table_tracking, session, source, needed=tracks)
        checks.append(attempt("change tracking", "ask the server", look))
    return checks


def _check_reachable(connection: MssqlConnection) -> DoctorCheck:
    how = f"connect to {connection.address}"

    def look() -> DoctorCheck:
        limit = min(connection.login_timeout_seconds, CONNECT_TIMEOUT_SECONDS)
        check_responds(connection.model_copy(update={"login_timeout_seconds": limit}))
        return DoctorCheck("reachable", "ok", f"{connection.address} answers", how)

    return attempt("reachable", how, look)


def _check_version(session: Session) -> DoctorCheck:
    found = _ask(session, _VERSION)
    if found and found[0][0]:
        return DoctorCheck("version", "ok", f"{found[0][0]}, {found[0][1]}", "SERVERPROPERTY")
    found = _ask(session, "SELECT @@VERSION")
    text = str(found[0][0]).splitlines()[0] if found else NOT_AVAILABLE
    return DoctorCheck("version", "ok" if found else "unknown", text, "@@VERSION")


def _check_encryption(session: Session, connection: MssqlConnection) -> DoctorCheck:
    local = connection.host.lower().startswith(_LOOPBACK)
    found = _ask(session, _ENCRYPTION)
    encrypted = str(found[0][0]).upper() == "TRUE" if found else connection.encrypt
    how = "sys.dm_exec_connections" if found else "the settings; the login may not see sys.dm_exec_connections"
    if not encrypted:
        if local:
            return DoctorCheck("encryption", "ok", "off; nothing leaves this machine", how)
        return DoctorCheck("encryption", "warning", "off", how, "Set encrypt: true on the connection.")
    if connection.trust_server_certificate and not local:
        remedy = "Install the authority's certificate, and remove trust_server_certificate."
        return DoctorCheck("encryption", "warning", "on, but any certificate is trusted", how, remedy)
    return DoctorCheck("encryption", "ok", "on", how)


def _check_clock(session: Session) -> DoctorCheck:
    found = _ask(session, _CLOCK)
    try:
        # Python holds six of the seven digits.
        there = datetime.fromisoformat(str(found[0][0] if found else "")[:26]).replace(tzinfo=UTC)
    except ValueError:
        return DoctorCheck("clock", "unknown", NOT_AVAILABLE, "SYSUTCDATETIME()")
    return clock_check("clock", there, "SYSUTCDATETIME()")


def _check_snapshot(session: Session) -> DoctorCheck:
    how = "sys.databases"
    found = _ask(session, _SNAPSHOT)
    if not found:
        return DoctorCheck("snapshot isolation", "unknown", NOT_AVAILABLE, how)
    committed = "reads do not wait for writers" if found[0][1] else "reads wait for writers"
    return DoctorCheck("snapshot isolation", "ok", f"{str(found[0][0]).lower()}; {committed}", how)


def _check_consistency(session: Session) -> DoctorCheck:
    """Whether this database allows snapshot reads."""
    how = "sys.databases"
    found = _ask(session, _SNAPSHOT)
    if not found:
        return DoctorCheck("consistency", "unknown", NOT_AVAILABLE, how)
    if found[0][0] == "ON":
        return DoctorCheck("consistency", "ok", "one snapshot for each slice", how)
    remedy = "ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION ON, or set consistency: read_committed."
    return DoctorCheck("consistency", "failed", "the database allows no snapshots", how, remedy)


def _check_tracking(session: Session) -> DoctorCheck:
    how = "sys.change_tracking_databases"
    found = _ask(session, _TRACKING)
    if found is None:
        return DoctorCheck("change tracking", "unknown", NOT_AVAILABLE, how)
    text = f"on, kept for {found[0][0]} {str(found[0][1]).lower()}" if found else "off"
    return DoctorCheck("change tracking", "ok", text, how)


def _check_columns(source: SourceObject, settings: MssqlHomeSettings, how: str) -> DoctorCheck:
    """What is lost is shown without a warning: nearly every datetime2 has an unused seventh digit."""

    def look() -> DoctorCheck:
        for column in source.columns:
            arrow_type(column)
        lost = [text for column in source.columns if (text := _loss(column, settings))]
        return DoctorCheck(
            "table", "ok", "; ".join([f"{source.name}, {counted(len(source.columns), 'column')}", *lost]), how
        )

    return attempt("table", how, look)


def _check_masks(source: SourceObject) -> list[DoctorCheck]:
    masked = [column.name for column in source.columns if column.masked]
    if not masked:
        return []
    found = f"{', '.join(masked)}: this login lacks UNMASK, so that masks land in place of the values"
    remedy = "GRANT UNMASK to the login, or leave the columns out by a query."
    return [DoctorCheck("masks", "warning", found, "HAS_PERMS_BY_NAME", remedy)]


def _loss(column: SourceColumn, settings: MssqlHomeSettings) -> str:
    text = loss(column, keeps_offset=settings.keep_offset)
    return f"{column.name}: {text}" if text else ""


def _check_select(session: Session, source: SourceObject) -> DoctorCheck:
    how = "a SELECT of every column that returns no row"

    def look() -> DoctorCheck:
        check_select(session, source)
        return DoctorCheck("select", "ok", "every column may be read", how)

    return attempt("select", how, look)


def _check_key(source: SourceObject, settings: MssqlHomeSettings) -> DoctorCheck:
    how = "home.key" if settings.key else "the catalogue's unique indexes"
    for name in settings.key:
        if _find(source, name) is None:
            return _no_column("key", source, name, how)
    key = settings.key or source.key
    if key:
        return DoctorCheck("key", "ok", ", ".join(key), how)
    remedy = "Give the table a primary key or unique index, or name its unique columns in home.key."
    return DoctorCheck("key", "warning", "none, so that all rows must move within one slice", how, remedy)


def _check_spellings(source: SourceObject, key: Sequence[str], fold: bool | Sequence[str]) -> list[DoctorCheck]:
    """Keys that may change without becoming others to the server, which the destination takes for others."""
    how = "the collation of the key's columns"
    columns = [column for name in key if (column := _find(source, name)) is not None and column.folding]
    if isinstance(fold, bool):
        kept = [] if fold else columns
    else:
        named = {spelt for name in fold for spelt in meant(name, key)}
        kept = [column for column in columns if column.name not in named]
    found = [f"{column.name} ({column.collation})" for column in kept]
    if found:
        differs = "case or trailing blanks" if any(column.folding != "blanks" for column in kept) else "trailing blanks"
        text = f"{', '.join(found)}: a key that changes in {differs} alone is the same row to the server, and two rows"
        remedy = "Set fold: true below polish, or reload the table now and then."
        return [DoctorCheck("spelling of the key", "warning", f"{text} at the destination", how, remedy)]
    blind = [f"{column.name} ({column.collation})" for column in columns if "_ai" in column.collation.lower()]
    if blind:
        text = f"{', '.join(blind)}: a key that changes in its accents alone leaves two rows at the destination"
        return [DoctorCheck("spelling of the key", "warning", text, how, "Reload the table now and then.")]
    return []


def _check_watermark(session: Session, source: SourceObject, name: str, *, lag: bool) -> DoctorCheck:
    how = "the catalogue"
    column = _find(source, name)
    if column is None:
        return _no_column("watermark", source, name, how)

    def look() -> DoctorCheck:
        kind = cursor_type(column)
        if lag and kind != "datetime":
            reason = f"{name} is a watermark of type {kind}, which has no minutes that a lag could go back"
            raise CursorUnusable(reason, hint="Remove lag, or use a time of last change as the watermark.")
        if kind == "binary" and _ask(session, "SELECT MIN_ACTIVE_ROWVERSION()") is None:
            reason = f"{name} is a rowversion, and this server has no MIN_ACTIVE_ROWVERSION()"
            raise CursorUnusable(
                reason, hint="Use a time of last change with a lag, or a full_drop, which replaces the table."
            )
        if column.nullable:
            remedy = "Make the column NOT NULL, or reload the table now and then."
            found = f"{name} ({column.declaration}) may be NULL; such rows are read by the first load alone"
            return DoctorCheck("watermark", "warning", found, how, remedy)
        return DoctorCheck("watermark", "ok", f"{name} ({column.declaration})", how)

    return attempt("watermark", how, look)


def _check_rows(source: SourceObject) -> DoctorCheck:
    if source.approximate_rows is None:
        return DoctorCheck("rows", "unknown", "the catalogue keeps no count", "sys.partitions")
    return DoctorCheck("rows", "ok", f"about {source.approximate_rows:,}", "sys.partitions")


def _check_table_tracking(session: Session, source: SourceObject, *, needed: bool) -> DoctorCheck:
    how = "CHANGE_TRACKING_MIN_VALID_VERSION"
    if not source.tracked:
        remedy = "Read the table itself, over a connection to its database." if needed else ""
        found_there = "the table lies in another database"
        return DoctorCheck("change tracking", "failed" if needed else "unknown", found_there, how, remedy)
    found = _ask(session, VERSIONS, source.tracked)
    if found is None:
        return DoctorCheck("change tracking", "failed" if needed else "unknown", NOT_AVAILABLE, how)
    current, oldest = found[0]
    if oldest is not None:
        return DoctorCheck("change tracking", "ok", f"on, changes are kept since version {oldest} of {current}", how)
    if current is None:
        text, remedy = "off in this database", "ALTER DATABASE … SET CHANGE_TRACKING = ON."
    else:
        text, remedy, _ = explain_missing_grant(session, source.tracked, source.name)
    if not needed:
        return DoctorCheck("change tracking", "ok", text, how)
    return DoctorCheck("change tracking", "failed", text, how, f"{remedy} Or choose a watermark.column.")


def _check_captured(session: Session, source: SourceObject, captured_by: bool | str) -> DoctorCheck:
    """By which instance a table is captured, since when, and what of it is not. Raises CursorUnusable."""
    captured = look_at_captured(session, source, captured_by)
    _, told = captured_columns(session, source, captured)
    first, *others = captured.instances
    since = f"changes are kept since LSN {lsn_text(captured.oldest)}, known up to {lsn_text(captured.newest)}"
    parts = [f"by {first.name}" + (f", before it by {others[0].name}" if others else ""), since]
    parts += [f"gated by the role {each.role}" for each in captured.instances if each.role]
    if told:
        remedy = "Enable a second capture instance with these columns; loads go over to it by themselves."
        return DoctorCheck("change data capture", "warning", "; ".join([*parts, *told]), CAPTURE_HOW, remedy)
    return DoctorCheck("change data capture", "ok", "; ".join(parts), CAPTURE_HOW)


def _check_capture_job(session: Session) -> DoctorCheck:
    """When the log was read last, and how far behind that was (learn.microsoft.com, "sys.dm_cdc_log_scan_sessions")."""
    name, how = "capture job", "sys.dm_cdc_log_scan_sessions"
    found = _ask(session, LOG_SCANS)
    if found is None:
        return DoctorCheck(name, "unknown", f"{NOT_AVAILABLE}, or the login lacks VIEW DATABASE STATE", how)
    if not found:
        return DoctorCheck(name, "warning", NOT_SCANNED, how, START_JOB)
    began, latency, errors = found[0]
    text = f"the last scan of the log began {began}, {latency} s behind"
    if errors:
        return DoctorCheck(name, "warning", f"{text}, with errors: see sys.dm_cdc_errors", how, START_JOB)
    return DoctorCheck(name, "ok", text, how)


def _ask(session: Session, sql: str, *parameters: str) -> list[tuple[object, ...]] | None:
    """The rows; None from a server or for a login that cannot say. Raises HomeError (transient) for a lost one."""
    try:
        return session.fetch_all(sql, parameters, doing="Asking the server about itself")
    except HomeError as error:
        if error.transient:
            raise
        return None


def _find(source: SourceObject, name: str) -> SourceColumn | None:
    return next(iter(columns_meant(name, source.columns)), None)


def _no_column(check: str, source: SourceObject, name: str, how: str) -> DoctorCheck:
    hint = suggest(name, [column.name for column in source.columns])
    return DoctorCheck(check, "failed", f"{source.name} has no column {name!r}", how, hint, "home.not_found")
