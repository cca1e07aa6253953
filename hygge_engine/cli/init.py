"""``hygge init``: a project from a few answers, checked before it is written."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import typer

from hygge_engine.cli.messages import EXIT_SETTLED, is_terminal
from hygge_engine.cli.output import echo, unanswered
from hygge_engine.cli.scaffold import SCHEMA_DIRECTORY, Answers, find_guids, render, split_tables
from hygge_engine.errors import ConfigurationError
from hygge_engine.homes.files.settings import format_of
from hygge_engine.homes.mssql.identifiers import parse_table_name
from hygge_engine.project import load_project
from hygge_engine.project.models.project import check_entity_name, check_flow_name
from hygge_engine.project.reading.variables import LOCAL_SETTINGS

_SOURCES = ("sql", "files")


@dataclass(frozen=True)
class _Question:
    text: str
    check: Callable[[str], str]
    required: bool = True


def run(directory: Path, given: Answers, *, ask: bool = True) -> int:
    """Ask for what is missing, write the project, and say what to do next.

    Nothing is asked where the options say everything, where ``ask`` is false, or without a terminal. Raises
    ConfigurationError.
    """
    directory = directory.resolve()
    _refuse_existing(directory, ["hygge.yml", "flows", LOCAL_SETTINGS])
    _refuse_two_sources(given)
    with unanswered():
        files, needs_password = _answered_files(directory, given, ask=ask)
    _refuse_existing(directory, list(files))
    if (directory / ".gitignore").exists():
        files.pop(".gitignore")
    _write_all(directory, files)
    _show_next(directory, files, needs_password=needs_password)
    return EXIT_SETTLED


def _answered_files(directory: Path, given: Answers, *, ask: bool) -> tuple[dict[str, str], bool]:
    """The project's files, and whether a password is still to be set. Raises ConfigurationError."""
    asking = ask and _is_terminal() and bool(_missing(given, directory))
    answers = _ask(given, directory) if asking else _complete(given, directory)
    password = os.environ.get("SQL_PASSWORD", "")
    if answers.username and not password and asking:
        question = f"Password of {answers.username} (empty: set it later)"
        password = str(typer.prompt(question, default="", hide_input=True, show_default=False))
    files = render(answers, password, directory)
    _validate(files)
    return files, bool(answers.username and not password)


def _is_terminal() -> bool:
    return is_terminal(sys.stdin) and is_terminal(sys.stdout)


def refuse_expanded(directory: Path, files: str | None, rest: Sequence[str]) -> None:
    """Refuse what a shell makes of a pattern without quotes, whose first file is the option and the others arguments,
    and of a variable that is not set. Raises ConfigurationError."""
    hint = "Put the pattern in quotes: `hygge init --files 'exports/*.csv'`."
    if files is not None and not files.strip():
        raise ConfigurationError("`--files` is empty.", hint=hint)
    if files and (rest or directory.is_file()):
        first = str(rest[0] if rest else directory)
        raise ConfigurationError(
            f"`--files` takes one pattern, and {first!r} is given besides {files!r}; without quotes the shell puts the "
            "files' names in its place.",
            hint=hint,
        )


def _refuse_existing(directory: Path, names: list[str]) -> None:
    existing = [name for name in names if name != ".gitignore" and (directory / name).exists()]
    if existing:
        raise ConfigurationError(
            f"{directory} has {', '.join(existing)} already, and nothing is ever overwritten.",
            hint="Name another directory: `hygge init DIR`.",
        )


def _refuse_two_sources(given: Answers) -> None:
    database = [name for name in ("server", "database", "tables", "username") if getattr(given, name)]
    if given.files and database:
        raise ConfigurationError(
            f"Rows come from files or from a database; --files and --{', --'.join(database)} are both given.",
            hint="Begin with one of them; a project may have flows of both.",
        )


def _questions(*, from_files: bool) -> dict[str, _Question]:
    """What has to be known about files, or about tables of a database."""
    place = "Address of the mirrored database in Fabric, or GUID of its workspace"
    if from_files:
        return {
            "name": _Question("Name of the project", check_flow_name),
            "files": _Question("Files, as a pattern below the project (exports/*.csv)", _check_files),
            "workspace": _Question(f"{place} (empty: a folder on this machine)", _check_place, required=False),
            "mirror": _Question("GUID of the mirrored database", _check_guid),
            "watermark": _Question(
                "Column with the time of last change (empty: reload whole files)", str, required=False
            ),
        }
    return {
        "name": _Question("Name of the project", check_flow_name),
        "server": _Question("SQL Server (host, or host,port)", _check_server),
        "database": _Question("Database", str),
        "tables": _Question("Tables, separated by commas (orders, sales.customers)", _check_tables),
        "workspace": _Question(place, _check_place),
        "mirror": _Question("GUID of the mirrored database", _check_guid),
        "watermark": _Question("Column with the time of last change (empty: reload whole tables)", str, required=False),
        "username": _Question("SQL login (empty: log in with Entra)", str, required=False),
    }


def _default(name: str, answers: Answers, directory: Path) -> str:
    if name == "name":
        return re.sub(r"[^\w-]+", "_", directory.name).strip("_-") or "hygge"
    if name == "mirror":
        found = find_guids(answers.workspace)
        return found[1] if len(found) > 1 else ""
    return ""


