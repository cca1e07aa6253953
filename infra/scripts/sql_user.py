#!/usr/bin/env python3
"""Print the T-SQL that lets the app's identity read its tables, and nothing else.

The statements look first and change only what is missing, so they can be run again at any time. Run them in the source
database as an administrator who logged in with Entra ID, for example:

    python3 infra/scripts/sql_user.py --identity-name NAME --client-id GUID --schema dbo \\
        | sqlcmd -S SERVER -d DATABASE -G -b

Needs Python 3.10, nothing else.
"""

from __future__ import annotations

import argparse
import sys
import uuid

# A name of SQL Server is at most this long (sysname).
NAME_LIMIT_CHARACTERS = 128


def quote_name(name: str) -> str:
    """A name in brackets."""
    if not 0 < len(name) <= NAME_LIMIT_CHARACTERS or "\0" in name:
        raise argparse.ArgumentTypeError(f"{name!r} is no name of SQL Server")
    return "[" + name.replace("]", "]]") + "]"


def quote_text(text: str) -> str:
    """A text as a literal."""
    return "N'" + text.replace("'", "''") + "'"


def table(text: str) -> str:
    """``schema.table``, quoted."""
    schema, dot, name = text.partition(".")
    if not dot:
        raise argparse.ArgumentTypeError(f"{text!r}: expected schema.table")
    return f"OBJECT::{quote_name(schema)}.{quote_name(name)}"


def schema(text: str) -> str:
    """A schema, quoted."""
    return f"SCHEMA::{quote_name(text)}"


def security_id(client_id: str) -> str:
    """The SID by which a database knows an identity of Entra ID: its client id, byte by byte."""
    try:
        return "0x" + uuid.UUID(client_id).bytes_le.hex().upper()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{client_id!r} is not a GUID") from None


def statements(
    name: str, sid: str | None, securables: list[str], change_tracking: bool, capture_roles: list[str]
) -> list[str]:
    """The batch, one statement after the other."""
    user = quote_name(name)
    # With the SID the server needs no right to read the directory; without it, it looks the name up there.
    origin = f"WITH SID = {sid}, TYPE = E" if sid else "FROM EXTERNAL PROVIDER"
    lines = [
        "SET XACT_ABORT ON;",
        f"IF DATABASE_PRINCIPAL_ID({quote_text(name)}) IS NULL",
        f"    CREATE USER {user} {origin};",
    ]
    if sid:
        known = f"SELECT sid FROM sys.database_principals WHERE name = {quote_text(name)}"  # noqa: S608
        complaint = quote_text(f"There is a user {name} of another identity. Drop it first.")
        lines += [f"ELSE IF {sid} <> ({known})", f"    THROW 50000, {complaint}, 1;"]
    lines += ["GO"]
    lines += [f"GRANT SELECT ON {securable} TO {user};" for securable in securables]
    if change_tracking:
        lines += [f"GRANT VIEW CHANGE TRACKING ON {securable} TO {user};" for securable in securables]
    for role in capture_roles:
        missing = f"IF IS_ROLEMEMBER({quote_text(role)}, {quote_text(name)}) = 0"
        lines += [missing, f"    ALTER ROLE {quote_name(role)} ADD MEMBER {user};"]
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Print the statements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identity-name", required=True, help="HYGGE_IDENTITY_NAME of the deployment")
    parser.add_argument(
        "--client-id",
        type=security_id,
        help="HYGGE_IDENTITY_CLIENT_ID of the deployment. Without it the server looks the name up in Entra ID, which "
        "it must be allowed to (Directory Readers)",
    )
    parser.add_argument(
        "--schema", action="append", type=schema, default=[], help="let it read a whole schema; may be repeated"
    )
    parser.add_argument(
        "--table", action="append", type=table, default=[], help="let it read schema.table; may be repeated"
    )
    parser.add_argument(
        "--change-tracking", action="store_true", help="also let it read the Change Tracking of what it may read"
    )
    parser.add_argument(
        "--capture-role",
        action="append",
        default=[],
        help="also make it a member of this role, which gates change data capture; may be repeated",
    )
    given = parser.parse_args(arguments)
    if not given.schema and not given.table:
        parser.error("say what it may read: --schema or --table")
    securables = given.schema + given.table
    lines = statements(given.identity_name, given.client_id, securables, given.change_tracking, given.capture_role)
    print("\n".join([*lines, "GO"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
