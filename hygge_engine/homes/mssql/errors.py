"""What a driver's error means, in one table: transient or permanent, and what to do about it.

Sources: [1] Microsoft Learn, "Transient errors in Azure SQL Database"; [2] Microsoft Learn, "Database engine events
and errors"; [3] Microsoft Learn, "ODBC error codes" (SQLSTATE); [4] Microsoft Learn, "Resource governance errors in
Azure SQL Database"; [5] Microsoft Learn, "SqlConfigurableRetryFactory.BaselineTransientErrors"; [6] the numbers that
Microsoft's EF Core tries again (SqlServerTransientExceptionDetector); [7] the texts that Microsoft's ODBC driver 18
carries (msodbcsqlr18.rll); [8] those of pyodbc and [9] of mssql-python, where the ODBC driver has said nothing; [0]
those of OpenSSL (ERR_reason_error_string).

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
from hygge_engine.masking import mask_quoted


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
# A server that cannot open the database says so too, but mssql-python may report only the failed login that follows.
_CREDENTIAL = "Check auth, username and password of the connection, and that its database exists."
_LIMIT = "Lower pool_size or concurrency."
_SNAPSHOT = "ALTER DATABASE … SET ALLOW_SNAPSHOT_ISOLATION ON, or set consistency: read_committed."
# A database that fails over or is being restored cannot be opened for a while; one that is not there never can.
_OPEN = "Check the connection's database, and that the login may open it; while it fails over it passes by itself."
_RECOVERY = "The database is being started or restored; the load tries again."
_READ_ONLY = (
    "Set application_intent: read_only on the connection to read from a secondary; a fail-over passes by itself."
)
_NO_READERS = "Allow read-only connections to the secondary, or remove application_intent from the connection."
_REPLICA = "The replica serves no queries: see whether its data movement is suspended, and whether it may be read."
_TRANSACTION = "Lower slice_minutes or batch_rows; under consistency: snapshot a slice is one transaction."
_CREDENTIAL_STATE = "The login exists but cannot be used as it is; ask the server's administrator."

# Of `NUMBERS`: a refused login, and a database that cannot be opened.
LOGIN_FAILED: Final = 18456
CANNOT_OPEN: Final = 4060

NUMBERS: Final[dict[int, Meaning]] = {
    20: Meaning(HomeUnavailable, _PLAIN, 1, r"Encryption not supported on SQL Server|does not support encryption"),
    64: Meaning(HomeUnavailable, _RETRY, 1, r"The specified network name is no longer available"),
    233: Meaning(HomeUnavailable, _RETRY, 1, r"No process is on the other end of the pipe"),
    596: Meaning(HomeUnavailable, _RETRY, 2, r"the session is in the kill state"),
    601: Meaning(HomeUnavailable, _RETRY, 2, r"Could not continue scan with NOLOCK due to data movement"),
    615: Meaning(HomeUnavailable, _RETRY, 2, r"Could not find database ID \d+"),
    617: Meaning(HomeUnavailable, _RETRY, 6, r"A work table is missing an entry"),
    669: Meaning(HomeUnavailable, _RETRY, 6, r"The row object is inconsistent"),
    701: Meaning(HomeUnavailable, _RETRY, 2, r"There is insufficient system memory"),
    802: Meaning(HomeUnavailable, _RETRY, 2, r"insufficient memory available in the buffer pool"),
    845: Meaning(HomeUnavailable, _RETRY, 2, r"Time-?out occurred while waiting for buffer latch"),
    921: Meaning(HomeUnavailable, _RECOVERY, 6, r"Database '.*' has not been recovered yet"),
    922: Meaning(HomeUnavailable, _RECOVERY, 2, r"Database '.*' is being recovered"),
    927: Meaning(HomeUnavailable, _RECOVERY, 6, r"It is in the middle of a restore"),
    941: Meaning(HomeUnavailable, _RECOVERY, 6, r"cannot be opened because it is not started"),
    952: Meaning(HomeUnavailable, _RECOVERY, 6, r"Database '.*' is in transition"),
    976: Meaning(HomeUnavailable, _REPLICA, 2, r"is participating in an availability group and is currently not"),
    978: Meaning(HomeUnavailable, _READ_ONLY, 2, r"accessible for connections when the application intent is set to"),
    979: Meaning(HomeUnavailable, _NO_READERS, 2, r"currently does not allow read.only connections"),
    982: Meaning(HomeUnavailable, _NO_READERS, 6, r"no online secondary replicas are enabled for read-only access"),
    983: Meaning(HomeUnavailable, _RETRY, 2, r"replica is not in the PRIMARY or SECONDARY role|role is RESOLVING"),
    988: Meaning(HomeUnavailable, _RETRY, 6, r"lacks a quorum of nodes for high availability"),
    997: Meaning(HomeUnavailable, _RETRY, 5, r"Overlapped I/O operation is in progress"),
    1203: Meaning(HomeUnavailable, _RETRY, 6, r"attempted to unlock a resource it does not own"),
    1204: Meaning(HomeUnavailable, _RETRY, 2, r"cannot obtain a LOCK resource"),
    1205: Meaning(HomeUnavailable, _RETRY, 2, r"deadlocked on .* resources"),
    1222: Meaning(HomeUnavailable, "Another session holds a lock on it.", 2, r"Lock request time out"),
    1221: Meaning(HomeUnavailable, _RETRY, 6, r"attempting to release a group of locks that are not currently held"),
    3947: Meaning(HomeUnavailable, _RETRY, 6, r"aborted because the secondary compute failed to catch up redo"),
    3948: Meaning(HomeUnavailable, _RETRY, 6, r"terminated because of the availability replica config/state change"),
    3950: Meaning(HomeUnavailable, _RETRY, 6, r"Version store scan timed out"),
    3952: Meaning(HomeError, _SNAPSHOT, 2, r"snapshot isolation is not allowed"),
    3953: Meaning(HomeUnavailable, _RECOVERY, 6, r"was not recovered when the current transaction was started"),
    3957: Meaning(HomeUnavailable, _RETRY, 6, r"did not allow snapshot isolation when the current transaction started"),
    3958: Meaning(HomeUnavailable, _RETRY, 2, r"Requested versioned row was not found"),
    3960: Meaning(HomeUnavailable, _RETRY, 6, r"Snapshot isolation transaction aborted due to update conflict"),
    3961: Meaning(HomeUnavailable, _RETRY, 2, r"modified by a DDL statement in another concurrent transaction"),
    3966: Meaning(HomeUnavailable, _RETRY, 6, r"Transaction is rolled back when accessing version store"),
    4060: Meaning(HomeUnavailable, _OPEN, 5, r"Cannot open database"),
    4221: Meaning(HomeUnavailable, _RETRY, 1, r"Login to read-secondary failed"),
    6005: Meaning(HomeUnavailable, _RETRY, 2, r"SHUTDOWN is in progress"),
    8628: Meaning(HomeUnavailable, _RETRY, 6, r"A time ?out occurred while waiting to optimize the query"),
    8645: Meaning(HomeUnavailable, _RETRY, 2, r"A timeout occurred while waiting for memory resources"),
    8651: Meaning(HomeUnavailable, _RETRY, 2, r"Could not perform the operation because the requested memory grant"),
    10053: Meaning(HomeUnavailable, _RETRY, 1, r"transport-level error"),
    10054: Meaning(HomeUnavailable, _RETRY, 1, r"forcibly closed by the remote host"),
    10060: Meaning(HomeUnavailable, _NETWORK, 1, r"A network-related or instance-specific error"),
    10922: Meaning(HomeUnavailable, _RETRY, 6, r"^\S+ failed\. Rerun the statement"),
    10928: Meaning(HomeUnavailable, _LIMIT, 4, r"limit for the database is \d+ and has been reached"),
    10929: Meaning(HomeUnavailable, _LIMIT, 4, r"too busy to support requests greater than"),
    10930: Meaning(HomeUnavailable, _LIMIT, 6, r"The service is currently too busy"),
    10936: Meaning(HomeUnavailable, _LIMIT, 4, r"limit for the elastic pool is \d+ and has been"),
    11001: Meaning(HomeUnavailable, _NETWORK, 1, r"No such host is known"),
    17142: Meaning(HomeUnavailable, "Resume the server's service.", 2, r"SQL Server service has been paused"),
    17197: Meaning(HomeUnavailable, _RETRY, 6, r"Login failed due to timeout"),
    17809: Meaning(HomeUnavailable, _LIMIT, 2, r"maximum number of '\d+' user connections has already been reached"),
    17889: Meaning(HomeUnavailable, _LIMIT, 6, r"maximum number of connections on session ID \d+ has been reached"),
    18401: Meaning(HomeUnavailable, _RECOVERY, 6, r"Server is in script upgrade mode"),
    18451: Meaning(HomeUnavailable, _RETRY, 2, r"Only administrators may connect at this time"),
    18461: Meaning(HomeUnavailable, _RETRY, 2, r"Server is in single user mode"),
    40143: Meaning(HomeUnavailable, _RETRY, 1),
    40197: Meaning(HomeUnavailable, _RETRY, 1, r"The service has encountered an error processing your request"),
    40501: Meaning(HomeUnavailable, _RETRY, 1, r"The service is currently busy"),
    40540: Meaning(HomeUnavailable, _RETRY, 1, r"database is moved to read-only mode"),
    40549: Meaning(HomeUnavailable, _TRANSACTION, 4, r"terminated because you have a long.running transaction"),
    40550: Meaning(HomeUnavailable, _TRANSACTION, 4, r"terminated because it has acquired too many locks"),
    40551: Meaning(HomeUnavailable, _RETRY, 4, r"session has been terminated because of excessive TEMPDB usage"),
    40552: Meaning(HomeUnavailable, _TRANSACTION, 4, r"terminated because of excessive transaction log space usage"),
    40553: Meaning(HomeUnavailable, _RETRY, 4, r"session has been terminated because of excessive memory usage"),
    40613: Meaning(HomeUnavailable, _RETRY, 1, r"is not currently available"),
    41301: Meaning(HomeUnavailable, _RETRY, 6, r"that the current transaction took a dependency on has aborted"),
    41302: Meaning(HomeUnavailable, _RETRY, 6, r"attempted to update a record that has been updated since"),
    41305: Meaning(HomeUnavailable, _RETRY, 6, r"failed to commit due to a repeatable read validation failure"),
    41325: Meaning(HomeUnavailable, _RETRY, 6, r"failed to commit due to a serializable validation failure"),
    41839: Meaning(HomeUnavailable, _RETRY, 6, r"exceeded the maximum number of commit dependencies"),
    42108: Meaning(HomeUnavailable, "The pool is paused or resuming.", 1, r"SQL pool since it is paused"),
    42109: Meaning(HomeUnavailable, "The pool is warming up.", 1, r"The SQL pool is warming up"),
    49918: Meaning(HomeUnavailable, _RETRY, 1, r"Not enough resources to process request"),
    49919: Meaning(HomeUnavailable, _RETRY, 1, r"Too many create or update operations in progress"),
    49920: Meaning(HomeUnavailable, _RETRY, 1, r"Cannot process request\. Too many operations in progress"),
    49977: Meaning(HomeUnavailable, _RETRY, 6, r"elastic pool '.*' is busy with another operation"),
    49983: Meaning(HomeUnavailable, _RETRY, 6, r"operation failed to complete\. Retry the operation"),
    18452: Meaning(HomeLoginFailed, _CREDENTIAL, 2, r"The login is from an untrusted domain"),
    18470: Meaning(HomeLoginFailed, _CREDENTIAL_STATE, 2, r"The account is disabled"),
    18486: Meaning(HomeLoginFailed, _CREDENTIAL_STATE, 2, r"the account is currently locked out"),
    18487: Meaning(HomeLoginFailed, _CREDENTIAL_STATE, 2, r"The password of the account has expired"),
    18488: Meaning(HomeLoginFailed, _CREDENTIAL_STATE, 2, r"The password of the account must be changed"),
    # After all whose messages begin like it: without a number the first that fits counts.
    18456: Meaning(HomeLoginFailed, _CREDENTIAL, 2, r"Login failed for user"),
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
    5313: Meaning(HomeNotFound, "Read the table itself, or repair the synonym.", 2, r"Synonym .* refers to an invalid"),
    7202: Meaning(HomeNotFound, "Check the linked servers.", 2, r"Could not find server .* in sys\.servers"),
    911: Meaning(HomeNotFound, "Check the connection's database.", 2, r"Database '.*' does not exist"),
    8156: Meaning(HomeError, "Give each column a name of its own with AS.", 2, r"specified multiple times"),
    22117: Meaning(HomeError, "Read the primary.", 2, r"change tracking is not supported.*in the primary"),
    40532: Meaning(HomeNotFound, "Check the connection's server.", 2, r"Cannot open server .* requested by the login"),
}  # fmt: skip

# Of these: a server that is short of resources, or whose limit of requests or sessions has been reached.
SHORT: Final = frozenset({10928, 10929, 10930, 10936, 40501, 49918, 49919, 49920})

# Of `SQLSTATES`: no response to a statement in time.
_TIMED_OUT: Final = "HYT00"

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

_GARBLED = (
    "What was received is not a complete response of a SQL Server; the load tries again. If it lasts, see what lies "
    "between here and the server."
)

# What a driver says of a conversation that makes no sense to it any more, by its own texts: they have no number, and
# the SQLSTATE of anything (HY000) or of a value that does not fit its type, which a server's own response always does.
BROKEN: Final[tuple[Meaning, ...]] = tuple(
    Meaning(HomeUnavailable, _GARBLED, source, pattern)
    for source, pattern in (
        (7, r"Protocol error in TDS stream"),
        (7, r"Unknown token received from SQL Server"),
        (7, r"Unspecified error occurred on SQL Server"),
        (7, r"Failed to read (from server|prelogin response)"),
        (7, r"Connection is busy with results for another command"),
        (7, r"Operation not allowed while results are pending"),
        (7, r"Packet size requested by server is invalid"),
        (7, r"I/O Error detected in read/write operation"),
        (7, r"Physical connection is not usable"),
        (7, r"^(Connection has been closed|Connection was terminated)"),
        (7, r"The connection is (broken and recovery is not possible|no longer usable)"),
        (7, r"Unable to complete login process due to delay in"),
        (7, r"^(Numeric value out of range|Invalid time format|Datetime field overflow)$"),
        (8, r"The driver did not supply an error"),
        (9, r"^Connection operation failed$"),
        (0, r"SSL routines::(decryption failed or bad record mac|unexpected eof while reading)"),
    )
)  # fmt: skip

# Winsock's numbers, which the driver gives in hexadecimal on every system.
_SOCKET_ERRORS: Final = {
    0x2746: "the connection was reset",
    0x2749: "nothing listens there",
    0x274C: "no response in time",
    0x2751: "no route to the host",
    0x2AF9: "no such host",
}
_SOCKET_ERROR = re.compile(r"Error code 0x([0-9A-Fa-f]+)")

_LOGIN_TIMEOUT = re.compile(r"Login timeout expired", re.IGNORECASE)

# What no retry and no permission repairs.
_CERTIFICATE = re.compile(r"certificate|SSL Provider", re.IGNORECASE)
_CERTIFICATE_HINT = (
    "Install the certificate of the authority that signed the server's, or set trust_server_certificate: true for a "
    "server on your own network, or encrypt: false for one that knows no encryption."
)
_DRIVER_MISSING = re.compile(r"Can't open lib|Data source name not found|file not found|cannot open shared object")
_DRIVER_HINT = (
    "Microsoft's ODBC driver could not be loaded: it needs libltdl, libkrb5, libgssapi_krb5 and libssl from the system."
)

# Values as SQL Server's messages quote them (sys.messages): 244, 245, 248; 2601, 2627, 1505; 2628; 220, 232; 13609.
_VALUES: Final = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"(?<= value )'.*'(?= to data type| overflowed| to a column)",
        r"(?<=duplicate key value is )\(.*\)",
        r"(?<=Truncated value: )'.*'",
        r"(?<=, value = )\S+(?=\.)",
        r"(?<=Unexpected character )'.*'(?= is found)",
    )
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
# Classes that the driver gives to faults of its own, and numbers in its own way.
_CLASSES_OF_THE_DRIVER = ("08", "HY", "IM")
_TAGS = re.compile(r"^(?:\[[^\]]*\]\s*)+")
_WAIT = re.compile(r"Retry the request after (\d+) seconds", re.IGNORECASE)

# Connection errors that the ODBC driver numbers itself, as Winsock or SNI would: they are not numbers of SQL Server.
_DRIVER_NUMBERS = frozenset({0, -1, -2})

# What drivers and systems say where no server has spoken.
NUMBERS_OF_THE_NETWORK: Final = frozenset({0, 64, 233, 10053, 10054, 10060, 11001})


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
            number, state = int(found["number"]), found["state"]
            is_servers = number in NUMBERS or (number > 0 and state[:2] not in _CLASSES_OF_THE_DRIVER)
            return Diagnosis(state, number if is_servers else 0, _TAGS.sub("", text).strip())
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
    """Turns a diagnosis into an error of the calling package; ``secrets`` must not appear in it."""

    def __call__(self, diagnosis: Diagnosis, doing: str, *, secrets: Iterable[str] = ()) -> HyggeError: ...


def translate(diagnosis: Diagnosis, doing: str, *, secrets: Iterable[str] = ()) -> HomeError:
    """The error that ``diagnosis`` amounts to, for the reader of a log: what was being done, what the server said."""
    text = _without_values(mask(diagnosis.text, secrets), diagnosis)
    if _DRIVER_MISSING.search(text):
        return HomeError(f"{doing}: {text}", hint=_DRIVER_HINT)
    if diagnosis.number not in NUMBERS and _CERTIFICATE.search(text) and not _broken(text):
        return HomeError(f"{doing}: {text}", hint=_CERTIFICATE_HINT)
    if _LOGIN_TIMEOUT.search(text):
        return HomeUnavailable(f"{doing}: {text}", hint=_NETWORK)
    socket_error = _SOCKET_ERROR.search(text)
    if socket_error is not None:
        label = f" ({_SOCKET_ERRORS.get(int(socket_error[1], 16), 'a network error')})"
    else:
        label = f" (SQL Server error {diagnosis.number})" if diagnosis.number else ""
    meaning = NUMBERS.get(diagnosis.number) or _broken(diagnosis.text) or SQLSTATES.get(diagnosis.sqlstate)
    if meaning is None:
        return HomeError(f"{doing}: {text}{label}")
    wait = _WAIT.search(text)
    error = meaning.error(
        f"{doing}: {text}{label}", hint=meaning.hint, retry_after_seconds=float(wait[1]) if wait else None
    )
    if isinstance(error, HomeUnavailable):
        error.number = diagnosis.number
        error.is_short = diagnosis.number in SHORT
        error.is_slow = meaning is SQLSTATES[_TIMED_OUT]
    return error


def mask(text: str, secrets: Iterable[str]) -> str:
    """``text`` without the secrets. One of few letters is masked only as a whole word: inside longer words it is
    their own letters, and masking them would garble the message without hiding anything."""
    for secret in secrets:
        if len(secret) >= SHORT_SECRET_CHARACTERS:
            text = text.replace(secret, _MASK)
        elif secret:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _MASK, text)
    return text


def _without_values(text: str, diagnosis: Diagnosis) -> str:
    """A message without the values that it quotes. What `NUMBERS` and drivers' own texts name is no value; of all other
    messages, in whatever language, only names stay."""
    for pattern in _VALUES:
        text = pattern.sub("…", text)
    is_known = diagnosis.number in NUMBERS or diagnosis.sqlstate in SQLSTATES or _broken(text)
    of_the_driver = _DRIVER_MISSING.search(text) or _CERTIFICATE.search(text) or _LOGIN_TIMEOUT.search(text)
    return text if is_known or of_the_driver else mask_quoted(text)


def _broken(text: str) -> Meaning | None:
    return next((meaning for meaning in BROKEN if re.search(meaning.pattern, text, re.IGNORECASE)), None)


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
