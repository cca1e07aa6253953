"""The catalogue procedures behind ODBC's SQLTables, SQLColumns, SQLPrimaryKeys and SQLGetTypeInfo."""

from __future__ import annotations

import re
from collections.abc import Mapping

from devcloud.sqlserver.engine.catalogue import CATALOGUE_SCHEMA
from devcloud.sqlserver.engine.patterns import like_to_regex
from devcloud.sqlserver.engine.sysviews import SystemView, system_query
from devcloud.sqlserver.engine.values import Scalar, quote
from devcloud.sqlserver.execution import Execution
from devcloud.sqlserver.tds.typeinfo import ResultColumn


def list_catalogue(execution: Execution, view: SystemView, given: Mapping[str, Scalar]) -> None:
    """Send the rows of a catalogue procedure. Raises SqlError 911 or 916 for the database that it is asked about."""
    session = execution.session
    uses = dict(view.parameters)
    asked = next((given.get(name) for name, use in uses.items() if use == "database"), None)
    catalogue = session.catalogue(str(asked or session.database))
    where = f"{quote(catalogue.database)}.{CATALOGUE_SCHEMA}"
    execution.send_query(
        [ResultColumn(name, kind) for name, kind in view.columns],
        system_query(view, session.database, where, session.databases),
        {name: _argument(use, given.get(name)) for name, use in uses.items()},
    )


def _argument(use: str, value: Scalar) -> object:
    """Return an argument as the queries compare with it: patterns and names as regular expressions."""
    match use:
        case "number":
            return value if isinstance(value, int) else 0
        case "words":
            return str(value or "").upper()
        case "pattern":
            return like_to_regex(str(value), "\\") if value else ".*"
        case _:
            return re.escape(str(value)) if value else ".*"