def _is_needed(name: str, question: _Question, answers: Answers) -> bool:
    """Whether an option is required. Files may land in a local folder, without Fabric."""
    return question.required and not (name == "mirror" and answers.files and not answers.workspace)


def _missing(given: Answers, directory: Path) -> list[str]:
    """The required options that have neither a value nor a default."""
    return [
        name
        for name, question in _questions(from_files=bool(given.files)).items()
        if _is_needed(name, question, given) and not (getattr(given, name) or _default(name, given, directory))
    ]


def _ask(given: Answers, directory: Path) -> Answers:
    """Prompt for each answer that no option gave, again where it cannot be right."""
    answers = Answers()
    from_files = bool(given.files)
    if not (from_files or given.server or given.database or given.tables):
        source = _Question("Where the rows are: sql (SQL Server) or files (CSV, NDJSON, Parquet)", _check_source)
        from_files = typer.prompt(source.text, default=_SOURCES[0], value_proc=_prompted(source)) == "files"
    for name, question in _questions(from_files=from_files).items():
        value = str(getattr(given, name)) or (_default(name, answers, directory) if name == "mirror" else "")
        needed = _is_needed(name, question, answers)
        if value:
            value = _checked(name, value, question)
        elif name != "mirror" or needed:
            default = _default(name, answers, directory)
            value = typer.prompt(
                question.text,
                default=default or (None if needed else ""),
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
    """Every answer from its option or default. Raises ConfigurationError naming all that are missing."""
    answers = Answers()
    for name, question in _questions(from_files=bool(given.files)).items():
        value = str(getattr(given, name)) or _default(name, answers, directory)
        setattr(answers, name, _checked(name, value, question) if value else "")
    missing = [f"--{name}" for name in _missing(given, directory)]
    if missing:
        hint = "`hygge init --help` explains each."
        if not (given.server or given.database or given.tables or given.files):
            hint = f"Or begin with files: `hygge init --files 'exports/*.csv'`. {hint}"
        raise ConfigurationError(
            f"Nothing is asked here, and these options are missing: {', '.join(missing)}.", hint=hint
        )
    return answers


def _checked(name: str, value: str, question: _Question) -> str:
    try:
        return question.check(value.strip())
    except ValueError as error:
        raise ConfigurationError(f"--{name}: {error}", hint="`hygge init --help` explains each option.") from error


def _check_source(text: str) -> str:
    if text.lower() not in _SOURCES:
        raise ValueError(f"expected {' or '.join(_SOURCES)}")
    return text.lower()


def _check_files(text: str) -> str:
    pattern = text.replace("\\", "/").removeprefix("./")
    path = PurePosixPath(pattern)
    if path.is_absolute() or ".." in path.parts or ":" in pattern:
        raise ValueError(f"{text!r} is not below the project's directory; expected a pattern such as exports/*.csv")
    if format_of(path.name) is None or any(mark in str(path.parent) for mark in "*?[{}"):
        raise ValueError(f"{text!r} does not say which files; expected a folder and *.csv, *.ndjson or *.parquet")
    return pattern


def _check_server(text: str) -> str:
    if re.search(r"[;{}\s]|://", text.replace(", ", ",")):
        raise ValueError(f"{text!r} is not a server; expected a host, or host,port")
    return text.replace(", ", ",")


def _check_tables(text: str) -> str:
    for table in split_tables(text):
        check_entity_name(parse_table_name(table)[1])
    if not split_tables(text):
        raise ValueError("expected at least one table")
    return text


def _check_place(text: str) -> str:
    if not find_guids(text):
        raise ValueError(f"{text!r} has no GUID; copy the address of the mirrored database from the browser")
    return text


def _check_guid(text: str) -> str:
    found = find_guids(text)
    if not found:
        raise ValueError(f"{text!r} is not a GUID; it is at the end of the mirrored database's address")
    return found[-1]


def _validate(files: dict[str, str]) -> None:
    """Read the project as a load would, before it exists. Raises ConfigurationError."""
    with tempfile.TemporaryDirectory() as directory:
        for name, text in files.items():
            _write(Path(directory, name), text)
        load_project(Path(directory), {"SQL_PASSWORD": "any"})


def _write_all(directory: Path, files: dict[str, str]) -> None:
    """Write a project's files, or none of them. Raises ConfigurationError."""
    written: list[Path] = []
    try:
        for name, text in files.items():
            _write(directory / name, text)
            written.append(directory / name)
    except OSError as error:
        half = [] if isinstance(error, FileExistsError) else [directory / name]
        for path in [*written, *half]:
            with suppress(OSError):
                path.unlink()
        where = error.filename or directory
        raise ConfigurationError(
            f"The project cannot be written: {where}: {error.strerror or error}.",
            hint="Name a directory that you may write to: `hygge init DIR`.",
        ) from error


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8") as file:
        if path.name == LOCAL_SETTINGS:
            path.chmod(0o600)  # it may hold a password
        file.write(text)


def _show_next(directory: Path, files: dict[str, str], *, needs_password: bool) -> None:
    for name in files:
        if not name.startswith(SCHEMA_DIRECTORY):
            echo(f"wrote {directory / name}")
    echo("\nNext:")
    if directory != Path.cwd():
        echo(f"  cd {directory}")
    if needs_password:
        echo(f"  set SQL_PASSWORD in {LOCAL_SETTINGS}, or in the environment")
    echo("  hygge doctor      does everything work that a load needs?")
    echo("  hygge plan        what would move?")
    echo("  hygge go          move it")
