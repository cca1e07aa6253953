"""What a driver's error means, in one table: transient or permanent, and what to do about it.

Sources: [1] Microsoft Learn, "Transient errors in Azure SQL Database"; [2] Microsoft Learn, "Database engine events
and errors"; [3] Microsoft Learn, "ODBC error codes" (SQLSTATE); [4] Microsoft Learn, "Resource governance errors in
Azure SQL Database".

pyodbc reports the server's error number. mssql-python keeps only the SQLSTATE's name and the message, so there the
number is found again by the text of the message in sys.messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hygge_engine.errors import (
    HomeError,
    HomeLoginFailed,
    HomeNotFound,
    HomePermissionDenied,
    HomeUnavailable,
    HyggeError,
)


@dataclass(frozen=True)
class Diagnosis:
    """What a driver said: ``number`` is SQL Server's own, 0 where it is not known."""

    sqlstate: str
    number: int
    text: str


@dataclass(frozen=True)
class Meaning:
    """What an error means for a load. ``pattern`` finds it in a message that came without its number."""

    error: type[HomeError]
    hint: str
    source: int
    pattern: str = ""


_RETRY = "This passes by itself; the load tries again."
_NETWORK = "Check that the server is up and reachable from here, and that its firewall lets this address in."
_PLAIN = "Set encrypt: false on the connection if the server knows no encryption."
_GRANT = "Grant SELECT on it to the login."
# A server that cannot open the database says so too, but mssql-python reports only the failed login that follows.
_CREDENTIAL = "Check auth, username and password of the connection, and that its database exists."
_LIMIT = "Lower pool_size or concurrency."
_SNAPSHOT = "ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION ON, or set consistency: read_committed."
_CREDENTIAL_STATE = "The login exists but cannot be used as it is; ask the server's administrator."

