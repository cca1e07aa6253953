"""Servers that recently sent nothing within the whole login timeout: the next connections fail at once.

Otherwise every slice, and every requested window, would wait as long as the first one, in places that others could work
in. Each process keeps its own list, and for a short while only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from hygge_engine.errors import HomeUnavailable, HyggeError

# How long a silence is kept, in seconds. Then one connection tries again, and the others get its result.
REMEMBERED_SECONDS = 30.0

# The part of a login's timeout that makes a failure a silence: a refusal, or a closed port, comes at once.
_SILENCE = 0.9


# What logins of this thread have waited for others than their server, in seconds.
_elsewhere: ContextVar[float] = ContextVar("_elsewhere", default=0.0)


@contextmanager
def waiting_elsewhere() -> Iterator[None]:
    """Around what a login waits for that is not its server, as for a token of Entra: that is no silence of the
    server."""
    began = time.monotonic()
    try:
        yield
    finally:
        _elsewhere.set(_elsewhere.get() + time.monotonic() - began)


@dataclass
class _Silence:
    """``since`` when (monotonic) a server has been known to be silent, and whether a connection is trying it again."""

    since: float
    waited_seconds: float
    asked: bool = False


class SilentServers:
    """What has become of the last login at each server. May be used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._silent: dict[str, _Silence] = {}

    @contextmanager
    def ask(self, address: str, login_timeout_seconds: float) -> Iterator[None]:
        """Around a login. Raises HomeUnavailable at once where another has just found the server silent, or is finding
        out whether it still is."""
        with self._lock:
            self._check(address, login_timeout_seconds)
        began, before = time.monotonic(), _elsewhere.get()
        try:
            yield
        except BaseException as error:
            waited = time.monotonic() - began - (_elsewhere.get() - before)
            is_long = waited >= _SILENCE * login_timeout_seconds
            silent = isinstance(error, HyggeError) and error.transient and is_long
            self._note(address, _Silence(time.monotonic(), waited) if silent else None)
            raise
        self._note(address, None)

    def forget(self) -> None:
        """Drop all silences."""
        with self._lock:
            self._silent.clear()

    def _check(self, address: str, login_timeout_seconds: float) -> None:
        silence = self._silent.get(address)
        if silence is None:
            return
        ago = time.monotonic() - silence.since
        if not silence.asked and ago >= REMEMBERED_SECONDS:
            silence.asked = True
            return
        again = login_timeout_seconds if silence.asked else REMEMBERED_SECONDS - ago
        raise HomeUnavailable(
            f"{address} did not respond to a login {ago:.0f} s ago (waited {silence.waited_seconds:.0f} s). "
            "Logins fail at once until a retry succeeds.",
            hint="Check that the server runs, and what lies between here and it.",
            retry_after_seconds=again,
        )

    def _note(self, address: str, silence: _Silence | None) -> None:
        with self._lock:
            if silence is None:
                self._silent.pop(address, None)
            else:
                self._silent[address] = silence


# Those of this process.
silent_servers = SilentServers()
