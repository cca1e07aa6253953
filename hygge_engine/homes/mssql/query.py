"""The statements that read a source: every value a parameter, every identifier quoted, one thing per statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hygge_engine.errors import CursorUnusable
from hygge_engine.homes.base import Position, ReadWindow
from hygge_engine.homes.mssql.identifiers import quote
from hygge_engine.homes.mssql.ranges import KeyRange
from hygge_engine.homes.mssql.types import SourceColumn, exact_text, select_expression
from hygge_engine.homes.mssql.values import Parameter, parameter
from hygge_engine.plain_text import counted

OFFSET_SUFFIX = "__offset"

# What every statement calls what it reads.
_SOURCE = "[source]"


@dataclass(frozen=True)
class Statement:
    """T-SQL with ``?`` placeholders, and the values of these in order; all of them stand in ``source`` (see `select`)
    and ``condition``."""

    sql: str
    parameters: Sequence[Parameter]
    source: str
    condition: str


@dataclass(frozen=True)
class Selection:
    """What is read of each row of ``source`` (see `select`), whose order is that of ``key``.

    ``columns`` come first, then the offsets of the datetimeoffset columns among them if they are kept, then one text
    for each of `position_texts`. ``parameters`` are the values of the placeholders in ``source``.
    """

    source: str
    columns: Sequence[SourceColumn]
    key: Sequence[SourceColumn]
    keep_offset: bool = False
    ticks_as_text: bool = False
    parameters: Sequence[Parameter] = ()

    @property
    def expressions(self) -> list[str]:
        """What stands after SELECT, each with its name."""
        values = [f"{select_expression(column, self.ticks_as_text)} AS {quote(column.name)}" for column in self.columns]
        offsets = [
            f"DATEPART(TZOFFSET, {quote(column.name)}) AS {quote(column.name + OFFSET_SUFFIX)}"
            for column in self.columns
            if self.keep_offset and column.base_type == "datetimeoffset"
        ]
        texts = [
            f"{exact_text(quote(column.name))} AS {quote(f'position {number}')}"
            for number, column in enumerate(position_texts(self.key))
        ]
        return values + offsets + texts


def read_statement(
    selection: Selection, window: ReadWindow, cursor: SourceColumn | None, range_: KeyRange
) -> Statement:
    """All rows of ``window`` in a range of the key, in key order.

    The order is the key's also where a cursor bounds the rows: the key has an index that the server can follow from
    any position on, without sorting, and within one window a row has one version whatever the order.
    """
    key, source = selection.key, selection.source
    parameters: list[Parameter] = list(selection.parameters)
    conditions: list[str] = []
    if cursor is not None:
        conditions += _window_conditions(cursor, window, parameters)
    conditions += _range_conditions(key, range_, parameters)
    condition = " AND ".join(conditions)
    sql = select(", ".join(selection.expressions), source, condition, key)
    return Statement(sql, parameters, source, condition)


def window_condition(cursor: SourceColumn, window: ReadWindow) -> tuple[str, list[Parameter]]:
    """The rows of a window as a condition, and the values of its placeholders."""
    parameters: list[Parameter] = []
    return " AND ".join(_window_conditions(cursor, window, parameters)), parameters


def select(what: str, source: str, condition: str = "", order: Sequence[SourceColumn] = (), sample: str = "") -> str:
    """A SELECT statement from parts whose identifiers are quoted and whose values are placeholders.

    ``source`` is a table's name, or a statement in parentheses, without an alias; ``sample`` is a TABLESAMPLE clause.
    The order is that of the source's columns, which conditions compare too: a bare name would be that of what is
    selected by this name, such as the text of a key, which has an order of its own.
    """
    clauses = ["SELECT", what, "FROM", source, "AS", _SOURCE]
    if sample:
        clauses.append(sample)
    if condition:
        clauses += ["WHERE", condition]
    if order:
        clauses += ["ORDER BY", _order(order)]
    return " ".join(clauses)


def _order(columns: Sequence[SourceColumn]) -> str:
    return ", ".join(f"{_SOURCE}.{quote(column.name)}" for column in columns)


def _range_conditions(key: Sequence[SourceColumn], range_: KeyRange, parameters: list[Parameter]) -> list[str]:
    """The rows of a range. What both bounds begin with is compared for equality, so that the server can seek the rest
    in an index: otherwise each of many ranges within one tenant would read all of its rows."""
    after, to = range_.after, range_.to
    shared = 0
    if after and to and len(after) == len(to) == len(key):
        shared = next((number for number in range(len(key) - 1) if after[number] != to[number]), len(key) - 1)
    conditions = [compare(key[:shared], "=", after[:shared], parameters)] if after and shared else []
    rest = key[shared:]
    if after:
        conditions.append(compare(rest, ">", after[shared:], parameters))
    if to:
        conditions.append(compare(rest, "<=", to[shared:], parameters))
    return conditions


def position_texts(key: Sequence[SourceColumn]) -> list[SourceColumn]:
    """The key columns whose last digit Arrow does not hold, so that the server has to write it out."""
    return [column for column in key if column.has_tenths_of_microseconds]


def sample_statement(
    source: str, key: Sequence[SourceColumn], condition: str = "", *, sampled: int | None, step: int, most: int
) -> str:
    """Every ``step``-th key of about ``sampled`` rows, in the server's order: of whole pages here and there, and only
    these sorted; None: of all rows.

    A sample is a request. Of a server that sends every row, or whose statistics are wrong, ``most`` are wanted.
    """
    texts = position_texts(key)
    values = [exact_text(quote(column.name)) if column in texts else quote(column.name) for column in key]
    names = [quote(f"key {number}") for number in range(len(key))]
    named = ", ".join(f"{value} AS {name}" for value, name in zip(values, names, strict=True))
    sample = "" if sampled is None else f"TABLESAMPLE SYSTEM ({sampled} ROWS)"
    if step == 1:
        return select(f"TOP ({most}) {named}", source, condition, key, sample)
    number = f"ROW_NUMBER() OVER (ORDER BY {_order(key)}) AS [number]"
    numbered = select(f"{named}, {number}", source, condition, sample=sample)
    chosen = select(f"TOP ({most}) {', '.join(names)}", f"({numbered})", f"[number] % {step} = 0")
    return f"{chosen} ORDER BY [number]"


def _window_conditions(cursor: SourceColumn, window: ReadWindow, parameters: list[Parameter]) -> list[str]:
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


def compare(
    key: Sequence[SourceColumn], sign: Literal[">", "<=", "="], bound: Position, parameters: list[Parameter]
) -> str:
    """The key compared as a row with a bound: T-SQL has no row comparison of its own.

    The first column is also bounded by itself, which is what the server can seek in an index.
    """
    if len(bound) != len(key):
        raise CursorUnusable(
            f"the load stopped at a row with a key of {counted(len(bound), 'column')}, and now the key has {len(key)}",
            hint="The key has changed while the table was being loaded: reload it with run_type full_drop, which "
            "replaces what has landed.",
        )

    def term(number: int, operator: str) -> str:
        placeholder, value = parameter(key[number], bound[number])
        parameters.append(value)
        return f"{quote(key[number].name)} {operator} {placeholder}"

    if sign == "=" or len(key) == 1:
        return " AND ".join(term(number, sign) for number in range(len(key)))
    seek = term(0, sign[0] + "=")
    alternatives = []
    for last in range(len(key)):
        operator = sign if last == len(key) - 1 else sign[0]
        terms = [term(number, "=") for number in range(last)]
        alternatives.append(f"({' AND '.join([*terms, term(last, operator)])})")
    return f"{seek} AND ({' OR '.join(alternatives)})"
