"""The statements that read a source: every value a parameter, every identifier quoted, one thing per statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hygge_engine.homes.base import Position, Window
from hygge_engine.homes.mssql.identifiers import quote
from hygge_engine.homes.mssql.types import SourceColumn, select_expression
from hygge_engine.homes.mssql.values import Parameter, parameter

OFFSET_SUFFIX = "__offset"


@dataclass(frozen=True)
class Statement:
    """T-SQL with ``?`` placeholders, and the values of these in order; all of them stand in ``condition``."""

    sql: str
    parameters: Sequence[Parameter]
    condition: str = ""


def read_statement(
    source: str,
    columns: Sequence[SourceColumn],
    key: Sequence[SourceColumn],
    window: Window,
    cursor: SourceColumn | None,
    after: Position | None,
    *,
    keep_offset: bool,
) -> Statement:
    """All rows of ``window`` after a position, in key order.

    The order is the key's also where a cursor bounds the rows: the key has an index that the server can follow from
    any position on, without sorting, and within one window a row has one version whatever the order. The columns are
    those of the table, then the offsets of its datetimeoffset columns if they are kept, then one text for each of
    `position_texts`.
    """
    selected = [f"{select_expression(column)} AS {quote(column.name)}" for column in columns]
    if keep_offset:
        selected += [
            f"DATEPART(TZOFFSET, {quote(column.name)}) AS {quote(column.name + OFFSET_SUFFIX)}"
            for column in columns
            if column.base_type == "datetimeoffset"
        ]
    selected += [
        f"{exact_text(quote(column.name))} AS {quote(f'position {number}')}"
        for number, column in enumerate(position_texts(key))
    ]
    parameters: list[Parameter] = []
    conditions: list[str] = []
    if cursor is not None:
        conditions += _window_conditions(cursor, window, parameters)
    if after:
        conditions.append(_after(key, after, parameters))
    condition = " AND ".join(conditions)
    order = ", ".join(quote(column.name) for column in key)
    return Statement(select(", ".join(selected), source, condition, order), parameters, condition)


def select(what: str, source: str, condition: str = "", order: str = "") -> str:
    """A SELECT statement from parts whose identifiers are quoted and whose values are placeholders."""
    clauses = ["SELECT", what, "FROM", source]
    if condition:
        clauses += ["WHERE", condition]
    if order:
        clauses += ["ORDER BY", order]
    return " ".join(clauses)


def position_texts(key: Sequence[SourceColumn]) -> list[SourceColumn]:
    """The key columns whose last digit Arrow does not hold, so that the server has to write it out."""
    return [column for column in key if column.has_tenths_of_microseconds]


def exact_text(expression: str) -> str:
    """A timestamp with all its digits: style 126 is ISO 8601 whatever the session's language."""
    return f"CONVERT(nvarchar(40), {expression}, 126)"


def _window_conditions(cursor: SourceColumn, window: Window, parameters: list[Parameter]) -> list[str]:
    name = quote(cursor.name)
    is_rowversion = cursor.base_type == "rowversion"
    conditions: list[str] = []
    if window.lower is not None:
        placeholder, value = parameter(cursor, window.lower)
        parameters.append(value)
        conditions.append(f"{name} {'>=' if is_rowversion or window.lower_inclusive else '>'} {placeholder}")
    if window.upper is not None:
        placeholder, value = parameter(cursor, window.upper)
        parameters.append(value)
        condition = f"{name} {'<' if is_rowversion else '<='} {placeholder}"
        if window.lower is None and cursor.nullable:
            condition = f"({condition} OR {name} IS NULL)"
        conditions.append(condition)
    return conditions


def _after(key: Sequence[SourceColumn], after: Position, parameters: list[Parameter]) -> str:
    """Rows whose key, compared as a row, comes after a position: T-SQL has no row comparison of its own."""
    if len(after) != len(key):
        raise ValueError(f"the position {after} has {len(after)} values, the key has {len(key)} columns")
    alternatives: list[str] = []
    for last in range(len(key)):
        terms: list[str] = []
        for number in range(last + 1):
            placeholder, value = parameter(key[number], after[number])
            parameters.append(value)
            terms.append(f"{quote(key[number].name)} {'=' if number < last else '>'} {placeholder}")
        alternatives.append(" AND ".join(terms))
    if len(alternatives) == 1:
        return alternatives[0]
    return "(" + " OR ".join(f"({alternative})" for alternative in alternatives) + ")"
