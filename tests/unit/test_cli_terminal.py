"""A terminal is usable after every way in which Ctrl-C ends a command."""

from __future__ import annotations

import os
import pty
import re
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
CTRL_C, CTRL_D = "\x03", "\x04"


HEARING = f"import time; print({READY!r}, flush=True); [time.sleep(0.1) for _ in range(600)]"
# A main thread that does not hear a signal, as one that waits within polars or Arrow does not.
DEAF = (
    "import ctypes, signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGURG}); "
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
from hygge_engine.cli.messages import error_boundary
from hygge_engine.cli.output import open_console

interrupt.GRACE_SECONDS = {grace}
try:
    with error_boundary(json_=False, verbose=False), open_console().status("checking"):
        {body}
except typer.Exit as end:
    sys.exit(end.exit_code)
"""

# Runs a command as a shell does, with the terminal as the one that its keys come from, and with signals that are heard
# even where the tests themselves run in the background of a shell that has no jobs.
IN_FRONT = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    "signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)


HYGGE = "from hygge_engine.cli import main; main()"


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
    if (script, body) == (BARS, HEARING):  # a line more than they count would leave their first one on the screen
        assert left.screen.partition("\x1b[?25h")[2].startswith("\r\x1b[2K")


def slow_import(module: str) -> str:
    """The command, with a module of it that takes long to import."""
    return (
        "import sys, time\n"
        "class Slow:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        f"            print({READY!r}, flush=True); time.sleep(60)\n"
        "sys.meta_path.insert(0, Slow())\n"
    )


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        (slow_import("hygge_engine.cli.app") + HYGGE, ["runs"]),
        (slow_import("hygge_engine.cli.dev") + HYGGE, ["dev"]),
        (slow_import("hygge_engine.cli.plan") + HYGGE, ["plan"]),
        (slow_import("devcloud.up") + "import runpy; runpy.run_module('devcloud', run_name='__main__')", ["up"]),
        (f"import atexit, time; atexit.register(lambda: (print({READY!r}), time.sleep(60)));" + HYGGE, ["--version"]),
    ],
)
def test_ctrl_c_outside_of_a_command_is_quiet(tmp_path: Path, script: str, arguments: list[str]) -> None:
    left = interrupted(script, *arguments, keys=CTRL_C, directory=tmp_path)
    assert left.code == 130
    assert "Traceback" not in left.screen
    assert "Abort" not in left.screen


# Another thread takes the signal, so that nothing wakes the main thread; one that comes between Python's last look for
# signals and readline's wait for a key has the same effect.
UNWOKEN = """
import signal, threading, time
from hygge_engine.cli import interrupt
interrupt.GRACE_SECONDS = 60
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
"""


# Python drops what a finalizer raises, and shows a traceback of it.
FINALIZING = f"""
import time
from hygge_engine.cli import interrupt
interrupt.GRACE_SECONDS = 60
class Slow:
    def __del__(self):
        print({READY!r}, flush=True)
        time.sleep(60)
with interrupt.ends_soon(interrupt.interrupt_main_thread):
    try:
        Slow()
        time.sleep(60)
    except KeyboardInterrupt:
        print("heard")
"""


def test_an_interrupt_that_a_finalizer_drops_is_raised_again() -> None:
    left = interrupted(FINALIZING, keys=CTRL_C)
    assert (left.code, left.screen.split()[-1]) == (0, "heard")
    assert "Traceback" not in left.screen


# What an interrupt in a constructor leaves is finalized while it travels, or whenever the last reference to it goes.
HALF_BUILT = f"""
import sys, time
from hygge_engine.cli import interrupt
interrupt.GRACE_SECONDS = 60
class Half:
    def __init__(self, name, whole=False):
        self.name = name
        if not whole:
            print({READY!r}, flush=True)
            time.sleep(60)
        self.file = None
    def __del__(self):
        raise AttributeError(self.name)
kept = []
def build():
    kept.append(Half.__new__(Half))
    Half("within")
with interrupt.ends_soon(interrupt.interrupt_main_thread):
    Half("before", whole=True)
    try:
        with interrupt.ends_soon(interrupt.interrupt_main_thread):
            build()
    except KeyboardInterrupt as error:
        stopped = error
    kept[0].name = "between"
    kept.clear()
late = Half("after", whole=True)
del stopped, late
print("heard")
"""


def test_after_an_interrupt_nothing_is_said_of_objects_that_are_half_built() -> None:
    left = interrupted(HALF_BUILT, keys=CTRL_C)
    assert (left.code, left.screen.split()[-1]) == (0, "heard")
    assert re.findall("AttributeError: (.*)", left.screen.replace("\r", "")) == ["before"]


def test_a_question_hears_ctrl_c_even_where_that_wakes_nobody(tmp_path: Path) -> None:
    left = interrupted(UNWOKEN + HYGGE, "init", "shop", ready="[sql]: ", keys=CTRL_C, directory=tmp_path)
    assert left.code == 130
    assert "\r\nStopped before the last answer; nothing was written.\r\n" in left.screen
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("key", "code", "words"),
    [
        (CTRL_C, 130, "Stopped before the last answer; nothing was written."),
        (CTRL_D, 2, "why: The input ended before the last answer; nothing was written."),
    ],
)
@pytest.mark.parametrize(("given", "ready"), [([], "[sql]: "), (["--server", "sql"], "[shop]: ")])
def test_a_question_without_an_answer_writes_nothing(
    tmp_path: Path, key: str, code: int, words: str, given: list[str], ready: str
) -> None:
    left = interrupted(HYGGE, "init", "shop", *given, ready=ready, keys=key, directory=tmp_path)
    assert left.code == code, left.screen
    assert words in [line.strip() for line in left.screen.split("\r\n")]
    assert "Abort" not in left.screen
    assert not list(tmp_path.iterdir())
