"""What README and docs tell people to type and to write: it parses, it validates, and links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from hygge_engine.cli.app import app
from hygge_engine.project import Project, load_project

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
GUID = "11111111-1111-1111-1111-111111111111"
VARIABLES = {"SQL_SERVER": "sql.example.com", "WORKSPACE_ID": GUID, "MIRROR_ID": GUID}

_BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(hygge [^`]+|make [^`]+)`")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [match["text"] for match in _BLOCK.finditer(text) if match["language"] == language]


def commands(page: Path, program: str) -> list[list[str]]:
    """The arguments of each call of a program, in code blocks and in running text."""
    text = page.read_text(encoding="utf-8")
    lines = [
        line for match in _BLOCK.finditer(text) if match["language"] in ("", "sh") for line in _lines(match["text"])
    ]
    found = []
    for line in [*lines, *_INLINE.findall(text)]:
        words = shlex.split(line, comments=True)
        if words and words[0].removeprefix(".venv/bin/") == program:
            found.append(words[1:])
    return found


def _lines(block: str) -> list[str]:
    """The lines that have whole quotes; what else stands in a block is no command."""
    return [line for line in block.replace("\\\n", " ").splitlines() if line.count('"') % 2 == line.count("'") % 2 == 0]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


# zsh, the shell of macOS, knows no comments on its command line: a word behind a command is one more argument, and a
# quote that is opened takes in the lines that follow.
_COMMENT_BEHIND = re.compile(r"^\s*[^#\s].*\s#\s")
_QUOTE_IN_COMMENT = re.compile(r"^\s*#.*['\"`]")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_to_type_can_be_typed_in_zsh(page: Path) -> None:
    text = "\n".join(block for language in ("", "sh", "bash", "console") for block in blocks(page, language))

    assert [line for line in text.splitlines() if _COMMENT_BEHIND.search(line) or _QUOTE_IN_COMMENT.search(line)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_for_powershell_are_taken_by_windows_own(page: Path) -> None:
    # Of 7, and unknown to the 5.1 that Windows brings.
    newer = ("-MaskInput", " && ", " || ", " ?? ", "-Parallel")

    assert [word for block in blocks(page, "powershell") for word in newer if word in block] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_hygge_parses(page: Path) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for arguments in commands(page, "hygge"):
        if arguments[0].startswith("--"):
            continue
        command = group.commands[arguments[0]]
        command.make_context(arguments[0], list(arguments[1:]))


def test_every_command_shows_examples_that_parse() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        examples = (command.help or "").partition("Examples:\n")[2].replace("\\\n", " ")
        found = [
            shlex.split(re.split(r" {2,}(?! )", line.strip())[0]) for line in examples.splitlines() if line.strip()
        ]
        assert found, name
        for program, called, *arguments in found:
            assert (program, called) == ("hygge", name)
            command.make_context(name, arguments)


def test_there_are_commands_to_parse() -> None:
    assert ["runs"] in commands(REPOSITORY / "README.md", "hygge")
    assert ["plan", "--offline"] in commands(REPOSITORY / "docs/errors/load.unknown_selection.md", "hygge")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_exists(page: Path) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for arguments in commands(page, "make"):
        for target in arguments:
            assert "=" in target or re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    for match in _LINK.finditer(text):
        target, _, anchor = match["target"].partition("#")
        if "://" in target:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), match["target"]
        if anchor:
            assert anchor in _anchors(path), match["target"]


def _anchors(page: Path) -> set[str]:
    """The headings as sites name them: lower case, blanks as hyphens, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_the_project_of_the_readme_is_valid(tmp_path: Path) -> None:
    project = write_project(tmp_path, blocks(REPOSITORY / "README.md", "yaml"))
    assert [entity.name for entity in project.entities] == ["customers", "orders", "order_lines"]


def test_the_flow_of_the_configuration_page_is_valid(tmp_path: Path) -> None:
    hygge = (
        "# hygge.yml\nname: shop\nconnections: { sales_db: { type: mssql, server: s, database: d, auth: default } }\n"
    )
    project = write_project(tmp_path, [hygge, *blocks(REPOSITORY / "docs/configuration.md", "yaml")])
    assert [entity.effective_run_type for entity in project.entities] == ["incremental", "incremental", "full_drop"]


def test_the_sample_takes_the_variables_of_the_configuration_page() -> None:
    (block,) = [text for text in blocks(REPOSITORY / "docs/configuration.md", "sh") if "export" in text]
    words = [
        word for line in block.splitlines() if line.startswith("export") for word in shlex.split(line, comments=True)
    ]
    given = dict(word.split("=", 1) for word in words if "=" in word)
    assert load_project(REPOSITORY, given).name == "nycflights"


def write_project(directory: Path, files: list[str]) -> Project:
    """Write blocks whose first line is a comment with their path, and read them as a project."""
    for text in files:
        first, _, _ = text.partition("\n")
        path = directory / first.removeprefix("#").strip()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return load_project(directory, VARIABLES)
