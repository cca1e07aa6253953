"""Carries out data definition: tables, columns, keys, views, schemas, principals and permissions.

Everything runs on the session's DuckDB connection, inside its transaction, so that it commits or vanishes as a whole.
Keys are DuckDB unique indexes over the columns' sort keys: DuckDB cannot alter a table that has indexes, so that
altering drops them first and creates them again.
"""

from __future__ import annotations

from itertools import product

from devcloud.sqlserver.engine.capture_definitions import CaptureDefiner
from devcloud.sqlserver.engine.catalogue import Catalogue, ColumnInfo, Table
from devcloud.sqlserver.engine.moments import ticks_to_datetime
from devcloud.sqlserver.engine.values import quote, quote_bracketed
from devcloud.sqlserver.engine.writes import WriteBinder
from devcloud.sqlserver.errors import SqlError, make_error
from devcloud.sqlserver.tsql import commands
from devcloud.sqlserver.tsql.syntax import Name


class Definer(CaptureDefiner):
    """Carries out the definitions of one statement."""

    # Views, schemas, principals

    def create_view(self, statement: commands.CreateView) -> None:
        """Carry out CREATE VIEW and ALTER VIEW."""
        catalogue, schema, name = self._locate(statement.name)
        existing = catalogue.find(schema, name)
        if existing is not None and not (statement.replace and existing.kind == "V"):
            raise make_error(2714, name, state=3)
        binder = WriteBinder(self._environment)
        bound = binder.bind_query(statement.query, None)
        columns = binder._named(bound.columns, statement.columns, name)
        where = self._where(catalogue)
        if existing is not None:
            self._forget(catalogue, existing)
        now = ticks_to_datetime(self._environment.now)
        table = Table(existing.object_id if existing else self._new_id(catalogue), schema, name, "V", ())
        self._run(
            f"INSERT INTO {where}.objects VALUES (?, ?, ?, 'V', ?, ?, ?, ?, ?)",
            *(table.object_id, catalogue.schemas[schema.lower()][0], name, statement.definition, statement.body),
            *(list(statement.columns) or None, now, now),
        )
        for place, column in enumerate(columns, start=1):
            self._store_column(catalogue, table, ColumnInfo(place, column.name, column.shown_type, column.nullable))

    def create_synonym(self, statement: commands.CreateSynonym) -> None:
        """Carry out CREATE SYNONYM. What it stands for is looked for when it is used."""
        catalogue, schema, name = self._locate(statement.name)
        if catalogue.find(schema, name) is not None:
            raise make_error(2714, name, state=3)
        base = ".".join(quote_bracketed(part) if part else "" for part in statement.base)
        now = ticks_to_datetime(self._environment.now)
        self._run(
            f"INSERT INTO {self._where(catalogue)}.objects VALUES (?, ?, ?, 'SN', NULL, ?, NULL, ?, ?)",
            *(self._new_id(catalogue), catalogue.schemas[schema.lower()][0], name, base, now, now),
        )

    def create(self, statement: commands.Create) -> None:
        """Carry out CREATE SCHEMA, USER and ROLE (databases and logins are the server's)."""
        catalogue = self._environment.catalogue(self._environment.database)
        self._require_administrator(catalogue)
        where = self._where(catalogue)
        if statement.kind == "schema":
            if statement.name.lower() in catalogue.schemas:
                raise make_error(2714, statement.name, state=6)
            self._run(f"CREATE SCHEMA {quote(catalogue.database)}.{quote(statement.name)}")
            next_id = max(schema_id for schema_id, _ in catalogue.schemas.values()) + 1
            self._run(f"INSERT INTO {where}.schemas VALUES (?, ?, 1)", next_id, statement.name)
            return
        if statement.name.lower() in catalogue.principals:
            raise make_error(15023, statement.name)
        next_id = max(principal[0] for principal in catalogue.principals.values()) + 1
        self._run(
            f"INSERT INTO {where}.principals VALUES (?, ?, ?, ?)",
            *(next_id, statement.name, "R" if statement.kind == "role" else "S", statement.argument),
        )

    def _forget(self, catalogue: Catalogue, table: Table) -> None:
        for part in ("objects", "columns", "indexes", "index_columns"):
            self._run(f"DELETE FROM {self._where(catalogue)}.{part} WHERE object_id = ?", table.object_id)

    def drop(self, statement: commands.Drop) -> None:
        """Carry out DROP of tables, views, indexes, schemas, users and roles."""
        for name in statement.names:
            match statement.kind:
                case "table" | "view" | "synonym":
                    self._drop_table(statement, name)
                case "index":
                    self._drop_index(statement, name)
                case "schema":
                    self._drop_schema(statement, name[-1])
                case _:
                    self._drop_principal(statement, name[-1])

    def _drop_table(self, statement: commands.Drop, name: Name) -> None:
        kind = {"table": "U", "view": "V", "synonym": "SN"}[statement.kind]
        try:
            catalogue, schema, own = self._locate(name)
        except SqlError:
            if statement.if_exists:
                return
            raise
        table = catalogue.find(schema, own)
        if table is None or table.kind != kind:
            if statement.if_exists and table is None:
                return
            raise make_error(3701, statement.kind, ".".join(part for part in name if part), state=5)
        if kind == "U":
            self._end_tracking(catalogue, table)
            self._end_captures(catalogue, table)
            self._run(f"DROP TABLE {self._storage(catalogue, table)}")
            if table.identity is not None:
                self._run(f"DROP SEQUENCE {WriteBinder.identity_sequence(catalogue, table)}")
        self._forget(catalogue, table)
        self._run(
            f"DELETE FROM {self._where(catalogue)}.permissions WHERE (scope = 'object' OR scope LIKE 'column %') "
            "AND target = ?",
            table.object_id,
        )

    def _drop_index(self, statement: commands.Drop, name: Name) -> None:
        catalogue, table = self._existing(statement.table or ())
        key = next((key for key in table.keys if key.name.lower() == name[-1].lower()), None)
        if key is None:
            if statement.if_exists:
                return
            raise make_error(3701, "index", f"{table.full_name}.{name[-1]}", state=7)
        if key.constraint:
            raise make_error(3723, table.full_name, key.name)
        self._drop_key(catalogue, table, key)

    def _drop_schema(self, statement: commands.Drop, name: str) -> None:
        catalogue = self._environment.catalogue(self._environment.database)
        found = catalogue.schemas.get(name.lower())
        if found is None:
            if statement.if_exists:
                return
            raise make_error(15151, "schema", name)
        member = next((t for t in catalogue.tables.values() if t.schema.lower() == name.lower()), None)
        if member is not None:
            raise make_error(3729, "drop schema", found[1], member.name)
        self._run(f"DROP SCHEMA {quote(catalogue.database)}.{quote(found[1])}")
        self._run(f"DELETE FROM {self._where(catalogue)}.schemas WHERE schema_id = ?", found[0])

    def _drop_principal(self, statement: commands.Drop, name: str) -> None:
        catalogue = self._environment.catalogue(self._environment.database)
        if name.lower() not in catalogue.principals:
            if statement.if_exists:
                return
            raise make_error(15151, statement.kind, name)
        for part, column in (("principals", "name"), ("permissions", "principal")):
            self._run(f"DELETE FROM {self._where(catalogue)}.{part} WHERE lower({column}) = ?", name.lower())

    def set_permission(self, statement: commands.Permission) -> None:
        """Carry out GRANT, DENY and REVOKE."""
        catalogue = self._environment.catalogue(self._environment.database)
        self._require_administrator(catalogue)
        target = 0
        scopes = [statement.scope]
        if statement.scope == "schema" and statement.securable is not None:
            found = catalogue.schemas.get(statement.securable[-1].lower())
            if found is None:
                raise make_error(15151, "schema", statement.securable[-1])
            target = found[0]
        elif statement.scope == "object" and statement.securable is not None:
            schema, own = ("dbo", *statement.securable)[-2:]
            table = catalogue.find(schema or "dbo", own)
            if table is None:
                raise make_error(15151, "object", own)
            target = table.object_id
            scopes = [f"column {self._granted(table, name)}" for name in statement.columns] or scopes
        where = self._where(catalogue)
        for principal in statement.principals:
            if principal.lower() not in catalogue.principals:
                raise make_error(15151, "user", principal)
            for permission, scope in product(statement.permissions, scopes):
                self._run(
                    f"DELETE FROM {where}.permissions WHERE lower(principal) = ? AND scope = ? AND target = ? "
                    "AND permission = ?",
                    *(principal.lower(), scope, target, permission),
                )
                if statement.verb != "REVOKE":
                    self._run(
                        f"INSERT INTO {where}.permissions VALUES (?, ?, ?, ?, ?)",
                        *(principal, scope, target, permission, statement.verb),
                    )

    def _granted(self, table: Table, name: str) -> int:
        """Return the id of a column. Raises SqlError 1911."""
        column = table.column(name)
        if column is None:
            raise make_error(1911, name)
        return column.column_id
