"""Calls of a driver that end after a time, whatever the server does.

Microsoft's ODBC driver keeps its own timeouts between the packets of a response. Inside a packet it does not: where a
server has sent half of one, or announces more than it sends, the driver waits for the rest without end. So a thread of
the connection's own makes the calls, and the caller waits no longer than it should.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

# How much longer than the driver's own timeout a call may take: that one comes first, with better words.
OVERTIME_SECONDS = 30.0
# The same while logging in, where a user may be waiting at a terminal.
LOGIN_OVERTIME_SECONDS = 5.0
# Nothing is lost by a connection that does not close in time.
CLOSING_SECONDS = 15.0

# How often an abandoned call is checked, until it ends.
_POLL_SECONDS = 1.0

# No system has so many files open, and none lets a process have memory below.
_LOWEST_ADDRESS = 1 << 16


def seconds_of_a_call(query_timeout_seconds: int) -> float | None:
    """How long one call may take, with all that it waits for; None where that is left to the server."""
    return query_timeout_seconds + OVERTIME_SECONDS if query_timeout_seconds else None


class NoResponse(Exception):
    """A call did not return in time; the connection is of no use any more."""


class DriverThread:
    """The thread that calls a driver for one connection, one call after the other.

    A call that takes too long is given up: `call` raises NoResponse, then and from then on, and the connection is
    closed when the call returns after all. On Linux that is at once, because its socket is shut down; elsewhere it is
    when the server hangs up.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], object]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="hygge-driver", daemon=True)
        self._given_up = False
        self._thread.start()

    def call[T](self, function: Callable[[], T], seconds: float | None) -> T:
        """Return or raise what ``function`` does, within a number of seconds; None waits as long as it takes.

        Raises NoResponse. An interrupt while waiting gives up the call, too.
        """
        if self._given_up:
            raise NoResponse("The connection was closed, because no complete response of the server came in time")
        future: Future[T] = Future()
        self._tasks.put((future, function))
        try:
            return future.result(seconds)
        except BaseException as error:
            if not future.done():
                self._give_up()
                if isinstance(error, TimeoutError):
                    raise NoResponse(f"No complete response of the server within {seconds:g} s") from error
            raise
        finally:
            del future, function  # or what was fetched would be held by the frames of an error

    def close(self, function: Callable[[], object]) -> None:
        """End the thread with a last call, which closes the connection. Raises what that raises."""
        future: Future[object] = Future()
        self._tasks.put((future, function))
        self._tasks.put(None)
        if self._given_up:
            return
        try:
            future.result(CLOSING_SECONDS)
        except BaseException as error:
            if future.done():
                raise
            self._give_up()
            if not isinstance(error, TimeoutError):
                raise

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, function = task
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
                future.set_exception(error)
            del task, future, function  # or this batch would be held until the next one is requested

    def _give_up(self) -> None:
        self._given_up = True
        threading.Thread(target=self._hang_up, name="hygge-hang-up", daemon=True).start()

    def _hang_up(self) -> None:
        """Shut down the sockets that the thread waits at, until it has finished its call."""
        while self._thread.is_alive():
            _shut_down_socket_of(self._thread.native_id)
            self._thread.join(_POLL_SECONDS)


def _shut_down_socket_of(thread: int | None) -> None:
    """Shut down the socket that a thread of this process waits at, where the system shows which one that is."""
    with suppress(OSError, ValueError, IndexError, OverflowError, struct.error):
        # The number of the system call it is in, and its arguments. The first one of a read is the number of a file,
        # that of a poll the address of a structure which begins with it.
        number = int(Path(f"/proc/self/task/{thread}/syscall").read_text().split()[1], 16)
        if number >= _LOWEST_ADDRESS:
            with Path("/proc/self/mem").open("rb", buffering=0) as memory:
                memory.seek(number)
                (number,) = struct.unpack("=i", memory.read(4))
        if stat.S_ISSOCK(os.fstat(number).st_mode):
            with socket.socket(fileno=os.dup(number)) as its_socket:
                its_socket.shutdown(socket.SHUT_RDWR)
