"""Shortcuts of planning: several sources are asked at once, and none is waited for longer than it is worth."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context

from hygge_engine.errors import HyggeError

_log = logging.getLogger(__name__)


def run_apart(work: Sequence[Callable[[], None]], until: float, *, without: str, then: str) -> None:
    """Do several things at once on threads of their own, and wait for them no longer than ``until`` (of
    `time.monotonic`): a server that is silent holds up nobody else. Whatever they fail with is logged.

    ``without`` says what is missing where one fails, ``then`` what follows where some have not ended, for the log.
    """

    def guarded(each: Callable[[], None]) -> None:
        try:
            each()
        except HyggeError as error:
            _log.warning("%s: %s", without, error)
        except Exception:  # noqa: BLE001 - a fault of a shortcut must stop no load
            _log.exception("%s, because of an unexpected failure.", without)

    threads = [
        threading.Thread(target=copy_context().run, args=(guarded, each), name="hygge-survey", daemon=True)
        for each in work
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    if late := sum(thread.is_alive() for thread in threads):
        _log.warning("%s did not respond in time; %s.", late, then)
