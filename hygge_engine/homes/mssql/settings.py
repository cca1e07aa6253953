"""``connections.<name>`` of type mssql and ``home`` of type mssql. Imports no driver: every command reads settings."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Sequence
from typing import ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, field_validator, model_validator

from hygge_engine.homes.mssql.identifiers import parse_table_name
from hygge_engine.homes.mssql.single_select import check_query
from hygge_engine.hosts import identity_of
from hygge_engine.letter_case import confusable
from hygge_engine.project.models.locations import Location
from hygge_engine.project.models.settings import (
    ConnectionSettings,
    HomeSettings,
    Surroundings,
    register_connection,
    register_home,
)

Authentication = Literal["sql", "managed_identity", "service_principal", "default", "access_token"]

DEFAULT_PORT = 1433

# The instance that has no name: it listens on the default port, no browser knows it, and Microsoft's driver for Linux
# does not take its name.
_DEFAULT_INSTANCE = "MSSQLSERVER"

# What Windows calls the machine itself; the names mean nothing to a resolver.
_THIS_MACHINE = (".", "(local)")

_COLON_AND_PORT = re.compile(r"([^:]+|\[[^\]]*\]):(\d+)")

# How many bytes of a hash identify a query.
_DIGEST_BYTES = 4

# What a connection string may have before the host, but for ``tcp:``, which goes without saying.
_OTHER_PROTOCOL = re.compile(r"(np|lpc|via|admin):", re.IGNORECASE)

# Readers of a table beside which no other entity waits: one keeps a core busy, and larger instances have two.
_READERS_AT_LEISURE = 2

# What each way to log in cannot do without.
_LOGIN_NEEDS: dict[str, tuple[str, ...]] = {
    "sql": ("username", "password"),
    "managed_identity": (),
    "service_principal": ("client_id", "client_secret", "tenant_id"),
    "default": (),
    "access_token": ("access_token",),
}


def _checked_host(host: str) -> str:
    """A host as every driver and socket takes it. Raises ValueError with the reason where it is none."""
    if host[:4].lower() == "tcp:":
        host = host[4:].strip()
    if host.lower() == "(localdb)":
        raise ValueError("servers are reached over TCP alone, and LocalDB does not listen there")
    if host.lower() in _THIS_MACHINE:
        return "localhost"
    if ":" in host:
        found = _COLON_AND_PORT.fullmatch(host)
        address, _, port = host.rpartition(":")
        if _is_ipv6(address) and port.isdigit() and not _is_ipv6(host):
            raise ValueError(f"SQL Server's port follows a comma, not a colon: {address},{port}")
        if found and not _is_ipv6(host):
            raise ValueError(f"SQL Server's port follows a comma, not a colon: {found[1]},{found[2]}")
        if not _is_ipv6(host):
            raise ValueError(f"{host!r} is not a host: expected a name or an address, without a protocol before it")
        return host
    try:
        host.encode("idna")
    except UnicodeError:
        host = ""
    if not host or not all(map(_is_of_a_name, host)) or host.startswith("."):
        raise ValueError("expected a host name or address: sql.example.com, or sql.example.com,1433")
    return host


def _is_of_a_name(character: str) -> bool:
    """Whether a character may be part of a name: a letter or a digit of any script, or what joins them. Those that
    nobody sees, as an invisible space that was copied along, are none."""
    return character.isalnum() or character in "-._$#" or unicodedata.category(character).startswith("M")


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


@register_connection
class MssqlConnection(ConnectionSettings):
    """How to reach a database of SQL Server, Azure SQL or Fabric SQL.

    ``server`` is a host, ``host,port``, ``host\\instance`` or ``host\\instance,port``, of which the port counts. The
    traffic is encrypted and the certificate verified
    unless the settings say otherwise.
    ``query_timeout_seconds`` bounds the wait for the server's next response, 0 for no bound; the default is the
    five minutes after which a Functions app on a consumption plan is stopped anyway. ``login_timeout_seconds`` leaves
    a paused serverless database the time to wake up.
    """

    kind: ClassVar[str] = "mssql"
    place_keys: ClassVar[tuple[str, ...]] = ("server", "client_id", "tenant_id")
    name_keys: ClassVar[tuple[str, ...]] = ("database", "username")
    type: Literal["mssql"] = "mssql"
    server: str = Field(min_length=1)
    port: int | None = Field(default=None, ge=1, le=65535)
    database: str = Field(min_length=1)
    auth: Authentication = "sql"
    username: str | None = None
    password: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    tenant_id: str | None = None
    access_token: SecretStr | None = None
    encrypt: bool = True
    trust_server_certificate: bool = False
    application_intent: Literal["read_write", "read_only"] = "read_write"
    driver: Literal["mssql-python", "pyodbc"] = "mssql-python"
    pool_size: int = Field(default=4, ge=1)
    query_timeout_seconds: int = Field(default=300, ge=0)
    login_timeout_seconds: int = Field(default=60, ge=1)

    @property
    def address(self) -> str:
        """The server as the driver wants it: ``host,port``, ``host\\instance`` or both."""
        if "," in self.server or ("\\" in self.server and self.port is None):
            return self.server
        return f"{self.server},{self.port or DEFAULT_PORT}"

    @property
    def host(self) -> str:
        """The server's host alone, as sockets want it."""
        return self.server.partition(",")[0].partition("\\")[0].strip("[]")

    @field_validator("username", "password", "client_id", "client_secret", "tenant_id", "access_token", mode="before")
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        # A variable with an empty default, as in ${SQL_PASSWORD:-}, means that there is no password.
        return None if value == "" else value

    @field_validator("server")
    @classmethod
    def _server_is_an_address(cls, value: str) -> str:
        if protocol := _OTHER_PROTOCOL.match(value):
            raise ValueError(f"servers are reached over TCP alone: no `{protocol[0]}` before the host")
        if "/" in value:
            raise ValueError("expected a host name or address, not a URL: sql.example.com, or sql.example.com,1433")
        if any(character in value for character in ";{}\0"):
            raise ValueError(
                "expected a host, without ; { or }; other parts of a connection string are keys of their own"
            )
        if any(character in value for character in "\"'`"):
            raise ValueError("expected a host without quotes, also where a variable holds it")
        place, comma, port = (part.strip() for part in value.partition(","))
        if comma and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise ValueError("expected a host, or host,port with a port between 1 and 65535")
        host, backslash, instance = (part.strip() for part in place.partition("\\"))
        if backslash and (not instance or "\\" in instance):
            raise ValueError("expected the name of an instance after the backslash: sql.example.com\\name")
        if found := _COLON_AND_PORT.fullmatch(instance):
            raise ValueError(f"SQL Server's port follows a comma, not a colon: {host}\\{found[1]},{found[2]}")
        if not all(map(_is_of_a_name, instance)):
            raise ValueError(f"{instance!r} is not an instance name: expected letters, digits, _ or $")
        if instance.upper() == _DEFAULT_INSTANCE:
            backslash = instance = ""
        return _checked_host(host) + backslash + instance + comma + port

    @model_validator(mode="after")
    def _port_is_given_once(self) -> Self:
        if self.port is not None and "," in self.server:
            raise ValueError(f"port {self.port} and server {self.server!r} both say where the server listens; keep one")
        return self

    @model_validator(mode="after")
    def _login_is_complete(self) -> Self:
        missing = [key for key in _LOGIN_NEEDS[self.auth] if getattr(self, key) is None]
        if missing:
            raise ValueError(f"auth: {self.auth} needs {' and '.join(missing)}")
        return self


