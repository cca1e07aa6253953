"""What the sessions of both drivers have in common: every call on a thread of the connection's own, every error in the
words of the session's translation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, ClassVar

from hygge_engine.errors import HyggeError
from hygge_engine.homes.mssql.connect import secrets_of, token_attributes
from hygge_engine.homes.mssql.driver_thread import (
    CLOSING_SECONDS,
    LOGIN_OVERTIME_SECONDS,
    DriverThread,
    NoResponse,
    seconds_of_a_call,
)
from hygge_engine.homes.mssql.errors import Diagnosis, Translate, translate
from hygge_engine.homes.mssql.session import Stream
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.homes.mssql.values import Parameter


class DriverSession(ABC):
    """A `Session` over a connection as DB-API has it, but for what a driver does in its own way."""

    # What the driver raises, beside what Python does where a value cannot be made of what was sent.
    driver_errors: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, connection: MssqlConnection, translation: Translate = translate) -> None:
        self._translate = translation
        self._secrets = secrets_of(connection)
        self._thread = DriverThread()
        self._seconds = seconds_of_a_call(connection.query_timeout_seconds)
        try:
            with self._errors(f"Connecting to {connection.address}"):
                attributes = token_attributes(connection)
                self._connection = self._thread.call(
                    lambda: self._connect(connection, attributes),
                    connection.login_timeout_seconds + LOGIN_OVERTIME_SECONDS,
                )
        except BaseException:
            self._thread.close(lambda: None)
            raise

    @abstractmethod
    def _connect(self, connection: MssqlConnection, attributes: dict[int, bytes]) -> Any:
        """The driver's connection."""

    @abstractmethod
    def _begin(self, sql: str, parameters: Sequence[Parameter]) -> Any:
        """A cursor whose statement has been executed."""

    @abstractmethod
    def _fetch(self, sql: str, parameters: Sequence[Parameter], doing: str, most: int | None) -> list[tuple[Any, ...]]:
        """The rows of a small result, see `gather`."""

    @abstractmethod
    def _stream(self, cursor: Any, doing: str) -> Stream:
        """The rows of a cursor whose statement has been executed."""

    @abstractmethod
    def _diagnose(self, error: Any) -> Diagnosis:
        """What one of ``driver_errors`` says."""

    def fetch_all(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> list[tuple[Any, ...]]:
        return self.call(lambda: self._fetch(sql, parameters, doing, None), doing)

    def fetch_some(
        self, sql: str, rows: int, parameters: Sequence[Parameter] = (), *, doing: str
    ) -> list[tuple[Any, ...]]:
        return self.call(lambda: self._fetch(sql, parameters, doing, rows), doing)

    def stream(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> Stream:
        cursor = self.call(lambda: self._begin(sql, parameters), doing)
        with self._errors(doing):
            return self._stream(cursor, doing)

    def execute(self, sql: str, parameters: Sequence[Parameter] = (), *, doing: str) -> None:
        cursor = self.call(lambda: self._begin(sql, parameters), doing)
        while self.call(cursor.nextset, doing):  # errors of later statements come with their results
            pass
        self.check_messages(cursor, doing)
        self.call(cursor.close, doing)

    def close(self) -> None:
        # A connection that is gone already needs no closing.
        with suppress(*self.driver_errors):
            self._thread.close(self._connection.close)

    def call[T](self, function: Callable[[], T], doing: str) -> T:
        """What ``function`` returns on the connection's thread. Raises what the translation makes of errors."""
        with self._errors(doing):
            return self._thread.call(function, self._seconds)

    def release(self, function: Callable[[], object]) -> None:
        """Free something on the connection's thread; one that is gone already needs no freeing."""
        with suppress(*self.driver_errors, NoResponse):
            self._thread.call(function, CLOSING_SECONDS)

    def check_messages(self, cursor: Any, doing: str) -> None:
        """Raise what the driver has only noted of a statement, where it has a way to note."""
        return

    def error(self, diagnosis: Diagnosis, doing: str) -> HyggeError:
        """What the session's translation makes of a diagnosis."""
        return self._translate(diagnosis, doing, secrets=self._secrets)

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        try:
            yield
        except NoResponse as error:
            raise self.error(Diagnosis("HYT00", 0, str(error)), doing) from error
        except self.driver_errors as error:
            raise self.error(self._diagnose(error), doing) from error
        except (ValueError, ArithmeticError) as error:  # what no Python object can be made of
            said = Diagnosis("", 0, f"The server has sent a value that cannot be read: {error}")
            raise self.error(said, doing) from error
