"""Stopping during work that returns nothing for long: a pass over a large file, a table of many columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Stopped(Exception):
    """The load was asked to stop, or the slice has to end, and what was under way has not been finished."""


def _never() -> bool:
    return False


_asked: ContextVar[Callable[[], bool]] = ContextVar("asked_to_stop", default=_never)
_overdue: ContextVar[Callable[[], bool]] = ContextVar("overdue", default=_never)


@contextmanager
def stops_when(asked: Callable[[], bool]) -> Iterator[None]:
    """Within this, `stop_if_asked` raises Stopped once ``asked`` says so."""
    token = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(token)


@contextmanager
def ends_when(overdue: Callable[[], bool]) -> Iterator[None]:
    """Within this, a slice ends early, to be continued by another one, once ``overdue`` says so."""
    token = _overdue.set(overdue)
    try:
        yield
    finally:
        _overdue.reset(token)


def is_overdue() -> bool:
    """Whether the slice has to end, to be continued by another one."""
    return _overdue.get()()


def stop_if_asked() -> None:
    """Raise Stopped where a stop was requested, or the slice has to end. Cheap; for loops whose steps take long."""
    if _asked.get()() or is_overdue():
        raise Stopped
