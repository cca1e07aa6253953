"""Which process owns a table, and whether it is still there.

A process that was killed leaves what it owned owned for two minutes more. The next process on the same machine can see
that it is gone, and need not wait. Like the expiry, this decides liveness, never safety.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

_PROC = Path("/proc")

# Places in /proc/<pid>/stat, counted after the command's name, which may hold anything: proc_pid_stat(5).
_STATE, _START_TIME = 0, 19

# Gone, though its parent has not waited for it yet.
_DEAD_STATES = frozenset("ZX")


def this_process() -> str:
    """A name that no other process has, on any machine; empty where the system has none (it is not Linux)."""
    return _name_of(os.getpid())


def has_ended(process: str) -> bool:
    """Whether a process of this name ran on this machine and does no more; False where that cannot be known here."""
    machine, _, run = process.partition("/")
    if not run or machine != this_process().partition("/")[0]:
        return False
    number, _, start = run.partition(":")
    try:
        fields = _fields(int(number))
    except (OSError, ValueError):
        return True
    return fields[_START_TIME] != start or fields[_STATE] in _DEAD_STATES


@lru_cache(maxsize=1)
def _name_of(pid: int) -> str:
    """Boot, process namespace, number and start time: numbers are used again, and mean nothing in another container."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        namespace = (_PROC / "self/ns/pid").stat().st_ino
        return f"{boot}:{namespace}/{pid}:{_fields(pid)[_START_TIME]}"
    except OSError:
        return ""


def _fields(pid: int) -> list[str]:
    return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
