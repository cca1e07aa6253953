"""How to log in: the connection string that both drivers share, and Entra tokens."""

from __future__ import annotations

import re
import socket
import struct
import threading
from contextlib import suppress
from typing import Final, Protocol

from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError

from hygge_engine.errors import HomeLoginFailed, HomeUnavailable
from hygge_engine.homes.mssql.errors import mask
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.homes.mssql.silence import waiting_elsewhere
from hygge_engine.masking import remember_secret

APPLICATION_NAME: Final = "hygge-engine"

# In which messages come that mssql-python leaves without their numbers, whatever the login's own language is. Dates in
# the project's queries are then read in its order, too: month, day, year.
LANGUAGE: Final = "Language=us_english;"

# SQL_COPT_SS_ACCESS_TOKEN of msodbcsql.h: the connection attribute that carries an Entra token.
ACCESS_TOKEN_ATTRIBUTE: Final = 1256

# Entra issues a token for an audience, which each of Microsoft's clouds names after its own domain.
_AUDIENCES: Final = {
    ".database.usgovcloudapi.net": "https://database.usgovcloudapi.net/.default",
    ".database.chinacloudapi.cn": "https://database.chinacloudapi.cn/.default",
}
_AUDIENCE: Final = "https://database.windows.net/.default"

# Names that only the driver knows: this machine's, as ``.`` and ``(local)``, and those after a protocol, as ``np:``.
_OWN_NAME: Final = re.compile(r"\.$|\(|[a-z]+:", re.IGNORECASE)


# PRELOGIN of [MS-TDS] 2.2.6.5: header, VERSION (six bytes at 11), ENCRYPTION (one at 17: as the server likes), the end.
_PRELOGIN: Final = bytes.fromhex("1201001a0000010000000b00060100110001ff12000000000000")


class _Credential(Protocol):
    def get_token(self, *scopes: str) -> AccessToken: ...


# A credential keeps its token and renews it minutes before it expires, so one credential serves all connections.
_credentials: dict[tuple[str | None, ...], _Credential] = {}
_credentials_lock = threading.Lock()


def connection_string(connection: MssqlConnection) -> str:
    """Everything that both drivers read from a connection string; holds the password of a SQL login."""
    parts = {
        "Server": connection.address,
        "Database": _escape(connection.database),
        "Encrypt": "yes" if connection.encrypt else "no",
        "TrustServerCertificate": "yes" if connection.trust_server_certificate else "no",
    }
    if connection.application_intent == "read_only":
        parts["ApplicationIntent"] = "ReadOnly"
    if connection.auth == "sql" and connection.username is not None and connection.password is not None:
        parts["UID"] = _escape(connection.username)
        parts["PWD"] = _escape(connection.password.get_secret_value())
    return "".join(f"{name}={value};" for name, value in parts.items())


def token_attributes(connection: MssqlConnection) -> dict[int, bytes]:
    """The attributes to set before connecting: a fresh Entra token, or nothing for a SQL login.

    Raises HomeLoginFailed where Entra refuses the credential, HomeUnavailable where it does not respond.
    """
    token = access_token(connection)
    if token is None:
        return {}
    encoded = token.encode("utf-16-le")
    return {ACCESS_TOKEN_ATTRIBUTE: struct.pack("<I", len(encoded)) + encoded}


def access_token(connection: MssqlConnection) -> str | None:
    """A fresh Entra token; None for a SQL login. Raises as `token_attributes`."""
    if connection.auth == "sql":
        return None
    if connection.access_token is not None and connection.auth == "access_token":
        return connection.access_token.get_secret_value()
    return _entra_token(connection)


def check_reachable(connection: MssqlConnection) -> None:
    """Raise HomeUnavailable where nothing listens at the server's address, or its name has none.

    The driver would find out too, but it tries a refused connection again and again until the login timeout is over. A
    named instance's port is left to the driver, which has to ask for it first.
    """
    _, comma, port = connection.address.partition(",")
    host = connection.host
    if not comma:
        _check_name(host)
        return
    try:
        socket.create_connection((host, int(port)), connection.login_timeout_seconds).close()
    except (OSError, UnicodeError) as error:  # a name that no resolver accepts
        reason = getattr(error, "strerror", None) or "no answer"
        raise HomeUnavailable(
            f"Cannot reach {host} on port {port.strip()}: {reason}.",
            hint="Check the server's name and port, whether it runs, and the firewalls in between.",
        ) from error


def check_says_something(connection: MssqlConnection) -> None:
    """Raise HomeUnavailable where the server's port is open, but sends nothing within the login timeout.

    It is sent the packet that begins every login. Its response, or a hang-up, is left to the driver.
    """
    host, port = connection.host, int(connection.address.partition(",")[2])
    with suppress(ConnectionError), socket.create_connection((host, port), connection.login_timeout_seconds) as server:
        server.sendall(_PRELOGIN)
        try:
            server.recv(1)
        except TimeoutError as error:
            raise HomeUnavailable(
                f"{host} accepts connections on port {port}, but says nothing within "
                f"{connection.login_timeout_seconds} s.",
                hint="Check that a SQL Server listens there, and what lies between here and it.",
            ) from error


def _check_name(host: str) -> None:
    if _OWN_NAME.match(host):
        return
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no name that could have one"
        raise HomeUnavailable(
            f"Cannot find the address of {host}: {reason}.", hint="Check the server's name, and this machine's DNS."
        ) from error


def secrets_of(connection: MssqlConnection) -> tuple[str, ...]:
    """What must not appear in any message."""
    held = (connection.password, connection.client_secret, connection.access_token)
    return tuple(secret.get_secret_value() for secret in held if secret is not None)


def _entra_token(connection: MssqlConnection) -> str:
    host = connection.host.lower()
    scope = next((audience for suffix, audience in _AUDIENCES.items() if host.endswith(suffix)), _AUDIENCE)
    try:
        with waiting_elsewhere():
            token = _credential(connection).get_token(scope).token
    except ClientAuthenticationError as error:
        reason = mask(error.message, secrets_of(connection))
        raise HomeLoginFailed(
            f"Entra issued no token for {connection.server} ({connection.auth}): {reason}",
            hint="Check the identity, and that it is a user of the database.",
        ) from error
    except (ServiceRequestError, ServiceResponseError) as error:
        reason = mask(error.message, secrets_of(connection))
        raise HomeUnavailable(f"Entra did not respond to the request for a token: {reason}") from error
    remember_secret(token)
    return token


def _credential(connection: MssqlConnection) -> _Credential:
    secret = connection.client_secret.get_secret_value() if connection.client_secret is not None else None
    identity = (connection.auth, connection.tenant_id, connection.client_id, secret)
    with _credentials_lock:
        if identity not in _credentials:
            _credentials[identity] = _new_credential(connection, secret)
        return _credentials[identity]


def _new_credential(connection: MssqlConnection, secret: str | None) -> _Credential:
    # Imported here: with its cryptography it costs a third of a second, which a SQL login need not pay.
    from azure.identity import ClientSecretCredential, DefaultAzureCredential, ManagedIdentityCredential

    if connection.auth == "managed_identity":
        return ManagedIdentityCredential(client_id=connection.client_id)
    if connection.auth == "service_principal" and connection.tenant_id and connection.client_id and secret:
        return ClientSecretCredential(connection.tenant_id, connection.client_id, secret)
    return DefaultAzureCredential(managed_identity_client_id=connection.client_id)


def _escape(value: str) -> str:
    """A value in braces, as the ODBC specification has it, with ``}`` doubled."""
    return "{" + value.replace("}", "}}") + "}"
