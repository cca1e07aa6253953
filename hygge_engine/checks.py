"""What `hygge doctor` finds out, one thing at a time: the result, how it was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hygge_engine.errors import HyggeError

# unknown: this server, lake or login cannot say; it neither passes nor fails.
Result = Literal["ok", "warning", "failed", "unknown"]


@dataclass(frozen=True)
class DoctorCheck:
    """One finding. ``how`` names the request or query behind it, ``remedy`` what to do, ``code`` the error's page."""

    name: str
    result: Result
    found: str
    how: str = ""
    remedy: str = ""
    code: str = ""


def attempt(name: str, how: str, look: Callable[[], DoctorCheck]) -> DoctorCheck:
    """What ``look`` returns, or its error as a failed check."""
    try:
        return look()
    except HyggeError as error:
        return failure(name, how, error)


def failure(name: str, how: str, error: HyggeError) -> DoctorCheck:
    """An error as a failed check."""
    return DoctorCheck(name, "failed", error.message, how, error.hint, error.code)
