"""The most memory of a process. Not by getrusage: a process inherits the peak of the one that has started it."""

from __future__ import annotations

import re
from pathlib import Path

# Runs the command line, then writes its processor seconds and the process's peak in MB.
COMMAND = """\
import sys, time
from benchmarks.memory import peak_megabytes
from hygge_engine.cli import main
try:
    main()
finally:
    print(time.process_time(), peak_megabytes(), file=sys.stderr)
"""


def peak_megabytes() -> float:
    """What this process has used at most so far."""
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak) / 1024
