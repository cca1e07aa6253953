"""What a driver's error means, the same through both drivers."""

from __future__ import annotations

import re

import pytest

from hygge_engine.errors import (
    HomeError,
    HomeLoginFailed,
    HomeNotFound,
    HomePermissionDenied,
    HomeUnavailable,
)
from hygge_engine.homes.mssql import errors
from hygge_engine.homes.mssql.errors import (
    BROKEN,
    NUMBERS,
    SQLSTATES,
    diagnose_messages,
    diagnose_mssql_python,
    diagnose_pyodbc,
    translate,
)
from hygge_engine.stores.mssql.errors import translate as translate_for_store

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
        HomeUnavailable,
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


# What passes by itself, with the text of sys.messages: a driver may give the one without the other.
PASSING = {
    596: "Cannot continue the execution because the session is in the kill state.",
    845: "Time-out occurred while waiting for buffer latch type 2 for page (1:42), database ID 5.",
    921: "Database 'shop' has not been recovered yet. Wait and try again.",
    922: "Database 'shop' is being recovered. Waiting until recovery is finished.",
    927: "Database 'shop' cannot be opened. It is in the middle of a restore.",
    952: "Database 'shop' is in transition. Try the statement later.",
    976: "The target database, 'shop', is participating in an availability group and is currently not accessible for "
    "queries. Either data movement is suspended or the availability replica is not enabled for read access.",
    978: "The target database ('shop') is in an availability group and is currently accessible for connections when "
    "the application intent is set to read only.",
    979: "The target database ('shop') is in an availability group and currently does not allow read only connections.",
    983: "Unable to access availability database 'shop' because the database replica is not in the PRIMARY or "
    "SECONDARY role. Try the operation again later.",
    988: "Unable to access database 'shop' because it lacks a quorum of nodes for high availability. Try the operation "
    "again later.",
    1203: "Process ID 51 attempted to unlock a resource it does not own: OBJECT: 5. Retry the transaction.",
    1205: "Transaction (Process ID 51) was deadlocked on lock resources with another process and has been chosen as "
    "the deadlock victim. Rerun the transaction.",
    3958: "Transaction aborted when accessing versioned row in table 'dbo.t' in database 'shop'. Requested versioned "
    "row was not found. Your tempdb is probably out of space.",
    3961: "Snapshot isolation transaction failed in database 'shop' because the object accessed by the statement has "
    "been modified by a DDL statement in another concurrent transaction since the start of this transaction.",
    4060: 'Cannot open database "shop" requested by the login. The login failed.',
    8628: "A time out occurred while waiting to optimize the query. Rerun the query.",
    8645: "A timeout occurred while waiting for memory resources to execute the query in resource pool 'default' (2).",
    10922: "SELECT failed. Rerun the statement.",
    10928: "Resource ID: 1. The request limit for the database is 60 and has been reached.",
    10930: "The service is currently too busy. Please try again later.",
    17142: "SQL Server service has been paused. No new connections will be allowed.",
    18401: "Login failed for user 'sa'. Reason: Server is in script upgrade mode. Only administrator can connect at "
    "this time.",
    18461: "Login failed for user 'sa'. Reason: Server is in single user mode. Only one administrator can connect at "
    "this time.",
    40197: "The service has encountered an error processing your request. Please try again. Error code 40197.",
    40501: "The service is currently busy. Retry the request after 10 seconds.",
    40549: "Session is terminated because you have a long-running transaction. Try shortening your transaction.",
    40550: "The session has been terminated because it has acquired too many locks.",
    40553: "The session has been terminated because of excessive memory usage.",
    40613: "Database 'shop' on server 's' is not currently available. Please retry the connection later.",
    41839: "Transaction exceeded the maximum number of commit dependencies and the last statement was aborted. Retry "
    "the statement.",
    49918: "Cannot process request. Not enough resources to process request.",
}


