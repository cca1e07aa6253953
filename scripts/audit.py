#!/usr/bin/env python3
"""Look for known vulnerabilities and for licences that oblige in what is pinned, without asking anybody.

``scripts/advisories.json`` holds a few advisories (OSV format) on packages of the deployment. It keeps a pin from going
back to a version that is known to be bad; what has become known since is for ``pip-audit``, which the pipelines run.
Run by ``make test``; by hand: ``.venv/bin/python scripts/audit.py requirements.txt``.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.version import Version

ADVISORIES = Path(__file__).with_name("advisories.json")

PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[a-z,-]+\])?==([0-9][0-9a-z.+!]*)")


def pins_of(path: Path) -> dict[str, Version]:
    """Name (normalized, PEP 503) → version. Raises ValueError where a line is anything but one name and one version."""
    pins: dict[str, Version] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if (pin := PIN.fullmatch(line.strip())) is None:
            raise ValueError(f"{path.name}:{number}: not pinned to one version: {line}")
        pins[normalize(pin[1])] = Version(pin[2])
    return pins


def normalize(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def findings(pins: dict[str, Version], advisories: list[dict[str, Any]]) -> Iterator[str]:
    """What is known of the pinned versions, a line each."""
    for advisory in advisories:
        for affected in advisory["affected"]:
            name = normalize(affected["package"]["name"])
            version = pins.get(name)
            if version is None:
                continue
            for range_ in affected["ranges"]:
                fixed = _fixed_in(version, range_["events"])
                if fixed is not None:
                    known = ", ".join([advisory["id"], *advisory["aliases"]])
                    yield f"{name} {version}: {advisory['summary']} ({known}); take {fixed} or newer"


def _fixed_in(version: Version, events: list[dict[str, str]]) -> str | None:
    """The version that mends this one; None where it is not affected."""
    introduced = next(Version(event["introduced"]) for event in events if "introduced" in event)
    fixed = next(event["fixed"] for event in events if "fixed" in event)
    return fixed if introduced <= version < Version(fixed) else None


def read_advisories(path: Path = ADVISORIES) -> list[dict[str, Any]]:
    """The advisories that are kept here."""
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["advisories"]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Audit requirement files; 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="files of pinned requirements")
    files: list[Path] = parser.parse_args(arguments).files
    advisories = read_advisories()
    found = [f"{file.name}: {finding}" for file in files for finding in findings(pins_of(file), advisories)]
    for finding in found:
        print(finding)
    print(f"{len(found)} found by {len(advisories)} advisories", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
