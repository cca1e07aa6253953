"""The catalogue of a database: what tables, keys, principals and permissions it has.

It is kept in DuckDB tables beside the data, in the schema ``devcloud``, so that definitions and data commit together.
The system views (sysviews.py) read those tables; the binder reads the objects below, loaded from them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

import duckdb

from devcloud.sqlserver.engine.values import quote
from devcloud.sqlserver.types import SqlType

CATALOGUE_SCHEMA: Final = "devcloud"

_TABLES: Final = """
CREATE TABLE devcloud.schemas(schema_id INTEGER, name VARCHAR, principal_id INTEGER);
CREATE TABLE devcloud.objects(object_id INTEGER, schema_id INTEGER, name VARCHAR, kind VARCHAR, definition VARCHAR,
    body VARCHAR, aliases VARCHAR[], created BIGINT, modified BIGINT);
CREATE TABLE devcloud.columns(object_id INTEGER, column_id INTEGER, name VARCHAR, type_name VARCHAR, length INTEGER,
    "precision" INTEGER, "scale" INTEGER, collation_name VARCHAR, is_nullable BOOLEAN, seed BIGINT, increment BIGINT,
    default_definition VARCHAR, default_name VARCHAR, computed VARCHAR, is_persisted BOOLEAN, max_length INTEGER,
    shown_precision INTEGER, shown_scale INTEGER, default_id INTEGER);
CREATE TABLE devcloud.indexes(object_id INTEGER, index_id INTEGER, name VARCHAR, is_unique BOOLEAN, is_primary BOOLEAN,
    is_constraint BOOLEAN, is_clustered BOOLEAN, constraint_id INTEGER);
CREATE TABLE devcloud.index_columns(object_id INTEGER, index_id INTEGER, position INTEGER, column_id INTEGER,
    is_descending BOOLEAN, is_included BOOLEAN);
CREATE TABLE devcloud.principals(principal_id INTEGER, name VARCHAR, kind VARCHAR, login VARCHAR);
CREATE TABLE devcloud.permissions(principal VARCHAR, scope VARCHAR, target INTEGER, permission VARCHAR, state VARCHAR);
CREATE SEQUENCE devcloud.object_ids START 901578250 INCREMENT 1019;
CREATE SEQUENCE devcloud.rowversion START 2001;
INSERT INTO devcloud.schemas VALUES (1, 'dbo', 1), (2, 'guest', 2), (3, 'INFORMATION_SCHEMA', 3), (4, 'sys', 4);
INSERT INTO devcloud.principals VALUES (0, 'public', 'R', NULL), (1, 'dbo', 'S', 'sa'), (2, 'guest', 'S', NULL),
    (3, 'INFORMATION_SCHEMA', 'S', NULL), (4, 'sys', 'S', NULL);
"""

_TRACKING: Final = (
    "TABLE {where}.tracked_tables(object_id INTEGER, begin_version BIGINT, min_version BIGINT)",
    "TABLE {where}.tracked_commits(number BIGINT, version BIGINT)",
    "SEQUENCE {where}.tracked_transactions",
    "TABLE {where}.capture_instances(object_id INTEGER, source_id INTEGER, name VARCHAR, columns VARCHAR[], "
    "column_ids INTEGER[], types VARCHAR[], key_columns VARCHAR[], start BIGINT, role VARCHAR, index_name VARCHAR, "
    "created BIGINT)",
    "TABLE {where}.captured_commits(number BIGINT, lsn BIGINT, committed BIGINT)",
    "TABLE {where}.role_members(role VARCHAR, member VARCHAR)",
    "SEQUENCE {where}.captured_lsns START 16",
)


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column of a table or view."""

    column_id: int
    name: str
    type: SqlType
    nullable: bool
    identity: tuple[int, int] | None = None
    default: str | None = None
    default_name: str | None = None
    computed: str | None = None
    persisted: bool = False

    @property
    def is_rowversion(self) -> bool:
        """Whether the server itself gives it its values, with every write."""
        return self.type.name == "timestamp"


