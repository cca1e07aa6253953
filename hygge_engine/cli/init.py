"""``hygge init``: a project from a few answers, checked before it is written."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer

from hygge_engine.cli.messages import EXIT_SETTLED
from hygge_engine.errors import ConfigurationError
from hygge_engine.homes.mssql.identifiers import parse_table_name
from hygge_engine.project import load_project
from hygge_engine.project.models import check_entity_name, check_flow_name
from hygge_engine.project.schema import generate_schemas
from hygge_engine.project.variables import LOCAL_SETTINGS

_GUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)

_SCHEMA_DIRECTORY = ".schema"

_HYGGE = """\
# yaml-language-server: $schema=.schema/hygge.json
name: {name}

connections:
  {connection}:
    type: mssql
    server: {server}
    database: {database}
    auth: "${{SQL_AUTH:-managed_identity}}"        # sql | managed_identity | service_principal | default | access_token
{login}
journal:
  location: store                               # .hygge_journal/, beside the data it describes
"""

_LOGIN = """\
    username: "${SQL_USERNAME}"
    password: "${SQL_PASSWORD}"
"""

_FLOW = """\
# yaml-language-server: $schema=../../.schema/flow.json
name: {flow}
schedule: "0 */15 * * * *"                      # second minute hour day month weekday, UTC
run_type: {run_type}

home:
  type: mssql
  connection: {connection}
  table: {table}

store:
  type: open_mirroring
  account_url: "${{ONELAKE_URL:-https://onelake.dfs.fabric.microsoft.com}}"
  filesystem: {workspace}   # the workspace
  mirror_name: {mirror}  # the mirrored database
  schema_name: {schema}
  credential: "${{LAKE_CREDENTIAL:-managed_identity}}"  # managed_identity | default | client_secret | account_key | sas
  mirror_journal: true                          # the journal becomes tables of the schema __hygge
{watermark}
entities:
{entities}
"""

_WATERMARK = """\

watermark:
  column: {column}
  # lag: 5m would read the last five minutes again at every load, for sources that commit late
"""

_GITIGNORE = f"{LOCAL_SETTINGS}\n"


@dataclass
class Answers:
    """What `hygge init` asks. ``tables`` are separated by commas; an empty ``username`` logs in with Entra, an empty
    ``watermark`` reloads the tables whole. ``workspace`` may be the mirrored database's address, which names both."""

    name: str = ""
    server: str = ""
    database: str = ""
    tables: str = ""
    workspace: str = ""
    mirror: str = ""
    watermark: str = ""
    username: str = ""


@dataclass(frozen=True)
class _Question:
    text: str
    check: Callable[[str], str]
    required: bool = True


def run(directory: Path, given: Answers) -> int:
    """Ask for what is missing, write the project, and say what to do next. Raises ConfigurationError."""
    directory = directory.resolve()
    _refuse_existing(directory, ["hygge.yml", "flows", LOCAL_SETTINGS])
    answers = _ask(given, directory) if _is_terminal() else _complete(given, directory)
    password = os.environ.get("SQL_PASSWORD", "")
    if answers.username and not password and _is_terminal():
        question = f"Password of {answers.username} (empty: set it later)"
        password = str(typer.prompt(question, default="", hide_input=True, show_default=False))
    files = _render(answers, password)
    _validate(files)
    _refuse_existing(directory, list(files))
    if (directory / ".gitignore").exists():
        files.pop(".gitignore")
    for name, text in files.items():
        _write(directory / name, text)
    _show_next(directory, files, needs_password=bool(answers.username and not password))
    return EXIT_SETTLED


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _refuse_existing(directory: Path, names: list[str]) -> None:
    existing = [name for name in names if name != ".gitignore" and (directory / name).exists()]
    if existing:
        raise ConfigurationError(
            f"{directory} has {', '.join(existing)} already, and nothing is ever overwritten.",
            hint="Name another directory: `hygge init DIR`.",
        )


def _questions(directory: Path) -> dict[str, _Question]:
    return {
        "name": _Question("Name of the project", check_flow_name),
        "server": _Question("SQL Server (host, or host,port)", _check_server),
        "database": _Question("Database", str),
        "tables": _Question("Tables, separated by commas (orders, sales.customers)", _check_tables),
        "workspace": _Question("Address of the mirrored database in Fabric, or GUID of its workspace", _check_place),
        "mirror": _Question("GUID of the mirrored database", _check_guid),
        "watermark": _Question("Column with the time of last change (empty: reload whole tables)", str, required=False),
        "username": _Question("SQL login (empty: log in with Entra)", str, required=False),
    }


def _default(name: str, answers: Answers, directory: Path) -> str:
    if name == "name":
        return re.sub(r"[^\w-]+", "_", directory.name).strip("_-") or "hygge"
    if name == "mirror":
        found = _GUID.findall(answers.workspace)
        return str(found[1]) if len(found) > 1 else ""
    return ""


def _ask(given: Answers, directory: Path) -> Answers:
    """Prompt for each answer that no option gave, again where it cannot be right."""
    answers = Answers()
    for name, question in _questions(directory).items():
        value = str(getattr(given, name)) or (_default(name, answers, directory) if name == "mirror" else "")
        if value:
            value = _checked(name, value, question)
        else:
            default = _default(name, answers, directory)
            value = typer.prompt(
                question.text,
                default=default or (None if question.required else ""),
                show_default=bool(default),
                value_proc=_prompted(question),
            )
        setattr(answers, name, value)
    return answers


def _prompted(question: _Question) -> Callable[[str], str]:
    def convert(text: str) -> str:
        try:
            return question.check(text.strip()) if text.strip() else ""
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error

    return convert


