"""``hygge dev``: the laptop's Azure, in a process of its own; this package never imports it."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import typer

from hygge_engine.cli.messages import EXIT_NOTHING_STARTED


def run(project: Path, arguments: list[str]) -> int:
    """Run ``python -m devcloud up`` until it ends, and return its exit code."""
    if find_spec("devcloud") is None and not Path("devcloud", "__main__.py").is_file():
        typer.echo(
            "error: There is no devcloud here\n"
            "  why: the laptop's Azure is no part of the installed package\n"
            "  do:  Run `hygge dev` from a checkout of the repository, after `make setup`.",
            err=True,
        )
        return EXIT_NOTHING_STARTED
    command = [sys.executable, "-m", "devcloud", "up", "--project", str(project.resolve()), *arguments]
    process = subprocess.Popen(command)  # noqa: S603 - our own interpreter and module
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has told the child as well; it ends what it has started, and this process waits for that.
            continue
