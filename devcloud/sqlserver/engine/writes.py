"""Binds INSERT, UPDATE, DELETE and TRUNCATE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from devcloud.sqlserver.engine.capture import key_names
from devcloud.sqlserver.engine.catalogue import CATALOGUE_SCHEMA, Catalogue, ColumnInfo, Table
from devcloud.sqlserver.engine.convert import cut_text, pad_text
from devcloud.sqlserver.engine.library import ERROR_MARK, LIBRARY
from devcloud.sqlserver.engine.outputs import OutputColumn
from devcloud.sqlserver.engine.queries import QueryBinder
from devcloud.sqlserver.engine.scope import CommonBinding, Scope, Source
from devcloud.sqlserver.engine.tracking import Capture
from devcloud.sqlserver.engine.values import Value, make_constant, quote, quote_text
from devcloud.sqlserver.errors import SqlError, make_error, refuse
from devcloud.sqlserver.tsql import commands, syntax
from devcloud.sqlserver.tsql.queries import column_alias
from devcloud.sqlserver.tsql.statements import parse_expression
from devcloud.sqlserver.types import MAX, NULL


@dataclass(frozen=True, slots=True)
class BoundWrite:
    """A write as DuckDB SQL; with ``columns`` it returns rows (OUTPUT), else a count."""

    sql: str
    table: Table
    catalogue: Catalogue
    verb: str
    columns: tuple[OutputColumn, ...] = ()
    bumps_rowversion: bool = False
    takes_identity: bool = False
    capture: Capture | None = None


class WriteBinder(QueryBinder):
    """Binds the writes of one statement."""

    # Values into columns

    def assign(self, value: Value, column: ColumnInfo, table: Table, verb: str) -> str:
        """Return a value as a column takes it: fitted, or failing with 515 or 2628."""
        kind = column.type
        source = value.type
        sized = kind.length not in (0, MAX)
        if sized and kind.is_text and source.is_text and kind.name != "xml":
            fits = 0 < source.length <= kind.length and source.counts_bytes >= kind.counts_bytes
            sql = self._fit_text(value, column, table, fits)
        elif sized and kind.is_binary and source.is_binary and not 0 < source.length <= kind.length:
            sql = self.convert(value, replace(kind, name="varbinary", length=MAX)).sql
            sql = self._guard(sql, f"octet_length({sql}) > {kind.length}", f"hex({sql})", column, table)
            sql = f"unhex(rpad(hex({sql}), {2 * kind.length}, '0'))" if kind.name == "binary" else sql
        else:
            sql = self.convert(value, kind).sql
        if not column.nullable and (value.nullable or value.type == NULL):
            where = f"{column.name}{ERROR_MARK}{self.environment.database}.{table.full_name}{ERROR_MARK}{verb}"
            failure = f"{LIBRARY}.fail('515', {quote_text(where)})"
            sql = f"COALESCE({sql}, CAST({failure} AS {kind.storage}))"
        return sql

    def _fit_text(self, value: Value, column: ColumnInfo, table: Table, fits: bool) -> str:
        kind = column.type
        whole = replace(kind, name="nvarchar" if kind.is_wide else "varchar", length=MAX)
        text = self.convert(value, whole)
        sql = text.sql
        if not fits:
            # Trailing spaces beyond the length are cut without complaint.
            count = "strlen" if kind.counts_bytes else f"{LIBRARY}.units"
            too_long = f"strlen({sql}) > {kind.length} AND {count}(rtrim({sql}, ' ')) > {kind.length}"
            sql = self._guard(sql, too_long, f"left({sql}, {kind.length})", column, table)
            sql = f"CASE WHEN strlen({sql}) > {kind.length} THEN {cut_text(sql, kind)} ELSE {sql} END"
        if kind.name in ("char", "nchar"):
            sql = pad_text(sql, kind)
        return sql

    def _guard(self, sql: str, test: str, shown: str, column: ColumnInfo, table: Table) -> str:
        where = f"{self.environment.database}.{table.full_name}{ERROR_MARK}{column.name}{ERROR_MARK}"
        return f"CASE WHEN {test} THEN {LIBRARY}.fail('2628', {quote_text(where)} || {shown}) ELSE {sql} END"

    def default_of(self, column: ColumnInfo) -> Value:
        """Return a column's default."""
        if column.default is None:
            return make_constant(None, NULL, self.parameters)
        return self.bind(parse_expression(column.default), Scope())

    @staticmethod
    def next_rowversion(catalogue: Catalogue) -> str:
        """Return SQL for the next value of the database's counter, as eight bytes."""
        sequence = f"{quote(catalogue.database)}.{CATALOGUE_SCHEMA}.rowversion"
        return f"unhex(printf('%016X', nextval({quote_text(sequence)})))"

    @staticmethod
    def identity_sequence(catalogue: Catalogue, table: Table) -> str:
        """Return the name of the sequence behind a table's identity column."""
        return f"{quote(catalogue.database)}.{CATALOGUE_SCHEMA}.identity_{table.object_id}"

    # INSERT

    def bind_insert(self, insert: commands.Insert, identity_insert: int | None) -> BoundWrite:
        """Bind INSERT; ``identity_insert`` is the table whose identity column takes explicit values."""
        catalogue, table = self.find_table(insert.table, "INSERT")
        if table.kind == "V":
            raise refuse("INSERT into a view")
        explicit = table.object_id == identity_insert
        targets = self._insert_columns(insert, table, explicit)
        rows, source = self._insert_source(insert, targets)
        names = {column.name.lower(): place for place, column in enumerate(targets)}
        stored = table.stored
        lines = []
        for row in rows:
            cells = []
            for column in stored:
                place = names.get(column.name.lower())
                given = row[place] if place is not None else None
                cells.append(self._cell(column, given, table, catalogue))
            lines.append(cells)
        listed = ", ".join(quote(column.name) for column in stored)
        if source is None:
            if len(lines) == 1:
                body = f"SELECT {', '.join(lines[0])}"
            else:
                body = f"VALUES {', '.join(f'({", ".join(cells)})' for cells in lines)}"
        else:
            body = f"SELECT {', '.join(lines[0])} FROM ({source}) AS q"
        sql = f"INSERT INTO {self.storage_name(catalogue, table)} ({listed}) {body}"
        returning, columns = self._bind_output(insert.output, table, insert.table, "INSERTED", table.name)
        identity = table.identity
        return BoundWrite(
            sql + returning,
            table,
            catalogue,
            "INSERT",
            columns,
            table.rowversion is not None,
            identity is not None and identity.name.lower() not in names,
            self._capture(catalogue, table, after="I"),
        )

    def _insert_columns(self, insert: commands.Insert, table: Table, explicit: bool) -> list[ColumnInfo]:
        identity = table.identity
        if insert.columns is None:
            return [
                column
                for column in table.columns
                if column.computed is None and not column.is_rowversion and (column is not identity or explicit)
            ]
        targets = []
        for name in insert.columns:
            column = table.column(name)
            if column is None:
                raise make_error(207, name)
            if column.computed is not None:
                raise make_error(271, column.name)
            if column.is_rowversion:
                raise make_error(273)
            if column in targets:
                raise make_error(264, name)
            targets.append(column)
        if identity in targets and not explicit:
            raise make_error(544, table.name)
        if explicit and identity is not None and identity not in targets:
            raise make_error(545, table.name)
        return targets

    def _insert_source(
        self, insert: commands.Insert, targets: list[ColumnInfo]
    ) -> tuple[Sequence[Sequence[Value | None]], str | None]:
        """Return the rows to insert (None is DEFAULT), and the query that they come from."""
        if insert.rows is not None:
            for row in insert.rows:
                if len(row) != len(targets):
                    if insert.columns is None:
                        raise make_error(213)
                    raise make_error(109 if len(row) < len(targets) else 110)
            scope = Scope()
            return [[None if item is None else self.bind(item, scope) for item in row] for row in insert.rows], None
        if insert.query is None:
            return [[None] * len(targets)], None
        bound = self.bind_query(insert.query, None, outermost=True)
        if len(bound.columns) != len(targets):
            if insert.columns is None:
                raise make_error(213)
            raise make_error(120 if len(bound.columns) < len(targets) else 121)
        cells = [
            Value(f'q."c{place}"', column.type, column.nullable) for place, column in enumerate(bound.columns, start=1)
        ]
        return [cells], bound.sql

    def _cell(self, column: ColumnInfo, given: Value | None, table: Table, catalogue: Catalogue) -> str:
        if column.is_rowversion:
            return self.next_rowversion(catalogue)
        if given is None:
            if column.identity is not None:
                return f"CAST(nextval({quote_text(self.identity_sequence(catalogue, table))}) AS {column.type.storage})"
            given = self.default_of(column)
        return self.assign(given, column, table, "INSERT")

    # OUTPUT

    def _bind_output(
        self, items: tuple[syntax.SelectItem, ...], table: Table, name: syntax.Name, allowed: str, alias: str
    ) -> tuple[str, tuple[OutputColumn, ...]]:
        """Return RETURNING for an OUTPUT clause that refers to ``inserted`` or ``deleted``, whichever is allowed."""
        if not items:
            return "", ()
        scope = Scope([self.table_source(table, alias, name, allowed)])
        shown: list[str] = []
        columns: list[OutputColumn] = []
        for item in items:
            expanded = [item]
            if isinstance(item.expression, syntax.Star):
                expanded = self._expand((item,), scope)
            for one in expanded:
                for node in syntax.walk(one.expression):
                    if isinstance(node, syntax.Column) and node.parts[0].upper() in {"INSERTED", "DELETED"} - {allowed}:
                        raise refuse(f"OUTPUT {node.parts[0]} here")
                value = self.bind(one.expression, scope)
                columns.append(OutputColumn(column_alias(one), value.type, value.nullable))
                shown.append(f'{value.sql} AS "c{len(columns)}"')
        return f" RETURNING {', '.join(shown)}", tuple(columns)

    # UPDATE and DELETE

    def bind_update(self, update: commands.Update) -> BoundWrite:
        """Bind UPDATE."""
        catalogue, table, scope, alias, extra = self._bind_target(update.target, update.source, update.common, "UPDATE")
        condition = self._restrict(update.where, scope, update.top, alias, extra)
        assignments = self._bind_assignments(update, table, scope, catalogue)
        listed = ", ".join(f"{quote(name)} = {value}" for name, value in assignments.items())
        sql = f'UPDATE {self.storage_name(catalogue, table)} AS "{alias}" SET {listed}'
        sql += f" FROM {extra}{condition}" if extra else condition
        name = _target_name(update.source, update.target)
        returning, columns = self._bind_output(update.output, table, name, "INSERTED", alias)
        # A row whose key changes is another row to those who follow the changes.
        moves = any(name in assignments for name in key_names(table))
        capture = self._capture(catalogue, table, after="I" if moves else None)
        if capture is not None:
            keys = self._keys_of_target(capture, alias, extra, condition)
            capture = replace(capture, before=("D" if moves else "U", keys))
        return BoundWrite(
            sql + returning, table, catalogue, "UPDATE", columns, table.rowversion is not None, capture=capture
        )

    def _bind_assignments(
        self, update: commands.Update, table: Table, scope: Scope, catalogue: Catalogue
    ) -> dict[str, str]:
        parts: dict[str, str] = {}
        for assignment in update.assignments:
            column = table.column(assignment.column)
            if column is None:
                raise make_error(207, assignment.column)
            if column.computed is not None:
                raise make_error(271, column.name)
            if column.is_rowversion:
                raise make_error(272)
            if column.identity is not None:
                raise make_error(8102, column.name)
            if column.name in parts:
                raise make_error(264, column.name)
            value = self.default_of(column) if assignment.value is None else self.bind(assignment.value, scope)
            if assignment.operator is not None:
                own = [
                    each for each in scope.sources if _is_table(each, table.object_id) and each.answers(update.target)
                ]
                value = self.operate(assignment.operator, Scope(own[:1]).resolve((column.name,))[0], value)
            parts[column.name] = self.assign(value, column, table, "UPDATE")
        if table.rowversion is not None:
            parts[table.rowversion.name] = self.next_rowversion(catalogue)
        return parts

    def bind_delete(self, delete: commands.Delete) -> BoundWrite:
        """Bind DELETE."""
        catalogue, table, scope, alias, extra = self._bind_target(delete.target, delete.source, delete.common, "DELETE")
        condition = self._restrict(delete.where, scope, delete.top, alias, extra)
        sql = f'DELETE FROM {self.storage_name(catalogue, table)} AS "{alias}"'
        sql += f" USING {extra}{condition}" if extra else condition
        name = _target_name(delete.source, delete.target)
        returning, columns = self._bind_output(delete.output, table, name, "DELETED", alias)
        capture = self._capture(catalogue, table)
        if capture is not None:
            capture = replace(capture, before=("D", self._keys_of_target(capture, alias, extra, condition)))
        return BoundWrite(sql + returning, table, catalogue, "DELETE", columns, capture=capture)

    def _capture(self, catalogue: Catalogue, table: Table, after: str | None = None) -> Capture | None:
        """Return how a write's changes are found, for a table whose changes are kept."""
        if not (table.tracked or table.captures):
            return None
        return Capture(catalogue.database, table, self.storage_name(catalogue, table), after=after)

    @staticmethod
    def _keys_of_target(capture: Capture, alias: str, extra: str, condition: str) -> str:
        """Return the query of the keys that a write is aimed at."""
        keys = ", ".join(f'"{alias}".{quote(name)}' for name in key_names(capture.table))
        sources = f'{capture.storage} AS "{alias}"' + (f", {extra}" if extra else "")
        return f"SELECT DISTINCT {keys} FROM {sources}{condition}"

    def _bind_target(
        self, target: syntax.Name, source: syntax.Source | None, common: tuple[syntax.CommonTable, ...], verb: str
    ) -> tuple[Catalogue, Table, Scope, str, str]:
        """Return what a write is aimed at: the table, the scope of its expressions, its alias, other sources' SQL.

        With FROM the target is one of the sources; DuckDB wants it outside of them, so that the target is joined to
        the whole of FROM by its row number there.
        """
        scope = Scope()
        for table_expression in common:
            scope.common[table_expression.name.lower()] = CommonBinding(
                table_expression, Scope(common=dict(scope.common))
            )
        if source is None:
            catalogue, table = self.find_table(target, verb)
            self._check_target(table, verb)
            alias = self.new_alias()
            scope.sources = [self.table_source(table, alias, target)]
            return catalogue, table, scope, alias, ""
        named = _find_target(source, target)
        if named is None:
            raise refuse(f"{verb} of a table that FROM does not name")
        catalogue, table = self.find_table(named.name, verb)
        self._check_target(table, verb)
        sql, sources = self.bind_source(source, scope)
        scope.sources = sources
        # Not the very object: another connection's DDL has the catalogue read again between the two looks.
        inner = next(
            (bound for bound in sources if _is_table(bound, table.object_id) and _is_called(bound, target)), None
        )
        if inner is None:
            raise refuse(f"{verb} of a common table expression")
        alias = self.new_alias()
        # Every column of FROM, and the target's row number, become columns of one derived table.
        columns: list[str] = []
        visible: list[Source] = []
        for bound in sources:
            renamed = []
            for name, value in bound.columns:
                columns.append(f'{value.sql} AS "x{len(columns) + 1}"')
                renamed.append((name, replace(value, sql=f'"f"."x{len(columns)}"')))
            visible.append(replace(bound, columns=tuple(renamed)))
        scope.sources = visible
        derived = f'(SELECT "{inner.alias}".rowid AS target, {", ".join(columns)} FROM {sql}) AS "f"'
        return catalogue, table, scope, alias, derived

    @staticmethod
    def _check_target(table: Table, verb: str) -> None:
        if table.kind == "V":
            raise refuse(f"{verb} of a view")

    def _restrict(
        self, where: syntax.Expression | None, scope: Scope, top: syntax.Expression | None, alias: str, extra: str
    ) -> str:
        conditions = [] if where is None else [self.bind_condition(where, scope)]
        if extra:
            conditions.append(f'"{alias}".rowid = "f".target')
        if top is not None:
            if extra:
                raise refuse("UPDATE or DELETE TOP … FROM")
            source = scope.sources[0]
            if source.table is None:
                raise refuse("UPDATE or DELETE TOP of this source")
            catalogue = self.environment.catalogue(self.environment.database)
            inner = " AND ".join(conditions) or "true"
            chosen = (
                f'SELECT "{alias}".rowid FROM {self.storage_name(catalogue, source.table)} AS "{alias}" WHERE {inner}'
            )
            return f' WHERE "{alias}".rowid IN ({chosen} LIMIT {self._count(top, Scope())})'
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def bind_truncate(self, truncate: commands.Truncate) -> BoundWrite:
        """Bind TRUNCATE TABLE, which, as other DDL, knows no synonyms."""
        try:
            if self._find(truncate.table)[1].kind == "SN":
                raise make_error(4708, truncate.table[-1])
            catalogue, table = self.find_table(truncate.table, "ALTER")
        except SqlError as error:
            if error.number in (208, 229):
                raise make_error(4701, truncate.table[-1]) from None
            raise
        self._check_target(table, "TRUNCATE")
        if table.captures:
            raise make_error(4711, table.name)
        capture = self._capture(catalogue, table)
        if capture is not None:
            capture = replace(capture, truncates=True)
        storage = self.storage_name(catalogue, table)
        return BoundWrite(f"DELETE FROM {storage}", table, catalogue, "TRUNCATE", capture=capture)


def _find_target(source: syntax.Source, target: syntax.Name) -> syntax.TableSource | None:
    if isinstance(source, syntax.Join):
        return _find_target(source.left, target) or _find_target(source.right, target)
    if not isinstance(source, syntax.TableSource):
        return None
    if len(target) == 1 and source.alias is not None and source.alias.lower() == target[0].lower():
        return source
    same = tuple(part.lower() for part in source.name[-len(target) :]) == tuple(part.lower() for part in target)
    return source if source.alias is None and same else None


def _target_name(source: syntax.Source | None, target: syntax.Name) -> syntax.Name:
    """Return the name in FROM of what a write is aimed at, which may be called by an alias."""
    named = None if source is None else _find_target(source, target)
    return target if named is None else named.name


def _is_table(source: Source, object_id: int) -> bool:
    return source.table is not None and source.table.object_id == object_id


def _is_called(source: Source, target: syntax.Name) -> bool:
    return source.answers(target)