def table_location(connection: MssqlConnection, schema: str, table: str) -> Location:
    """A table of a server, whatever connection it is reached by."""
    root = identity_of(f"{connection.address}/{connection.database}")
    return Location(confusable(root), (schema, table), 2)


@register_home
class MssqlHomeSettings(HomeSettings):
    """A table or view (``schema.table``), or the result of a ``query``.

    ``key`` names the columns that identify a row where the catalogue cannot know them, as for views and queries; they
    must be unique and never NULL. ``batch_rows`` and ``batch_mb`` (MiB of Arrow data) bound one batch, whichever is
    reached first. ``keep_offset`` adds ``<name>__offset``, in minutes, for each datetimeoffset column.

    ``as_text`` names columns of type datetime2 or datetimeoffset that land as text, in ISO 8601 with all their digits
    (a datetimeoffset in UTC): a key must not lose the seventh.

    ``readers`` read ranges of a large table's key side by side, each over a connection of its own and with its share of
    ``batch_mb``; only for whole tables with a key. Where the number is not given it is one, and two where no other
    entity waits for the connection. ``range_rows`` divides a table with a key into ranges of about so many rows, which
    are loaded side by side, on several instances where there are; 0 does not. ``consistency: snapshot`` reads all rows
    of a slice from one snapshot. ``max_rows_per_second`` holds the reading back, for the source's sake. ``throttle:
    auto`` slows the reading down for a while where the source says that it is short of resources.
    """

    kind: ClassVar[str] = "mssql"
    opener: ClassVar[str] = "hygge_engine.homes.mssql.opening"
    source_keys: ClassVar[tuple[str, ...]] = ("table", "query")
    type: Literal["mssql"] = "mssql"
    connection: str
    table: str | None = None
    query: str | None = None
    key: tuple[str, ...] = ()
    batch_rows: int = Field(default=50_000, ge=1)
    batch_mb: int = Field(default=16, ge=1)
    keep_offset: bool = False
    as_text: tuple[str, ...] = ()
    readers: int | None = Field(default=None, ge=1, le=16)
    range_rows: int = Field(default=0, ge=0)
    _on_trial: bool = PrivateAttr(default=False)
    consistency: Literal["read_committed", "snapshot"] = "read_committed"
    max_rows_per_second: int | None = Field(default=None, ge=1)
    throttle: Literal["never", "auto"] = "never"

    def origin(self, surroundings: Surroundings) -> str:
        """A query is identified by a hash: it is long, and may contain confidential values."""
        connection = surroundings.connections[self.connection]
        where = self.connection
        if isinstance(connection, MssqlConnection):
            where = f"{connection.address}/{connection.database}"
        if self.table is not None:
            return f"{where}, {'.'.join(parse_table_name(self.table))}"
        digest = hashlib.blake2b((self.query or "").encode(), digest_size=_DIGEST_BYTES).hexdigest()
        return f"{where}, a query ({digest})"

    def reads(self, surroundings: Surroundings, entity: str) -> Sequence[Location]:
        """A query may read anything; what it does is not known here."""
        connection = surroundings.connections.get(self.connection)
        if self.table is None or not isinstance(connection, MssqlConnection):
            return ()
        return (table_location(connection, *parse_table_name(self.table)),)

    @field_validator("table")
    @classmethod
    def _table_is_a_name(cls, value: str | None) -> str | None:
        if value is not None:
            parse_table_name(value)
        return value

    @field_validator("query")
    @classmethod
    def _query_is_one_select(cls, value: str | None) -> str | None:
        return value if value is None else check_query(value)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise ValueError("expected exactly one of table and query")
        return self

    @model_validator(mode="after")
    def _one_snapshot(self) -> Self:
        if self.consistency == "snapshot" and (self.readers or 1) > 1:
            raise ValueError("consistency: snapshot needs readers: 1, because a snapshot is one connection's own")
        if self.consistency == "snapshot" and self.range_rows:
            raise ValueError("consistency: snapshot needs range_rows: 0, because a snapshot is one connection's own")
        if self.consistency == "snapshot" and self.throttle == "auto":
            raise ValueError("consistency: snapshot needs throttle: never, because a snapshot ends with its connection")
        return self

    @model_validator(mode="after")
    def _one_reader_of_a_range(self) -> Self:
        if self.range_rows and (self.readers or 1) > 1:
            raise ValueError("range_rows needs readers: 1, because each range is read over one connection")
        return self

    @model_validator(mode="after")
    def _one_pace(self) -> Self:
        if self.max_rows_per_second is not None and self.range_rows:
            raise ValueError(
                "max_rows_per_second needs range_rows: 0, because ranges that are read elsewhere do not know of each "
                "other's pace"
            )
        return self

    def tracks_changes(self) -> bool:
        return self.table is not None

    def cannot_list_keys(self, surroundings: Surroundings) -> str:
        connection = surroundings.connections.get(self.connection)
        if isinstance(connection, MssqlConnection) and connection.application_intent != "read_write":
            return "a readable secondary may lack rows that have landed from another one"
        return ""

    @property
    def readers_on_trial(self) -> bool:
        """Whether the number of readers was not set: all but one are given back where they do not help."""
        return self._on_trial

    def divides(self) -> bool:
        return self.range_rows > 0

    def connections_at_once(self) -> int:
        return self.readers or 1

    def connections_at_most(self) -> int:
        alone = self.query is not None or self.consistency == "snapshot" or self.max_rows_per_second is not None
        return self.readers or (1 if alone else _READERS_AT_LEISURE)

    def with_connections(self, count: int) -> Self:
        if self.readers:
            return self
        given = self.model_copy(update={"readers": count})
        given._on_trial = True
        return given
