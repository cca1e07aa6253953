"""What every binder has: the session's environment, the statement's parameters, conversion and comparison."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from devcloud.sqlserver.engine.convert import Converter
from devcloud.sqlserver.engine.library import LIBRARY
from devcloud.sqlserver.engine.scope import Environment
from devcloud.sqlserver.engine.values import Parameters, Value, make_constant
from devcloud.sqlserver.errors import make_error, refuse
from devcloud.sqlserver.tsql.syntax import (
    TypeName,
)
from devcloud.sqlserver.types import (
    INT,
    NULL,
    SqlType,
    common_type,
    make_type,
)

if TYPE_CHECKING:
    pass


_LOBS: Final = frozenset({"text", "ntext", "image", "xml"})


class ValueBinder:
    """Binds what needs no syntax: constants, conversions, comparisons."""

    def __init__(self, environment: Environment, undeclared: dict[str, SqlType] | None = None) -> None:
        self.environment = environment
        self.parameters = Parameters()
        self.undeclared = undeclared
        self.converter = Converter(self.parameters, undeclared)

    def constant(self, value: int | str | Decimal | float | bytes | None, kind: SqlType) -> Value:
        """Return a constant."""
        return make_constant(value, kind, self.parameters)

    def convert(self, value: Value, target: SqlType) -> Value:
        """Return a value as another type, as T-SQL converts implicitly."""
        return self.converter.convert(value, target)

    def compare(self, operator: str, left: Value, right: Value) -> str:
        """Return the comparison of two values in their common type."""
        if left.undeclared is not None:
            left = self.convert(left, right.type)
        if right.undeclared is not None:
            right = self.convert(right, left.type)
        if left.type.name == "null" or right.type.name == "null":
            return "CAST(NULL AS BOOLEAN)"
        kind = self.comparison_type(left.type, right.type)
        first, second = (self.sort_key(self.convert(value, kind)) for value in (left, right))
        return f"({first} {operator} {second})"

    @staticmethod
    def comparison_type(left: SqlType, right: SqlType) -> SqlType:
        """Return the type in which two values are compared. Raises SqlError 306 or 402."""
        for kind in (left, right):
            if kind.name in _LOBS:
                raise make_error(306)
        kind = common_type(left, right)
        if (left.is_moment and right.is_number) or (right.is_moment and left.is_number and kind.name == "date"):
            raise make_error(206, left.name, right.name)
        if kind.name in ("char", "nchar"):  # comparing pads anyway; padding here would cost
            kind = replace(kind, name="varchar" if kind.name == "char" else "nvarchar")
        if kind.name == "binary":
            kind = replace(kind, name="varbinary")
        return kind

    def sort_key(self, value: Value) -> str:
        """Return what DuckDB must compare so that the order is SQL Server's."""
        kind = value.type
        if kind.name == "datetimeoffset":
            return f"({value.sql}).t"
        if kind.name == "sql_variant":
            raise refuse("comparison of sql_variant")
        if kind.is_text:
            function = "fold" if kind.is_folded else "trim_end"
            if value.is_constant and isinstance(value.constant, str):
                text = value.constant.rstrip(" ")
                return make_constant(text.lower() if kind.is_folded else text, kind, self.parameters).sql
            return f"{LIBRARY}.{function}({value.sql})"
        return value.sql

    def choose(self, tests: list[str], results: list[Value], default: Value | None) -> Value:
        """Return CASE WHEN test THEN result … ELSE default END, in the type of highest precedence."""
        kind = NULL
        for value in (*results, *(() if default is None else (default,))):
            kind = common_type(kind, value.type)
        kind = INT if kind.name == "null" else kind
        branches = " ".join(
            f"WHEN {test} THEN {self.convert(result, kind).sql}" for test, result in zip(tests, results, strict=True)
        )
        otherwise = f"CAST(NULL AS {kind.storage})" if default is None else self.convert(default, kind).sql
        nullable = default is None or default.nullable or any(result.nullable for result in results)
        return Value(f"CASE {branches} ELSE {otherwise} END", kind, nullable)


def declared_type(name: TypeName, default_length: int = 1) -> SqlType:
    """Return the type that a declaration names. Raises SqlError 243 or 2716, or 40510 for types not spoken."""
    try:
        kind = make_type(name.name, name.arguments, default_length)
    except ValueError as error:
        raise make_error(2750, error, name.name) from None
    if kind is None:
        if name.name in ("hierarchyid", "geometry", "geography", "json", "vector"):
            raise refuse(f"type {name.name}")
        raise make_error(243, name.name)
    return kind