# All other messages of sys.messages that a driver may report without their number.
OTHERS = {
    20: "The instance of SQL Server you attempted to connect to does not support encryption.",
    64: "A connection was successfully established with the server, but then an error occurred during the login "
    "process. (provider: TCP Provider, error: 0 - The specified network name is no longer available.)",
    207: "Invalid column name 'c'.",
    208: "Invalid object name 'dbo.t'.",
    229: "The SELECT permission was denied on the object 't', database 'shop', schema 'dbo'.",
    230: "The SELECT permission was denied on the column 'c' of the object 't', database 'shop', schema 'dbo'.",
    233: "A connection was successfully established with the server, but then an error occurred during the login "
    "process. (provider: Shared Memory Provider, error: 0 - No process is on the other end of the pipe.)",
    297: "The user does not have permission to perform this action.",
    300: "VIEW DATABASE STATE permission was denied on object 'shop', database 'master'.",
    601: "Could not continue scan with NOLOCK due to data movement.",
    615: "Could not find database ID 5, name 'shop'. The database may be offline. Wait a few minutes and try again.",
    617: "Descriptor for object ID 5 in database ID 5 not found in the hash table during attempt to unhash it. A work "
    "table is missing an entry. Rerun the query.",
    669: "The row object is inconsistent. Please rerun the query.",
    701: "There is insufficient system memory in resource pool 'default' to run this query.",
    802: "There is insufficient memory available in the buffer pool.",
    911: "Database 'shop' does not exist. Make sure that the name is entered correctly.",
    916: 'The server principal "reader" is not able to access the database "shop" under the current security context.',
    941: "Database 'shop' cannot be opened because it is not started. Retry when the database is started.",
    982: "Unable to access the 'shop' database because no online secondary replicas are enabled for read-only access.",
    997: "Overlapped I/O operation is in progress.",
    1204: "The instance of the SQL Server Database Engine cannot obtain a LOCK resource at this time.",
    1221: "The Database Engine is attempting to release a group of locks that are not currently held by the "
    "transaction.",
    1222: "Lock request time out period exceeded.",
    3947: "The transaction was aborted because the secondary compute failed to catch up redo. Retry the transaction.",
    3948: "The transaction was terminated because of the availability replica config/state change or because ghost "
    "records are being deleted on the primary.",
    3950: "Version store scan timed out when attempting to read the next row.",
    3952: "Snapshot isolation transaction failed accessing database 'shop' because snapshot isolation is not allowed "
    "in this database.",
    3953: "Snapshot isolation transaction failed in database 'shop' because the database was not recovered when the "
    "current transaction was started.",
    3957: "Snapshot isolation transaction failed in database 'shop' because the database did not allow snapshot "
    "isolation when the current transaction started.",
    3960: "Snapshot isolation transaction aborted due to update conflict.",
    3966: "Transaction is rolled back when accessing version store.",
    4221: "Login to read-secondary failed due to long wait on 'HADR_DATABASE_WAIT_FOR_TRANSITION_TO_VERSIONING'.",
    5313: "Synonym 'dbo.s' refers to an invalid object.",
    6005: "SHUTDOWN is in progress.",
    7202: "Could not find server 'other' in sys.servers.",
    8156: "The column 'id' was specified multiple times for 'rows'.",
    8651: "Could not perform the operation because the requested memory grant was not available in resource pool "
    "'default' (2).",
    10053: "A transport-level error has occurred when receiving results from the server.",
    10054: "An existing connection was forcibly closed by the remote host.",
    10060: "A network-related or instance-specific error occurred while establishing a connection to SQL Server.",
    10929: "Resource ID: 1. The request minimum guarantee is 0, maximum limit is 60 and the current usage for the "
    "database is 60. However, the server is currently too busy to support requests greater than 60 for this database.",
    10936: "Resource ID : 1. The request limit for the elastic pool is 60 and has been reached.",
    11001: "A network error occurred. (provider: TCP Provider, error: 0 - No such host is known.)",
    17197: "Login failed due to timeout; the connection has been closed.",
    17809: "Could not connect because the maximum number of '60' user connections has already been reached.",
    17889: "A new connection was rejected because the maximum number of connections on session ID 51 has been reached.",
    18451: "Login failed for user 'sa'. Only administrators may connect at this time.",
    18452: "Login failed. The login is from an untrusted domain and cannot be used with Windows authentication.",
    18456: "Login failed for user 'sa'.",
    18470: "Login failed for user 'sa'. Reason: The account is disabled.",
    18486: "Login failed for user 'sa' because the account is currently locked out.",
    18487: "Login failed for user 'sa'.  Reason: The password of the account has expired.",
    18488: "Login failed for user 'sa'.  Reason: The password of the account must be changed.",
    22117: "For databases that are members of a secondary availability replica (that is, for secondary databases), "
    "change tracking is not supported. Run change tracking queries on the databases in the primary availability "
    "replica.",
    33134: "Principal 'app' could not be resolved. Error message: 'no such object'",
    40532: 'Cannot open server "s" requested by the login. The login failed.',
    40540: "The service has encountered an error: the database is moved to read-only mode.",
    40551: "The session has been terminated because of excessive TEMPDB usage.",
    40552: "The session has been terminated because of excessive transaction log space usage.",
    40615: "Cannot open server 's' requested by the login. Client with IP address '10.0.0.1' is not allowed to access "
    "the server.",
    41301: "A previous transaction that the current transaction took a dependency on has aborted.",
    41302: "The current transaction attempted to update a record that has been updated since this transaction started.",
    41305: "The current transaction failed to commit due to a repeatable read validation failure.",
    41325: "The current transaction failed to commit due to a serializable validation failure.",
    42108: "Can not connect to the SQL pool since it is paused. Please resume the SQL pool and try again.",
    42109: "The SQL pool is warming up. Please try again.",
    47073: "An instance-specific error occurred. The Deny Public Network Access setting is set to Yes.",
    49919: "Cannot process create or update request. Too many create or update operations in progress.",
    49920: "Cannot process request. Too many operations in progress for subscription 'x'.",
    49977: "The elastic pool 'p' is busy with another operation.",
    49983: "The operation failed to complete. Retry the operation.",
}


