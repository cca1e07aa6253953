"""What README and docs have people type and write: it parses, it validates, and links lead somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from textwrap import dedent

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from hygge_engine.cli.app import app
from hygge_engine.project import Project, load_project

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
GUID = "11111111-1111-1111-1111-111111111111"
VARIABLES = {"SQL_SERVER": "sql.example.com", "WORKSPACE_ID": GUID, "MIRROR_ID": GUID}

# Blocks of list items are indented.
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
SH = ("", "sh", "bash", "console")
_INLINE = re.compile(r"`(hygge [^`]+|make [^`]+)`")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return [dedent(match["text"]) for match in _BLOCK.finditer(text) if match["language"] == language]


def commands(page: Path, program: str) -> list[list[str]]:
    """The arguments of each call of a program, in code blocks of sh and PowerShell and in running text."""
    text = page.read_text(encoding="utf-8")
    lines = [
        line for language in ("", "sh", "powershell") for block in blocks(page, language) for line in _lines(block)
    ]
    found = []
    for line in [*lines, *_INLINE.findall(text)]:
        words = shlex.split(line, comments=True)
        if words and words[0].removeprefix(".venv/bin/") == program:
            found.append(words[1:])
    return found


def _lines(block: str) -> list[str]:
    """The lines that have whole quotes; what else stands in a block is no command."""
    whole = block.replace("\\\n", " ").replace("`\n", " ")
    return [line for line in whole.splitlines() if line.count('"') % 2 == line.count("'") % 2 == 0]


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


# What stands before a place of a line that is in no quotes.
_OUTSIDE = r"^(?:[^'\"#]|'[^']*'|\"[^\"]*\")*?"

# zsh, the shell of macOS, knows no comments on its command line: a word behind a command is one more argument, and a
# quote that is opened takes in the lines that follow. `$name:e` is the ending of a path to it, `$name[1]` a character,
# also in quotes; a name of its own (`path`) is no variable to set; and a pattern that fits nothing is an error. It
# puts a program's path for `=name`; with bash it fetches `!` from the history, also in double quotes; and no shell puts
# a home for `~` in quotes, or behind an option's `=`.
NOT_OF_ZSH = {
    "a comment behind a command": re.compile(r"^\s*[^#\s].*\s#\s"),
    "a quote in a comment": re.compile(r"^\s*#.*['\"`]"),
    "a modifier": re.compile(r"\$\w+:[A-Za-z&]"),
    "a subscript": re.compile(r"\$\w+\["),
    "a name that is zsh's own": re.compile(
        r"(?:^|[\s;({])(?:path|cdpath|fpath|argv|status|options|pipestatus|signals|commands|functions|aliases|prompt)="
    ),
    "a pattern without quotes": re.compile(_OUTSIDE + r"(?<![$\\])(?:[?*](?!\))|\[(?![\s\[]))"),
    "a program's path": re.compile(_OUTSIDE + r"(?<=\s)=(?=[\w=])"),
    "a word of the history": re.compile(r"^(?:[^'#]|'[^']*')*?(?<![\\$])!(?![=\s(]|$)"),
    "a home that stays a sign": re.compile(r"\s-[\w-]+=~|\"~/|'~/"),
}
# sh reads the project's own scripts, and whoever copies a line of one may not.
IN_SCRIPTS = ("a modifier", "a subscript")


def not_of_zsh(line: str) -> list[str]:
    return [what for what, pattern in NOT_OF_ZSH.items() if pattern.search(line)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_to_type_can_be_typed_in_zsh(page: Path) -> None:
    text = "\n".join(block for language in SH for block in blocks(page, language))

    assert [(what, line) for line in text.splitlines() for what in not_of_zsh(line)] == []


def test_lines_of_scripts_can_be_copied_into_zsh() -> None:
    files = [*REPOSITORY.glob("scripts/*"), *REPOSITORY.glob("infra/scripts/*")]
    scripts = [path for path in files if path.is_file() and path.read_text().startswith(("#!/bin/sh", "#!/bin/bash"))]

    assert scripts
    assert [
        (path.name, line)
        for path in scripts
        for line in path.read_text().splitlines()
        if set(not_of_zsh(line)) & set(IN_SCRIPTS)
    ] == []


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("hygge go # now", "a comment behind a command"),
        ("# it isn't", "a quote in a comment"),
        ('az x --subject "repo:O@$owner/R@$repository:environment:$name"', "a modifier"),
        ('echo "$name:h"', "a modifier"),
        ('echo "$names[1]"', "a subscript"),
        ("path=/tmp/x", "a name that is zsh's own"),
        ("export A=1; status=$(az x)", "a name that is zsh's own"),
        ("az x --query resourceTypes[?a=='b'].locations", "a pattern without quotes"),
        ("hygge init --files exports/*.csv", "a pattern without quotes"),
        ("curl https://example.com/a?b=c", "a pattern without quotes"),
        ("az x --query [].name", "a pattern without quotes"),
        ("az x --query [0]", "a pattern without quotes"),
        ("unzip *.zip", "a pattern without quotes"),
        ("rm -r out/*", "a pattern without quotes"),
        ("rm *", "a pattern without quotes"),
        ("ls part-[0-9]", "a pattern without quotes"),
        ("echo =python", "a program's path"),
        ('[ "$x" == y ] || exit', "a program's path"),
        ('hygge check "a!b"', "a word of the history"),
        ("echo !!", "a word of the history"),
        ("az x --file=~/x.json", "a home that stays a sign"),
        ('hygge init --files "~/exports/a.csv"', "a home that stays a sign"),
    ],
)
def test_what_zsh_reads_otherwise_is_found(line: str, what: str) -> None:
    assert not_of_zsh(line) == [what]


@pytest.mark.parametrize(
    "line",
    [
        'az x --subject "repo:O@${owner}/R@${repository}:environment:$name"',
        "az x --query \"resourceTypes[?a=='b'].locations\"",
        'curl "$url/api/health"',
        "export WORKSPACE_ID=1; who=$(az y)",
        '[ -n "$x" ] && echo "$y: $z"',
        "[[ -n $x ]] || exit $?",
        "az x --query '[].name' --files \"*.zip\" a\\?b",
        "case $x in *) y=1 ;; esac",
        "echo 'a!b' '=x' a=b \"$x = y\"; wait $!; ! test -e x; [ $x != y ]",
        "cp ~/x y; export A=~/z",
    ],
)
def test_what_zsh_reads_alike_is_taken(line: str) -> None:
    assert not_of_zsh(line) == []


# What Windows' PowerShell reads otherwise: what only 7 knows, a name up to a colon as a drive's, and a word that begins
# with one hyphen up to a dot, as `-var-file=shop` and `.tfvars`. Lines for sh are often typed there too, so the last
# counts for every block.
NOT_OF_POWERSHELL = re.compile(r"-MaskInput| && | \|\| | \?\? |-Parallel|\$(?!env:|global:|script:)\w+:\w")
# A word with `@` before it, which is a table of arguments there; sh's own redirections and variables; what version 5
# has under the name of another program; and a here-string that does not begin at the end of a line.
_OF_SH = re.compile(
    r"^(?:[^'\"#]|'[^']*'|\"[^\"]*\")*?(?:(?<=\s)@(?![({\"'])|(?<![\w$'\"])<|/dev/null|^\s*(?:export|curl|wget)\s)"
    r"|@[\"'](?!$)[^()]*[\"']@",
    re.MULTILINE,
)
_SPLIT_AT_A_DOT = re.compile(r"(?<=\s)-(?!-)[\w-]*=[^\s'\"$]*\.[^\s'\"]*")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_for_powershell_are_taken_by_windows_own(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    every = [match["text"] for match in _BLOCK.finditer(text)] + re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)

    assert [word for block in blocks(page, "powershell") for word in NOT_OF_POWERSHELL.findall(block)] == []
    assert [line for block in blocks(page, "powershell") for line in block.splitlines() if _OF_SH.search(line)] == []
    assert [word for block in every for word in _SPLIT_AT_A_DOT.findall(block)] == []


def test_what_powershell_reads_otherwise_is_found() -> None:
    assert NOT_OF_POWERSHELL.search('"repo:$repository:environment"')
    assert not NOT_OF_POWERSHELL.search('"hygge-$env:AZURE_ENV_NAME"')
    for line in ("az x --body @body.json", "sqlcmd < x.sql", "az x 2>/dev/null", "export A=1", "curl x", 'x @"a"@'):
        assert _OF_SH.search(line), line
    for line in (
        'az x --body "@body.json"',
        "$x = @(1, 2)",
        "$y = @{ a = 1 }",
        "curl.exe x",
        'x "a@b" a@b',
        '@"',
        '"@',
    ):
        assert not _OF_SH.search(line), line
    assert _SPLIT_AT_A_DOT.search("terraform plan -var-file=shop.tfvars -out=tfplan")
    assert not _SPLIT_AT_A_DOT.search('terraform -chdir=infra/terraform plan "-var-file=shop.tfvars" -out=tfplan')


# Git Bash takes what begins with a slash for a path of its own, and puts C:/Program Files/Git before it, in arguments
# and in what is exported (Azure/azure-cli, issue 16317).
_ID = re.compile(r"(?<![\w.:/])/(?:subscriptions|providers)/")
_NO_PATHS = "export MSYS_NO_PATHCONV=1"


def ids_that_git_bash_rewrites(text: str) -> list[str]:
    """Lines of a page that hand on an id that begins with a slash, and no line before says to leave it alone."""
    found = []
    for match in _BLOCK.finditer(text):
        # Files and HTTP hold ids that no shell sees.
        if match["language"] in SH and (first := _ID.search(match["text"])):
            before = text[: match.start("text") + first.start()]
            found += [] if _NO_PATHS in before else [match["text"]]
    found += [
        line for line in re.findall(r"`((?:azd|az|export) [^`]*)`", text) if _ID.search(line) and _NO_PATHS not in text
    ]
    return found


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_ids_reach_azure_from_git_bash_as_they_are(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    assert ids_that_git_bash_rewrites(text) == []
    # So does a page that tells readers to set an id.
    if re.search(r"^\| .*`(?:SQL_SERVER_RESOURCE_ID|APP_SUBNET_ID)`", text, re.MULTILINE):
        assert _NO_PATHS in text


def test_an_id_that_git_bash_rewrites_is_found() -> None:
    block = '```\nscope=/subscriptions/x\naz role assignment create --scope "$scope"\n```\n'

    assert ids_that_git_bash_rewrites(block)
    assert ids_that_git_bash_rewrites("Set `azd env set APP_SUBNET_ID /subscriptions/x` first.")
    assert not ids_that_git_bash_rewrites(f"```\n{_NO_PATHS}\n```\n{block}")
    # Too late for the lines above it.
    assert ids_that_git_bash_rewrites(block.removesuffix("```\n") + f"{_NO_PATHS}\n```\n")


def test_scripts_hand_on_ids_from_git_bash_as_they_are() -> None:
    script = (REPOSITORY / "infra/scripts/deploy.sh").read_text()
    variables = re.findall(
        r"`(\w+_(?:RESOURCE_ID|SUBNET_ID|ALLOW_LIST))`", (REPOSITORY / "docs/deploy/pipelines.md").read_text()
    )

    assert script.index(_NO_PATHS) < script.index("\n    az ")
    (left_alone,) = re.findall(r"MSYS2_ENV_CONV_EXCL='([^']+)'", script)
    assert set(left_alone.split(";")) == set(variables)


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


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_project_that_a_page_has_made_needs_no_more_answers(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for index, arguments in enumerate(commands(page, "hygge")):
        # One that names no source asks for everything.
        if arguments[:1] != ["init"] or not {"--server", "--files"} & set(arguments) or "PATTERN" in arguments:
            continue
        place = tmp_path / str(index)
        (place / "exports").mkdir(parents=True)
        (place / "exports" / "products.csv").write_text("id,name\n1,apple\n")
        monkeypatch.chdir(place)
        given = [re.sub(r"^\$(?:env:)?\w+$", "value", word) for word in arguments]
        made = CliRunner().invoke(app, given, env={"SQL_PASSWORD": "secret"})
        assert made.exit_code == 0, made.output


def test_there_are_commands_to_parse() -> None:
    assert ["init", "--files", "exports/*.csv"] in commands(REPOSITORY / "docs/first-load.md", "hygge")
    assert any("$env:SQL_SERVER" in words for words in commands(REPOSITORY / "docs/install.md", "hygge"))
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
