"""Errors with SQL Server's own numbers, states and severities ("class" on the wire)."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from typing import Final


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


def _read_table() -> dict[int, tuple[int, str]]:
    text = files("devcloud.sqlserver").joinpath("errors.tsv").read_text(encoding="utf-8")
    lines = (line.split("\t") for line in text.splitlines()[1:])
    return {int(number): (int(severity), message) for number, severity, _, message in lines}


ERRORS: Final = _read_table()
"""The severity and text of each number. Texts follow their source (of SQL Server: sys.messages) to the letter, because
clients match on them."""


def make_error(number: int, *values: object, state: int = 1, line: int = 1) -> SqlError:
    """Return the error of that number, its text filled with ``values``; a KeyError means one not in errors.tsv."""
    severity, text = ERRORS[number]
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
    """The client is gone, or a fault has the server cut the connection."""


class SessionEndedError(Exception):
    """An error of severity 20 or more was sent: the connection ends, once the client has read it."""


class CancelledError(Exception):
    """The client sent an ATTENTION: stop what is running and say so."""
