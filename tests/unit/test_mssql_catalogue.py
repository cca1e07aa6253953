"""What is made of a catalogue with graphs, masks and encryption, or with little: a server of canned responses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import pytest

from hygge_engine.errors import HomeError, UnsupportedType
from hygge_engine.homes.mssql.catalogue import SourceObject, describe_query, describe_table
from hygge_engine.homes.mssql.checks import check_source
from hygge_engine.homes.mssql.session import Session
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from hygge_engine.homes.mssql.types import arrow_type, keeps_apart, loss

KEY = (1, False, False, "id")


class Server:
    """Responds to catalogue queries, as far as its columns of sys.columns reach."""

    def __init__(
        self,
        columns: Sequence[tuple[Any, ...]],
        knows: str = "collation_name is_masked encryption_type graph_type",
        unmask: tuple[int | None, int | None] = (0, 0),
        result: Sequence[str] = (),
    ) -> None:
        self._columns = columns
        self._knows = knows.split()
        self._unmask = unmask
        self._result = result

    def fetch_all(
        self, sql: str, parameters: Sequence[Any] = (), *, doing: str, **limits: Any
    ) -> list[tuple[Any, ...]]:
        if "FROM sys.objects" in sql:
            return [(1, "U")]
        if "FROM sys.columns" in sql:
            for fact in re.findall(r"c\.(collation_name|is_masked|encryption_type|graph_type)", sql):
                if fact not in self._knows:
                    raise HomeError(f"Invalid column name '{fact}'.")
            kept = [bool(f"c.{fact}" in sql) for fact in ("is_masked", "encryption_type", "graph_type")]
            return [
                (
                    name,
                    kind,
                    kind,
                    8,
                    10,
                    0,
                    False,
                    None,
                    *(value if known else None for known, value in zip(kept, facts, strict=True)),
                )
                for name, kind, *facts in self._columns
            ]
        if "FROM sys.indexes" in sql:
            return [(0, False, False, "graph_id_1"), KEY]
        if "UNMASK" in sql:
            return [self._unmask]
        if "CHANGE_TRACKING" in sql:
            return [(None, None)]
        if sql.startswith("EXEC sp_describe_first_result_set"):
            return [(False, n, name, True, 56, "int", 4, 10, 0, *[None] * 5) for n, name in enumerate(self._result, 1)]
        return []

    def stream(self, sql: str, parameters: Sequence[Any] = (), *, doing: str) -> Server:
        return self

    def close(self) -> None:
        return


def described(*columns: tuple[Any, ...], **keys: Any) -> SourceObject:
    return describe_table(cast("Session", Server(columns, **keys)), "dbo", "t")


PLAIN = ("id", "int", False, None, None)
NODE = (
    ("graph_id_1", "bigint", False, None, 1),
    ("$node_id_1", "nvarchar", False, None, 2),
    ("from_obj_id_1", "int", False, None, 4),
    ("from_id_1", "bigint", False, None, 3),
    ("$from_id_1", "nvarchar", False, None, 5),
    ("to_obj_id_1", "int", False, None, 7),
    ("to_id_1", "bigint", False, None, 6),
    ("$to_id_1", "nvarchar", False, None, 8),
    PLAIN,
)


def test_columns_of_a_graph_that_no_statement_may_name_are_left_out() -> None:
    source = described(*NODE)
    assert [column.name for column in source.columns] == ["$node_id_1", "$from_id_1", "$to_id_1", "id"]
    assert source.key == ("id",)


@pytest.mark.parametrize("knows", ["collation_name is_masked encryption_type", "collation_name", ""])
def test_an_older_server_is_asked_for_what_it_knows(knows: str) -> None:
    assert described(PLAIN, knows=knows).key == ("id",)


@pytest.mark.parametrize(
    ("unmask", "masked"), [((0, 0), True), ((None, None), True), ((1, 0), False), ((None, 1), False)]
)
def test_masks_are_told_unless_the_login_may_look_behind_them(
    unmask: tuple[int | None, int | None], masked: bool
) -> None:
    column = described(PLAIN, ("mail", "nvarchar", True, None, None), unmask=unmask).columns[1]
    assert column.masked is masked
    assert ("UNMASK" in loss(column)) is masked
    assert keeps_apart(column) is not masked  # masks make several keys one
    session = cast("Session", Server([PLAIN, ("mail", "nvarchar", True, None, None)], unmask=unmask))
    checks = {check.name: check for check in check_source(session, MssqlHomeSettings(connection="", table="dbo.t"))}
    assert ("masks" in checks) is masked
    assert not masked or ("mail" in checks["masks"].found and checks["masks"].result == "warning")


def test_what_is_always_encrypted_is_refused_by_name() -> None:
    columns = [PLAIN, ("ssn", "nvarchar", False, 2, None)]
    with pytest.raises(UnsupportedType, match="'ssn' is kept by Always Encrypted"):
        arrow_type(described(*columns).columns[1])
    session = cast("Session", Server(columns))
    checks = {check.name: check for check in check_source(session, MssqlHomeSettings(connection="", table="dbo.t"))}
    assert (checks["table"].result, checks["table"].code) == ("failed", "home.unsupported_type")


def test_a_query_that_names_a_column_twice_says_so() -> None:
    with pytest.raises(HomeError, match="several columns of the name 'a'") as caught:
        describe_query(cast("Session", Server([], result=["a", "b", "a"])), "SELECT a, b, a FROM t")
    assert "AS" in caught.value.hint
