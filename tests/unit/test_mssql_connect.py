"""Reaching a server, or not."""

from __future__ import annotations

import socket

import pyodbc
import pytest

from hygge_engine.errors import HomeError, HomeUnavailable
from hygge_engine.homes.mssql import mssql_python_session, pyodbc_session
from hygge_engine.homes.mssql.connect import connection_string
from hygge_engine.homes.mssql.sessions import open_session
from hygge_engine.homes.mssql.settings import MssqlConnection


@pytest.mark.parametrize("driver", ["mssql-python", "pyodbc"])
def test_a_server_that_is_down_is_said_to_be_so_without_waiting_for_the_login_timeout(driver: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    connection = MssqlConnection.model_validate(
        {
            "server": "127.0.0.1",
            "port": port,
            "database": "shop",
            "username": "reader",
            "password": "canary-secret",
            "driver": driver,
            "login_timeout_seconds": 3600,
        }
    )
    with pytest.raises(HomeUnavailable, match=f"Cannot reach 127.0.0.1 on port {port}: Connection refused") as caught:
        open_session(connection)
    assert caught.value.transient
    assert "canary" not in str(caught.value)


def test_messages_come_in_the_language_that_they_are_told_apart_in(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def refuse(text: str, **options: object) -> None:
        said.append(text)
        raise pyodbc.Error("08001", "no")

    unmade = object.__new__(mssql_python_session._NamedConnection)
    said.append(unmade._construct_connection_string("Server=sql.example;")[0])
    monkeypatch.setattr(pyodbc, "connect", refuse)
    settings = {"server": "sql.example", "database": "shop", "username": "u", "password": "p"}
    with pytest.raises(HomeError):
        pyodbc_session.PyodbcSession(MssqlConnection.model_validate(settings))
    assert ["Language=us_english;" in text for text in said] == [True, True]


@pytest.mark.parametrize(("intent", "shown"), [("read_only", True), ("read_write", False)])
def test_a_reader_says_so_to_the_listener(intent: str, shown: bool) -> None:
    connection = MssqlConnection.model_validate(
        {"server": "sql.example", "database": "shop", "username": "u", "password": "p", "application_intent": intent}
    )
    assert ("ApplicationIntent=ReadOnly;" in connection_string(connection)) is shown


@pytest.mark.parametrize(
    ("given", "encrypt", "trust"),
    [({}, "yes", "no"), ({"encrypt": False}, "no", "no"), ({"trust_server_certificate": True}, "yes", "yes")],
)
def test_what_travels_is_encrypted_and_certificates_are_verified_unless_somebody_says_otherwise(
    given: dict[str, bool], encrypt: str, trust: str
) -> None:
    settings = {"server": "sql.example", "database": "shop", "username": "u", "password": "p", **given}
    text = connection_string(MssqlConnection.model_validate(settings))
    assert f"Encrypt={encrypt};TrustServerCertificate={trust};" in text
