#!/usr/bin/env python3
"""Pack what is deployed into a zip file: the functions, the project's files, the engine.

The same that azd and `func` pack by way of .funcignore. Dependencies are not in it: the platform installs
requirements.txt when the package is deployed. The same files give the same bytes, so it can be run again at any time.
Needs Python 3.10, nothing else.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FILES = ("function_app.py", "host.json", "requirements.txt", "hygge.yml")
FOLDERS = ("flows", "hygge_engine")

# The command line, and what only it calls, is for people; the app has no use for it.
LEFT_OUT = ("hygge_engine/cli", "hygge_engine/reconcile")
SUFFIXES = (".py", ".typed", ".yml")

# What zip files can hold at the earliest.
EPOCH = (1980, 1, 1, 0, 0, 0)


def files_to_pack() -> list[str]:
    """The files, by their names in the package."""
    found = [name for name in FILES if (ROOT / name).is_file()]
    for folder in FOLDERS:
        names = (path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)
        found += [name for name in names if not name.startswith(LEFT_OUT)]
    return sorted(found)


def main(arguments: list[str] | None = None) -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="the zip file to write")
    output = parser.parse_args(arguments).output
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files_to_pack():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (ROOT / name).read_bytes(), zipfile.ZIP_DEFLATED)
    print(f"{output}: {output.stat().st_size} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