NUMBERS: Final[dict[int, Meaning]] = {
    20: Meaning(HomeUnavailable, _PLAIN, 1, r"Encryption not supported on SQL Server|does not support encryption"),
    64: Meaning(HomeUnavailable, _RETRY, 1, r"The specified network name is no longer available"),
    233: Meaning(HomeUnavailable, _RETRY, 1, r"No process is on the other end of the pipe"),
    601: Meaning(HomeUnavailable, _RETRY, 2, r"Could not continue scan with NOLOCK due to data movement"),
    615: Meaning(HomeUnavailable, _RETRY, 2, r"Could not find database ID \d+"),
    701: Meaning(HomeUnavailable, _RETRY, 2, r"There is insufficient system memory"),
    1204: Meaning(HomeUnavailable, _RETRY, 2, r"cannot obtain a LOCK resource"),
    1205: Meaning(HomeUnavailable, _RETRY, 2, r"deadlocked on .* resources"),
    1222: Meaning(HomeUnavailable, "Somebody holds a lock on it.", 2, r"Lock request time out"),
    3952: Meaning(HomeError, _SNAPSHOT, 2, r"snapshot isolation is not allowed"),
    3961: Meaning(HomeUnavailable, _RETRY, 2, r"modified by a DDL statement in another concurrent transaction"),
    4221: Meaning(HomeUnavailable, _RETRY, 1, r"Login to read-secondary failed"),
    8645: Meaning(HomeUnavailable, _RETRY, 2, r"A timeout occurred while waiting for memory resources"),
    8651: Meaning(HomeUnavailable, _RETRY, 2, r"Could not perform the operation because the requested memory grant"),
    10053: Meaning(HomeUnavailable, _RETRY, 1, r"transport-level error"),
    10054: Meaning(HomeUnavailable, _RETRY, 1, r"forcibly closed by the remote host"),
    10060: Meaning(HomeUnavailable, _NETWORK, 1, r"A network-related or instance-specific error"),
    10928: Meaning(HomeUnavailable, _LIMIT, 4, r"limit for the database is \d+ and has been reached"),
    10929: Meaning(HomeUnavailable, _LIMIT, 4, r"too busy to support requests greater than"),
    10936: Meaning(HomeUnavailable, _LIMIT, 4, r"limit for the elastic pool is \d+ and has been"),
    11001: Meaning(HomeUnavailable, _NETWORK, 1, r"No such host is known"),
    40143: Meaning(HomeUnavailable, _RETRY, 1),
    40197: Meaning(HomeUnavailable, _RETRY, 1, r"The service has encountered an error processing your request"),
    40501: Meaning(HomeUnavailable, _RETRY, 1, r"The service is currently busy"),
    40540: Meaning(HomeUnavailable, _RETRY, 1),
    40613: Meaning(HomeUnavailable, _RETRY, 1, r"is not currently available"),
    42108: Meaning(HomeUnavailable, "The pool is paused or resuming.", 1, r"SQL pool since it is paused"),
    42109: Meaning(HomeUnavailable, "The pool is warming up.", 1, r"The SQL pool is warming up"),
    49918: Meaning(HomeUnavailable, _RETRY, 1, r"Not enough resources to process request"),
    49919: Meaning(HomeUnavailable, _RETRY, 1, r"Too many create or update operations in progress"),
    49920: Meaning(HomeUnavailable, _RETRY, 1, r"Cannot process request\. Too many operations in progress"),
    18452: Meaning(HomeLoginFailed, _CREDENTIAL, 2, r"The login is from an untrusted domain"),
    18456: Meaning(HomeLoginFailed, _CREDENTIAL, 2, r"Login failed for user"),
    18470: Meaning(HomeLoginFailed, _CREDENTIAL_STATE, 2, r"The account is disabled"),
    18486: Meaning(HomeLoginFailed, _CREDENTIAL_STATE, 2, r"the account is currently locked out"),
    18487: Meaning(HomeLoginFailed, _CREDENTIAL_STATE, 2, r"The password of the account has expired"),
    18488: Meaning(HomeLoginFailed, _CREDENTIAL_STATE, 2, r"The password of the account must be changed"),
    33134: Meaning(HomeLoginFailed, _CREDENTIAL_STATE, 2, r"Principal .* could not be resolved"),
    40615: Meaning(HomeLoginFailed, "Add this address to its firewall rules.", 2, r"not allowed to access the server"),
    47073: Meaning(HomeLoginFailed, "Use its private endpoint.", 2, r"Deny Public Network Access"),
    229: Meaning(HomePermissionDenied, _GRANT, 2, r"permission was denied on the object"),
    230: Meaning(HomePermissionDenied, _GRANT, 2, r"permission was denied on the column"),
    297: Meaning(HomePermissionDenied, _GRANT, 2, r"The user does not have permission to perform this action"),
    300: Meaning(HomePermissionDenied, _GRANT, 2, r"permission was denied on object"),
    916: Meaning(HomePermissionDenied, "Create a user for the login there.", 2, r"is not able to access the database"),
    207: Meaning(HomeNotFound, "Compare the names with the table's.", 2, r"Invalid column name"),
    208: Meaning(HomeNotFound, "Check schema and table.", 2, r"Invalid object name"),
    5313: Meaning(HomeNotFound, "Read the table itself, or mend the synonym.", 2, r"Synonym .* refers to an invalid"),
    7202: Meaning(HomeNotFound, "Check the linked servers.", 2, r"Could not find server .* in sys\.servers"),
    911: Meaning(HomeNotFound, "Check the connection's database.", 2, r"Database '.*' does not exist"),
    4060: Meaning(
        HomeNotFound, "Check the connection's database, and that the login may open it.", 2, r"Cannot open database"
    ),
    40532: Meaning(HomeNotFound, "Check the connection's server.", 2, r"Cannot open server .* requested by the login"),
}  # fmt: skip

