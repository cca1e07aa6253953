"""Binds what stands in FROM: tables, views, system views, derived tables, joins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from devcloud.sqlserver.engine.capture import LSN, all_changes
from devcloud.sqlserver.engine.catalogue import CATALOGUE_SCHEMA, CaptureInstance, Catalogue, Table
from devcloud.sqlserver.engine.expressions import ExpressionBinder
from devcloud.sqlserver.engine.outputs import OutputColumn, name_columns
from devcloud.sqlserver.engine.scope import CommonBinding, Environment, Scope, Source, qualifiers_of
from devcloud.sqlserver.engine.sysviews import SYSTEM_VIEWS, SystemView, system_query
from devcloud.sqlserver.engine.tracking import net_changes
from devcloud.sqlserver.engine.values import Value, quote
from devcloud.sqlserver.errors import make_error, refuse
from devcloud.sqlserver.tsql import syntax
from devcloud.sqlserver.tsql.commands import SelectStatement
from devcloud.sqlserver.tsql.names import split_name
from devcloud.sqlserver.tsql.statements import parse_batch, parse_expression
from devcloud.sqlserver.types import BIGINT, INT, NULL, SqlType, common_type

ALL_CHANGES: Final = "FN_CDC_GET_ALL_CHANGES_"
"""What the name of the function of each capture instance begins with."""

CAPTURED_ARGUMENTS: Final = 3

_JOINS: Final = {"INNER": "JOIN", "LEFT": "LEFT JOIN", "RIGHT": "RIGHT JOIN", "FULL": "FULL JOIN"}


def _sample(sample: syntax.Sample) -> str:
    """Rows where SQL Server takes pages, so that a small table yields its share."""
    return f"bernoulli({sample.size} PERCENT)" if sample.percent else f"reservoir({sample.size} ROWS)"


class SourceBinder(ExpressionBinder):
    """Binds the sources of one statement, and keeps which tables it reads."""

    def __init__(self, environment: Environment, undeclared: dict[str, SqlType] | None = None) -> None:
        super().__init__(environment, undeclared)
        self.tables: list[Table] = []
        self._aliases = 0
        self._inside_view = 0

    def bind_common(self, binding: CommonBinding) -> tuple[str, tuple[OutputColumn, ...]]:
        """Bind a common table expression; QueryBinder does it."""
        raise NotImplementedError

    def new_alias(self) -> str:
        """Return a name that no other source of the statement has."""
        self._aliases += 1
        return f"t{self._aliases}"

    # Names

    def locate(self, name: syntax.Name) -> tuple[Catalogue, str, str]:
        """Return the catalogue, schema and object name that a table's name means."""
        if len(name) == 4 and name[0]:
            raise make_error(7202, name[0])
        parts = ("", "", "", *name)[-3:]
        database, schema, table = parts
        return self.environment.catalogue(database or self.environment.database), schema or "dbo", table

    def find_table(self, name: syntax.Name, permission: str = "SELECT") -> tuple[Catalogue, Table]:
        """Return a table or view by its name, or by a synonym's. Raises SqlError 208, 229 or 5313."""
        catalogue, table = self._find(name)
        if not self._inside_view and not self._may_read_any(catalogue, permission, table):
            raise make_error(229, permission, table.name, catalogue.database, table.schema, state=5)
        if table.kind == "SN":
            catalogue, schema, table_name = self.locate(split_name(table.body or ""))
            base = catalogue.find(schema, table_name)
            if base is None or base.kind == "SN":
                raise make_error(5313, table.name)
            table = base
        self.environment.check_isolation(catalogue.database)
        self.tables.append(table)
        return catalogue, table

    def _find(self, name: syntax.Name) -> tuple[Catalogue, Table]:
        """Return what has a name, be it a synonym. Raises SqlError 208."""
        catalogue, schema, table_name = self.locate(name)
        table = catalogue.find(schema, table_name)
        if table is None:
            raise make_error(208, ".".join(part for part in name if part))
        return catalogue, table

    def _may_read_any(self, catalogue: Catalogue, permission: str, table: Table) -> bool:
        user = self.environment.user
        if catalogue.allows(user, permission, table):
            return True
        return permission == "SELECT" and len(catalogue.denied_columns(user, permission, table)) < len(table.columns)

    # Sources

    def bind_source(self, source: syntax.Source, scope: Scope) -> tuple[str, list[Source]]:
        """Return a source as DuckDB SQL, and the sources that it makes visible."""
        match source:
            case syntax.TableSource():
                sql, bound = self._bind_table(source, scope)
                return sql, [bound]
            case syntax.DerivedSource():
                query = self.bind_query(source.query, Scope(parent=scope.parent, common=scope.common))
                return self._derive(query.sql, self._named(query.columns, source.columns, source.alias), source.alias)
            case syntax.ValuesSource():
                return self._bind_values(source, scope)
            case syntax.FunctionSource():
                return self._bind_function(source, scope)
            case syntax.ChangesSource():
                return self._bind_changes(source, scope)
            case syntax.Join():
                return self._bind_join(source, scope)

    @staticmethod
    def _named(columns: tuple[OutputColumn, ...], names: tuple[str, ...], owner: str) -> tuple[OutputColumn, ...]:
        return name_columns(columns, names, owner)

    def _derive(
        self, sql: str, columns: tuple[OutputColumn, ...], name: str, full_name: syntax.Name = ()
    ) -> tuple[str, list[Source]]:
        alias = self.new_alias()
        visible = tuple(
            (column.name, Value(f'"{alias}"."c{place}"', column.type, column.nullable, identity=column.identity))
            for place, column in enumerate(columns, start=1)
        )
        qualifiers = (qualifiers_of(full_name) if full_name else frozenset({(name.lower(),)})) | {("\0" + alias,)}
        return f'({sql}) AS "{alias}"', [Source(qualifiers, visible, alias)]

    def _bind_table(self, source: syntax.TableSource, scope: Scope) -> tuple[str, Source]:
        if len(source.name) == 1:
            common = scope.find_common(source.name[0])
            if common is not None:
                return self._bind_common_reference(common, source)
        if source.name[-1].startswith("#"):
            raise refuse("temporary table")
        catalogue, schema, name = self.locate(source.name)
        view = SYSTEM_VIEWS.get(f"{schema}.{name}".lower())
        if view is not None and schema.lower() == "cdc":
            self._check_cdc(catalogue, name)
        if view is not None and (self.environment.has_change_tracking or "change_tracking" not in name.lower()):
            return self._bind_system_view(view, catalogue, source)
        catalogue, table = self.find_table(source.name)
        if table.kind == "V":
            if source.sample is not None:
                raise make_error(494)
            return self._bind_view(table, catalogue, source)
        alias = self.new_alias()
        bound = self.table_source(table, alias, source.name, source.alias)
        sample = f" TABLESAMPLE {_sample(source.sample)}" if source.sample else ""
        return f'{self.storage_name(catalogue, table)} AS "{alias}"{sample}', bound

    def _check_cdc(self, catalogue: Catalogue, name: str) -> None:
        """Raise SqlError 208 or 229 where the tables of change data capture are not there, or not for this user."""
        if not self.environment.settings(catalogue.database).change_data_capture:
            raise make_error(208, f"cdc.{name}")
        if self.environment.user != "dbo":
            raise make_error(229, "SELECT", name, catalogue.database, "cdc", state=5)

    def table_source(self, table: Table, alias: str, name: syntax.Name, called: str | None = None) -> Source:
        """Return a table as a source under a DuckDB alias; computed columns stand as their expressions.

        ``name`` is the one by which it was found: of a synonym the permissions alone count, as those of a view do.
        """
        catalogue, named = self._find(name)
        denied = set() if self._inside_view else self._denied(catalogue, named, table)
        columns = [
            (
                column.name,
                Value(
                    f'"{alias}".{quote(column.name)}',
                    column.type,
                    column.nullable,
                    identity=column.identity is not None,
                    denied=("SELECT", column.name, named.name, catalogue.database, named.schema)
                    if column.column_id in denied
                    else (),
                ),
            )
            for column in table.stored
        ]
        if len(columns) < len(table.columns):
            plain = Scope([Source(frozenset(), tuple(columns), alias)])
            stored = dict(columns)
            columns = []
            for column in table.columns:
                if column.computed is None:
                    columns.append((column.name, stored[column.name]))
                else:
                    value = self.convert(self.bind(parse_expression(column.computed), plain), column.type)
                    columns.append((column.name, replace(value, nullable=column.nullable, computed=True)))
        full_name = (catalogue.database, named.schema, named.name) if called is None else (called,)
        qualifiers = qualifiers_of(full_name) | {("\0" + alias,)}
        return Source(qualifiers, tuple(columns), alias, table)

    def _denied(self, catalogue: Catalogue, named: Table, table: Table) -> set[int]:
        """Return the ids of a table's columns that the user may not read, by the name of it or of a synonym."""
        if named.kind != "SN":
            return catalogue.denied_columns(self.environment.user, "SELECT", table)
        if catalogue.allows(self.environment.user, "SELECT", named):
            return set()
        return {column.column_id for column in table.columns}

    @staticmethod
    def storage_name(catalogue: Catalogue, table: Table) -> str:
        """Return the name of the DuckDB table that holds a table's rows."""
        return f"{quote(catalogue.database)}.{quote(table.schema)}.{quote(table.name)}"

    def _bind_common_reference(self, common: CommonBinding, source: syntax.TableSource) -> tuple[str, Source]:
        name = source.alias or source.name[0]
        if common.recursion is not None:
            alias = self.new_alias()
            recursive_name, columns = common.recursion
            visible = tuple((column, replace(value, sql=f'"{alias}".{value.sql}')) for column, value in columns)
            return f'{recursive_name} AS "{alias}"', Source(
                frozenset({(name.lower(),), ("\0" + alias,)}), visible, alias
            )
        sql, outputs = self.bind_common(common)
        derived, sources = self._derive(sql, outputs, name)
        return derived, sources[0]

    def _bind_system_view(
        self, view: SystemView, catalogue: Catalogue, source: syntax.TableSource
    ) -> tuple[str, Source]:
        alias = self.new_alias()
        where = f"{quote(catalogue.database)}.{CATALOGUE_SCHEMA}"
        sql = system_query(view, catalogue.database, where, self.environment.databases)
        visible = tuple((name, Value(f'"{alias}".{quote(name)}', kind)) for name, kind in view.columns)
        full_name = (source.alias,) if source.alias else (catalogue.database, *source.name[-2:])
        return f'({sql}) AS "{alias}"', Source(qualifiers_of(full_name) | {("\0" + alias,)}, visible, alias)

    def _bind_view(self, table: Table, catalogue: Catalogue, source: syntax.TableSource) -> tuple[str, Source]:
        statement = parse_batch(table.body or "").statements[0]
        if not isinstance(statement, SelectStatement):
            raise refuse(f"view {table.full_name}")
        self._inside_view += 1
        try:
            query = self.bind_query(statement.query, None)
        finally:
            self._inside_view -= 1
        columns = self._named(query.columns, table.aliases, table.name)
        full_name = (source.alias,) if source.alias else (catalogue.database, table.schema, table.name)
        sql, sources = self._derive(query.sql, columns, source.alias or table.name, full_name)
        return sql, sources[0] if self._inside_view else self._guarded(sources[0], catalogue, source.name, table)

    def _guarded(self, source: Source, catalogue: Catalogue, name: syntax.Name, table: Table) -> Source:
        """Return a view as a source whose columns may be read only where the user may read them."""
        _, named = self._find(name)
        denied = {column.name for column in table.columns if column.column_id in self._denied(catalogue, named, table)}
        whom = (named.name, catalogue.database, named.schema)
        columns = tuple(
            (name, replace(value, denied=("SELECT", name, *whom)) if name in denied else value)
            for name, value in source.columns
        )
        return replace(source, columns=columns)

    def _bind_values(self, source: syntax.ValuesSource, scope: Scope) -> tuple[str, list[Source]]:
        rows = [[self.bind(item, scope) for item in row] for row in source.rows]
        if any(len(row) != len(rows[0]) for row in rows):
            raise refuse("VALUES rows of different lengths")
        kinds = []
        for place in range(len(rows[0])):
            kind = NULL
            for row in rows:
                kind = common_type(kind, row[place].type)
            kinds.append(INT if kind.name == "null" else kind)
        lines = ", ".join(
            f"({', '.join(self.convert(value, kind).sql for value, kind in zip(row, kinds, strict=True))})"
            for row in rows
        )
        names = ", ".join(f'"c{place}"' for place in range(1, len(kinds) + 1))
        columns = tuple(
            OutputColumn("", kind, any(row[place].nullable for row in rows)) for place, kind in enumerate(kinds)
        )
        sql = f"SELECT * FROM (VALUES {lines}) AS v({names})"
        return self._derive(sql, self._named(columns, source.columns, source.alias), source.alias)

    def _bind_function(self, source: syntax.FunctionSource, scope: Scope) -> tuple[str, list[Source]]:
        name = source.call.name[-1].upper()
        if source.call.name[0].lower() == "cdc" and name.startswith(ALL_CHANGES):
            return self._bind_captured(source, scope)
        if name != "GENERATE_SERIES":
            raise refuse(f"table-valued function {source.call.name[-1]}")
        if not 2 <= len(source.call.arguments) <= 3:
            raise make_error(174, "GENERATE_SERIES", "2 or 3")
        bounds = [self.bind(argument, scope) for argument in source.call.arguments]
        kind = INT
        for bound in bounds:
            kind = common_type(kind, bound.type)
        if not kind.is_integer:
            raise refuse("GENERATE_SERIES of numbers that are not whole")
        arguments = ", ".join(self.convert(bound, BIGINT).sql for bound in bounds)
        sql = f'SELECT CAST(s AS {kind.storage}) AS "c1" FROM generate_series({arguments}) AS g(s)'
        columns = (OutputColumn(source.columns[0] if source.columns else "value", kind, False),)
        return self._derive(sql, columns, source.alias or "generate_series")

    def _bind_captured(self, source: syntax.FunctionSource, scope: Scope) -> tuple[str, list[Source]]:
        """Bind cdc.fn_cdc_get_all_changes_<capture instance>. Raises SqlError 208, 229 or 313."""
        catalogue = self.environment.catalogue(self.environment.database)
        name = source.call.name[-1][len(ALL_CHANGES) :].lower()
        found = [
            (table, each) for table in catalogue.tables.values() for each in table.captures if each.name.lower() == name
        ]
        if not found:
            raise make_error(208, ".".join(source.call.name))
        table, instance = found[0]
        if not catalogue.may_see_captured(self.environment.user, table, instance):
            raise make_error(229, "SELECT", source.call.name[-1], catalogue.database, "cdc", state=5)
        if len(source.call.arguments) != CAPTURED_ARGUMENTS:
            raise make_error(313, f"{'.'.join(source.call.name)}")
        self.tables.append(table)
        *bounds, option = [self.bind(argument, scope) for argument in source.call.arguments]
        if all(bound.is_constant for bound in bounds):
            self._check_captured(instance, [bound.constant for bound in bounds])
        elif not all(bound.undeclared is not None for bound in bounds):
            raise refuse("fn_cdc_get_all_changes between something that are no constants or variables")
        limits = self.convert(bounds[0], LSN).sql, self.convert(bounds[1], LSN).sql
        before = str(option.constant).strip().lower() == "all update old"
        sql, columns = all_changes(catalogue.database, instance, limits, before=before)
        return self._derive(sql, self._named(columns, source.columns, source.alias or ""), source.alias or name)

    def _check_captured(self, instance: CaptureInstance, bounds: Sequence[object]) -> None:
        """Raise SqlError 313 where two LSNs do not lie within what an instance has captured, in this order."""
        ends = [
            self.environment.session_function(function, arguments)
            for function, arguments in (("FN_CDC_GET_MIN_LSN", (instance.name,)), ("FN_CDC_GET_MAX_LSN", ()))
        ]
        least, most = (end[1] if end is not None else None for end in ends)
        known = [bound for bound in (least, *bounds, most) if isinstance(bound, bytes)]
        if len(known) < len(bounds) + 2 or known != sorted(known):
            raise make_error(313, "cdc.fn_cdc_get_all_changes_ ... ")

    def _bind_changes(self, source: syntax.ChangesSource, scope: Scope) -> tuple[str, list[Source]]:
        if not self.environment.has_change_tracking:
            raise make_error(208, "CHANGETABLE")
        if source.alias is None:
            raise make_error(22104)
        catalogue, table = self.find_table(source.table, "VIEW CHANGE TRACKING")
        name = ".".join(source.table)
        if table.kind == "V":
            raise make_error(22107, name)
        if not table.tracked:
            raise make_error(22105, name)
        if not catalogue.allows(self.environment.user, "SELECT", table):
            raise make_error(229, "SELECT", table.name, catalogue.database, table.schema, state=5)
        since = self.bind(source.since, scope)
        if not since.is_constant and since.undeclared is None:
            raise refuse("CHANGETABLE since something that is not a constant or a variable")
        sql, columns = net_changes(catalogue.database, table, self.convert(since, BIGINT).sql, self.sort_key)
        return self._derive(sql, self._named(columns, source.columns, source.alias), source.alias)

    # Joins

    def _bind_join(self, join: syntax.Join, scope: Scope) -> tuple[str, list[Source]]:
        left_sql, left = self.bind_source(join.left, scope)
        if join.kind in ("CROSS APPLY", "OUTER APPLY"):
            return self._bind_apply(join, left_sql, left, scope)
        right_sql, right = self.bind_source(join.right, scope)
        if join.kind == "CROSS":
            return f"({left_sql} CROSS JOIN {right_sql})", [*left, *right]
        inner = Scope([*left, *right], scope.parent, common=scope.common)
        condition = self.bind_condition(join.condition, inner) if join.condition is not None else "true"
        if join.kind in ("LEFT", "FULL"):
            right = [source.as_nullable() for source in right]
        if join.kind in ("RIGHT", "FULL"):
            left = [source.as_nullable() for source in left]
        return f"({left_sql} {_JOINS[join.kind]} {right_sql} ON {condition})", [*left, *right]

    def _bind_apply(
        self, join: syntax.Join, left_sql: str, left: list[Source], scope: Scope
    ) -> tuple[str, list[Source]]:
        """Bind APPLY, whose right side sees the left one: DuckDB's LATERAL."""
        inner = Scope([], Scope(left, scope.parent, common=scope.common))
        right_sql, right = self.bind_source(join.right, inner)
        if join.kind == "CROSS APPLY":
            return f"({left_sql} CROSS JOIN LATERAL {right_sql})", [*left, *right]
        right = [source.as_nullable() for source in right]
        return f"({left_sql} LEFT JOIN LATERAL {right_sql} ON true)", [*left, *right]