@pytest.mark.parametrize("number", sorted(PASSING | OTHERS))
def test_each_message_is_recognised_without_its_number(number: int) -> None:
    found = diagnose_mssql_python("General error", f"[Microsoft][SQL Server]{(PASSING | OTHERS)[number]}")
    assert found.number == number


def test_each_number_that_a_message_can_stand_for_has_its_message_here() -> None:
    assert {number for number, meaning in NUMBERS.items() if meaning.pattern} == set(PASSING | OTHERS)


@pytest.mark.parametrize("number", PASSING)
def test_what_passes_by_itself_is_tried_again_whichever_driver_reports_it(number: int) -> None:
    text = PASSING[number]
    native = translate(diagnose_mssql_python("General error", f"[Microsoft][SQL Server]{text}"), "Reading")
    odbc = translate(diagnose_pyodbc(("42000", f"[42000] {SERVER}{text} ({number}) (SQLExecDirectW)")), "Reading")
    login = translate(diagnose_pyodbc(("28000", f"[28000] {SERVER}{text} ({number}) (SQLDriverConnect)")), "Reading")
    for error in (native, odbc, login):
        assert isinstance(error, HomeUnavailable)
        assert f"SQL Server error {number}" in error.message
        assert error.hint


@pytest.mark.parametrize(
    "text",
    [
        "Protocol error in TDS stream",
        "Unknown token received from SQL Server",
        "Connection is busy with results for another command",
        "Numeric value out of range",
        "Invalid time format",
        "The driver did not supply an error!",
        "Connection operation failed",
        "SSL Provider: [error:0A000119:SSL routines::decryption failed or bad record mac]",
        "Unspecified error occurred on SQL Server. Connection may have been terminated by the server.",
    ],
)
def test_a_conversation_that_is_broken_is_tried_again_in_the_drivers_words(text: str) -> None:
    native = translate(diagnose_mssql_python("General error", f"[Microsoft][ODBC Driver 18]{text}"), "Reading")
    odbc = translate(diagnose_pyodbc(("HY000", f"[HY000] [Microsoft]{text} (0) (SQLFetch)")), "Reading")
    bare = translate(diagnose_pyodbc((text, "HY000")), "Reading")
    for error in (native, odbc, bare):
        assert isinstance(error, HomeUnavailable)
        assert text in error.message


def test_a_servers_own_word_on_a_value_stays_permanent() -> None:
    text = "Arithmetic overflow error converting expression to data type int. Numeric value out of range."
    assert not translate(diagnose_mssql_python("Numeric value out of range", f"[Microsoft]{text}"), "Reading").transient


def test_each_number_has_its_source() -> None:
    sources = {int(number) for number in re.findall(r"\[(\d)\]", errors.__doc__ or "")}
    assert sources == {meaning.source for meaning in [*NUMBERS.values(), *SQLSTATES.values(), *BROKEN]}
    assert [number for number, meaning in NUMBERS.items() if not meaning.hint] == []


