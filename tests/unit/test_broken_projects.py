"""Whole projects with one planted mistake each, as people make them: one problem, in the right file and line, that
leads to the way out. Mistakes in single keys are in test_project_problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from hygge_engine.errors import ConfigurationError
from hygge_engine.project import Problem, load_project
from hygge_engine.stores.open_mirroring import settings as open_mirroring
from tests.support.broken_projects import (
    CANARY,
    ENTITY_FILE,
    PROJECTS,
    Files,
)
from tests.unit.project_files import ENVIRONMENT, FLOW, FLOW_FILE, HYGGE, write_project


def problems_of(directory: Path, files: Files) -> tuple[Problem, ...]:
    write_project(directory)
    for name, content in files.items():
        path = directory / name
        if content is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_project(directory, ENVIRONMENT)
    return caught.value.problems


@pytest.mark.parametrize(("files", "place", "words"), PROJECTS.values(), ids=PROJECTS)
def test_a_mistake_is_found_where_it_is_and_leads_to_the_fix(
    tmp_path: Path, files: Files, place: tuple[str, int], words: list[str]
) -> None:
    problems = problems_of(tmp_path, files)
    assert [(problem.file, problem.line) for problem in problems] == [place], [str(problem) for problem in problems]
    report = problems[0].render()
    assert [word for word in words if word not in report] == [], report
    assert CANARY not in report
    assert report.replace("\n", "").isprintable()


def test_histories_count_among_the_tables_of_a_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_mirroring, "TABLES_AT_MOST", 3)
    (problem,) = problems_of(tmp_path, {FLOW_FILE: f"{FLOW}history: versions\n".encode()})
    assert "would hold 4 tables, and takes 3" in str(problem)


def test_a_project_is_found_above(tmp_path: Path) -> None:
    write_project(tmp_path)
    with pytest.raises(ConfigurationError, match="There is one in") as caught:
        load_project(tmp_path / "flows/orders_to_fabric", ENVIRONMENT)
    assert str(tmp_path) in caught.value.problems[0].hint


@pytest.mark.parametrize("name", ["hygge.yml", FLOW_FILE, "local.settings.json"])
def test_a_directory_in_place_of_a_file(tmp_path: Path, name: str) -> None:
    write_project(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, ENVIRONMENT)
    (problem,) = caught.value.problems
    assert problem.file == name
    assert "directory" in problem.render().lower()


@pytest.mark.parametrize("name", ["hygge.yml", FLOW_FILE, "flows/second", ENTITY_FILE])
@pytest.mark.parametrize("target", ["nowhere.yml", "."], ids=["dangling", "looping"])
def test_a_link_that_leads_nowhere(tmp_path: Path, name: str, target: str) -> None:
    write_project(tmp_path)
    link = tmp_path / name
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(link.name if target == "." else target)
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, ENVIRONMENT)
    assert [(problem.file, problem.message) for problem in caught.value.problems] == [(name, "the link leads nowhere")]


def test_a_variable_that_holds_another_one(tmp_path: Path) -> None:
    write_project(tmp_path)
    with pytest.raises(ConfigurationError, match="holds a reference to another variable") as caught:
        load_project(tmp_path, {"SHOP_PASSWORD": "${OTHER}", "OTHER": CANARY})
    assert [(problem.file, problem.line) for problem in caught.value.problems] == [("hygge.yml", 9)]
    assert load_project(tmp_path, {"SHOP_PASSWORD": "a${b}c"}).name == "shop"


def test_a_host_in_quotes_that_a_variable_holds(tmp_path: Path) -> None:
    write_project(tmp_path, hygge=HYGGE.replace("sql.example.com", '"${HOST}"'))
    with pytest.raises(ConfigurationError, match="without quotes") as caught:
        load_project(tmp_path, ENVIRONMENT | {"HOST": '"sql.example.com"'})
    assert [(problem.file, problem.line) for problem in caught.value.problems] == [("hygge.yml", 5)]


def test_a_directory_of_flows_with_another_name(tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "flows").rename(tmp_path / "flow")
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, ENVIRONMENT)
    assert [problem.hint for problem in caught.value.problems] == ["Rename flow/ to flows/."]


@pytest.mark.parametrize(
    ("limit", "journal", "door", "words"),
    [
        (4, "", "OneLake", None),
        (3, "", "OneLake", ["would hold 4 tables, and takes 3", "_fabric 2 tables, second 2 tables", "another one"]),
        (3, "", "westeurope-onelake", ["would hold 4 tables, and takes 3"]),
        (6, "  mirror_journal: true\n", "api-onelake", ["7 tables, and takes 6", "of the journal", "3 tables at most"]),
    ],
)
def test_a_mirror_is_given_no_more_tables_than_fabric_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, journal: str, door: str, words: list[str] | None
) -> None:
    assert open_mirroring.TABLES_AT_MOST == 1_000
    monkeypatch.setattr(open_mirroring, "TABLES_AT_MOST", limit)
    first = FLOW.replace("  key_columns", f"{journal}  key_columns")
    # The same item in other letters, and another one, which counts for itself.
    second = FLOW.replace("orders_to_fabric", "second").replace("  key_columns", "  schema_name: x\n  key_columns")
    third = second.replace("second", "third").replace("2222-222222222222", "2222-333333333333")
    files: Files = {
        FLOW_FILE: first.encode(),
        "flows/second/flow.yml": second.replace("https://onelake", f"https://{door}").encode(),
        "flows/third/flow.yml": third.encode(),
    }
    if words is None:
        write_project(tmp_path)
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(content or b"")
        assert len(load_project(tmp_path, ENVIRONMENT).entities) == 6
        return
    (problem,) = problems_of(tmp_path, files)
    assert problem.file == "flows/second/flow.yml"
    assert all(word in str(problem) for word in words), str(problem)
