"""System procedures: those that drivers call for metadata, dynamic SQL, and the server's own for faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from devcloud.sqlserver.arguments import Arguments, Procedure, read_arguments
from devcloud.sqlserver.capture_procedures import CAPTURE_PROCEDURES
from devcloud.sqlserver.engine.declarations import parse_declarations
from devcloud.sqlserver.engine.sysviews import SYSTEM_VIEWS, SystemView
from devcloud.sqlserver.engine.values import Scalar
from devcloud.sqlserver.errors import SqlError, make_error, refuse
from devcloud.sqlserver.execution import Execution
from devcloud.sqlserver.faults import Fault
from devcloud.sqlserver.metadata import describe_parameters, describe_result
from devcloud.sqlserver.odbc_catalogue import list_catalogue
from devcloud.sqlserver.tsql.commands import Execute
from devcloud.sqlserver.tsql.names import split_name
from devcloud.sqlserver.types import SqlType, nvarchar


def run_procedure(executor: Execution, statement: Execute) -> None:
    """Run EXECUTE. Raises SqlError 2812 for procedures that are not there."""
    name = statement.procedure[-1].lower()
    arguments: list[tuple[str, Scalar]] = []
    types: list[SqlType | None] = []
    for argument in statement.arguments:
        if argument.value is None:
            continue
        if argument.output:
            raise refuse("EXECUTE … OUTPUT")
        kind, value = executor.evaluate(argument.value)
        types.append(kind)
        arguments.append((argument.name or "", value))
    if name == "sp_executesql":
        _execute_sql(executor, arguments, types)
        return
    procedure = PROCEDURES.get(name)
    if procedure is None:
        if name.startswith(("sp_", "xp_")):
            raise refuse(f"procedure {name}")
        raise make_error(2812, ".".join(statement.procedure), state=62)
    procedure(executor, arguments)
    if statement.result is not None:
        executor.session.store(statement.result, 0)


def _execute_sql(executor: Execution, arguments: Arguments, types: Sequence[SqlType | None]) -> None:
    text = str(arguments[0][1] or "") if arguments else ""
    declared = parse_declarations(str(arguments[1][1] or "")) if len(arguments) > 1 else []
    variables: dict[str, tuple[SqlType, Scalar]] = {}
    for place, (name, kind, _) in enumerate(declared):
        matching = [
            index
            for index, (given, _) in enumerate(arguments[2:], start=2)
            if given.lower() == name.lower() or (not given and index == place + 2)
        ]
        if not matching:
            raise make_error(201, "sp_executesql", name)
        source = types[matching[0]] or nvarchar(-1)
        variables[name.lower()] = (kind, executor.convert_scalar(source, arguments[matching[0]][1], kind))
    with executor.session.own_variables(variables):
        executor.run_text(text)


# Faults


_FAULT_PARAMETERS: Final = ("kind", "table", "login", "times", "after_rows", "number", "message", "severity", "seconds")


def _add_fault(executor: Execution, arguments: Arguments) -> None:
    """EXECUTE devcloud.fault @kind = 'drop_connection', @table = 'dbo.t', @after_rows = 1000, …."""
    executor.session.require_administrator("devcloud.fault")
    given = read_arguments("devcloud.fault", arguments, _FAULT_PARAMETERS)
    try:
        fault = Fault(
            str(given.get("kind")),
            _optional_text(given.get("table")),
            _optional_text(given.get("login")),
            int(str(given.get("times", 1))) or None,
            int(str(given.get("after_rows", 0))),
            int(str(given.get("number", 40501))),
            str(given.get("message", "A deliberate fault.")),
            int(str(given.get("severity", 16))),
            float(str(given.get("seconds", 1))),
        )
    except ValueError as error:
        raise SqlError(50_000, str(error)) from None
    executor.session.faults.add(fault)
    executor.results.done()


def _optional_text(value: Scalar) -> str | None:
    return None if value is None else str(value)


def _clear_faults(executor: Execution, _: Arguments) -> None:
    executor.session.require_administrator("devcloud.clear_faults")
    executor.session.faults.clear()
    executor.results.done()


# Metadata


def _describe_result(executor: Execution, arguments: Arguments) -> None:
    given = read_arguments("sp_describe_first_result_set", arguments, ("tsql", "params", "browse_information_mode"))
    describe_result(executor, str(given.get("tsql") or ""), str(given.get("params") or ""))


def _describe_parameters(executor: Execution, arguments: Arguments) -> None:
    given = read_arguments("sp_describe_undeclared_parameters", arguments, ("tsql", "params"))
    describe_parameters(executor, str(given.get("tsql") or ""))


def _list_catalogue(name: str, view: SystemView) -> Procedure:
    """Return the procedure of that name, which sends a view's rows."""
    parameters = tuple(parameter for parameter, _ in view.parameters)

    def procedure(executor: Execution, arguments: Arguments) -> None:
        list_catalogue(executor, view, read_arguments(name, arguments, parameters))

    return procedure


def _rename(executor: Execution, arguments: Arguments) -> None:
    given = read_arguments("sp_rename", arguments, ("objname", "newname", "objtype"))
    kind = str(given.get("objtype") or "OBJECT").upper()
    name = split_name(str(given.get("objname") or ""))
    if kind == "COLUMN":
        executor.results.message(make_error(15477))
        executor.define(lambda definer: definer.rename_column(name[:-1], name[-1], str(given.get("newname") or "")))
        return
    if kind != "OBJECT":
        raise refuse(f"sp_rename of a {kind}")
    executor.results.message(make_error(15477))
    executor.define(lambda definer: definer.rename_table(name, str(given.get("newname") or "")))


PROCEDURES: Final[dict[str, Procedure]] = {
    "fault": _add_fault,
    "clear_faults": _clear_faults,
    "sp_rename": _rename,
    "sp_describe_first_result_set": _describe_result,
    "sp_describe_undeclared_parameters": _describe_parameters,
    **{name: _list_catalogue(name, view) for name, view in SYSTEM_VIEWS.items() if view.parameters},
    **CAPTURE_PROCEDURES,
}
