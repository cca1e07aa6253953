"""One client's connection: handshake, requests in, responses out, cancellation in between."""

from __future__ import annotations

import queue
import socket
import struct
import threading
from collections.abc import Callable
from typing import Final

from devcloud.sqlserver.bulk import (
    BulkTarget,
    describe_destination,
    destination_of,
    is_insert_bulk,
    load_rows,
    target_of,
)
from devcloud.sqlserver.engine.failures import ENGINE_ERRORS
from devcloud.sqlserver.errors import CancelledError, ConnectionLostError, SessionEndedError, SqlError, make_error
from devcloud.sqlserver.executor import Executor
from devcloud.sqlserver.results import Results
from devcloud.sqlserver.rpc import run_requests
from devcloud.sqlserver.session import Session, Shared
from devcloud.sqlserver.tds import tokens
from devcloud.sqlserver.tds.login import UTF8_SUPPORT, Encryption, make_prelogin, read_login, read_prelogin
from devcloud.sqlserver.tds.packets import (
    LARGEST_PACKET_BYTES,
    PREFERRED_PACKET_BYTES,
    RESET_CONNECTION,
    RESET_CONNECTION_KEEP_TRANSACTION,
    MessageWriter,
    PacketType,
    SocketStream,
    Stream,
    read_message,
    reset,
)
from devcloud.sqlserver.tds.parameters import read_rpc_requests, skip_headers
from devcloud.sqlserver.tds.tls import TlsStream

_SMALLEST_PACKET_BYTES: Final = 512
_LOGIN_SECONDS: Final = 30
_TRANSACTION_KINDS: Final = {0: "get DTC address", 1: "propagate", 5: "begin", 7: "commit", 8: "rollback", 9: "save"}
_ISOLATION_LEVELS: Final = {
    1: "READ UNCOMMITTED",
    2: "READ COMMITTED",
    3: "REPEATABLE READ",
    4: "SERIALIZABLE",
    5: "SNAPSHOT",
}
Message = tuple[PacketType, int, bytes]


