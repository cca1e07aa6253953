"""A terminal is usable after every way in which Ctrl-C ends a command."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

PATIENCE_SECONDS = 30
# Signals that the system has not delivered yet are one; should two still meet, the grace ends the command.
BETWEEN_SECONDS = 0.2
GRACE_SECONDS = 5.0
READY = "ready to be stopped"
CTRL_C = "\x03"


HEARING = f"import time; print({READY!r}, flush=True); [time.sleep(0.1) for _ in range(600)]"
# A main thread that does not hear a signal, as one that waits within polars or Arrow does not.
DEAF = (
    "import ctypes, signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}); "
    f"print({READY!r}, flush=True); ctypes.CDLL(None).sleep(60)"
)

BARS = """
from hygge_engine.cli import interrupt
from hygge_engine.cli.observers import choose_display
from hygge_engine.cli.output import open_console

interrupt.GRACE_SECONDS = {grace}
with choose_display(open_console(), json_=False, verbose=False) as display:
    display.planned([{{"flow": "f", "entity": "e"}}])
    with interrupt.ends_soon(display.stopping, leaving=display.leaving):
        {body}
"""
STATUS = """
import sys

import typer

from hygge_engine.cli import interrupt
from hygge_engine.cli.messages import reporting
from hygge_engine.cli.output import open_console

interrupt.GRACE_SECONDS = {grace}
try:
    with reporting(json_=False, verbose=False), open_console().status("checking"):
        {body}
except typer.Exit as end:
    sys.exit(end.exit_code)
"""

# Runs a command as a shell does, with the terminal as the one that its keys come from.
IN_FRONT = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"


@dataclass
class Left:
    """What a command has left behind."""

    code: int
    screen: str
    as_before: bool


def interrupted(script: str, *arguments: str, ready: str = READY, keys: str, directory: Path | None = None) -> Left:
    """Run a script on a terminal of its own, and press each of the keys once it has shown ``ready``."""
    outer, inner = pty.openpty()
    before = termios.tcgetattr(inner)
    process = subprocess.Popen(
        [sys.executable, "-c", IN_FRONT, sys.executable, "-c", script, *arguments],
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
        cwd=directory,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    screen, left, next_press = b"", list(keys.encode()), 0.0
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([outer], [], [], 0.05)[0]:
                screen += os.read(outer, 65536)
            if left and ready.encode() in screen and time.monotonic() >= next_press:
                next_press = time.monotonic() + BETWEEN_SECONDS
                os.write(outer, bytes([left.pop(0)]))
        while select.select([outer], [], [], 0)[0]:
            screen += os.read(outer, 65536)
        return Left(process.wait(1), screen.decode(errors="replace"), termios.tcgetattr(inner) == before)
    finally:
        process.kill()
        process.wait()
        os.close(outer)
        os.close(inner)


@pytest.mark.parametrize(
    ("script", "body", "presses"),
    [
        (BARS, HEARING, 1),
        (BARS, HEARING, 2),
        (BARS, DEAF, 1),
        (BARS, DEAF, 2),
        (STATUS, DEAF, 1),
        (STATUS, DEAF, 2),
    ],
)
def test_the_cursor_and_the_echo_are_back_after_ctrl_c(script: str, body: str, presses: int) -> None:
    grace = 0.2 if presses == 1 else GRACE_SECONDS
    left = interrupted(script.format(grace=grace, body=body), keys=CTRL_C * presses)
    assert left.code == 130 or (presses, left.code) == (2, -signal.SIGINT), left.screen
    assert left.as_before
    assert left.screen.rfind("\x1b[?25h") > left.screen.rfind("\x1b[?25l") >= 0
    assert "Traceback" not in left.screen
