"""Connections and homes of SQL Server as a project writes them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hygge_engine.homes.mssql.identifiers import parse_table_name, qualify, quote
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings


def connection(**keys: Any) -> MssqlConnection:
    return MssqlConnection.model_validate(
        {"type": "mssql", "server": "sql.example", "database": "shop", "username": "reader", "password": "pw", **keys}
    )


@pytest.mark.parametrize(
    ("keys", "address"),
    [
        ({}, "sql.example,1433"),
        ({"port": 1533}, "sql.example,1533"),
        ({"server": "sql.example,1533"}, "sql.example,1533"),
        ({"server": " sql.example , 1533"}, "sql.example,1533"),
        ({"server": "sql.example\\shop"}, "sql.example\\shop"),
        ({"server": "sql.example\\shop,1533"}, "sql.example\\shop,1533"),
        ({"server": "sql.example\\shop", "port": 1533}, "sql.example\\shop,1533"),
        ({"server": "tcp:sql.example,1533"}, "sql.example,1533"),
        ({"server": ".,1533"}, "localhost,1533"),
        ({"server": "TCP:."}, "localhost,1433"),
        ({"server": "tcp:[::1],1533"}, "[::1],1533"),
        ({"server": "(local)\\shop"}, "localhost\\shop"),
        ({"server": "::1,1533"}, "::1,1533"),
        ({"server": "10.0.0.7"}, "10.0.0.7,1433"),
        ({"server": "localhost\\MSSQLSERVER"}, "localhost,1433"),
        ({"server": ".\\mssqlserver,1533"}, "localhost,1533"),
        ({"server": "tcp:sql.example\\ MSSQLServer", "port": 1533}, "sql.example,1533"),
        ({"server": "müller.example."}, "müller.example.,1433"),
    ],
)
def test_the_address_is_a_host_with_its_port_or_an_instance(keys: dict[str, Any], address: str) -> None:
    assert connection(**keys).address == address


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"server": "sql.example,1533", "port": 1433}, "keep one"),
        ({"server": "sql.example,many"}, "port between"),
        ({"server": "sql;UID=sa"}, "without ;"),
        ({"server": "sql.example:1433"}, "port follows a comma, .*: sql.example,1433"),
        ({"server": "sql.example:1433,1433"}, "port follows a comma"),
        ({"server": "[::1]:1433"}, r"port follows a comma, .*: \[::1\],1433"),
        ({"server": "::1:21433"}, "port follows a comma, .*: ::1,21433"),
        *(
            ({"server": server}, "expected a host name")
            for server in (
                "\u200b127.0.0.1,1433",
                "sql\u00ad.example",
                "\ufeffsql",
                "sq\x01l",
                "sql@example",
                "sql?",
                "*.x",
            )
        ),
        ({"server": "sql.example\\IN\u200bST"}, "not an instance name"),
        ({"server": "np:sql.example"}, "over TCP alone: no `np:`"),
        ({"server": "np:\\\\.\\pipe\\sql\\query"}, "over TCP alone"),
        ({"server": "lpc:."}, "over TCP alone"),
        ({"server": "(localdb)\\MSSQLLocalDB"}, "over TCP alone"),
        ({"server": "tcp:tcp:sql.example"}, "is not a host"),
        ({"server": "a..b,1433"}, "expected a host name"),
        ({"server": "..,1433"}, "expected a host name"),
        ({"server": f"{'a' * 64}.example"}, "expected a host name"),
        ({"server": "sql example"}, "expected a host name"),
        ({"server": ",1433"}, "expected a host name"),
        ({"server": "\\shop"}, "expected a host name"),
        ({"server": "sql.example\\,1433"}, "name of an instance"),
        ({"server": "sql.example\\INST:1433"}, "not a colon: sql.example"),
        ({"server": "sql.example\\IN:ST"}, "not an instance name"),
        ({"server": "sql.example,\uff11\uff14"}, "port between"),
        ({"application_intent": "readonly"}, "read_only"),
        ({"password": None}, "needs password"),
        ({"username": "", "password": ""}, "needs username and password"),
        ({"auth": "service_principal", "client_id": "app"}, "needs client_secret and tenant_id"),
        ({"auth": "access_token"}, "needs access_token"),
        ({"driver": "jdbc"}, "mssql-python"),
        ({"pool_size": 0}, "greater than or equal to 1"),
        ({"sever": "sql"}, "Extra inputs"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        connection(**keys)


def test_an_identity_needs_no_password() -> None:
    assert connection(auth="managed_identity", username=None, password="").password is None


def test_the_password_is_not_shown() -> None:
    assert "hunter2" not in repr(connection(password="hunter2"))


def test_traffic_is_encrypted_and_the_certificate_verified_by_default() -> None:
    assert connection().encrypt
    assert not connection().trust_server_certificate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dbo.flights", ("dbo", "flights")),
        ("flights", ("dbo", "flights")),
        ("[sales data].[order.lines]", ("sales data", "order.lines")),
        ('"a""b".[c]]d]', ('a"b', "c]d")),
        ("dbo.{entity}", ("dbo", "{entity}")),
    ],
)
def test_a_table_is_named_as_in_t_sql(text: str, expected: tuple[str, str]) -> None:
    assert parse_table_name(text) == expected


@pytest.mark.parametrize("text", ["", "dbo.", ".t", "a.b.c", "[dbo.t", "[dbo]t"])
def test_what_is_no_table_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|empty"):
        parse_table_name(text)


def test_a_name_cannot_leave_its_brackets() -> None:
    assert quote("a]; DROP TABLE b--") == "[a]]; DROP TABLE b--]"
    assert qualify("s]", "t") == "[s]]].[t]"


@pytest.mark.parametrize("keys", [{}, {"table": "dbo.t", "query": "SELECT 1 AS a"}])
def test_a_home_reads_either_a_table_or_a_query(keys: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="exactly one of table and query"):
        MssqlHomeSettings.model_validate({"type": "mssql", "connection": "shop", **keys})
