"""Functions and @@variables that show the state of the session, the catalogue and the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import duckdb

from devcloud.sqlserver.engine.backend import Database, Instance
from devcloud.sqlserver.engine.capture import LSN, last_lsn, lsn_bytes
from devcloud.sqlserver.engine.catalogue import Table
from devcloud.sqlserver.engine.scope import Environment
from devcloud.sqlserver.engine.tracking import current_version, min_valid_version
from devcloud.sqlserver.engine.values import Scalar
from devcloud.sqlserver.errors import SqlError
from devcloud.sqlserver.transactions import Transaction
from devcloud.sqlserver.tsql.names import split_name
from devcloud.sqlserver.types import (
    BIGINT,
    DEFAULT_COLLATION,
    INT,
    SMALLINT,
    SYSNAME,
    SYSTEM_TYPES,
    TINYINT,
    SqlType,
    decimal,
    nvarchar,
    varbinary,
)
from devcloud.sqlserver.version import SERVER_VERSION

Typed = tuple[SqlType, Scalar]
_VERSION_TEXT: Final = ".".join(str(part) for part in (*SERVER_VERSION, 3))
_BINARY8: Final = SqlType("varbinary", length=8)
_NUMERIC38: Final = decimal(38, 0)

_PROPERTIES: Final[dict[str, Scalar]] = {
    "productversion": _VERSION_TEXT,
    "productlevel": "RTM",
    "productmajorversion": str(SERVER_VERSION[0]),
    "productminorversion": str(SERVER_VERSION[1]),
    "edition": "Developer Edition (64-bit)",
    "engineedition": 3,
    "servername": "devcloud",
    "machinename": "devcloud",
    "collation": DEFAULT_COLLATION,
    "isclustered": 0,
    "ishadrenabled": 0,
    "isintegratedsecurityonly": 0,
    "issingleuser": 0,
    "lcid": 1033,
}
"""SERVERPROPERTY: EngineEdition 3 is SQL Server itself (5 would be Azure SQL Database)."""


class SessionState(Environment, Protocol):
    """What these functions show of a session."""

    instance: Instance
    connection: duckdb.DuckDBPyConnection
    transaction: Transaction
    number: int
    application: str
    host: str
    caught: SqlError | None
    rowcount: int
    last_error: int
    last_identity: int | None
    lock_timeout_milliseconds: int

    @property
    def current(self) -> Database:
        """The current database."""

    def user_in(self, database: str) -> str | None:
        """Return the user that the session's login is in a database, or None."""


_VERSION: Final = (
    f"devcloud SQL Server - {_VERSION_TEXT} (X64): speaks the protocol and a subset of the T-SQL of "
    "Microsoft SQL Server 2022"
)
_VARIABLES: Final[dict[str, tuple[SqlType, Callable[[SessionState], Scalar]]]] = {
    "@@rowcount": (INT, lambda session: session.rowcount),
    "@@error": (INT, lambda session: session.last_error),
    "@@trancount": (INT, lambda session: session.transaction.count),
    "@@spid": (SMALLINT, lambda session: session.number),
    "@@version": (nvarchar(300), lambda _: _VERSION),
    "@@servername": (SYSNAME, lambda _: "devcloud"),
    "@@servicename": (SYSNAME, lambda _: "MSSQLSERVER"),
    "@@language": (SYSNAME, lambda _: "us_english"),
    "@@identity": (_NUMERIC38, lambda session: session.last_identity),
    "@@dbts": (_BINARY8, lambda session: session.current.last_rowversion(session.connection).to_bytes(8, "big")),
    "@@max_precision": (TINYINT, lambda _: 38),
    "@@datefirst": (TINYINT, lambda _: 7),
    "@@lock_timeout": (INT, lambda session: session.lock_timeout_milliseconds),
    "@@options": (INT, lambda _: 5496),
    "@@textsize": (INT, lambda _: -1),
    "@@microsoftversion": (INT, lambda _: SERVER_VERSION[0] << 24 | SERVER_VERSION[2]),
}


