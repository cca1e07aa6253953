"""RPC requests: the procedures by which drivers send statements with parameters."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence

import pyarrow as pa

from devcloud.sqlserver.engine.declarations import parse_declarations
from devcloud.sqlserver.engine.values import Scalar, make_constant
from devcloud.sqlserver.errors import UNFORESEEN, SqlError, make_error, not_understood, refuse
from devcloud.sqlserver.executor import Executor
from devcloud.sqlserver.procedures import PROCEDURES
from devcloud.sqlserver.tds.encoder import encode_rows
from devcloud.sqlserver.tds.parameters import RpcParameter, RpcRequest
from devcloud.sqlserver.tds.tokens import b_varchar, make_return_status
from devcloud.sqlserver.tds.typeinfo import ResultColumn, make_integer_return_value, make_type_info
from devcloud.sqlserver.types import SqlType

Variables = dict[str, tuple[SqlType, Scalar]]
_HANDLES = itertools.count(1)


def run_requests(executor: Executor, requests: list[RpcRequest]) -> None:
    """Run the calls of one RPC message. Raises CancelledError and ConnectionLostError."""
    for request in requests:
        executor.session.check_cancelled()
        executor.results.in_procedure = True
        try:
            failed = _run(executor, request)
        except (SqlError, *UNFORESEEN) as error:
            known = error if isinstance(error, SqlError) else not_understood(f"a call of {request.procedure}", error)
            executor.fail(known)
            failed = True
        finally:
            executor.results.in_procedure = False
        executor.results.done_procedure(failed=failed)


def _run(executor: Executor, request: RpcRequest) -> bool:
    name = request.procedure.lower().replace("[", "").replace("]", "").split(".")[-1]
    match name:
        case "sp_executesql":
            return _execute_sql(executor, request.parameters)
        case "sp_prepexec":
            return _prepare_and_execute(executor, request.parameters)
        case "sp_prepare":
            return _prepare(executor, request.parameters)
        case "sp_execute":
            return _execute(executor, request.parameters)
        case "sp_unprepare":
            handle = request.parameters[0].value if request.parameters else None
            executor.session.prepared.pop(handle if isinstance(handle, int) else -1, None)
            executor.results.token(make_return_status(0))
            return False
        case "sp_reset_connection":
            executor.session.reset()
            return False
        case _:
            return _call(executor, request, name)


def _call(executor: Executor, request: RpcRequest, name: str) -> bool:
    """Call a procedure by its name."""
    procedure = PROCEDURES.get(name)
    if procedure is None:
        if name.startswith("sp_"):
            raise refuse(f"procedure {name}")
        raise make_error(2812, request.procedure, state=62)
    procedure(executor, [(parameter.name, parameter.value) for parameter in request.parameters])
    executor.results.token(make_return_status(0))
    return False


def _bind(executor: Executor, declaration: str, values: Sequence[RpcParameter]) -> tuple[Variables, list[str]]:
    """Return the variables of a call, and the names of those that go back to the client."""
    declared = parse_declarations(declaration)
    variables: Variables = {}
    outputs = []
    by_name = {value.name.lower(): value for value in values if value.name}
    for place, (name, kind, output) in enumerate(declared):
        given = by_name.get(name.lower())
        if given is None and place < len(values) and not values[place].name:
            given = values[place]
        if given is None:
            raise make_error(8178, declaration, name)
        variables[name.lower()] = (kind, executor.convert_scalar(given.type, given.value, kind))
        if output and given.by_reference:
            outputs.append(name)
    if len(values) > len(declared):
        raise make_error(8144, "sp_executesql")
    return variables, outputs


def _text(parameters: Sequence[RpcParameter], place: int) -> str:
    value = parameters[place].value if place < len(parameters) else None
    if value is not None and not isinstance(value, str):
        raise make_error(214, state=2)
    return value or ""


def _run_with(
    executor: Executor, text: str, variables: Variables, outputs: list[str], handle: int | None = None
) -> bool:
    session = executor.session
    with session.own_variables(variables):
        failed = executor.run(text)
        values = [(name, *session.variables[name.lower()]) for name in outputs]
    executor.results.token(make_return_status(0))
    if handle is not None:
        executor.results.token(make_integer_return_value("", handle))
    for ordinal, (name, kind, value) in enumerate(values):
        executor.results.token(_make_return_value(executor, name, kind, value, ordinal))
    return failed


def _make_return_value(executor: Executor, name: str, kind: SqlType, value: Scalar, ordinal: int) -> bytes:
    """Return RETURNVALUE for an output parameter of any type, its value encoded as a row of one column would be."""
    binder = executor.binder()
    constant = make_constant(value, kind, binder.parameters)
    batches = list(executor.stream(f"SELECT {constant.sql} AS c1", binder.parameters, 1))
    table = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
    row = bytes(encode_rows(table, [ResultColumn("c1", kind)]))[1:]
    return (
        struct.pack("<BH", 0xAC, ordinal) + b_varchar(name) + struct.pack("<BIH", 1, 0, 1) + make_type_info(kind) + row
    )


# Statements with parameters


def _execute_sql(executor: Executor, parameters: Sequence[RpcParameter]) -> bool:
    text, declaration = _text(parameters, 0), _text(parameters, 1)
    variables, outputs = _bind(executor, declaration, parameters[2:])
    return _run_with(executor, text, variables, outputs)


def _prepare_and_execute(executor: Executor, parameters: Sequence[RpcParameter]) -> bool:
    declaration, text = _text(parameters, 1), _text(parameters, 2)
    old = parameters[0].value
    if isinstance(old, int):
        executor.session.prepared.pop(old, None)
    variables, outputs = _bind(executor, declaration, parameters[3:])
    handle = next(_HANDLES)
    executor.session.prepared[handle] = (declaration, text)
    return _run_with(executor, text, variables, outputs, handle)


def _prepare(executor: Executor, parameters: Sequence[RpcParameter]) -> bool:
    declaration, text = _text(parameters, 1), _text(parameters, 2)
    parse_declarations(declaration)
    handle = next(_HANDLES)
    executor.session.prepared[handle] = (declaration, text)
    executor.results.token(make_return_status(0))
    executor.results.token(make_integer_return_value("", handle))
    return False


def _execute(executor: Executor, parameters: Sequence[RpcParameter]) -> bool:
    handle = parameters[0].value if parameters else None
    prepared = executor.session.prepared.get(handle if isinstance(handle, int) else -1)
    if prepared is None:
        raise make_error(8179, handle)
    declaration, text = prepared
    variables, outputs = _bind(executor, declaration, parameters[1:])
    return _run_with(executor, text, variables, outputs)
