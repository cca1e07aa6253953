"""Parts of docs/performance.md that a benchmark writes itself: what stands between two marks is its own."""

from __future__ import annotations

import platform
import re
from datetime import UTC, datetime
from pathlib import Path

PERFORMANCE = Path(__file__).parent.parent / "docs/performance.md"


def replace_part(document: Path, name: str, text: str) -> None:
    """Replace what a document has between the marks of this name; begin a document that is not there.

    Raises ValueError where a document has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    whole = document.read_text() if document.exists() else f"# Performance\n\n{begin}\n{end}\n"
    before, found, rest = whole.partition(begin)
    _, closing, after = rest.partition(end)
    if not found or not closing:
        raise ValueError(f"{document} has no {begin} and {end} to write between")
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def measured_by(command: str) -> str:
    """With what, when and where figures were measured."""
    cpus = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpus)
    cores = len(re.findall(r"^processor\s*:", cpus, re.MULTILINE))
    machine = f"{cores} cores ({model[1] if model else platform.machine()}), Python {platform.python_version()}"
    return f"`{command}`, {datetime.now(UTC).date().isoformat()}, {machine}."