def _complete(given: Answers, directory: Path) -> Answers:
    """Without a terminal: every answer from its option. Raises ConfigurationError naming all that are missing."""
    answers = Answers()
    missing = []
    for name, question in _questions(directory).items():
        value = str(getattr(given, name)) or _default(name, answers, directory)
        if value:
            setattr(answers, name, _checked(name, value, question))
        elif question.required:
            missing.append(f"--{name}")
    if missing:
        raise ConfigurationError(
            f"There is no terminal to ask on, and these options are missing: {', '.join(missing)}.",
            hint="`hygge init --help` explains each.",
        )
    return answers


def _checked(name: str, value: str, question: _Question) -> str:
    try:
        return question.check(value.strip())
    except ValueError as error:
        raise ConfigurationError(f"--{name}: {error}") from error


def _check_server(text: str) -> str:
    if re.search(r"[;{}\s]|://", text.replace(", ", ",")):
        raise ValueError(f"{text!r} is no server; expected a host, or host,port")
    return text.replace(", ", ",")


def _check_tables(text: str) -> str:
    for table in _split(text):
        check_entity_name(parse_table_name(table)[1])
    if not _split(text):
        raise ValueError("expected at least one table")
    return text


def _check_place(text: str) -> str:
    if not _GUID.search(text):
        raise ValueError(f"{text!r} has no GUID; copy the address of the mirrored database from the browser")
    return text


def _check_guid(text: str) -> str:
    found = _GUID.findall(text)
    if not found:
        raise ValueError(f"{text!r} is no GUID; it stands at the end of the mirrored database's address")
    return str(found[-1])


def _split(tables: str) -> list[str]:
    return [table.strip() for table in tables.split(",") if table.strip()]


def _render(answers: Answers, password: str) -> dict[str, str]:
    """The project's files by path."""
    connection = f"{answers.name}_db"
    flow = f"{answers.name}_to_fabric"
    tables = list(dict.fromkeys(parse_table_name(table) for table in _split(answers.tables)))
    schema = tables[0][0]
    values = {
        "name": _scalar(answers.name),
        "connection": connection,
        "server": _scalar(answers.server),
        "database": _scalar(answers.database),
        "login": _LOGIN if answers.username else "",
        "flow": flow,
        "run_type": "incremental" if answers.watermark else "full_drop",
        "table": json.dumps(f"{_quoted(schema)}.[{{entity}}]" if _needs_quotes(tables) else f"{schema}.{{entity}}"),
        "schema": _scalar(schema),
        "workspace": json.dumps(_GUID.findall(answers.workspace)[0]),
        "mirror": json.dumps(answers.mirror),
        "watermark": _WATERMARK.format(column=_scalar(answers.watermark)) if answers.watermark else "",
        "entities": "\n".join(_entity(table, schema, tables) for table in tables),
    }
    settings = {"FUNCTIONS_WORKER_RUNTIME": "python", "SQL_AUTH": "default", "LAKE_CREDENTIAL": "default"}
    if answers.username:
        settings |= {"SQL_AUTH": "sql", "SQL_USERNAME": answers.username}
        settings |= {"SQL_PASSWORD": password} if password else {}
    schemas = generate_schemas()
    return {
        "hygge.yml": _HYGGE.format(**values),
        f"flows/{flow}/flow.yml": _FLOW.format(**values),
        LOCAL_SETTINGS: json.dumps({"IsEncrypted": False, "Values": settings}, indent=2, ensure_ascii=False) + "\n",
        ".gitignore": _GITIGNORE,
        **{f"{_SCHEMA_DIRECTORY}/{name}": json.dumps(schema, indent=2) + "\n" for name, schema in schemas.items()},
    }


def _entity(table: tuple[str, str], common: str, tables: list[tuple[str, str]]) -> str:
    """One item of ``entities``: just a name where table and schema are the flow's."""
    schema, name = table
    if schema == common:
        return f"  - {_scalar(name)}"
    taken = sum(other == name for _, other in tables) > 1
    own = _scalar(f"{schema}_{name}" if taken else name)
    source = _scalar(f"{_quoted(schema)}.{_quoted(name)}")
    store = f"schema_name: {_scalar(schema)}, table_name: {_scalar(name)}"
    return f"  - name: {own}\n    home: {{ table: {source} }}\n    store: {{ {store} }}"


def _scalar(text: str) -> str:
    """A text in YAML: plain where it cannot be read as anything else, otherwise as JSON, which YAML contains."""
    plain = re.fullmatch(r"[A-Za-z_][\w.-]*", text) and text.lower() not in ("true", "false", "null")
    return text if plain else json.dumps(text, ensure_ascii=False)


def _needs_quotes(tables: list[tuple[str, str]]) -> bool:
    return any(_quoted(part) != part for table in tables for part in table)


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"\w+", name) else "[" + name.replace("]", "]]") + "]"


def _validate(files: dict[str, str]) -> None:
    """Read the project as a load would, before it exists. Raises ConfigurationError."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in files.items():
            _write(Path(directory, name), text)
        load_project(Path(directory), {"SQL_PASSWORD": "any"})


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        if path.name == LOCAL_SETTINGS:
            path.chmod(0o600)  # it may hold a password
        file.write(text)


def _show_next(directory: Path, files: dict[str, str], *, needs_password: bool) -> None:
    for name in files:
        if not name.startswith(_SCHEMA_DIRECTORY):
            typer.echo(f"wrote {directory / name}")
    typer.echo("\nNext:")
    if directory != Path.cwd():
        typer.echo(f"  cd {directory}")
    if needs_password:
        typer.echo(f"  set SQL_PASSWORD in {LOCAL_SETTINGS}, or in the environment")
    typer.echo("  hygge doctor    # does everything work that a load needs?")
    typer.echo("  hygge plan      # what would move?")
    typer.echo("  hygge go        # move it")
