"""Panics of native packages that are written in Rust: exceptions that no ``except Exception`` catches.

They say that a package did not foresee a value, not that the process has to end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hygge_engine.errors import HyggeError


def is_panic(error: BaseException) -> bool:
    """Each package has a class of its own for them, of one name."""
    return (type(error).__module__, type(error).__name__) == ("pyo3_runtime", "PanicException")


@contextmanager
def panics_as(make: Callable[[str], HyggeError]) -> Iterator[None]:
    """Raise what ``make`` gives for a panic's text in its stead."""
    try:
        yield
    except BaseException as error:
        if is_panic(error):
            raise make(str(error)) from error
        raise