# Where there is no number: the classes of SQLSTATE that the driver itself sets.
SQLSTATES: Final[dict[str, Meaning]] = {
    "08001": Meaning(HomeUnavailable, _NETWORK, 3, "Client unable to establish connection"),
    "08003": Meaning(HomeUnavailable, _RETRY, 3, "Connection not open"),
    "08004": Meaning(HomeUnavailable, _RETRY, 3, "Server rejected the connection"),
    "08007": Meaning(HomeUnavailable, _RETRY, 3, "Connection failure during transaction"),
    "08S01": Meaning(HomeUnavailable, _RETRY, 3, "Communication link failure"),
    "40001": Meaning(HomeUnavailable, _RETRY, 3, "Serialization failure"),
    "HYT00": Meaning(HomeUnavailable, "Raise query_timeout_seconds if it lasts.", 3, "Timeout expired"),
    "HYT01": Meaning(HomeUnavailable, _NETWORK, 3, "Connection timeout expired"),
    "28000": Meaning(HomeLoginFailed, _CREDENTIAL, 3, "Invalid authorization specification"),
    "42S02": Meaning(HomeNotFound, "Check schema and table.", 3, "Base table or view not found"),
    "42S22": Meaning(HomeNotFound, "Compare the names with the table's.", 3, "Column not found"),
}

# Winsock's numbers, which the driver gives in hexadecimal on every system.
_SOCKET_ERRORS: Final = {
    0x2746: "the connection was reset",
    0x2749: "nothing listens there",
    0x274C: "no answer in time",
    0x2751: "no route to the host",
    0x2AF9: "no such host",
}
_SOCKET_ERROR = re.compile(r"Error code 0x([0-9A-Fa-f]+)")

_LOGIN_TIMEOUT = re.compile(r"Login timeout expired", re.IGNORECASE)

# What no retry and no permission mends.
_CERTIFICATE = re.compile(r"certificate|SSL Provider", re.IGNORECASE)
_CERTIFICATE_HINT = (
    "Install the certificate of the authority that signed the server's, or set trust_server_certificate: true for a "
    "server on your own network, or encrypt: false for one that knows no encryption."
)
_DRIVER_MISSING = re.compile(r"Can't open lib|Data source name not found|file not found|cannot open shared object")
_DRIVER_HINT = (
    "Microsoft's ODBC driver could not be loaded: it needs libltdl, libkrb5, libgssapi_krb5 and libssl from the system."
)

# Secrets shorter than this occur inside ordinary words.
SHORT_SECRET_CHARACTERS: Final = 4
_MASK: Final = "***"

_SQLSTATE = re.compile(r"[0-9A-Z]{5}")
_PYODBC_NUMBER = re.compile(r"\((-?\d+)\)")
_BULK_COPY_NUMBER = re.compile(r"Sql Error: (\d+): Class \d+: State \d+: ")
_MESSAGE_LABEL = re.compile(r"\[(?P<state>\w{5})\] \((?P<number>-?\d+)\)")
# Classes of SQLSTATE: success, warning, no more rows. Of the warnings one means that a value was cut.
_HARMLESS_CLASSES = ("00", "01", "02")
_TRUNCATED = "01004"
_TAGS = re.compile(r"^(?:\[[^\]]*\]\s*)+")
_WAIT = re.compile(r"Retry the request after (\d+) seconds", re.IGNORECASE)

# Connection errors that the ODBC driver numbers itself, as Winsock or SNI would: they are no numbers of SQL Server.
_DRIVER_NUMBERS = frozenset({0, -1, -2})


def diagnose_mssql_python(driver_error: str, ddbc_error: str) -> Diagnosis:
    """What an exception of mssql-python says: the name of a SQLSTATE, and the server's message without its number."""
    text = _TAGS.sub("", ddbc_error).strip() or driver_error
    state = next((state for state, meaning in SQLSTATES.items() if meaning.pattern == driver_error), "")
    return Diagnosis(state, _number_of(text), text)


def diagnose_bulk_copy(text: str) -> Diagnosis:
    """What an exception of mssql-python's bulk copy says: a connection of its own, which keeps the server's number.

    Without one the connection failed.
    """
    found = _BULK_COPY_NUMBER.search(text)
    return Diagnosis("" if found else "08S01", int(found[1]) if found else 0, text[found.end() :] if found else text)


