"""What a driver's error means, the same through both drivers."""

from __future__ import annotations

import pytest

from hygge_engine.errors import (
    HomeError,
    HomeLoginFailed,
    HomeNotFound,
    HomePermissionDenied,
    HomeUnavailable,
)
from hygge_engine.homes.mssql.errors import diagnose_messages, diagnose_mssql_python, diagnose_pyodbc, translate

SERVER = "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]"

# SQLSTATE, its name in mssql-python, the server's message and number, and what becomes of it.
CASES = [
    ("28000", "Invalid authorization specification", "Login failed for user 'sa'.", 18456, HomeLoginFailed),
    ("42S02", "Base table or view not found", "Invalid object name 'dbo.t'.", 208, HomeNotFound),
    ("42S22", "Column not found", "Invalid column name 'c'.", 207, HomeNotFound),
    (
        "42000",
        "Syntax error or access violation",
        'Cannot open database "x" requested by the login.',
        4060,
        HomeNotFound,
    ),
    (
        "42000",
        "Syntax error or access violation",
        "The SELECT permission was denied on the object 't', database 'd', schema 'dbo'.",
        229,
        HomePermissionDenied,
    ),
    (
        "40001",
        "Serialization failure",
        "Transaction (Process ID 51) was deadlocked on lock resources with another process and has been chosen as "
        "the deadlock victim. Rerun the transaction.",
        1205,
        HomeUnavailable,
    ),
    (
        "HY000",
        "General error",
        "Database 'd' on server 's' is not currently available.  Please retry the connection later.",
        40613,
        HomeUnavailable,
    ),
]


@pytest.mark.parametrize(("state", "name", "text", "number", "expected"), CASES)
def test_both_drivers_errors_mean_the_same(
    state: str, name: str, text: str, number: int, expected: type[HomeError]
) -> None:
    native = translate(diagnose_mssql_python(name, f"[Microsoft][SQL Server]{text}"), "Reading")
    odbc = translate(diagnose_pyodbc((state, f"[{state}] {SERVER}{text} ({number}) (SQLExecDirectW)")), "Reading")
    assert type(native) is type(odbc) is expected
    assert native.message == odbc.message == f"Reading: {text} (SQL Server error {number})"


def test_throttling_says_when_to_come_back() -> None:
    text = "The service is currently busy. Retry the request after 10 seconds. Incident ID: 1. Code: 2."
    error = translate(diagnose_mssql_python("General error", f"[Microsoft][SQL Server]{text}"), "Reading")
    assert isinstance(error, HomeUnavailable)
    assert error.retry_after_seconds == 10


def test_a_lost_connection_is_transient_without_a_number() -> None:
    text = "[08S01] [Microsoft][ODBC Driver 18 for SQL Server]TCP Provider: Error code 0x2746 (10054) (SQLFetch)"
    assert isinstance(translate(diagnose_pyodbc(("08S01", text)), "Reading"), HomeUnavailable)


def test_a_certificate_is_not_retried() -> None:
    text = "[Microsoft]SSL Provider: [error:0A000086:SSL routines::certificate verify failed:self-signed certificate]"
    error = translate(diagnose_mssql_python("Client unable to establish connection", text), "Connecting")
    assert type(error) is HomeError
    assert "trust_server_certificate" in error.hint


def test_a_secret_is_never_repeated() -> None:
    error = translate(
        diagnose_mssql_python("General error", "cannot use hunter2 there"), "Connecting", secrets=["hunter2"]
    )
    assert "hunter2" not in str(error)


def test_what_nobody_knows_is_permanent_and_keeps_its_number() -> None:
    error = translate(
        diagnose_pyodbc(("42000", f"[42000] {SERVER}Incorrect syntax near 'x'. (102) (SQLExecDirectW)")), "R"
    )
    assert type(error) is HomeError
    assert not error.transient
    assert error.message == "R: Incorrect syntax near 'x'. (SQL Server error 102)"


def test_warnings_among_a_cursors_messages_are_no_errors_but_a_cut_value_is() -> None:
    warning = ("[01000] (0)", "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]Changed language setting.")
    assert diagnose_messages([warning]) is None
    cut = ("[01004] (0)", "[Microsoft][ODBC Driver 18 for SQL Server]String data, right truncation")
    found = diagnose_messages([warning, cut])
    assert found is not None
    assert found.text == "String data, right truncation"


def test_a_lost_connection_among_a_cursors_messages_is_transient() -> None:
    lost = ("[08S01] (10054)", "[Microsoft][ODBC Driver 18 for SQL Server]TCP Provider: Error code 0x2746")
    found = diagnose_messages([lost])
    assert found is not None
    assert isinstance(translate(found, "Reading"), HomeUnavailable)


def test_a_short_secret_garbles_no_message_and_is_never_shown() -> None:
    text = "Login failed for user 'sa'. The password a is wrong (pwd=a;); '1a' too"
    error = translate(diagnose_mssql_python("General error", text), "Connecting", secrets=["a", ""])
    assert "Login failed for user 'sa'. The password *** is wrong (pwd=***;); '1a' too" in error.message
