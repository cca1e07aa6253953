"""The command line: ``hygge`` and its commands, each in a module of its own beside `app`.

This module is imported at every start, so it imports nothing heavy.
"""

# What `signal` is made of, without the names for its numbers: those take as long as the whole of Python's start.
import _signal as signal  # type: ignore[import-not-found]
import os

__all__ = ["main"]

_EXIT_INTERRUPTED = 130


def main() -> None:
    """The entry point of the ``hygge`` command."""
    # Wherever no command knows better, before its imports and after its end, Ctrl-C ends the process silently.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # Else it is ignored, as after `nohup`.
        signal.signal(signal.SIGINT, lambda *_: os._exit(_EXIT_INTERRUPTED))
    from hygge_engine.cli.streams import run_with_streams
    from hygge_engine.memory import choose_allocator

    choose_allocator()
    run_with_streams(_run)


def _run() -> None:
    from hygge_engine.cli.app import app

    app()
