#!/usr/bin/env python3
"""Pack what is deployed into a zip file: the functions, the project's files, the engine.

The same that azd and `func` pack by way of .funcignore. Dependencies are not in it unless they are asked for: the
platform installs requirements.txt when the package is deployed. The same files give the same bytes, so it can be run
again at any time. Needs Python 3.10, and pip for the dependencies.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FILES = ("function_app.py", "host.json", "requirements.txt", "hygge.yml")
FOLDERS = ("flows", "hygge_engine")

# The command line, and what only it calls, is for people; the app has no use for it.
LEFT_OUT = ("hygge_engine/cli", "hygge_engine/probe", "hygge_engine/reconcile")
SUFFIXES = (".py", ".typed", ".yml")

# What Azure's scale controller starts an app by. It reads the file only: an app setting that overrules host.json comes
# too late, and an app that sleeps is never woken.
STORAGE = {"maxQueuePollingInterval": "00:00:05"}
SCHEDULER = {"type": "azureManaged", "connectionStringName": "DURABLE_TASK_SCHEDULER_CONNECTION_STRING"}

# Where the platform's Python looks for packages, which Python that is, and what its C library runs.
PACKAGES = ".python_packages/lib/site-packages"
PYTHON_VERSION = "3.13"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux2014_x86_64")

# What zip files can hold at the earliest.
EPOCH = (1980, 1, 1, 0, 0, 0)


def files_to_pack() -> list[str]:
    """The files, by their names in the package."""
    found = [name for name in FILES if (ROOT / name).is_file()]
    for folder in FOLDERS:
        names = (path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.suffix in SUFFIXES)
        found += [name for name in names if not name.startswith(LEFT_OUT)]
    return sorted(found)


def host_json(*, scheduler: bool) -> bytes:
    """host.json for durable state in the Durable Task Scheduler, or in the storage account."""
    settings = json.loads((ROOT / "host.json").read_bytes())
    settings["extensions"]["durableTask"]["storageProvider"] = SCHEDULER if scheduler else STORAGE
    return (json.dumps(settings, indent=2) + "\n").encode()


def install_dependencies(folder: Path) -> int:
    """Install requirements.txt for the platform, whatever this machine is; wheels only. The exit code of pip."""
    command = [sys.executable, "-m", "pip", "install", "--target", str(folder), "--no-deps", "--no-compile", "--quiet"]
    # Requirements are pinned for that Python. pip would compare them with the one that it runs on itself.
    command += ["--only-binary", ":all:", "--python-version", PYTHON_VERSION, "--ignore-requires-python"]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    return subprocess.run([*command, "-r", str(ROOT / "requirements.txt")], check=False).returncode  # noqa: S603


def pack(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a file, the same whenever and by whomever."""
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data, zipfile.ZIP_DEFLATED)


def main(arguments: list[str] | None = None) -> int:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="the zip file to write")
    parser.add_argument(
        "--durable-task-scheduler", action="store_true", help="durable state is in the Durable Task Scheduler"
    )
    parser.add_argument(
        "--with-dependencies",
        action="store_true",
        help="install requirements.txt into the package, for deployments that are not built by the platform",
    )
    given = parser.parse_args(arguments)
    output: Path = given.output
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files_to_pack():
            data = (
                host_json(scheduler=given.durable_task_scheduler) if name == "host.json" else (ROOT / name).read_bytes()
            )
            pack(archive, name, data)
        if given.with_dependencies:
            installed = Path(folder)
            if (failed := install_dependencies(installed)) != 0:
                print("package: pip could not install requirements.txt, for the reason above", file=sys.stderr)
                return failed
            for path in sorted(path for path in installed.rglob("*") if path.is_file()):
                pack(archive, f"{PACKAGES}/{path.relative_to(installed).as_posix()}", path.read_bytes())
    print(f"{output}: {output.stat().st_size} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
