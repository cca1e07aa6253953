"""What SQL Server's errors mean for a store: the home's table, and what only those who write meet.

Source: Microsoft Learn, "Database engine events and errors". mssql-python keeps the message and not the number, so the
number is found again by the text of the message in sys.messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, NamedTuple

from hygge_engine.errors import HomeError, StoreError, StoreUnavailable
from hygge_engine.homes.mssql.errors import Diagnosis
from hygge_engine.homes.mssql.errors import translate as translate_for_home


class _Meaning(NamedTuple):
    error: type[StoreError]
    hint: str
    pattern: str


GRANT_HINT: Final = (
    "Grant the login CREATE TABLE on the database, and ALTER, SELECT, INSERT, UPDATE and DELETE on the store's schema."
)
_SPACE: Final = "Make room in the database: a reload needs it for the table twice."
_KEY: Final = (
    "Name columns in key_columns that identify a row as SQL Server compares them: without case, by default; "
    "or give the database a collation that distinguishes them."
)
_RACE: Final = "Another load has just created it; this one tries again."

_NUMBERS: Final[dict[int, _Meaning]] = {
    229: _Meaning(StoreError, GRANT_HINT, r"permission was denied on the object"),
    262: _Meaning(StoreError, GRANT_HINT, r"permission denied in database"),
    515: _Meaning(StoreError, "A row has NULL in a key column.", r"Cannot insert (the value )?NULL"),
    1105: _Meaning(StoreError, _SPACE, r"Could not allocate space for object"),
    1505: _Meaning(StoreError, _KEY, r"CREATE UNIQUE INDEX statement terminated because a duplicate key"),
    1946: _Meaning(StoreError, _KEY, r"The index entry of length .* exceeds the maximum length"),
    2601: _Meaning(StoreError, _KEY, r"Cannot insert duplicate key row in object"),
    2627: _Meaning(StoreError, _KEY, r"Violation of (PRIMARY|UNIQUE) KEY constraint"),
    2628: _Meaning(StoreError, "Keys of text have 450 characters at most.", r"would be truncated|exceeds schema size"),
    2714: _Meaning(StoreUnavailable, _RACE, r"There is already an object named"),
    2760: _Meaning(StoreError, "Create the schema that schema_name names.", r"The specified schema name"),
    2759: _Meaning(StoreError, GRANT_HINT, r"CREATE SCHEMA failed"),
    3726: _Meaning(StoreError, "Drop the foreign keys that refer to the table.", r"referenced by a FOREIGN KEY"),
    3729: _Meaning(StoreError, "Drop the views that are bound to its schema.", r"is being referenced by object"),
    9002: _Meaning(StoreError, _SPACE, r"The transaction log for database .* is full"),
    40544: _Meaning(StoreError, _SPACE, r"has reached its size quota"),
}  # fmt: skip


def translate(diagnosis: Diagnosis, doing: str, *, secrets: Iterable[str] = ()) -> StoreError:
    """The error of a store that ``diagnosis`` amounts to."""
    number = diagnosis.number or next(
        (number for number, meaning in _NUMBERS.items() if re.search(meaning.pattern, diagnosis.text, re.IGNORECASE)), 0
    )
    found = as_store_error(translate_for_home(replace(diagnosis, number=number), doing, secrets=secrets))
    if number not in _NUMBERS:
        return found
    meaning = _NUMBERS[number]
    return meaning.error(found.message, hint=meaning.hint)


def as_store_error(error: HomeError) -> StoreError:
    """The same error as one of the store, which met it."""
    kind = StoreUnavailable if error.transient else StoreError
    return kind(error.message, hint=error.hint, retry_after_seconds=error.retry_after_seconds)
