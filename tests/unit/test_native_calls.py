"""docs/native-calls.md lists what the engine calls of native packages; what is not on it has not been measured."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import deltalake
import deltalake.table
import mssql_python
import pyodbc
import pytest

ROOT = Path(__file__).parent.parent.parent
ENGINE = ROOT / "hygge_engine"
PAGE = ROOT / "docs" / "native-calls.md"

# Modules that hold objects of a package without importing it.
HOLDERS = {"deltalake": ("hygge_engine.stores.delta",)}

# What an object of a package may be asked for.
CLASSES: dict[str, tuple[type, ...]] = {
    "deltalake": (deltalake.DeltaTable, deltalake.QueryBuilder, deltalake.table.TableAlterer),
    "mssql_python": (mssql_python.Connection, mssql_python.Cursor),
    "pyodbc": (pyodbc.Connection, pyodbc.Cursor),
}

# Other objects of these modules that have methods of the same names: a landing, and a batch of rows.
OTHERS = ("landing", "rows")

# What pyarrow and polars have to do with files and streams, by the names under which the engine imports them.
STREAMS = re.compile(
    r"pl\.(read|scan)_\w+|pq\.\w+|pcsv\.\w+|pa\.(fs|ipc|dataset|flight)\.[\w.]+"
    r"|pa\.(\w+File|\w+Stream|BufferReader|memory_map|input_stream|output_stream)"
)


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(ENGINE.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def imports(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    """Each module that is imported, with the names taken from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, [alias.name for alias in node.names]


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls_of(package: str) -> set[str]:
    """Names that the engine takes from a package, or asks its objects for."""
    known = {name for class_ in CLASSES[package] for name in dir(class_) if not name.startswith("_")}
    found: set[str] = set()
    for _, tree in modules():
        taken = list(imports(tree))
        own = [(module, names) for module, names in taken if module.partition(".")[0] == package]
        if not own and not any(module in HOLDERS.get(package, ()) for module, _ in taken):
            continue
        found |= {name for module, names in own if not module.endswith("exceptions") for name in names}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in known and dotted(node.value) not in OTHERS:
                found.add(node.attr)
            if isinstance(node, ast.Attribute) and dotted(node.value) == package:
                found.add(node.attr)
    return found


def listed(package: str) -> set[str]:
    rows = (line.split("|") for line in PAGE.read_text().splitlines() if line.startswith(f"| {package} |"))
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row[2])}


@pytest.mark.parametrize("package", ["deltalake", "mssql-python", "pyodbc"])
def test_every_call_of_a_package_that_asks_somebody_has_been_measured(package: str) -> None:
    extra = calls_of(package.replace("-", "_")) - listed(package)
    assert not extra, f"measure whether these keep the interpreter's lock, and list them in {PAGE.name}"


def test_pyarrow_and_polars_are_given_files_of_ours_and_no_address() -> None:
    used = {
        dotted(node)
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and STREAMS.fullmatch(dotted(node))
    }
    extra = used - listed("pyarrow") - listed("polars")
    assert not extra, f"measure whether these keep the interpreter's lock, and list them in {PAGE.name}"


def test_what_keeps_the_lock_is_not_called() -> None:
    assert "history" not in calls_of("deltalake") | listed("deltalake")


def test_the_page_is_about_the_versions_that_are_installed() -> None:
    measured = re.findall(r"\b(deltalake|mssql-python|pyodbc|pyarrow|polars) (\d[\d.]*\d)", PAGE.read_text())
    assert len(measured) == 5
    assert dict(measured) == {package: version(package) for package, _ in measured}, (
        f"run python -m benchmarks.native_calls, and bring {PAGE.name} up to date"
    )
