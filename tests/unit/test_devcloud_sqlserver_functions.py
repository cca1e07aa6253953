"""Each T-SQL function of the SQL Server emulator is known in one place."""

from __future__ import annotations

from itertools import combinations

import pytest

from devcloud.sqlserver.engine.functions import AGGREGATES, NOT_SPOKEN, WINDOWED
from devcloud.sqlserver.engine.scalar_functions import SCALARS
from devcloud.sqlserver.engine.state import STATE_FUNCTIONS
from devcloud.sqlserver.engine.time_functions import TIME_FUNCTIONS
from devcloud.sqlserver.tsql.statements import parse_expression
from devcloud.sqlserver.tsql.syntax import Call

TABLES: dict[str, frozenset[str]] = {
    "SCALARS": frozenset(SCALARS),
    "TIME_FUNCTIONS": frozenset(TIME_FUNCTIONS),
    "STATE_FUNCTIONS": STATE_FUNCTIONS,
    "AGGREGATES": AGGREGATES,
    "WINDOWED": WINDOWED,
    "NOT_SPOKEN": NOT_SPOKEN,
}


@pytest.mark.parametrize(("one", "other"), list(combinations(TABLES, 2)))
def test_no_two_tables_have_the_same_function(one: str, other: str) -> None:
    assert TABLES[one] & TABLES[other] == frozenset()


def test_what_the_grammar_reads_itself_stands_in_no_table() -> None:
    names = frozenset().union(*TABLES.values())
    assert names.isdisjoint({"CAST", "TRY_CAST", "CONVERT", "TRY_CONVERT"})
    assert {name for name in NOT_SPOKEN if not isinstance(parse_expression(f"{name}(1)"), Call)} == set()