@dataclass(frozen=True, slots=True)
class Key:
    """A primary key, unique constraint or index: ids of its columns, with whether they descend."""

    index_id: int
    name: str
    columns: tuple[tuple[int, bool], ...]
    unique: bool
    primary: bool
    constraint: bool
    clustered: bool
    included: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CaptureInstance:
    """A capture instance of a table: its columns by name and id; ``start`` numbers the first commit that it sees."""

    object_id: int
    source_id: int
    name: str
    columns: tuple[str, ...]
    column_ids: tuple[int, ...]
    types: tuple[SqlType, ...]
    start: int
    role: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """A table (kind U), a view (kind V) or a synonym (kind SN); ``body`` is a view's query, or the name of a synonym's
    base."""

    object_id: int
    schema: str
    name: str
    kind: str
    columns: tuple[ColumnInfo, ...]
    keys: tuple[Key, ...] = ()
    body: str | None = None
    aliases: tuple[str, ...] = ()
    tracked: bool = False
    """Whether Change Tracking is on for it."""
    captures: tuple[CaptureInstance, ...] = ()
    """What change data capture keeps of it."""

    def column(self, name: str) -> ColumnInfo | None:
        """Return the column of that name, or None."""
        folded = name.lower()
        return next((column for column in self.columns if column.name.lower() == folded), None)

    @property
    def stored(self) -> tuple[ColumnInfo, ...]:
        """The columns that DuckDB holds: all but computed ones."""
        return tuple(column for column in self.columns if column.computed is None)

    @property
    def rowversion(self) -> ColumnInfo | None:
        """The rowversion column, if there is one."""
        return next((column for column in self.columns if column.is_rowversion), None)

    @property
    def identity(self) -> ColumnInfo | None:
        """The identity column, if there is one."""
        return next((column for column in self.columns if column.identity is not None), None)

    @property
    def primary_key(self) -> Key | None:
        """The primary key, if there is one."""
        return next((key for key in self.keys if key.primary), None)

    @property
    def full_name(self) -> str:
        """``schema.name``."""
        return f"{self.schema}.{self.name}"


@dataclass(slots=True)
class Catalogue:
    """What one database holds, as of when it was loaded. Names are looked up without case."""

    database: str
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)
    schemas: dict[str, tuple[int, str]] = field(default_factory=dict)
    principals: dict[str, tuple[int, str, str, str | None]] = field(default_factory=dict)
    permissions: list[tuple[str, str, int, str, str]] = field(default_factory=list)
    members: set[tuple[str, str]] = field(default_factory=set)
    """Roles and their members, in lower case."""

    def find(self, schema: str, name: str) -> Table | None:
        """Return the table or view of that name, or None."""
        return self.tables.get((schema.lower(), name.lower()))

    def by_id(self, object_id: int) -> Table | None:
        """Return the table or view of that id, or None."""
        return next((table for table in self.tables.values() if table.object_id == object_id), None)

    def user_of(self, login: str) -> str | None:
        """Return the database user that a login maps to; None where it has no access."""
        folded = login.lower()
        return next(
            (
                name
                for _, name, kind, mapped in self.principals.values()
                if kind == "S" and (mapped or "").lower() == folded
            ),
            None,
        )

    def allows(self, user: str, permission: str, table: Table) -> bool:
        """Return whether a user has a permission on a table: DENY outweighs GRANT, wherever either is given.

        dbo may do all; others what is granted to them or to public, on the object, its schema or the database.
        """
        if user == "dbo":
            return True
        schema_id = self.schemas[table.schema.lower()][0]
        targets = {("object", table.object_id), ("schema", schema_id), ("database", 0)}
        states = self._states(user, permission, targets)
        return "GRANT" in states and "DENY" not in states

    def allows_in(self, user: str, permission: str, schema_id: int) -> bool:
        """Tell whether a user has a permission on everything in a schema."""
        states = self._states(user, permission, {("schema", schema_id), ("database", 0)})
        return user == "dbo" or ("GRANT" in states and "DENY" not in states)

    def denied_columns(self, user: str, permission: str, table: Table) -> set[int]:
        """Return the ids of the columns on which a user lacks a permission, which may be given or denied on each."""
        if user == "dbo":
            return set()
        whole = self.allows(user, permission, table)
        denied = set()
        for column in table.columns:
            states = self._states(user, permission, {(f"column {column.column_id}", table.object_id)})
            if "DENY" in states or not (whole or "GRANT" in states):
                denied.add(column.column_id)
        return denied

    def may_see_captured(self, user: str, table: Table, instance: CaptureInstance) -> bool:
        """Return whether a user may see what an instance has captured: all of its columns, and by its gating role."""
        if user == "dbo":
            return True
        denied = self.denied_columns(user, "SELECT", table)
        is_gated = instance.role is not None and (instance.role.lower(), user.lower()) not in self.members
        return not is_gated and not denied & set(instance.column_ids)

    def _states(self, user: str, permission: str, targets: set[tuple[str, int]]) -> set[str]:
        return {
            state
            for principal, scope, target, given, state in self.permissions
            if principal.lower() in (user.lower(), "public")
            and (scope, target) in targets
            and given in (permission, "CONTROL")
        }


def create_catalogue(connection: duckdb.DuckDBPyConnection, database: str) -> None:
    """Create the catalogue's tables in a new database, and the schema dbo."""
    name = quote(database)
    connection.execute(f"CREATE SCHEMA {name}.dbo")
    connection.execute(f"CREATE SCHEMA {name}.{CATALOGUE_SCHEMA}")
    for statement in _TABLES.split(";"):
        if statement.strip():
            connection.execute(re.sub(r"\bdevcloud\.", f"{name}.devcloud.", statement))


