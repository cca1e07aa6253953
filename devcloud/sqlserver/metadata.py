"""The metadata procedures' result sets."""

from __future__ import annotations

from typing import Final

from devcloud.sqlserver.engine.declarations import parse_declarations
from devcloud.sqlserver.engine.scope import Scope
from devcloud.sqlserver.engine.values import Scalar
from devcloud.sqlserver.engine.writes import WriteBinder
from devcloud.sqlserver.errors import make_error
from devcloud.sqlserver.execution import Execution
from devcloud.sqlserver.tds.typeinfo import SIZED, ResultColumn, make_type_info
from devcloud.sqlserver.tsql import commands, syntax
from devcloud.sqlserver.tsql.statements import parse_batch
from devcloud.sqlserver.types import (
    BIT,
    INT,
    MAX,
    SMALLINT,
    SYSNAME,
    SYSTEM_TYPES,
    TINYINT,
    SqlType,
    nvarchar,
    varchar,
)

Cell = int | str | None


def result_columns(**kinds: SqlType) -> list[ResultColumn]:
    """Return the columns of a procedure's result set."""
    return [ResultColumn(name, kind) for name, kind in kinds.items()]


_RESULT_COLUMNS: Final = result_columns(
    is_hidden=BIT,
    column_ordinal=INT,
    name=SYSNAME,
    is_nullable=BIT,
    system_type_id=INT,
    system_type_name=nvarchar(256),
    max_length=SMALLINT,
    precision=TINYINT,
    scale=TINYINT,
    collation_name=SYSNAME,
    user_type_id=INT,
    user_type_database=SYSNAME,
    user_type_schema=SYSNAME,
    user_type_name=SYSNAME,
    assembly_qualified_type_name=nvarchar(4000),
    xml_collection_id=INT,
    xml_collection_database=SYSNAME,
    xml_collection_schema=SYSNAME,
    xml_collection_name=SYSNAME,
    is_xml_document=BIT,
    is_case_sensitive=BIT,
    is_fixed_length_clr_type=BIT,
    source_server=SYSNAME,
    source_database=SYSNAME,
    source_schema=SYSNAME,
    source_table=SYSNAME,
    source_column=SYSNAME,
    is_identity_column=BIT,
    is_part_of_unique_key=BIT,
    is_updateable=BIT,
    is_computed_column=BIT,
    is_sparse_column_set=BIT,
    ordinal_in_order_by_list=SMALLINT,
    order_by_list_length=SMALLINT,
    order_by_is_descending=SMALLINT,
    tds_type_id=INT,
    tds_length=INT,
    tds_collation_id=INT,
    tds_collation_sort_id=TINYINT,
)


def describe_result(executor: Execution, text: str, declarations: str) -> None:
    """Send what sp_describe_first_result_set says of a batch."""
    variables: dict[str, tuple[SqlType, Scalar]] = {
        name.lower(): (kind, None) for name, kind, _ in parse_declarations(declarations)
    }
    rows: list[list[Cell]] = []
    with executor.session.own_variables(variables):
        statement = next(
            (found for found in parse_batch(text).statements if isinstance(found, commands.SelectStatement)), None
        )
        if statement is not None:
            bound = executor.binder().bind_query(statement.query, None, outermost=True)
            for place, column in enumerate(bound.columns, start=1):
                kind = column.shown_type
                facts = SYSTEM_TYPES[kind.name]
                collation = kind.collation if kind.is_text and kind.name != "xml" else None
                rows.append(
                    [
                        *(0, place, column.name or None, int(column.nullable), facts[0], str(kind), kind.max_length),
                        *(kind.catalogue_precision, kind.catalogue_scale, collation, None, None, None, None, None),
                        *(None, None, None, None, 0, int(kind.is_text and not kind.is_folded), 0, None, None, None),
                        *(None, None, int(column.identity), None, int(not column.computed), int(column.computed), 0),
                        *(None, None, None, _tds_token(kind), _tds_length(kind)),
                        *((13632521, 52) if collation else (None, None)),
                    ]
                )
    executor.send_table(_RESULT_COLUMNS, rows)


def _tds_token(kind: SqlType) -> int:
    return make_type_info(kind)[0]


def _tds_length(kind: SqlType) -> int:
    if kind.length == MAX:
        return 65_535
    return SIZED[kind.name][1] if kind.name in SIZED else kind.max_length


_PARAMETER_COLUMNS: Final = result_columns(
    parameter_ordinal=INT,
    name=SYSNAME,
    suggested_system_type_id=INT,
    suggested_system_type_name=nvarchar(256),
    suggested_max_length=SMALLINT,
    suggested_precision=TINYINT,
    suggested_scale=TINYINT,
    suggested_user_type_id=INT,
    suggested_user_type_database=SYSNAME,
    suggested_user_type_schema=SYSNAME,
    suggested_user_type_name=SYSNAME,
    suggested_assembly_qualified_type_name=nvarchar(4000),
    suggested_xml_collection_id=INT,
    suggested_xml_collection_database=SYSNAME,
    suggested_xml_collection_schema=SYSNAME,
    suggested_xml_collection_name=SYSNAME,
    suggested_is_xml_document=BIT,
    suggested_is_case_sensitive=BIT,
    suggested_is_fixed_length_clr_type=BIT,
    suggested_is_input=BIT,
    suggested_is_output=BIT,
    formal_parameter_name=SYSNAME,
    suggested_tds_type_id=INT,
    suggested_tds_length=INT,
)


def describe_parameters(executor: Execution, text: str) -> None:
    """Send what sp_describe_undeclared_parameters makes of a batch. Raises SqlError 11502 where a type stays open."""
    found: dict[str, SqlType] = {}
    names: list[str] = []
    with executor.session.own_variables({}):
        for statement in parse_batch(text).statements:
            for name in _variables(statement):
                if name not in names:
                    names.append(name)
            _bind_for_types(WriteBinder(executor.session, found), statement, executor.session.identity_insert)
    rows: list[list[Cell]] = []
    for place, name in enumerate(names, start=1):
        kind = found.get(name)
        if kind is None:
            raise make_error(11502, name)
        if kind.name == "null":
            kind = varchar(8000)
        rows.append(
            [
                *(place, name, SYSTEM_TYPES[kind.name][0], str(kind), kind.max_length, kind.catalogue_precision),
                *(kind.catalogue_scale, None, None, None, None, None, None, None, None, None, 0, 0, 0, 1, 0, None),
                *(_tds_token(kind), _tds_length(kind)),
            ]
        )
    executor.send_table(_PARAMETER_COLUMNS, rows)


def _variables(statement: commands.Statement) -> list[str]:
    return [
        node.name
        for node in syntax.walk(statement)
        if isinstance(node, syntax.Variable) and not node.name.startswith("@@")
    ]


def _bind_for_types(binder: WriteBinder, statement: commands.Statement, identity_insert: int | None) -> None:
    match statement:
        case commands.SelectStatement():
            binder.bind_query(statement.query, None, outermost=True)
        case commands.Insert():
            binder.bind_insert(statement, identity_insert)
        case commands.Update():
            binder.bind_update(statement)
        case commands.Delete():
            binder.bind_delete(statement)
        case commands.If():
            binder.bind_condition(statement.condition, Scope())
        case _:
            return
