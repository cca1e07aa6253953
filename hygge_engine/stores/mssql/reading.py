"""A table of SQL Server that rows have been landed in, read as a home reads its source."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from hygge_engine.errors import HomeError, HomeNotFound
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from hygge_engine.letter_case import meant_among
from hygge_engine.stores.base import ReadBack
from hygge_engine.stores.mssql.errors import as_store_error


class MssqlReadBack(ReadBack):
    """The table of a quoted ``name``."""

    floats = "finite"  # others cannot be written

    def __init__(self, connection: MssqlConnection, name: str) -> None:
        self._connection = connection
        self._settings = MssqlHomeSettings(connection="", table=name)

    def count(self) -> int:
        with self._home() as home:
            return home.count(ReadWindow()) if home is not None else 0

    def read(self, columns: Sequence[str]) -> Generator[pa.RecordBatch]:
        with self._home() as home:
            if home is None:
                return
            known = meant_among(column.name for column in home.describe().columns)
            there = {name: found[0] for name in columns if (found := known(name))}
            for batch in home.read(ReadWindow()):
                yield batch.rows.select(list(there.values())).rename_columns(list(there))

    @contextmanager
    def _home(self) -> Iterator[MssqlHome | None]:
        """The table as a source; None where there is none."""
        try:
            with MssqlHome(self._connection, self._settings) as home:
                try:
                    home.describe()
                except HomeNotFound:
                    yield None
                    return
                yield home
        except HomeError as error:
            raise as_store_error(error) from error