def global_variable(session: SessionState, name: str) -> Typed | None:
    """Return the value of ``@@name``, or None."""
    found = _VARIABLES.get(name)
    return None if found is None else (found[0], found[1](session))


def session_function(session: SessionState, name: str, arguments: tuple[Scalar, ...]) -> Typed | None:
    """Return the value of a function of state, or None where it is not spoken."""
    if name in _IDENTITIES:
        return SYSNAME, session.login if name in _LOGINS else session.user
    function = _FUNCTIONS.get(name)
    return None if function is None else function(session, arguments)


_LOGINS: Final = frozenset({"SUSER_SNAME", "SUSER_NAME", "SYSTEM_USER", "ORIGINAL_LOGIN"})
_IDENTITIES: Final = _LOGINS | {"USER_NAME", "USER", "CURRENT_USER", "SESSION_USER"}


def _first(arguments: tuple[Scalar, ...]) -> str:
    return "" if not arguments or arguments[0] is None else str(arguments[0])


def find_table(session: SessionState, text: str) -> Table | None:
    """Return the table that a name written as text means, or None."""
    database, schema, name = ("", "", *split_name(text))[-3:]
    if database and database.lower() not in session.instance.databases:
        return None
    catalogue = session.catalogue(database or session.database)
    return catalogue.find(schema or "dbo", name)


def _by_id(session: SessionState, arguments: tuple[Scalar, ...]) -> Table | None:
    return session.catalogue(session.database).by_id(int(_first(arguments) or 0))