def test_a_wrong_password_stays_one() -> None:
    error = translate(diagnose_mssql_python("General error", "[Microsoft][SQL Server]Login failed for user 'sa'."), "R")
    assert isinstance(error, HomeLoginFailed)


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


@pytest.mark.parametrize(("state", "shown"), [("42000", True), ("23000", True), ("HY000", False), ("08001", False)])
def test_the_server_s_number_is_shown_where_a_message_has_it(state: str, shown: bool) -> None:
    found = diagnose_messages([(f"[{state}] (51234)", "[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]No.")])
    assert found is not None
    assert ("SQL Server error 51234" in translate(found, "Reading").message) == shown


def test_a_lost_connection_among_a_cursors_messages_is_transient() -> None:
    lost = ("[08S01] (10054)", "[Microsoft][ODBC Driver 18 for SQL Server]TCP Provider: Error code 0x2746")
    found = diagnose_messages([lost])
    assert found is not None
    assert isinstance(translate(found, "Reading"), HomeUnavailable)


def test_a_short_secret_garbles_no_message_and_is_never_shown() -> None:
    text = "Login failed for user 'sa'. The password a is wrong (pwd=a;); '1a' too"
    error = translate(diagnose_mssql_python("General error", text), "Connecting", secrets=["a", ""])
    assert "Login failed for user 'sa'. The password *** is wrong (pwd=***;); '1a' too" in error.message


VALUE = "123-45-6789, O'Neill (ex 'Lee'), table 'x'"


# By the texts of sys.messages, one in another language, and one of a database's own.
@pytest.mark.parametrize(
    ("number", "text", "stays"),
    [
        (245, "Conversion failed when converting the nvarchar value '{}' to data type int.", "to data type int"),
        (244, "The conversion of the varchar value '{}' overflowed an INT2 column. Use a larger one.", "INT2"),
        (248, "The conversion of the varchar value '{}' overflowed an int column.", "an int column"),
        (220, "Arithmetic overflow error for data type tinyint, value = {}.", "tinyint"),
        (232, "Arithmetic overflow error for type smallint, value = {}.", "smallint"),
        (2627, "Violation of PRIMARY KEY constraint 'PK_a'. Cannot insert duplicate key in object 'dbo.a'. The "
               "duplicate key value is ({}).", "'PK_a'. Cannot insert duplicate key in object 'dbo.a'"),
        (2601, "Cannot insert duplicate key row in object 'dbo.a' with unique index 'ix'. The duplicate key value is "
               "({}).", "unique index 'ix'"),
        (1505, "The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the object name "
               "'dbo.a' and the index name 'ix'. The duplicate key value is ({}).", "index name 'ix'"),
        (2628, "String or binary data would be truncated in table 'dbo.a', column 'c'. Truncated value: '{}'.",
         "table 'dbo.a', column 'c'"),
        (8114, "Error converting data type nvarchar to bigint.", "nvarchar to bigint"),
        (241, "Conversion failed when converting date and/or time from character string.", "from character string"),
        (13609, "JSON text is not properly formatted. Unexpected character '{}' is found at position 0.", "position 0"),
        (245, "Fehler beim Konvertieren des nvarchar-Wertes \"{}\" in den int-Datentyp.", "Fehler beim Konvertieren"),
        (245, "Échec de la conversion de la valeur nvarchar « {} » en type de données int.", "Échec de la conversion"),
        (2627, "Violation de la contrainte. La valeur de clé dupliquée est ({}).", "Violation de la contrainte"),
        (6522, "A .NET Framework error occurred during execution of user-defined routine 'f': no '{}'", "routine"),
        (50000, "The row ({}) is refused by '{}'", "The row"),
        (208, "Invalid object name 'dbo.a'.", "'dbo.a'"),
        (4104, "Incorrect syntax near 'b'.", "'b'"),
    ],
)  # fmt: skip
def test_no_message_of_a_server_shows_a_value(number: int, text: str, stays: str) -> None:
    said = text.replace("{}", VALUE)
    for diagnosis in (
        diagnose_mssql_python("Invalid character value for cast specification", f"[Microsoft][SQL Server]{said}"),
        diagnose_pyodbc(("22018", f"[22018] {SERVER}{said} ({number}) (SQLFetch)")),
    ):
        for error in (translate(diagnosis, "Reading"), translate_for_store(diagnosis, "Writing")):
            assert "6789" not in str(error)
            assert "Neill" not in str(error)
            assert "Lee" not in str(error)
            assert stays in str(error)
