"""`hygge init`: what it writes validates, and nothing is overwritten."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hygge_engine.cli import init as cli_init
from hygge_engine.cli.app import app
from hygge_engine.homes.files.settings import LocalHomeSettings
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from hygge_engine.project import load_project
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

REPOSITORY = Path(__file__).parents[2]
WORKSPACE, MIRROR = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
ADDRESS = f"https://app.fabric.microsoft.com/groups/{WORKSPACE}/mirroreddatabases/{MIRROR}?experience=data"
OPTIONS = {"server": "sql.example.com,1444", "database": "shop", "tables": "orders", "workspace": ADDRESS}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SQL_PASSWORD", "SQL_AUTH", "SQL_USERNAME", "ONELAKE_URL", "LAKE_CREDENTIAL", "HYGGE_PROJECT"):
        monkeypatch.delenv(name, raising=False)


def init(directory: Path, text: str = "", **options: str) -> Result:
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return CliRunner().invoke(app, ["init", str(directory), *arguments], input=text)


def test_the_options_answer_everything(tmp_path: Path) -> None:
    result = init(tmp_path / "shop", **OPTIONS, watermark="modified_at")
    assert result.exit_code == 0, result.output
    assert "hygge doctor" in result.stdout
    project = load_project(tmp_path / "shop", {})
    assert project.name == "shop"
    connection = project.connections["shop_db"]
    assert isinstance(connection, MssqlConnection)
    assert (connection.address, connection.database, connection.auth) == ("sql.example.com,1444", "shop", "default")
    (entity,) = project.entities
    assert (entity.id, entity.run_type, entity.reload, entity.watermark and entity.watermark.column) == (
        "shop_to_fabric.orders",
        "incremental",
        "difference",
        "modified_at",
    )
    assert entity.store.destination("orders").endswith(f"{WORKSPACE}/{MIRROR}/dbo/orders")
    assert "local.settings.json" in (tmp_path / "shop/.gitignore").read_text()


def test_tables_of_several_schemas_and_odd_names(tmp_path: Path) -> None:
    result = init(tmp_path / "shop", **OPTIONS | {"tables": "orders, sales.orders, sales.[order lines], [a-b]"})
    assert result.exit_code == 0, result.output
    found = {}
    for entity in load_project(tmp_path / "shop", {}).entities:
        assert isinstance(entity.home, MssqlHomeSettings)
        assert isinstance(entity.store, OpenMirroringSettings)
        found[entity.name] = (entity.home.table, entity.store.schema_name, entity.run_type)
    assert found == {
        "orders": ("dbo.[orders]", "dbo", "full_drop"),
        "sales_orders": ("sales.orders", "sales", "full_drop"),
        "order lines": ("sales.[order lines]", "sales", "full_drop"),
        "a-b": ("dbo.[a-b]", "dbo", "full_drop"),
    }


def test_a_password_is_kept_where_git_does_not_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQL_PASSWORD", "cAnArY-5")
    result = init(tmp_path, **OPTIONS, username="reader", name="shop")
    assert result.exit_code == 0, result.output
    holders = [path.name for path in tmp_path.rglob("*") if path.is_file() and "cAnArY" in path.read_text()]
    assert holders == ["local.settings.json"]
    assert (tmp_path / "local.settings.json").stat().st_mode & 0o077 == 0
    assert "cAnArY" not in result.output
    connection = load_project(tmp_path, {}).connections["shop_db"]
    assert isinstance(connection, MssqlConnection)
    assert (connection.auth, connection.username) == ("sql", "reader")


def test_a_password_that_is_not_known_yet_is_the_next_step(tmp_path: Path) -> None:
    result = init(tmp_path / "shop", **OPTIONS, username="reader")
    assert result.exit_code == 0
    assert "set SQL_PASSWORD" in result.stdout
    assert load_project(tmp_path / "shop", {"SQL_PASSWORD": "x"}).name == "shop"


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "hygge.yml").write_text("mine")
    result = init(tmp_path, **OPTIONS, name="shop")
    assert result.exit_code == 2
    assert "hygge.yml already" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["hygge.yml"]
    assert (tmp_path / "hygge.yml").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--server, --database, --tables, --workspace, --mirror"),
        (OPTIONS | {"workspace": "sales"}, "--workspace: 'sales' has no GUID"),
        (OPTIONS | {"mirror": "abc"}, "--mirror: 'abc' is not a GUID"),
        (OPTIONS | {"tables": "a.b.c"}, "--tables: 'a.b.c' has 3 parts"),
        (OPTIONS | {"server": "Server=x;"}, "--server:"),
        (OPTIONS | {"name": "a b"}, "--name:"),
    ],
)
def test_what_cannot_be_right_writes_nothing(tmp_path: Path, options: dict[str, str], words: str) -> None:
    result = init(tmp_path / "shop", **options)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not (tmp_path / "shop").exists()


def test_questions_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_init, "_is_terminal", lambda: True)
    answers = [
        "table",
        "sql",
        "",
        "sql.example.com",
        "shop",
        "a.b.c",
        "orders",
        "nowhere",
        ADDRESS,
        "",
        "reader",
        "cAnArY-6",
    ]
    result = init(tmp_path / "my shop", "\n".join(answers) + "\n")
    assert result.exit_code == 0, result.output
    assert "'a.b.c' has 3 parts" in result.output
    assert "'nowhere' has no GUID" in result.output
    assert "cAnArY" not in result.output
    project = load_project(tmp_path / "my shop", {})
    assert (project.name, project.entities[0].run_type) == ("my_shop", "full_drop")
    settings = json.loads((tmp_path / "my shop/local.settings.json").read_text())
    assert settings["Values"]["SQL_PASSWORD"] == "cAnArY-6"


def test_files_become_entities_and_the_project_loads_them(tmp_path: Path) -> None:
    folder = tmp_path / "exports/daily"
    folder.mkdir(parents=True)
    for name in ("orders.csv", "order lines.csv", "_unfinished.csv", "notes.txt"):
        (folder / name).write_text("id\n1\n")
    result = init(tmp_path, files="./exports/daily/*.csv", name="shop")
    assert result.exit_code == 0, result.output
    project = load_project(tmp_path, {})
    assert [entity.name for entity in project.entities] == ["order lines", "orders"]
    assert CliRunner().invoke(app, ["go", "--project", str(tmp_path)]).exit_code == 0
    assert {path.parent.name for path in tmp_path.glob("warehouse/*/*.parquet")} == {"order lines", "orders"}


@pytest.mark.parametrize(
    ("file", "format_"), [("a.ndjson", "ndjson"), ("a.JSONL.gz", "ndjson"), ("a.parquet", "parquet")]
)
def test_files_are_of_the_format_that_their_names_say(tmp_path: Path, file: str, format_: str) -> None:
    (tmp_path / file).write_bytes(b"")
    assert init(tmp_path, files=file, name="shop", workspace=ADDRESS).exit_code == 0
    (entity,) = load_project(tmp_path, {}).entities
    assert isinstance(entity.home, LocalHomeSettings)
    assert (entity.home.format, entity.store.type) == (format_, "open_mirroring")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"files": "../*.csv"}, "not below the project's directory"),
        ({"files": "/etc/*.csv"}, "not below the project's directory"),
        ({"files": "*"}, "does not say which files"),
        ({"files": "**/*.csv"}, "does not say which files"),
        ({"files": "*.csv"}, "There are no files *.csv"),
        ({"files": "*.csv", "server": "s"}, "--files and --server are both given"),
        ({"files": "*.csv", "workspace": WORKSPACE}, "--mirror"),
    ],
)
def test_files_that_are_not_there_or_not_ours_write_nothing(tmp_path: Path, given: dict[str, str], words: str) -> None:
    result = init(tmp_path, name="shop", **given)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("directory", [[], ["shop"]])
def test_a_pattern_that_the_shell_has_replaced_belongs_in_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, directory: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [f"{number}.csv" for number in range(count)]
    for file in files:
        Path(file).write_text("id\n1\n")
    result = CliRunner().invoke(app, ["init", *directory, "--files", *files])
    assert result.exit_code == 2
    assert "Put the pattern in quotes" in result.stderr
    assert len(list(tmp_path.iterdir())) == count


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_pattern_is_told(tmp_path: Path, empty: str) -> None:
    result = CliRunner().invoke(app, ["init", str(tmp_path), "--files", empty])
    assert result.exit_code == 2
    assert "`--files` is empty" in result.stderr


def test_a_directory_too_many_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["init", str(tmp_path / "a"), str(tmp_path / "b")])
    assert result.exit_code == 2
    assert "unexpected extra argument" in result.stderr


def test_files_are_offered_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_init, "_is_terminal", lambda: True)
    (tmp_path / "orders.csv").write_text("id\n1\n")
    result = init(tmp_path, "\n".join(["files", "shop", "*.csv", "", ""]) + "\n")
    assert result.exit_code == 0, result.output
    (entity,) = load_project(tmp_path, {}).entities
    assert (entity.id, entity.store.destination("orders")) == ("shop_to_warehouse.orders", "warehouse/orders")


@pytest.mark.parametrize("ask", [[], ["--yes"]], ids=["every option given", "told not to"])
def test_nothing_is_asked_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: list[str]) -> None:
    monkeypatch.setattr(cli_init, "_is_terminal", lambda: True)
    given = OPTIONS if not ask else {"server": "s", "username": "reader"}
    arguments = [part for name, value in given.items() for part in (f"--{name}", value)]
    result = CliRunner().invoke(app, ["init", str(tmp_path / "shop"), *arguments, *ask], input="hygge validate\n")
    assert "Name of the project" not in result.output
    assert result.exit_code == (2 if ask else 0)
    if ask:
        assert "--database, --tables, --workspace, --mirror" in result.stderr


def test_commands_run_with_standard_streams_closed(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id\n1\n")
    hygge = Path(sys.executable).parent / "hygge"
    for command in ("init --files '*.csv'", "plan", "go", "init"):
        line = f"exec {hygge} {command} <&-"
        ended = subprocess.run(
            ["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == (2 if command == "init" else 0), ended.stderr
        assert "Traceback" not in ended.stderr


def test_the_documented_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (REPOSITORY / "docs/cli.md").read_text(encoding="utf-8").split("## hygge init", 1)[1]
    found = re.search(r"```sh\n(.+?)```", section, re.DOTALL)
    assert found is not None
    monkeypatch.chdir(tmp_path)
    for line in found[1].replace("\\\n", " ").splitlines():
        program, *arguments = shlex.split(line)
        assert program == "hygge"
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("allowed", [0, 2])
@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_a_directory_that_cannot_be_written_is_told_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int, error: OSError
) -> None:
    open_, left = Path.open, iter(range(allowed))

    def refuse(path: Path, mode: str = "r", **more: Any) -> Any:
        if mode == "x" and tmp_path in path.parents and next(left, None) is None:
            raise error
        return open_(path, mode, **more)

    monkeypatch.setattr(Path, "open", refuse)

    result = init(tmp_path, server="sql.example.com", database="shop", tables="orders", workspace=ADDRESS)

    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "cannot be written" in result.output
    assert str(error.strerror) in result.output
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