class Connection:
    """Serves one client until it leaves. ``run`` is the body of its thread."""

    def __init__(self, connection: socket.socket, shared: Shared, number: int) -> None:
        self._socket = connection
        self._stream: Stream = SocketStream(connection)
        self._shared = shared
        self._session = Session(shared, number)
        self._packet_bytes = 4096
        self._requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_busy = False
        self._bulk_target: BulkTarget | None = None

    def close(self) -> None:
        """Cut the connection, from another thread."""
        self._session.hang_up()
        reset(self._socket)

    def run(self) -> None:
        """Shake hands, then serve requests until the client leaves."""
        try:
            self._socket.settimeout(_LOGIN_SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._log_in():
                self._socket.settimeout(None)
                reader = threading.Thread(target=self._read, name=f"tds-reader-{self._session.number}", daemon=True)
                reader.start()
                try:
                    self._serve()
                except SessionEndedError:
                    self._socket.shutdown(socket.SHUT_WR)
                    reader.join(_LOGIN_SECONDS)
                finally:
                    reset(self._socket)
                    reader.join()
        except (ConnectionLostError, OSError):
            pass
        finally:
            reset(self._socket)
            self._session.close()

    # Login

    def _log_in(self) -> bool:
        kind, _, body = read_message(self._stream)
        if kind is PacketType.PRELOGIN:
            asked = read_prelogin(body)
            tls = self._shared.tls
            encrypts = tls is not None and asked in (Encryption.ON, Encryption.REQUIRED)
            writer = MessageWriter(self._stream)
            writer.write(make_prelogin(Encryption.ON if encrypts else Encryption.NOT_SUPPORTED))
            writer.finish()
            if encrypts and tls is not None:
                self._stream = TlsStream(self._stream, tls)
            kind, _, body = read_message(self._stream)
        if kind is not PacketType.LOGIN7:
            raise ConnectionLostError(f"a {kind.name} before login")
        login = read_login(body)
        results = Results(MessageWriter(self._stream, self._packet_bytes))
        session = self._session
        try:
            self._shared.faults.at_login(login.user)
            session.log_in(login.user, login.password, login.database)
        except SqlError as error:
            results.message(error)
            results.done(failed=True)
            results.finish()
            return False
        session.application, session.host = login.application, login.host
        wanted = login.packet_bytes or PREFERRED_PACKET_BYTES
        self._packet_bytes = max(_SMALLEST_PACKET_BYTES, min(wanted, LARGEST_PACKET_BYTES))
        self._greet(results, UTF8_SUPPORT in login.features)
        return True

    def _greet(self, results: Results, utf8: bool) -> None:
        change = tokens.make_environment_change
        database = self._session.database
        results.token(change(tokens.ENV_DATABASE, database, "master"))
        results.token(tokens.make_message(make_error(5701, database, state=2)))
        results.token(change(tokens.ENV_COLLATION, tokens.COLLATION_CI_AS, b""))
        results.token(change(tokens.ENV_LANGUAGE, "us_english", ""))
        results.token(tokens.make_message(make_error(5703, "us_english")))
        results.token(tokens.make_login_acknowledgement())
        results.token(change(tokens.ENV_PACKET_SIZE, str(self._packet_bytes), "4096"))
        if utf8:
            results.token(tokens.make_feature_acknowledgement({UTF8_SUPPORT: b"\x01"}))
        results.done()
        results.finish()

    # Reading, in a thread of its own, so that an ATTENTION is seen while a response is on its way

    def _read(self) -> None:
        try:
            while True:
                message = read_message(self._stream)
                if message[0] is PacketType.ATTENTION:
                    with self._lock:
                        if self._is_busy:
                            self._session.cancel()
                            continue
                self._requests.put(message)
        except (ConnectionLostError, OSError):
            self._session.hang_up()
            self._requests.put(None)

    # Serving

    def _serve(self) -> None:
        while (message := self._requests.get()) is not None:
            kind, status, body = message
            results = Results(MessageWriter(self._stream, self._packet_bytes))
            if kind is PacketType.ATTENTION:
                results.cancel()
                continue
            with self._lock:
                self._is_busy = True
            try:
                if status & (RESET_CONNECTION | RESET_CONNECTION_KEEP_TRANSACTION):
                    self._session.reset()
                    results.token(tokens.make_reset_acknowledgement())
                self._answer(kind, body, results)
                results.finish(in_transaction=self._session.transaction.count > 0)
            except CancelledError:
                self._finish_cancelled(results)
                continue
            with self._lock:
                self._is_busy = False
                late = self._session.take_cancellation()
            if late:  # it came when the response was complete: it must still be acknowledged
                Results(MessageWriter(self._stream, self._packet_bytes)).cancel()

    def _finish_cancelled(self, results: Results) -> None:
        session = self._session
        session.check_closed()
        if session.transaction.is_open and session.transaction.count == 0:
            session.end_transaction(commit=False)
        with self._lock:
            self._is_busy = False
            session.take_cancellation()
        results.cancel()

    def _answer(self, kind: PacketType, body: bytes, results: Results) -> None:
        match kind:
            case PacketType.SQL_BATCH:
                start, _ = skip_headers(body)
                text = body[start:].decode("utf-16-le", "replace")
                self._session.variables = {}
                self._run(text, results)
            case PacketType.RPC:
                self._session.variables = {}
                run_requests(Executor(self._session, results), read_rpc_requests(body))
            case PacketType.TRANSACTION_MANAGER:
                self._manage_transaction(body, results)
            case PacketType.BULK_LOAD if self._bulk_target is not None:
                target, self._bulk_target = self._bulk_target, None
                self._guard(results, lambda executor: load_rows(executor, target, body))
            case _:
                results.message(make_error(40510, kind.name))
                results.done(failed=True)

    def _run(self, text: str, results: Results) -> None:
        """Run a batch, or one of the two by which a bulk copy client begins."""
        destination = destination_of(text)
        if destination is not None:
            self._guard(results, lambda executor: describe_destination(executor, destination))
        elif is_insert_bulk(text):
            self._guard(results, lambda executor: self._expect_rows(text, executor))
        else:
            Executor(self._session, results).run(text)

    def _expect_rows(self, text: str, executor: Executor) -> None:
        self._bulk_target = target_of(text)
        executor.results.done()

    def _guard(self, results: Results, action: Callable[[Executor], None]) -> None:
        """Do something in a statement of its own, and send its error if it fails."""
        executor = Executor(self._session, results)
        self._session.begin_statement()
        try:
            action(executor)
        except (SqlError, *ENGINE_ERRORS) as error:
            executor.fail(error if isinstance(error, SqlError) else make_error(8630, error))

    def _manage_transaction(self, body: bytes, results: Results) -> None:
        start, _ = skip_headers(body)
        request = struct.unpack_from("<H", body, start)[0]
        payload = body[start + 2 :]
        executor = Executor(self._session, results)
        kind = _TRANSACTION_KINDS.get(request, "")
        try:
            if kind == "begin":
                self._begin(payload, results)
            elif kind in ("commit", "rollback"):
                self._end(kind, payload, executor, results)
            else:
                raise make_error(40510, f"transaction request {request}")
        except (SqlError, *ENGINE_ERRORS) as error:
            results.message(error if isinstance(error, SqlError) else make_error(8630, error))
            results.done(failed=True)
            return
        results.done()

    def _begin(self, payload: bytes, results: Results) -> None:
        transaction = self._session.transaction
        if payload and payload[0] in _ISOLATION_LEVELS:
            transaction.isolation = _ISOLATION_LEVELS[payload[0]]
        transaction.begin()
        if transaction.count == 1:
            results.token(tokens.make_environment_change(tokens.ENV_BEGIN, transaction.descriptor, b""))

    def _end(self, kind: str, payload: bytes, executor: Executor, results: Results) -> None:
        transaction = self._session.transaction
        if transaction.count == 0:
            raise make_error(3902 if kind == "commit" else 3903)
        if kind == "commit" and transaction.count > 1:
            transaction.count -= 1
            return
        executor.end_transaction(commit=kind == "commit")
        name_bytes = payload[0] if payload else 0
        flags = payload[1 + name_bytes] if len(payload) > 1 + name_bytes else 0
        if flags & 1:  # begin the next one at once
            self._begin(payload[2 + name_bytes :], results)
