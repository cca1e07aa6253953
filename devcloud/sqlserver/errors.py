"""Errors with SQL Server's own numbers, states and severities ("class" on the wire)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

_MESSAGES: dict[int, tuple[int, str]] = {
    # number: (severity, text). Texts follow sys.messages, because clients and engines match on them.
    102: (15, "Incorrect syntax near '{0}'."),
    105: (15, "Unclosed quotation mark after the character string '{0}'."),
    109: (15, "There are more columns in the INSERT statement than values specified in the VALUES clause."),
    110: (15, "There are fewer columns in the INSERT statement than values specified in the VALUES clause."),
    121: (15, "The select list for the INSERT statement contains more items than the insert list."),
    120: (15, "The select list for the INSERT statement contains fewer items than the insert list."),
    134: (15, "The variable name '{0}' has already been declared."),
    137: (15, 'Must declare the scalar variable "{0}".'),
    156: (15, "Incorrect syntax near the keyword '{0}'."),
    174: (15, "The {0} function requires {1} argument(s)."),
    195: (15, "'{0}' is not a recognized built-in function name."),
    201: (16, "Procedure or function '{0}' expects parameter '{1}', which was not supplied."),
    205: (
        16,
        "All queries combined using a UNION, INTERSECT or EXCEPT operator must have an equal number of expressions "
        "in their target lists.",
    ),
    206: (16, "Operand type clash: {0} is incompatible with {1}"),
    207: (16, "Invalid column name '{0}'."),
    208: (16, "Invalid object name '{0}'."),
    209: (16, "Ambiguous column name '{0}'."),
    213: (16, "Column name or number of supplied values does not match table definition."),
    220: (16, "Arithmetic overflow error for data type {0}, value = {1}."),
    229: (14, "The {0} permission was denied on the object '{1}', database '{2}', schema '{3}'."),
    230: (14, "The {0} permission was denied on the column '{1}' of the object '{2}', database '{3}', schema '{4}'."),
    241: (16, "Conversion failed when converting date and/or time from character string."),
    242: (16, "The conversion of a {0} data type to a {1} data type resulted in an out-of-range value."),
    245: (16, "Conversion failed when converting the {0} value '{1}' to data type {2}."),
    226: (16, "{0} statement not allowed within multi-statement transaction."),
    262: (14, "{0} permission denied in database '{1}'."),
    271: (
        16,
        'The column "{0}" cannot be modified because it is either a computed column or is the result of a UNION '
        "operator.",
    ),
    272: (16, "Cannot update a timestamp column."),
    273: (
        16,
        "Cannot insert an explicit value into a timestamp column. Use INSERT with a column list to exclude the "
        "timestamp column, or insert a DEFAULT into the timestamp column.",
    ),
    402: (16, "The data types {0} and {1} are incompatible in the {2} operator."),
    448: (16, "Invalid collation '{0}'."),
    515: (
        16,
        "Cannot insert the value NULL into column '{0}', table '{1}'; column does not allow nulls. {2} fails.",
    ),
    529: (16, "Explicit conversion from data type {0} to {1} is not allowed."),
    544: (
        16,
        "Cannot insert explicit value for identity column in table '{0}' when IDENTITY_INSERT is set to OFF.",
    ),
    5313: (16, "Synonym '{0}' refers to an invalid object."),
    494: (16, "The TABLESAMPLE clause can only be used with local tables."),
    545: (
        16,
        "Explicit value must be specified for identity column in table '{0}' either when IDENTITY_INSERT is set to "
        "ON or when a replication user is inserting into a NOT FOR REPLICATION identity column.",
    ),
    547: (16, 'The {0} statement conflicted with the {1} constraint "{2}".'),
    911: (16, "Database '{0}' does not exist. Make sure that the name is entered correctly."),
    916: (
        14,
        'The server principal "{0}" is not able to access the database "{1}" under the current security context.',
    ),
    1205: (
        13,
        "Transaction (Process ID {0}) was deadlocked on lock resources with another process and has been chosen as "
        "the deadlock victim. Rerun the transaction.",
    ),
    1222: (16, "Lock request time out period exceeded."),
    1505: (
        16,
        "The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the object name '{0}' and "
        "the index name '{1}'. The duplicate key value is {2}.",
    ),
    1718: (16, "Change tracking must be enabled on database '{0}' before it can be enabled on table '{1}'."),
    1750: (16, "Could not create constraint or index. See previous errors."),
    1801: (16, "Database '{0}' already exists. Choose a different database name."),
    2601: (
        14,
        "Cannot insert duplicate key row in object '{0}' with unique index '{1}'. The duplicate key value is {2}.",
    ),
    2627: (
        14,
        "Violation of {0} constraint '{1}'. Cannot insert duplicate key in object '{2}'. "
        "The duplicate key value is {3}.",
    ),
    2628: (16, "String or binary data would be truncated in table '{0}', column '{1}'. Truncated value: '{2}'."),
    2705: (
        16,
        "Column names in each table must be unique. Column name '{0}' in table '{1}' is specified more than once.",
    ),
    2714: (16, "There is already an object named '{0}' in the database."),
    2715: (16, "Column, parameter, or variable #{0}: Cannot find data type {1}."),
    2716: (16, "Column, parameter, or variable #{0}: Cannot specify a column width on data type {1}."),
    2738: (
        16,
        "A table can only have one timestamp column. Because table '{0}' already has one, the column '{1}' cannot be "
        "added.",
    ),
    2759: (16, "CREATE SCHEMA failed due to previous errors."),
    2760: (
        16,
        'The specified schema name "{0}" either does not exist or you do not have permission to use it.',
    ),
    2812: (16, "Could not find stored procedure '{0}'."),
    3701: (11, "Cannot drop the {0} '{1}', because it does not exist or you do not have permission."),
    3735: (
        16,
        "The primary key constraint '{0}' on table '{1}' cannot be dropped because change tracking is enabled on the "
        "table. Change tracking requires a primary key constraint on the table. Disable change tracking before "
        "dropping the constraint.",
    ),
    3729: (16, "Cannot {0} '{1}' because it is being referenced by object '{2}'."),
    3902: (16, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION."),
    3903: (16, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION."),
    3951: (
        16,
        "Transaction failed in database '{0}' because the statement was run under snapshot isolation but the "
        "transaction did not start in snapshot isolation. You cannot change the isolation level of the transaction to "
        "snapshot after the transaction has started unless the transaction was originally started under snapshot "
        "isolation level.",
    ),
    3952: (
        16,
        "Snapshot isolation transaction failed accessing database '{0}' because snapshot isolation is not allowed in "
        "this database. Use ALTER DATABASE to allow snapshot isolation.",
    ),
    3960: (
        16,
        "Snapshot isolation transaction aborted due to update conflict. You cannot use snapshot isolation to access "
        "table '{0}' directly or indirectly in database '{1}' to update, delete, or insert the row that has been "
        "modified or deleted by another transaction. Retry the transaction or change the isolation level for the "
        "update/delete statement.",
    ),
    4060: (11, 'Cannot open database "{0}" requested by the login. The login failed.'),
    4104: (16, 'The multi-part identifier "{0}" could not be bound.'),
    4122: (16, "Remote table-valued function calls are not allowed."),
    4145: (15, "An expression of non-boolean type specified in a context where a condition is expected, near '{0}'."),
    4708: (16, "Could not truncate object '{0}' because it is not a table."),
    4701: (16, 'Cannot find the object "{0}" because it does not exist or you do not have permissions.'),
    4901: (
        16,
        "ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT definition specified, "
        "or the column being added is an identity or timestamp column, or alternatively if none of the previous "
        "conditions are satisfied the table must be empty to allow addition of this column. Column '{0}' cannot be "
        "added to non-empty table '{1}' because it does not satisfy these conditions.",
    ),
    4902: (16, 'Cannot find the object "{0}" because it does not exist or you do not have permissions.'),
    4924: (16, "ALTER TABLE {0} failed because column '{1}' does not exist in table '{2}'."),
    4996: (16, "Change tracking is already enabled for table '{0}'."),
    4997: (
        16,
        "Cannot enable change tracking on table '{0}'. Change tracking requires a primary key on the table. Create a "
        "primary key on the table before enabling change tracking.",
    ),
    4998: (16, "Change tracking is not enabled on table '{0}'."),
    5088: (16, "Change tracking is already enabled for database '{0}'."),
    5089: (
        16,
        "Change tracking is disabled for database '{0}'. Change tracking must be enabled on a database to modify "
        "change tracking settings.",
    ),
    5090: (
        16,
        "Database '{0}' is a system database. Change tracking settings cannot be modified for system databases.",
    ),
    5092: (
        15,
        "The value for change tracking option '{0}' is not valid. The value must be between 1 and 2147483647 minutes.",
    ),
    15225: (
        11,
        "No item by the name of '{0}' could be found in the current database '{1}', given that @itemtype was input as "
        "'(null)'.",
    ),
    15248: (11, "Either the parameter @objname is ambiguous or the claimed @objtype (COLUMN) is wrong."),
    15335: (
        11,
        "Error: The new name '{0}' is already in use as a OBJECT name and would cause a duplicate that is not "
        "permitted.",
    ),
    15477: (0, "Caution: Changing any part of an object name could break scripts and stored procedures."),
    5701: (0, "Changed database context to '{0}'."),
    5703: (0, "Changed language setting to {0}."),
    7202: (11, "Could not find server '{0}' in sys.servers."),
    8114: (16, "Error converting data type {0} to {1}."),
    8115: (16, "Arithmetic overflow error converting {0} to data type {1}."),
    8120: (
        16,
        "Column '{0}' is invalid in the select list because it is not contained in either an aggregate function or "
        "the GROUP BY clause.",
    ),
    8134: (16, "Divide by zero error encountered."),
    8144: (16, "Procedure or function {0} has too many arguments specified."),
    8145: (16, "{0} is not a parameter for procedure {1}."),
    8155: (16, "No column name was specified for column {0} of '{1}'."),
    8156: (16, "The column '{0}' was specified multiple times for '{1}'."),
    8169: (16, "Conversion failed when converting from a character string to uniqueidentifier."),
    8179: (16, "Could not find prepared statement with handle {0}."),
    8180: (16, "Statement(s) could not be prepared."),
    8181: (16, "Text for '{0}' is missing from syscomments."),
    10928: (
        20,
        "Resource ID: {0}. The {1} limit for the database is {2} and has been reached.",
    ),
    15151: (16, "Cannot find the {0} '{1}', because it does not exist or you do not have permission."),
    18456: (14, "Login failed for user '{0}'."),
    22105: (16, "Change tracking is not enabled on table '{0}'."),
    22107: (
        16,
        "Object '{0}' is of a data type that is not supported by the CHANGETABLE function. The object must be a "
        "user-defined table.",
    ),
    22115: (
        16,
        "Change tracking is enabled for one or more tables in database '{0}'. Disable change tracking on each table "
        "before disabling it for the database. Use the sys.change_tracking_tables catalog view to obtain a list of "
        "tables for which change tracking is enabled.",
    ),
    40197: (17, "The service has encountered an error processing your request. Please try again. Error code {0}."),
    40501: (20, "The service is currently busy. Retry the request after 10 seconds. Code: {0}."),
    40510: (16, "Statement '{0}' is not supported in this version of SQL Server."),
    40613: (
        17,
        "Database '{0}' on server '{1}' is not currently available. Please retry the connection later.",
    ),
    49918: (16, "Cannot process request. Not enough resources to process request. Please retry your request later."),
    49920: (
        16,
        'Cannot process request. Too many operations in progress for subscription "{0}". Please retry later.',
    ),
}


@dataclass(eq=False)
class SqlError(Exception):
    """An error as the client sees it.

    ``severity`` follows SQL Server: 11 to 16 are the user's to correct, 20 and above end the connection.
    """

    number: int
    message: str
    severity: int = 16
    state: int = 1
    line: int = 1
    procedure: str = ""
    also: list[SqlError] = field(default_factory=list)

    def __str__(self) -> str:
        return f"Msg {self.number}, Level {self.severity}, State {self.state}, Line {self.line}: {self.message}"


def make_error(number: int, *values: object, state: int = 1, line: int = 1) -> SqlError:
    """Return the error of that number, its text filled with ``values``; a KeyError means a number not listed here."""
    severity, text = _MESSAGES[number]
    return SqlError(number, text.format(*values), severity, state, line)


# What Python raises of a text that a parser or binder was not made for.
UNFORESEEN: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def refuse(what: str, line: int = 1) -> SqlError:
    """Return the error for T-SQL that this server does not speak: 40510, as Azure SQL has it."""
    error = make_error(40510, what, line=line)
    error.message += " (devcloud speaks a subset of T-SQL: see docs/devcloud/sqlserver.md)"
    return error


def not_understood(what: str, error: Exception) -> SqlError:
    """Return the error for one of `UNFORESEEN`, which names what the client has asked for."""
    return refuse(f"{what} that is not understood ({type(error).__name__}: {error})")


class ConnectionLostError(Exception):
    """The client is gone, or a fault told the server to cut the connection."""


class SessionEndedError(Exception):
    """An error of severity 20 or more was sent: the connection ends, once the client has read it."""


class CancelledError(Exception):
    """The client sent an ATTENTION: stop what is running and say so."""
