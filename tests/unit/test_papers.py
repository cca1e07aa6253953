"""What newcomers and their tools read first: the commands that they name exist, and the wheel carries the licence."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import yaml

REPOSITORY = Path(__file__).parents[2]


def test_tools_and_papers_name_targets_that_there_are() -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    tasks = json.loads((REPOSITORY / ".vscode/tasks.json").read_text(encoding="utf-8"))["tasks"]
    container = json.loads((REPOSITORY / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    named = [task["command"] for task in tasks] + [container["postCreateCommand"]]
    papers = [REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "SECURITY.md", REPOSITORY / "CHANGELOG.md"]
    named += [name for paper in papers for name in re.findall(r"`(make [\w-]+)`", paper.read_text(encoding="utf-8"))]
    assert {name.split()[1] for name in named if name.startswith("make ")} <= targets
    for paper in papers:
        for target in re.findall(r"\]\(([^)#:]+)\)", paper.read_text(encoding="utf-8")):
            assert (REPOSITORY / target).exists(), target


def test_lines_of_pages_end_before_column_120() -> None:
    pages = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    long = []
    for page in pages:
        prose = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        # Rows of tables cannot be wrapped.
        long += [(page.name, line) for line in prose.splitlines() if len(line) >= 120 and not line.startswith("|")]
    assert long == []


def test_dependabot_looks_where_dependencies_are() -> None:
    updates = yaml.safe_load((REPOSITORY / ".github/dependabot.yml").read_text(encoding="utf-8"))["updates"]
    assert all((REPOSITORY / update["directory"].strip("/")).is_dir() for update in updates)


def test_the_wheel_carries_its_licence() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "MIT"
    assert all((REPOSITORY / name).read_text(encoding="utf-8").startswith("MIT License") for name in ["LICENSE"])
