"""The metadata procedures' result sets."""

from __future__ import annotations

from typing import Final

from devcloud.sqlserver.engine.declarations import parse_declarations
from devcloud.sqlserver.engine.outputs import OutputColumn
from devcloud.sqlserver.engine.scope import Scope
from devcloud.sqlserver.engine.sysviews import parse_columns
from devcloud.sqlserver.engine.values import Scalar
from devcloud.sqlserver.engine.writes import WriteBinder
from devcloud.sqlserver.errors import make_error
from devcloud.sqlserver.execution import Execution
from devcloud.sqlserver.tds.typeinfo import SIZED, ResultColumn, make_type_info
from devcloud.sqlserver.tsql import commands, syntax
from devcloud.sqlserver.tsql.statements import parse_batch
from devcloud.sqlserver.types import MAX, SYSTEM_TYPES, SqlType, varchar

Cell = int | str | None


def result_columns(text: str) -> list[ResultColumn]:
    """Return the columns of a procedure's result set, given as ``name type; …``."""
    return [ResultColumn(name, kind) for name, kind, _ in parse_columns(text)]


def _send(execution: Execution, columns: list[ResultColumn], rows: list[dict[str, Cell]]) -> None:
    """Send rows that name the columns in which they are not NULL."""
    execution.send_table(columns, [[row.get(column.name) for column in columns] for row in rows])


_RESULT_COLUMNS: Final = result_columns(
    """
    is_hidden bit; column_ordinal int; name sysname; is_nullable bit; system_type_id int;
    system_type_name nvarchar(256); max_length smallint; precision tinyint; scale tinyint; collation_name sysname;
    user_type_id int; user_type_database sysname; user_type_schema sysname; user_type_name sysname;
    assembly_qualified_type_name nvarchar(4000); xml_collection_id int; xml_collection_database sysname;
    xml_collection_schema sysname; xml_collection_name sysname; is_xml_document bit; is_case_sensitive bit;
    is_fixed_length_clr_type bit; source_server sysname; source_database sysname; source_schema sysname;
    source_table sysname; source_column sysname; is_identity_column bit; is_part_of_unique_key bit; is_updateable bit;
    is_computed_column bit; is_sparse_column_set bit; ordinal_in_order_by_list smallint;
    order_by_list_length smallint; order_by_is_descending smallint; tds_type_id int; tds_length int;
    tds_collation_id int; tds_collation_sort_id tinyint
    """
)


def describe_result(execution: Execution, text: str, declarations: str) -> None:
    """Send what sp_describe_first_result_set says of a batch."""
    variables: dict[str, tuple[SqlType, Scalar]] = {
        name.lower(): (kind, None) for name, kind, _ in parse_declarations(declarations)
    }
    columns: tuple[OutputColumn, ...] = ()
    with execution.session.own_variables(variables):
        statement = next(
            (found for found in parse_batch(text).statements if isinstance(found, commands.SelectStatement)), None
        )
        if statement is not None:
            columns = execution.binder().bind_query(statement.query, None, outermost=True).columns
    _send(execution, _RESULT_COLUMNS, [_describe(place, column) for place, column in enumerate(columns, start=1)])


def _describe(place: int, column: OutputColumn) -> dict[str, Cell]:
    kind = column.shown_type
    collation = kind.collation if kind.is_text and kind.name != "xml" else None
    row: dict[str, Cell] = {
        "column_ordinal": place,
        "name": column.name or None,
        "is_nullable": int(column.nullable),
        "system_type_id": SYSTEM_TYPES[kind.name][0],
        "system_type_name": str(kind),
        "max_length": kind.max_length,
        "precision": kind.catalogue_precision,
        "scale": kind.catalogue_scale,
        "collation_name": collation,
        "is_case_sensitive": int(kind.is_text and not kind.is_folded),
        "is_identity_column": int(column.identity),
        "is_updateable": int(not column.computed),
        "is_computed_column": int(column.computed),
        "tds_type_id": _tds_token(kind),
        "tds_length": _tds_length(kind),
    }
    row |= dict.fromkeys(("is_hidden", "is_xml_document", "is_fixed_length_clr_type", "is_sparse_column_set"), 0)
    return row | ({"tds_collation_id": 13632521, "tds_collation_sort_id": 52} if collation else {})


def _tds_token(kind: SqlType) -> int:
    return make_type_info(kind)[0]


def _tds_length(kind: SqlType) -> int:
    if kind.length == MAX:
        return 65_535
    return SIZED[kind.name][1] if kind.name in SIZED else kind.max_length


_PARAMETER_COLUMNS: Final = result_columns(
    """
    parameter_ordinal int; name sysname; suggested_system_type_id int; suggested_system_type_name nvarchar(256);
    suggested_max_length smallint; suggested_precision tinyint; suggested_scale tinyint; suggested_user_type_id int;
    suggested_user_type_database sysname; suggested_user_type_schema sysname; suggested_user_type_name sysname;
    suggested_assembly_qualified_type_name nvarchar(4000); suggested_xml_collection_id int;
    suggested_xml_collection_database sysname; suggested_xml_collection_schema sysname;
    suggested_xml_collection_name sysname; suggested_is_xml_document bit; suggested_is_case_sensitive bit;
    suggested_is_fixed_length_clr_type bit; suggested_is_input bit; suggested_is_output bit;
    formal_parameter_name sysname; suggested_tds_type_id int; suggested_tds_length int
    """
)


def describe_parameters(execution: Execution, text: str) -> None:
    """Send what sp_describe_undeclared_parameters makes of a batch. Raises SqlError 11502 where a type stays open."""
    found: dict[str, SqlType] = {}
    names: dict[str, None] = {}
    with execution.session.own_variables({}):
        for statement in parse_batch(text).statements:
            names |= dict.fromkeys(_variables(statement))
            _bind_for_types(WriteBinder(execution.session, found), statement, execution.session.identity_insert)
    rows = [_describe_parameter(place, name, found.get(name)) for place, name in enumerate(names, start=1)]
    _send(execution, _PARAMETER_COLUMNS, rows)


def _describe_parameter(place: int, name: str, kind: SqlType | None) -> dict[str, Cell]:
    if kind is None:
        raise make_error(11502, name)
    if kind.name == "null":
        kind = varchar(8000)
    facts: dict[str, Cell] = {
        "system_type_id": SYSTEM_TYPES[kind.name][0],
        "system_type_name": str(kind),
        "max_length": kind.max_length,
        "precision": kind.catalogue_precision,
        "scale": kind.catalogue_scale,
        "tds_type_id": _tds_token(kind),
        "tds_length": _tds_length(kind),
        "is_input": 1,
    }
    facts |= dict.fromkeys(("is_xml_document", "is_case_sensitive", "is_fixed_length_clr_type", "is_output"), 0)
    row: dict[str, Cell] = {"parameter_ordinal": place, "name": name}
    return row | {f"suggested_{fact}": value for fact, value in facts.items()}


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