def prepare_tracking(connection: duckdb.DuckDBPyConnection, database: str) -> None:
    """Create what Change Tracking and change data capture need in a database, where it is not there yet."""
    for definition in _TRACKING:
        kind, rest = definition.format(where=f"{quote(database)}.{CATALOGUE_SCHEMA}").split(" ", 1)
        connection.execute(f"CREATE {kind} IF NOT EXISTS {rest}")


def load_catalogue(connection: duckdb.DuckDBPyConnection, database: str) -> Catalogue:
    """Return the catalogue as that connection's transaction sees it."""
    where = f"{quote(database)}.{CATALOGUE_SCHEMA}"
    catalogue = Catalogue(database)
    for schema_id, name in connection.execute(f"SELECT schema_id, name FROM {where}.schemas").fetchall():
        catalogue.schemas[name.lower()] = (schema_id, name)
    names = dict(catalogue.schemas.values())
    columns = _load_columns(connection, where)
    keys = _load_keys(connection, where)
    tracked = {row[0] for row in connection.execute(f"SELECT object_id FROM {where}.tracked_tables").fetchall()}
    captures: dict[int, list[CaptureInstance]] = {}
    for row in connection.execute(
        "SELECT object_id, source_id, name, columns, column_ids, types, start, role "
        f"FROM {where}.capture_instances ORDER BY start"
    ).fetchall():
        instance = CaptureInstance(row[0], row[1], row[2], tuple(row[3]), tuple(row[4]), _types(row[5]), row[6], row[7])
        captures.setdefault(instance.source_id, []).append(instance)
    objects = connection.execute(
        f"SELECT object_id, schema_id, name, kind, body, aliases FROM {where}.objects"
    ).fetchall()
    for object_id, schema_id, name, kind, body, aliases in objects:
        schema = names[schema_id]
        parts = (tuple(columns.get(object_id, ())), tuple(keys.get(object_id, ())))
        catalogue.tables[schema.lower(), name.lower()] = Table(
            *(object_id, schema, name, kind, *parts, body, tuple(aliases or ()), object_id in tracked),
            tuple(captures.get(object_id, ())),
        )
    principals = connection.execute(f"SELECT principal_id, name, kind, login FROM {where}.principals").fetchall()
    catalogue.principals = {row[1].lower(): (row[0], row[1], row[2], row[3]) for row in principals}
    members = connection.execute(f"SELECT lower(role), lower(member) FROM {where}.role_members").fetchall()
    catalogue.members = {(role, member) for role, member in members}
    catalogue.permissions = connection.execute(
        f"SELECT principal, scope, target, permission, state FROM {where}.permissions"
    ).fetchall()
    return catalogue


def type_text(kind: SqlType) -> str:
    """Return a type as the catalogue keeps it beside a captured column, which may outlive the column."""
    return f"{kind.name},{kind.length},{kind.precision},{kind.scale},{kind.collation}"


def _types(texts: list[str]) -> tuple[SqlType, ...]:
    parts = [text.split(",") for text in texts]
    return tuple(SqlType(each[0], int(each[1]), int(each[2]), int(each[3]), each[4]) for each in parts)


def _load_columns(connection: duckdb.DuckDBPyConnection, where: str) -> dict[int, list[ColumnInfo]]:
    columns: dict[int, list[ColumnInfo]] = {}
    rows = connection.execute(
        'SELECT object_id, column_id, name, type_name, length, "precision", "scale", collation_name, '
        "is_nullable, seed, "
        f"increment, default_definition, default_name, computed, is_persisted FROM {where}.columns "
        "ORDER BY object_id, column_id"
    ).fetchall()
    for row in rows:
        kind = SqlType(row[3], row[4], row[5], row[6], row[7])
        identity = None if row[9] is None else (row[9], row[10])
        columns.setdefault(row[0], []).append(
            ColumnInfo(row[1], row[2], kind, row[8], identity, row[11], row[12], row[13], row[14])
        )
    return columns


def _load_keys(connection: duckdb.DuckDBPyConnection, where: str) -> dict[int, list[Key]]:
    members: dict[tuple[int, int], list[tuple[int, bool, bool]]] = {}
    for object_id, index_id, column_id, descending, included in connection.execute(
        f"SELECT object_id, index_id, column_id, is_descending, is_included FROM {where}.index_columns "
        "ORDER BY object_id, index_id, position"
    ).fetchall():
        members.setdefault((object_id, index_id), []).append((column_id, descending, included))
    keys: dict[int, list[Key]] = {}
    for object_id, index_id, name, unique, primary, constraint, clustered in connection.execute(
        "SELECT object_id, index_id, name, is_unique, is_primary, is_constraint, is_clustered "
        f"FROM {where}.indexes ORDER BY object_id, index_id"
    ).fetchall():
        columns = members.get((object_id, index_id), [])
        key_columns = tuple((column, descending) for column, descending, included in columns if not included)
        included_columns = tuple(column for column, _, included in columns if included)
        keys.setdefault(object_id, []).append(
            Key(index_id, name, key_columns, unique, primary, constraint, clustered, included_columns)
        )
    return keys