def diagnose_messages(messages: Sequence[tuple[str, str]]) -> Diagnosis | None:
    """The first error among a cursor's messages, ``("[SQLSTATE] (number)", "[tags]text")``; None for warnings alone.

    mssql-python 1.16 ends a fetch over a lost connection without an exception, as if there were no more rows, and
    leaves the reason here.
    """
    for label, text in messages:
        found = _MESSAGE_LABEL.match(label)
        if found and (found["state"][:2] not in _HARMLESS_CLASSES or found["state"] == _TRUNCATED):
            number = int(found["number"])
            return Diagnosis(found["state"], number if number in NUMBERS else 0, _TAGS.sub("", text).strip())
    return None


def diagnose_pyodbc(arguments: tuple[object, ...]) -> Diagnosis:
    """What an exception of pyodbc says: (SQLSTATE, "[SQLSTATE] [tags]message (number) (function); …"), or the reverse
    where pyodbc itself complains."""
    texts = [str(argument) for argument in arguments]
    state = next((text for text in texts if _SQLSTATE.fullmatch(text)), "")
    text = next((text for text in texts if text != state), state)
    first = re.split(r";\s*\[[0-9A-Z]{5}\]", text, maxsplit=1)[0]
    found = _PYODBC_NUMBER.search(first)
    number = int(found[1]) if found else 0
    message = _TAGS.sub("", first[: found.start()] if found else first).strip()
    if number in _DRIVER_NUMBERS or number not in NUMBERS:
        number = _number_of(message) or max(number, 0)
    return Diagnosis(state, number, message)


class Translate(Protocol):
    """Turns a diagnosis into an error of the room that asked; ``secrets`` must not appear in it."""

    def __call__(self, diagnosis: Diagnosis, doing: str, *, secrets: Iterable[str] = ()) -> HyggeError: ...


def translate(diagnosis: Diagnosis, doing: str, *, secrets: Iterable[str] = ()) -> HomeError:
    """The error that ``diagnosis`` amounts to, for the reader of a log: what was being done, what the server said."""
    text = mask(diagnosis.text, secrets)
    if _DRIVER_MISSING.search(text):
        return HomeError(f"{doing}: {text}", hint=_DRIVER_HINT)
    if diagnosis.number not in NUMBERS and _CERTIFICATE.search(text):
        return HomeError(f"{doing}: {text}", hint=_CERTIFICATE_HINT)
    if _LOGIN_TIMEOUT.search(text):
        return HomeUnavailable(f"{doing}: {text}", hint=_NETWORK)
    socket_error = _SOCKET_ERROR.search(text)
    if socket_error is not None:
        label = f" ({_SOCKET_ERRORS.get(int(socket_error[1], 16), 'a network error')})"
    else:
        label = f" (SQL Server error {diagnosis.number})" if diagnosis.number else ""
    meaning = NUMBERS.get(diagnosis.number) or SQLSTATES.get(diagnosis.sqlstate)
    if meaning is None:
        return HomeError(f"{doing}: {text}{label}")
    wait = _WAIT.search(text)
    return meaning.error(
        f"{doing}: {text}{label}", hint=meaning.hint, retry_after_seconds=float(wait[1]) if wait else None
    )


def mask(text: str, secrets: Iterable[str]) -> str:
    """``text`` without the secrets. One of few letters is masked only where it stands alone: inside longer words it is
    their own letters, and masking them would garble the message without hiding anything."""
    for secret in secrets:
        if len(secret) >= SHORT_SECRET_CHARACTERS:
            text = text.replace(secret, _MASK)
        elif secret:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _MASK, text)
    return text


def _number_of(text: str) -> int:
    """The number of the message in `NUMBERS` that ``text`` looks like, 0 if it looks like none."""
    return next(
        (
            number
            for number, meaning in NUMBERS.items()
            if meaning.pattern and re.search(meaning.pattern, text, re.IGNORECASE)
        ),
        0,
    )
