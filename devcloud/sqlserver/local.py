"""Running T-SQL in process, without the wire: for set-up and checks."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from devcloud.sqlserver.errors import SqlError
from devcloud.sqlserver.executor import Executor
from devcloud.sqlserver.results import Results
from devcloud.sqlserver.session import ADMINISTRATOR, Session, Shared
from devcloud.sqlserver.tds.packets import MessageWriter
from devcloud.sqlserver.tds.typeinfo import ResultColumn


class _NowhereStream:
    """A stream that swallows what is sent."""

    def recv_into(self, buffer: memoryview) -> int:
        """Be at the end."""
        return 0

    def sendall(self, data: bytes | memoryview) -> None:
        """Swallow."""


class _CollectedResults(Results):
    """Keeps rows and errors instead of sending them."""

    def __init__(self) -> None:
        super().__init__(MessageWriter(_NowhereStream()))
        self.sets: list[list[tuple[object, ...]]] = []
        self.errors: list[SqlError] = []

    def columns(self, columns: Sequence[ResultColumn]) -> None:
        """Begin a result set."""
        self.sets.append([])

    def rows(self, batch: pa.RecordBatch, columns: Sequence[ResultColumn]) -> None:
        """Keep rows."""
        self.sets[-1].extend(zip(*(column.to_pylist() for column in batch.columns), strict=True))

    def message(self, error: SqlError) -> None:
        """Keep an error."""
        if error.severity > 10:
            self.errors.append(error)


def run_locally(shared: Shared, number: int, text: str, database: str) -> list[list[tuple[object, ...]]]:
    """Run a batch as administrator and return its result sets. Raises the first SqlError."""
    session = Session(shared, number)
    try:
        session.login = ADMINISTRATOR
        session.use(database)
        results = _CollectedResults()
        Executor(session, results).run(text)
        if results.errors:
            raise results.errors[0]
        return results.sets
    finally:
        session.close()
