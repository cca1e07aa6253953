"""Who imports whom: no circles, and the floors of docs/architecture.md."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.api import read_configuration
from importlinter.cli import lint_imports

REPOSITORY = Path(__file__).parents[2]
PYPROJECT = str(REPOSITORY / "pyproject.toml")


def test_no_circle_is_closed_and_no_arrow_runs_up(capsys: pytest.CaptureFixture[str]) -> None:
    broken = lint_imports(config_filename=PYPROJECT, no_cache=True, no_logo=True)
    assert not broken, capsys.readouterr().out


@pytest.mark.parametrize("package", ["hygge_engine", "devcloud"])
def test_no_package_imports_what_imports_it(package: str) -> None:
    """import-linter compares what lies side by side; a package and what is in it do not."""
    graph = grimp.build_graph(package, cache_dir=None)
    imported = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    TopologicalSorter(imported).prepare()  # raises CycleError, which names the modules


def test_no_import_is_excepted() -> None:
    configuration = read_configuration(PYPROJECT)
    assert set(configuration["session_options"]) == {"root_packages", "include_external_packages"}
    for contract in configuration["contracts_options"]:
        assert not [key for key in contract if key.startswith(("ignore", "skip", "exhaustive_"))], contract


def test_the_page_shows_the_floors_that_are_kept() -> None:
    page = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| (\d+) \| ([a-z_, ]+) \|", page, re.MULTILINE)
    (floors,) = [
        each["layers"] for each in read_configuration(PYPROJECT)["contracts_options"] if each["id"] == "floors"
    ]
    assert [int(number) for number, _ in shown] == list(range(len(floors), 0, -1))
    assert [names.split(", ") for _, names in shown] == [floor.split(" | ") for floor in floors]


def test_the_page_leads_to_files_that_are_there() -> None:
    page = (REPOSITORY / "docs/architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:hygge_engine|devcloud)/[\w/]+\.py)`", page)
    assert len(named) > 10
    assert not [path for path in named if not (REPOSITORY / path).is_file()]


def test_what_tests_share_stands_in_no_module_of_tests() -> None:
    imports = re.compile(r"^(?:from|import) tests\.[\w.]*\btest_\w+", re.MULTILINE)
    borrowed = {
        str(path.relative_to(REPOSITORY)): found
        for path in sorted((REPOSITORY / "tests").rglob("*.py"))
        if (found := [name for name in imports.findall(path.read_text()) if not name.endswith(f".{path.stem}")])
    }
    assert not borrowed, "tests/support/ is the place for it"