def _object_id(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    table = find_table(session, _first(arguments))
    if table is not None and len(arguments) > 1 and str(arguments[1] or "").upper().strip() not in ("", table.kind):
        table = None
    return INT, None if table is None else table.object_id


def _object_fact(fact: str) -> Callable[[SessionState, tuple[Scalar, ...]], Typed]:
    def function(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
        return SYSNAME, getattr(_by_id(session, arguments), fact, None)

    return function


def _schema_id(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    found = session.catalogue(session.database).schemas.get((_first(arguments) or "dbo").lower())
    return INT, None if found is None else found[0]


def _schema_name(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    number = int(_first(arguments) or 1)
    schemas = session.catalogue(session.database).schemas.values()
    return SYSNAME, next((name for schema_id, name in schemas if schema_id == number), None)


def _db_name(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    if not arguments:
        return SYSNAME, session.database
    number = int(_first(arguments) or 0)
    return SYSNAME, next((d.name for d in session.instance.databases.values() if d.number == number), None)


def _db_id(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    found = session.instance.databases.get((_first(arguments) or session.database).lower())
    return SMALLINT, None if found is None else found.number


def _type_name(_: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    number = int(_first(arguments) or 0)
    return SYSNAME, next((name for name, facts in SYSTEM_TYPES.items() if facts[1] == number), None)


def _type_id(_: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    facts = SYSTEM_TYPES.get(split_name(_first(arguments))[-1].lower())
    return INT, None if facts is None else facts[1]


def _col_name(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    table = _by_id(session, arguments)
    columns = () if table is None else table.columns
    wanted = arguments[1] if len(arguments) > 1 else None
    return SYSNAME, next((column.name for column in columns if column.column_id == wanted), None)


def _col_length(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    table = find_table(session, _first(arguments))
    column = None if table is None or len(arguments) < 2 else table.column(str(arguments[1]))
    return SMALLINT, None if column is None else column.type.max_length


def _columnproperty(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    table = _by_id(session, arguments)
    column = None if table is None or len(arguments) < 3 else table.column(str(arguments[1]))
    if column is None:
        return INT, None
    facts = {
        "isidentity": column.identity is not None,
        "iscomputed": column.computed is not None,
        "allowsnull": column.nullable,
        "columnid": column.column_id,
        "precision": column.type.catalogue_precision,
        "scale": column.type.catalogue_scale,
    }
    found = facts.get(str(arguments[2]).lower())
    return INT, None if found is None else int(found)


def _serverproperty(_: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    value = _PROPERTIES.get(_first(arguments).lower())
    return (INT if isinstance(value, int) else nvarchar(128)), value


def _databasepropertyex(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    if _first(arguments).lower() not in session.instance.databases or len(arguments) < 2:
        return nvarchar(128), None
    facts = {
        "collation": DEFAULT_COLLATION,
        "status": "ONLINE",
        "updateability": "READ_WRITE",
        "recovery": "SIMPLE",
        "edition": None,
        "serviceobjective": None,
    }
    return nvarchar(128), facts.get(str(arguments[1]).lower())


def _has_perms_by_name(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    if len(arguments) < 3:
        return INT, None
    permission = str(arguments[2]).upper()
    kind = str(arguments[1] or "").upper()
    if session.user == "dbo":
        known = (
            arguments[0] is None or kind in ("DATABASE", "SCHEMA", "SERVER") or find_table(session, _first(arguments))
        )
        return INT, 1 if known else None
    if arguments[0] is None or kind in ("DATABASE", "SERVER"):
        return INT, 1 if permission in ("CONNECT", "ANY") else 0
    catalogue = session.catalogue(session.database)
    if kind == "SCHEMA":
        schema = catalogue.schemas.get((split_name(_first(arguments)) or ("",))[-1].lower())
        return INT, None if schema is None else int(catalogue.allows_in(session.user, permission, schema[0]))
    table = find_table(session, _first(arguments))
    if table is None:
        return INT, None
    if len(arguments) < 5 or str(arguments[4]).upper() != "COLUMN":
        return INT, int(catalogue.allows(session.user, permission, table))
    column = table.column(str(arguments[3]))
    if column is None:
        return INT, None
    return INT, int(column.column_id not in catalogue.denied_columns(session.user, permission, table))


def _has_dbaccess(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    name = _first(arguments)
    if name.lower() not in session.instance.databases:
        return INT, None
    return INT, int(session.user_in(name) is not None)


def _ident_current(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    table = find_table(session, _first(arguments))
    if table is None or table.identity is None:
        return _NUMERIC38, None
    rows = session.connection.execute(
        "SELECT coalesce(last_value, start_value) FROM duckdb_sequences() WHERE database_name = ? AND "
        "sequence_name = ?",
        [session.database, f"identity_{table.object_id}"],
    ).fetchall()
    return _NUMERIC38, int(rows[0][0])


def _min_active_rowversion(session: SessionState, _: tuple[Scalar, ...]) -> Typed:
    return varbinary(8), session.current.min_active_rowversion(session.connection).to_bytes(8, "big")


def _change_tracking_current_version(session: SessionState, _: tuple[Scalar, ...]) -> Typed | None:
    if not session.has_change_tracking:
        return None
    if not session.current.settings.change_tracking:
        return BIGINT, None
    session.transaction.enter(writing=False)
    return BIGINT, current_version(session.connection, session.database)


def _change_tracking_min_valid_version(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed | None:
    if not session.has_change_tracking:
        return None
    catalogue = session.catalogue(session.database)
    table = catalogue.by_id(int(_first(arguments) or 0))
    if table is None or not catalogue.allows(session.user, "VIEW CHANGE TRACKING", table):
        return BIGINT, None
    session.transaction.enter(writing=False)
    return BIGINT, min_valid_version(session.connection, session.database, table.object_id)


def _max_lsn(session: SessionState, _: tuple[Scalar, ...]) -> Typed:
    session.transaction.enter(writing=False)
    settings = session.current.settings
    found = last_lsn(session.connection, session.database, settings.captured_up_to)
    return LSN, None if found is None or not settings.change_data_capture else lsn_bytes(found)


def _min_lsn(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    """Ten zeros where there is no such instance, or the user may not see it."""
    catalogue, reached = session.catalogue(session.database), session.current.settings.captured_up_to
    for table in catalogue.tables.values():
        for instance in table.captures:
            if instance.name.lower() != _first(arguments).lower():
                continue
            if not catalogue.may_see_captured(session.user, table, instance):
                break
            return LSN, lsn_bytes(instance.start) if reached < 0 or instance.start <= reached else None
    return LSN, bytes(10)


def _next_lsn(step: int) -> Callable[[SessionState, tuple[Scalar, ...]], Typed]:
    def function(_: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
        given = arguments[0] if arguments else None
        value = int.from_bytes(given, "big") + step if isinstance(given, bytes) else None
        return LSN, None if value is None else value.to_bytes(10, "big")

    return function


def _is_role_member(session: SessionState, arguments: tuple[Scalar, ...]) -> Typed:
    member = (_first(arguments).lower(), session.user.lower()) in session.catalogue(session.database).members
    return INT, int(session.user == "dbo" or member)


def _caught(field: str, kind: SqlType) -> Callable[[SessionState, tuple[Scalar, ...]], Typed]:
    def function(session: SessionState, _: tuple[Scalar, ...]) -> Typed:
        error = session.caught
        return kind, None if error is None else getattr(error, field) or None

    return function


_FUNCTIONS: Final[dict[str, Callable[[SessionState, tuple[Scalar, ...]], Typed | None]]] = {
    "OBJECT_ID": _object_id,
    "OBJECT_NAME": _object_fact("name"),
    "OBJECT_SCHEMA_NAME": _object_fact("schema"),
    "SCHEMA_ID": _schema_id,
    "SCHEMA_NAME": _schema_name,
    "DB_NAME": _db_name,
    "DB_ID": _db_id,
    "TYPE_NAME": _type_name,
    "TYPE_ID": _type_id,
    "COL_NAME": _col_name,
    "COL_LENGTH": _col_length,
    "COLUMNPROPERTY": _columnproperty,
    "SERVERPROPERTY": _serverproperty,
    "DATABASEPROPERTYEX": _databasepropertyex,
    "HAS_PERMS_BY_NAME": _has_perms_by_name,
    "HAS_DBACCESS": _has_dbaccess,
    "SCOPE_IDENTITY": lambda session, _: (_NUMERIC38, session.last_identity),
    "IDENT_CURRENT": _ident_current,
    "MIN_ACTIVE_ROWVERSION": _min_active_rowversion,
    "CHANGE_TRACKING_CURRENT_VERSION": _change_tracking_current_version,
    "CHANGE_TRACKING_MIN_VALID_VERSION": _change_tracking_min_valid_version,
    "XACT_STATE": lambda session, _: (SMALLINT, int(session.transaction.count > 0)),
    "ROWCOUNT_BIG": lambda session, _: (BIGINT, session.rowcount),
    "ERROR_NUMBER": _caught("number", INT),
    "ERROR_MESSAGE": _caught("message", nvarchar(4000)),
    "ERROR_SEVERITY": _caught("severity", INT),
    "ERROR_STATE": _caught("state", INT),
    "ERROR_LINE": _caught("line", INT),
    "ERROR_PROCEDURE": _caught("procedure", SYSNAME),
    "APP_NAME": lambda session, _: (SYSNAME, session.application),
    "HOST_NAME": lambda session, _: (SYSNAME, session.host),
    "IS_SRVROLEMEMBER": lambda session, _: (INT, int(session.user == "dbo")),
    "IS_MEMBER": _is_role_member,
    "IS_ROLEMEMBER": _is_role_member,
    "FN_CDC_GET_MAX_LSN": _max_lsn,
    "FN_CDC_GET_MIN_LSN": _min_lsn,
    "FN_CDC_INCREMENT_LSN": _next_lsn(1),
    "FN_CDC_DECREMENT_LSN": _next_lsn(-1),
}

CAPTURE_FUNCTIONS: Final = frozenset(name for name in _FUNCTIONS if name.startswith("FN_CDC_"))
"""Those of change data capture, which the schema sys has."""

STATE_FUNCTIONS: Final = frozenset(_FUNCTIONS) | _IDENTITIES
"""The names that `session_function` knows."""
