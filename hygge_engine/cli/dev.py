"""``hygge dev``: this process becomes the laptop's Azure; the package never imports it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from hygge_engine.cli.messages import EXIT_NOTHING_STARTED, has_devcloud


def run(project: Path, arguments: list[str]) -> int:
    """Become ``python -m devcloud up``; return an exit code only where there is none."""
    if not has_devcloud():
        typer.echo(
            "error: There is no devcloud here\n"
            "  why: the laptop cloud is not part of the installed package\n"
            "  do:  Run `hygge dev` from a checkout of the repository, after `make setup`.",
            err=True,
        )
        return EXIT_NOTHING_STARTED
    command = [sys.executable, "-m", "devcloud", "up", "--project", str(project.resolve()), *arguments]
    # Not a child: stopping this process is meant to stop the cloud.
    return os.execv(sys.executable, command)  # noqa: S606 - our own interpreter and module
