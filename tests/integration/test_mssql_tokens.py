"""Entra tokens for SQL Server: the real azure-identity against a managed identity endpoint on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hygge_engine.errors import HomeLoginFailed
from hygge_engine.homes.mssql.connect import ACCESS_TOKEN_ATTRIBUTE, connection_string, token_attributes
from hygge_engine.homes.mssql.settings import MssqlConnection

HOUR_SECONDS = 3600


class IdentityEndpoint(ThreadingHTTPServer):
    """App Service's identity endpoint: GET ?resource=…&client_id=… with the secret header."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.queries: list[dict[str, list[str]]] = []
        self.status = 200
        self.lifetime_seconds = HOUR_SECONDS


class _Handler(BaseHTTPRequestHandler):
    server: IdentityEndpoint

    def do_GET(self) -> None:
        self.server.queries.append(parse_qs(urlsplit(self.path).query))
        number = len(self.server.queries)
        body = json.dumps(
            {
                "access_token": f"token-{number}",
                "expires_on": str(int(time.time()) + self.server.lifetime_seconds),
                "token_type": "Bearer",
            }
            if self.server.status == 200
            else {"statusCode": self.server.status, "message": "No User Assigned identity found"}
        ).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityEndpoint]:
    server = IdentityEndpoint()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.server_port}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header")
    monkeypatch.setattr("hygge_engine.homes.mssql.connect._credentials", {})
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def connection(**keys: Any) -> MssqlConnection:
    return MssqlConnection.model_validate(
        {"type": "mssql", "server": "shop.database.windows.net", "database": "shop", "auth": "managed_identity", **keys}
    )


def token_of(attributes: dict[int, bytes]) -> str:
    return attributes[ACCESS_TOKEN_ATTRIBUTE][4:].decode("utf-16-le")


def test_a_managed_identitys_token_is_for_the_database_and_taken_once_while_it_lasts(
    endpoint: IdentityEndpoint,
) -> None:
    user_assigned = connection(client_id="11111111-2222-3333-4444-555555555555")
    assert token_of(token_attributes(user_assigned)) == token_of(token_attributes(user_assigned)) == "token-1"
    assert len(endpoint.queries) == 1
    assert endpoint.queries[0]["resource"] == ["https://database.windows.net"]
    assert endpoint.queries[0]["client_id"] == ["11111111-2222-3333-4444-555555555555"]


def test_a_token_that_expires_in_mid_load_is_replaced_for_the_next_connection(endpoint: IdentityEndpoint) -> None:
    endpoint.lifetime_seconds = 1
    assert token_of(token_attributes(connection())) == "token-1"
    assert token_of(token_attributes(connection())) == "token-2"


def test_another_cloud_has_an_audience_of_its_own(endpoint: IdentityEndpoint) -> None:
    token_attributes(connection(server="shop.database.chinacloudapi.cn,1433"))
    assert endpoint.queries[0]["resource"] == ["https://database.chinacloudapi.cn"]


def test_two_identities_never_share_a_token(endpoint: IdentityEndpoint) -> None:
    first = token_of(token_attributes(connection(client_id="a")))
    assert first != token_of(token_attributes(connection(client_id="b")))


def test_a_refused_identity_is_a_failed_login(endpoint: IdentityEndpoint) -> None:
    endpoint.status = 400
    with pytest.raises(HomeLoginFailed, match="No User Assigned identity"):
        token_attributes(connection())


def test_a_given_token_needs_nobody() -> None:
    given = connection(auth="access_token", access_token="abc")
    assert token_attributes(given) == {ACCESS_TOKEN_ATTRIBUTE: b"\x06\0\0\0a\0b\0c\0"}
    assert "UID" not in connection_string(given)
