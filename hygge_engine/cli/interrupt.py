"""Ctrl-C: a command ends soon after the first one, whatever it waits for, and at once with the second."""

from __future__ import annotations

import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from hygge_engine.cli.terminal import give_back

EXIT_INTERRUPTED = 130  # As shells report a program that SIGINT has ended.

# How long what is under way may stay silent after the first Ctrl-C before the command leaves it. What is lost is what
# a crash would lose, which no table minds.
GRACE_SECONDS = 2.0

_LOOK_SECONDS = 0.05

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def ends_soon(
    stop: Callable[[], None],
    *,
    silence_seconds: Callable[[], float] = lambda: math.inf,
    leaving: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Within this, the first SIGINT or SIGTERM calls ``stop``, which must neither print nor block, and the second ends
    the process. So do `GRACE_SECONDS` after the first one, once nothing has moved for as long, by ``silence_seconds``
    (since something last moved); ``leaving`` is called before, from a thread of its own.

    However it ends, the terminal is given back as it was. The thread that ends it is notified by the system itself:
    Python's handlers run on the main thread, and polars and Arrow have a waiting main thread sleep on through a signal
    (SA_RESTART). A signal that comes between a look for signals and the wait that follows, as where a question is about
    to be asked, wakes no thread either, so this thread wakes the main thread until it has handled the signal. An
    interrupt that `stop` raises within a finalizer is dropped by Python with a traceback; it is raised again instead.
    One within a constructor leaves an object half built, whose finalizer fails: that is never shown.
    """
    heard: list[int] = []  # Not an event, whose lock a second signal's handler would wait for.
    dropped: list[int] = []
    before_hook = sys.unraisablehook

    def interrupt(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        # The next one ends the process whatever holds the interpreter, so the terminal is given back before it comes.
        signal.signal(number, signal.SIG_DFL)
        give_back()
        stop()

    def wake(number: int, frame: FrameType | None) -> None:
        if dropped:
            dropped.clear()
            stop()

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            dropped.append(1)
        elif not heard:
            before_hook(unraisable)

    ear, mouth = socket.socketpair()
    mouth.setblocking(False)
    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    if sys.platform != "win32":
        before[signal.SIGURG] = signal.signal(signal.SIGURG, wake)
    sys.unraisablehook = hook
    before_mouth = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    watch = threading.Thread(
        target=_watch, args=(ear, heard, dropped, silence_seconds, leaving), name="hygge-interrupt", daemon=True
    )
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before_mouth)
        for number, handler in before.items():
            signal.signal(number, handler)
        if not heard and sys.unraisablehook is hook:  # Else this one, or one within, keeps finalizers quiet to the end.
            sys.unraisablehook = before_hook
        mouth.close()
        watch.join()
        ear.close()


def interrupt_main_thread() -> None:
    """Stop whatever the main thread does; to be called by a signal handler."""
    raise KeyboardInterrupt


def _watch(
    ear: socket.socket,
    heard: Sequence[int],
    dropped: Sequence[int],
    silence_seconds: Callable[[], float],
    leaving: Callable[[], None],
) -> None:
    """Leave the process at the second signal, or some time after the first; return where it is no longer wanted."""
    asked: float | None = None
    while True:
        ear.settimeout(None if asked is None else _LOOK_SECONDS)
        try:
            number = ear.recv(1)
            if not number:
                return
            if number[0] in _SIGNALS:
                if asked is not None:
                    _end(EXIT_INTERRUPTED)
                asked = time.monotonic()
        except TimeoutError:
            if dropped or not heard:
                _wake_main_thread()
        if asked is not None and min(silence_seconds(), time.monotonic() - asked) >= GRACE_SECONDS:
            leaving()
            end_process(EXIT_INTERRUPTED)


def _wake_main_thread() -> None:
    """End the system call that the main thread waits in, so that it looks for signals."""
    if sys.platform != "win32":
        main = threading.main_thread().ident
        if main is not None:
            signal.pthread_kill(main, signal.SIGURG)


def end_process(code: int) -> NoReturn:
    """End the process, whatever its threads wait for, once what it has said is out."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()
    _end(code)


def _end(code: int) -> NoReturn:
    give_back()
    os._exit(code)
