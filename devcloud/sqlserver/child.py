"""The server in a process of its own: its encoder then has an interpreter to itself, and clients cannot stall it.

pyodbc keeps Python's lock during some calls (``fast_executemany``, catalogue functions): a server in the same process
could never respond to them.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_SECONDS_TO_END = 10


@contextlib.contextmanager
def run_in_child(
    directory: Path | None = None, port: int = 0, databases: Sequence[str] = (), *, sample: bool = False
) -> Iterator[str]:
    """Run ``python -m devcloud.sqlserver``; yields its address, ``127.0.0.1,port``. Raises RuntimeError.

    It ends with this process, even where that is killed.
    """
    command = [sys.executable, "-m", "devcloud.sqlserver", "--port", str(port), "--until-input-ends"]
    if directory is not None:
        command += ["--directory", str(directory)]
    for name in databases:
        command += ["--database", name]
    if sample:
        command.append("--sample")
    root = Path(__file__).parent.parent.parent
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=root) as process:  # noqa: S603 - ourselves
        try:
            line = process.stdout.readline() if process.stdout is not None else ""
            found = re.search(r"127\.0\.0\.1,\d+", line)
            if found is None:
                raise RuntimeError(f"the SQL Server did not start: exit code {process.wait(_SECONDS_TO_END)}")
            yield found.group()
        finally:
            process.terminate()
            try:
                process.wait(_SECONDS_TO_END)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
