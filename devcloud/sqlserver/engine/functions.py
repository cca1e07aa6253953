"""Binds function calls: looks them up, and binds those that look at state, aggregates and window functions."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from devcloud.sqlserver.engine.expressions import ExpressionBinder
from devcloud.sqlserver.engine.scalar_functions import SCALARS
from devcloud.sqlserver.engine.scope import Scope
from devcloud.sqlserver.engine.state import CAPTURE_FUNCTIONS, STATE_FUNCTIONS
from devcloud.sqlserver.engine.time_functions import TIME_FUNCTIONS
from devcloud.sqlserver.engine.values import Value, make_constant
from devcloud.sqlserver.errors import make_error, refuse
from devcloud.sqlserver.tsql.syntax import Call, Window
from devcloud.sqlserver.types import (
    BIGINT,
    FLOAT,
    INT,
    MAX,
    MONEY,
    SqlType,
    decimal,
    nvarchar,
    varchar,
)

AGGREGATES: Final = frozenset(
    {"COUNT", "COUNT_BIG", "SUM", "AVG", "MIN", "MAX", "STDEV", "STDEVP", "VAR", "VARP", "STRING_AGG", "CHECKSUM_AGG"}
)
_RANKINGS: Final = {"ROW_NUMBER": "row_number", "RANK": "rank", "DENSE_RANK": "dense_rank"}
WINDOWED: Final = frozenset({*_RANKINGS, "NTILE", "LAG", "LEAD", "FIRST_VALUE", "LAST_VALUE"})
"""Functions that need an OVER with an ORDER BY."""


class FunctionBinder(ExpressionBinder):
    """Binds function calls."""

    def call_function(self, call: Call, scope: Scope) -> Value:
        """Bind a function call. Raises SqlError 195 for names T-SQL lacks, 40510 for those not spoken here."""
        name = call.name[-1].upper()
        if len(call.name) > 1 and not (call.name[0].lower() == "sys" and name in CAPTURE_FUNCTIONS):
            raise refuse(f"function {'.'.join(call.name)}")
        if call.window is not None and name not in AGGREGATES:
            return self._bind_ranking(name, call, call.window, scope)
        if name in AGGREGATES:
            return self._bind_aggregate(name, call, scope)
        if name in STATE_FUNCTIONS:
            return self._bind_state(name, call, scope)
        binder = SCALARS.get(name) or TIME_FUNCTIONS.get(name)
        if binder is None:
            if name in NOT_SPOKEN:
                raise refuse(f"function {name}")
            raise make_error(195, call.name[-1])
        return binder(self, call, scope)

    def _bind_state(self, name: str, call: Call, scope: Scope) -> Value:
        """Bind a function of the session's or the catalogue's state, whose arguments must be constants here."""
        arguments = [self.bind(argument, scope) for argument in call.arguments]
        for argument in arguments:
            if argument.undeclared is not None:
                self.convert(argument, nvarchar(4000))
            elif not argument.is_constant:
                raise refuse(f"{name} of something that is not a constant or a variable")
        found = self.environment.session_function(name, tuple(argument.constant for argument in arguments))
        if found is None:
            raise refuse(f"function {name}")
        return make_constant(found[1], found[0], self.parameters)

    # Aggregates

    def _bind_aggregate(self, name: str, call: Call, scope: Scope) -> Value:
        if scope.inside_aggregate and call.window is None:
            raise make_error(130)
        over = "" if call.window is None else f" OVER ({self._bind_window(call.window, scope)})"
        if call.star:
            kind = BIGINT if name == "COUNT_BIG" else INT
            if name not in ("COUNT", "COUNT_BIG"):
                raise make_error(102, "*")
            return Value(f"CAST(count(*){over} AS {kind.storage})", kind, False)
        inner = scope if call.window is not None else replace(scope, inside_aggregate=True)
        if not call.arguments:
            raise make_error(174, name.lower(), 1)
        value = self.bind(call.arguments[0], inner)
        distinct = "DISTINCT " if call.distinct else ""
        if name in ("COUNT", "COUNT_BIG"):
            kind = BIGINT if name == "COUNT_BIG" else INT
            counted = self.sort_key(value) if call.distinct else value.sql
            return Value(f"CAST(count({distinct}{counted}){over} AS {kind.storage})", kind, False)
        if name in ("MIN", "MAX"):
            return self._bind_extreme(name, value, over)
        if name == "STRING_AGG":
            return self._bind_string_agg(call, value, inner)
        if name == "CHECKSUM_AGG":
            raise refuse("function CHECKSUM_AGG")
        return self._bind_sum(name, value, distinct, over)

    def _bind_extreme(self, name: str, value: Value, over: str) -> Value:
        if value.type.name == "bit":
            raise make_error(8117, "bit", name.lower())
        key = self.sort_key(value)
        self.comparison_type(value.type, value.type)
        if key == value.sql:
            return Value(f"{name.lower()}({value.sql}){over}", value.type, True)
        return Value(f"arg_{name.lower()}({value.sql}, {key}){over}", value.type, True)

    def _bind_sum(self, name: str, value: Value, distinct: str, over: str) -> Value:
        kind = value.type
        if not kind.is_number or kind.name == "bit":
            raise make_error(8117, kind.name, name.lower())
        if name in ("STDEV", "STDEVP", "VAR", "VARP"):
            function = {"STDEV": "stddev_samp", "STDEVP": "stddev_pop", "VAR": "var_samp", "VARP": "var_pop"}[name]
            return Value(f"{function}({distinct}{self.convert(value, FLOAT).sql}){over}", FLOAT, True)
        result = _sum_type(name, kind)
        if kind.is_float:
            function = "sum" if name == "SUM" else "avg"
            return Value(f"{function}({distinct}CAST({value.sql} AS DOUBLE)){over}", FLOAT, True)
        total = f"sum({distinct}{value.sql}){over}"
        if name == "SUM":
            return Value(f"CAST({total} AS {result.storage})", result, True)
        count = f"nullif(count({distinct}{value.sql}){over}, 0)"
        if kind.is_integer:
            return Value(f"CAST(CAST({total} AS HUGEINT) // {count} AS {result.storage})", result, True)
        unit, scale = 10 ** (result.scale - kind.scale), result.scale
        digits = (
            f"CAST({total} * CAST('{10**kind.scale}' AS DECIMAL({kind.scale + 1}, 0)) AS HUGEINT) * {unit} // {count}"
        )
        last = "1" if scale == 0 else f"CAST('0.{'0' * (scale - 1)}1' AS DECIMAL({scale}, {scale}))"
        return Value(f"CAST(CAST({digits} AS DECIMAL({38 - scale}, 0)) * {last} AS {result.storage})", result, True)

    def _bind_string_agg(self, call: Call, value: Value, scope: Scope) -> Value:
        if len(call.arguments) != 2:
            raise make_error(174, "string_agg", 2)
        separator = self.bind(call.arguments[1], scope)
        text = value if value.type.is_text else self.convert(value, varchar(8000))
        wide = text.type.is_wide or separator.type.is_wide
        limit = MAX if text.type.length == MAX else 4000 if wide else 8000
        kind = nvarchar(limit) if wide else varchar(limit)
        order = ""
        if call.within:
            parts = [self._order_item(item.expression, item.descending, scope) for item in call.within]
            order = f" ORDER BY {', '.join(parts)}"
        return Value(f"string_agg({text.sql}, {self.convert(separator, kind).sql}{order})", kind, True)

    # Windows

    def _order_item(self, expression: object, descending: bool, scope: Scope) -> str:
        value = self.bind(expression, scope)  # type: ignore[arg-type]
        return f"{self.sort_key(value)} {'DESC NULLS LAST' if descending else 'ASC NULLS FIRST'}"

    def _bind_window(self, window: Window, scope: Scope) -> str:
        parts = []
        if window.partition:
            keys = [self.sort_key(self.bind(expression, scope)) for expression in window.partition]
            parts.append(f"PARTITION BY {', '.join(keys)}")
        if window.order:
            items = [self._order_item(item.expression, item.descending, scope) for item in window.order]
            parts.append(f"ORDER BY {', '.join(items)}")
        return " ".join((*parts, window.frame)).strip()

    def _bind_ranking(self, name: str, call: Call, window: Window, scope: Scope) -> Value:
        over = f"OVER ({self._bind_window(window, scope)})"
        if not window.order and name in WINDOWED:
            raise make_error(4112, name)
        if name in _RANKINGS:
            return Value(f"{_RANKINGS[name]}() {over}", BIGINT, False)
        if not call.arguments:
            raise make_error(195, call.name[-1])
        value = self.bind(call.arguments[0], scope)
        if name == "NTILE":
            return Value(f"ntile({self.convert(value, BIGINT).sql}) {over}", BIGINT, False)
        if name in ("FIRST_VALUE", "LAST_VALUE"):
            return Value(f"{name.lower()}({value.sql}) {over}", value.type, True)
        if name in ("LAG", "LEAD"):
            rest = [self.bind(argument, scope) for argument in call.arguments[1:]]
            offset = f", {self.convert(rest[0], BIGINT).sql}" if rest else ", 1"
            default = f", {self.convert(rest[1], value.type).sql}" if len(rest) > 1 else ""
            return Value(f"{name.lower()}({value.sql}{offset}{default}) {over}", value.type, True)
        raise refuse(f"{name} … OVER")


def _sum_type(name: str, kind: SqlType) -> SqlType:
    """Return the type of SUM or AVG (learn.microsoft.com, both pages)."""
    if kind.is_integer:
        return BIGINT if kind.name == "bigint" else INT
    if kind.name in ("money", "smallmoney"):
        return MONEY
    if kind.is_decimal:
        return decimal(38, kind.scale if name == "SUM" else max(kind.scale, 6))
    return FLOAT


NOT_SPOKEN: Final = frozenset(
    """
    ACOS APPLOCK_MODE APPROX_COUNT_DISTINCT ASIN ATAN ATN2 BINARY_CHECKSUM CHECKSUM COMPRESS CONNECTIONPROPERTY COS COT
    CUME_DIST CURSOR_STATUS DATETRUNC DATE_BUCKET DECOMPRESS DEGREES DIFFERENCE EVENTDATA FILE_ID FORMAT FORMATMESSAGE
    GETANSINULL GREATEST GROUPING GROUPING_ID ISDATE ISJSON ISNUMERIC JSON_ARRAY JSON_MODIFY JSON_OBJECT JSON_QUERY
    JSON_VALUE LEAST LOG10 NEWSEQUENTIALID OBJECTPROPERTY OBJECTPROPERTYEX PARSE PARSENAME PATINDEX PERCENTILE_CONT
    PERCENTILE_DISC PERCENT_RANK PI RADIANS RAND SESSIONPROPERTY SIN SOUNDEX STATS_DATE STR STRING_ESCAPE TAN TRANSLATE
    TRY_PARSE
    """.split()  # noqa: SIM905
)
"""Functions that T-SQL has and this server does not speak."""
