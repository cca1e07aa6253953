"""The response to one request: tokens in their order, the last DONE without the bit that promises more."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from devcloud.sqlserver.errors import SqlError
from devcloud.sqlserver.tds import tokens
from devcloud.sqlserver.tds.encoder import encode_rows
from devcloud.sqlserver.tds.packets import MessageWriter
from devcloud.sqlserver.tds.typeinfo import ResultColumn, make_column_metadata


class Results:
    """Writes a response. ``in_procedure`` is set while the statements of an RPC run, whose DONE tokens differ."""

    def __init__(self, writer: MessageWriter) -> None:
        self._writer = writer
        self._pending: tuple[int, int, int, int] | None = None
        self.in_procedure = False

    def _write(self, data: bytes | memoryview) -> None:
        self._release(more=True)
        self._writer.write(data)

    def _release(self, *, more: bool) -> None:
        if self._pending is not None:
            kind, status, command, count = self._pending
            self._pending = None
            self._writer.write(tokens.make_done(kind, status | (tokens.MORE if more else 0), command, count))

    def columns(self, columns: Sequence[ResultColumn]) -> None:
        """Begin a result set."""
        self._write(make_column_metadata(columns))

    def rows(self, batch: pa.RecordBatch, columns: Sequence[ResultColumn]) -> None:
        """Send rows. Blocks while the client does not read."""
        if batch.num_rows:
            self._write(encode_rows(batch, columns))

    def flush(self) -> None:
        """Send what there is."""
        self._writer.flush()

    def token(self, data: bytes) -> None:
        """Send a token that is already made."""
        self._write(data)

    def message(self, error: SqlError) -> None:
        """Send an error, with those it came with, or a message of low severity."""
        self._write(tokens.make_message(error))
        for other in error.also:
            self._write(tokens.make_message(other))

    def done(self, count: int | None = None, command: int = 0, *, failed: bool = False) -> None:
        """Close a statement."""
        status = (tokens.COUNT if count is not None else 0) | (tokens.ERROR if failed else 0)
        kind = tokens.DONE_IN_PROC if self.in_procedure else tokens.DONE
        self._release(more=True)
        self._pending = (kind, status, command, count or 0)

    def done_procedure(self, *, failed: bool = False) -> None:
        """Close a call."""
        self._release(more=True)
        self._pending = (tokens.DONE_PROC, tokens.ERROR if failed else 0, 0, 0)

    def finish(self, *, in_transaction: bool = False) -> None:
        """Send the last token and the last packet."""
        if self._pending is None:
            self._pending = (tokens.DONE, 0, 0, 0)
        kind, status, command, count = self._pending
        self._pending = (kind, status | (tokens.IN_TRANSACTION if in_transaction else 0), command, count)
        self._release(more=False)
        self._writer.finish()

    def cancel(self) -> None:
        """Acknowledge a cancellation: a DONE that says so, and nothing after it."""
        self._release(more=True)
        self._writer.write(tokens.make_done(tokens.DONE, tokens.ATTENTION))
        self._writer.finish()
