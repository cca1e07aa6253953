"""Modules are imported when they are first needed, by whichever threads of the app need them then."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ("journal", "project", "telemetry", "watermark")

PACKAGE = Path(__file__).parents[2] / "hygge_engine"

# `collections.abc` of Python 3.13.0 replaces itself while it is imported, so that a second thread may find the empty
# first one. No app meets that: its worker has imported it before it starts any thread.
IMPORT_ALL_AT_ONCE = """
import collections.abc, importlib, sys, threading
sys.setswitchinterval(1e-5)
names, failures = sys.argv[1:], []
start = threading.Barrier(len(names))

def load(name):
    start.wait()
    try:
        importlib.import_module(name)
    except BaseException as error:
        failures.append(f"{name}: {error!r}")

threads = [threading.Thread(target=load, args=(name,)) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(*failures, sep="\\n", end="")
"""

FIRST_NEEDED = (
    "hygge_engine.project.selection",
    "hygge_engine.project.loading",
    "hygge_engine.flow.run",
    "hygge_engine.journal.rows",
    "hygge_engine.orchestration.watching",
    "hygge_engine.orchestration.settling",
    "hygge_engine.orchestration.places",
    "hygge_engine.web.listings",
)


def test_threads_that_need_modules_at_once_all_get_them() -> None:
    command = [sys.executable, "-c", IMPORT_ALL_AT_ONCE, *FIRST_NEEDED]
    found = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True, text=True, timeout=100, check=False)
    assert (found.returncode, found.stdout) == (0, ""), found.stdout + found.stderr


@pytest.mark.parametrize("package", ["hygge_engine", *(f"hygge_engine.{name}" for name in PACKAGES)])
def test_every_name_of_a_package_is_found_when_it_is_used(package: str) -> None:
    module = import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match=package):
        module.no_such_name  # noqa: B018


def test_no_package_imports_its_own_modules_when_it_is_imported() -> None:
    """One thread would hold the package and wait for the module, another the module and wait for the package."""
    found = []
    for file in PACKAGE.rglob("__init__.py"):
        package = ".".join(file.relative_to(PACKAGE.parent).parent.parts)
        for statement in ast.parse(file.read_text(encoding="utf-8")).body:
            names = [statement.module or ""] if isinstance(statement, ast.ImportFrom) else []
            names += [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []
            found += [f"{package} imports {name}" for name in names if name.startswith(f"{package}.")]
    assert found == []
