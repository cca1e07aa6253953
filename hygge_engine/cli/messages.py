"""Errors for people: one line what, one line why, one line what to do."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import typer

from hygge_engine.cli.interrupt import EXIT_INTERRUPTED, ends_soon, interrupt_main_thread
from hygge_engine.cli.output import echo, echo_json, hanging
from hygge_engine.errors import ConfigurationError, HyggeError
from hygge_engine.plain_text import NAMES_HINT, counted, lines_of
from hygge_engine.project.reading.variables import LOCAL_SETTINGS, UNSET
from hygge_engine.telemetry import add_ids_to_logs
from hygge_engine.telemetry.log_ids import JsonFormatter, trace_of

if TYPE_CHECKING:
    from hygge_engine.project import Entity

EXIT_SETTLED = 0
EXIT_ENTITY_FAILED = 1
EXIT_NOTHING_STARTED = 2

# What to do, by error code, where the error itself has no better advice.
_REMEDIES = {
    "configuration": "Correct the project's files, then run `hygge validate`.",
    "home": "`hygge doctor` says what is wrong with driver, connection or source.",
    "home.unavailable": "Check that the server runs and can be reached from here, then start the load again.",
    "home.login_failed": "Check `auth` and its credential in `connections` of hygge.yml.",
    "home.permission_denied": "Grant the login SELECT on the object.",
    "home.not_found": "Check the names of database, table and columns; `hygge plan` asks the source for them.",
    "home.cursor_unusable": "Choose another `watermark.column`, or replace what has landed: run type full_drop.",
    "home.bound_unusable": "Write `--from` and `--to` as the watermark column has its values.",
    "home.changes_expired": "Replace what has landed: `hygge go --run-type full_drop --entity …`.",
    "home.unsupported_type": "Leave the column out with a `query`, or convert it there.",
    "lake": "`hygge doctor` tries every operation that a load needs.",
    "lake.denied": "Check the store's `credential`, and that it may write there; of a local folder, owner and mode.",
    "lake.not_found": "Check `account_url`, `filesystem` and the item of the store.",
    "lake.unavailable": "Check the store's `account_url`, then start the load again.",
    "store": "`hygge doctor` says how far each table has come, and what Fabric makes of it.",
    "store.landing_broken": "Stop other publishers; replace the rows: `hygge go --run-type full_drop --entity …`.",
    "store.landing_unreadable": "Restore the document from a copy, or replace the table: `hygge adopt` says how.",
    "store.not_ours": "Name another place in the store's settings; `hygge adopt` says how to take this one over.",
    "store.column_refused": "Give columns other names with polish.rename, or leave them out with polish.drop.",
    "store.unavailable": "Check that the destination can be reached, then start the load again.",
    "store.busy": "Wait until the other load has ended.",
    "store.fenced": "Another load has taken the table over; see `hygge runs`.",
    "store.schema_changed": "Replace what has landed: `hygge go --run-type full_drop --entity …`.",
    "store.not_readable": "Compare source and destination by a query of your own.",
    "expectations": "Correct the rows in the source, or what the flow expects of them.",
    "journal": "The tables are safe; start the load again once the journal can be written.",
    "load": "`hygge validate` checks the project, `hygge doctor` what a load depends on.",
    "load.unknown_selection": "`hygge plan --offline` lists all flows and entities.",
    "load.unexpected": "Start the load again with --verbose, and report the stack trace.",
}

# Where a docstring's first line continues with what is meant for programmers.
_REMARKS = re.compile(r"\.(?:\s|$)|; ``")

# Errors of sources that quote a name which the project's files give.
_ABOUT_SETTINGS = ("configuration", "home.cursor_unusable", "home.not_found")
_QUOTED = re.compile(r"""['"`]([^'"`]+)['"`]""")

# Codes of responses and journals without an error class.
_MEANINGS = {
    "load.activity_crashed": "An activity ended without a result",
    "load.ended": "The load has ended already and cannot be cancelled",
    "load.no_progress": "An entity was tried again and again without progress",
    "load.not_found": "There is no load with this id",
    "load.too_many": "Too many loads are running or being requested; the API accepts no more for now",
    "load.unexpected": "Unexpected error",
}


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person is at the other end of a standard stream, which is None where it was closed."""
    return stream is not None and not stream.closed and stream.isatty()


def describe_code(code: str) -> str:
    """What an error code means, in a sentence; empty for an undocumented one."""
    for error in _classes(HyggeError):
        if error.code == code and error.__doc__:
            return _REMARKS.split(error.__doc__.splitlines()[0], maxsplit=1)[0]
    return _MEANINGS.get(code, "")


def _classes(base: type[HyggeError]) -> Iterator[type[HyggeError]]:
    yield base
    for child in base.__subclasses__():
        yield from _classes(child)


def remedy_of(code: str) -> str:
    """What to do about an error code; the family's advice where the code has none of its own."""
    while code:
        if code in _REMEDIES:
            return _REMEDIES[code]
        code = code.rpartition(".")[0]
    return ""


def page_of(code: str) -> str:
    """The page of the documentation that explains an error code."""
    return f"docs/errors/{code}.md"


def error_lines(code: str, message: str, hint: str = "", place: str = "") -> list[str]:
    """What, why, in which place of the project's files, and what to do."""
    what = describe_code(code)
    why, *more = [line.strip() for line in lines_of(message).split("\n") if line.strip()] or [""]
    lines = [f"error: {what}" if what else "error"]
    lines += [f"  why: {why}", *(f"       {line}" for line in more)]
    if place:
        lines.append(f"  at:  {place}")
    todo = hint or remedy_of(code)
    see = f"See {page_of(code)}." if what else ""
    if todo and todo not in message:
        lines.append(f"  do:  {hanging(todo, 7)} {see}".rstrip())
    elif see:
        lines.append(f"  do:  {see}")
    return lines


def setting_place(entity: Entity, code: str, message: str) -> str:
    """Where the setting stands (``file:line:column``) that a source had nothing for; empty where no setting is to
    blame."""
    if code not in _ABOUT_SETTINGS:
        return ""
    return next((entity.places[name] for name in _QUOTED.findall(message) if name in entity.places), "")


def show_error(error: HyggeError) -> None:
    """Write an error to standard error."""
    if isinstance(error, ConfigurationError) and error.problems:
        for problem in error.problems:
            echo(problem.render(), err=True)
            echo("", err=True)
        message = f"{counted(len(error.problems), 'problem')} in the project's files"
        hint = error.hint or "Put the places above right, then run `hygge validate`."
        if any(problem.message.endswith(UNSET) for problem in error.problems) and has_devcloud():
            hint += f" `hygge dev` starts a cloud on this machine, and writes what leads to it to {LOCAL_SETTINGS}."
        echo("\n".join(error_lines(error.code, message, hint)), err=True)
        return
    echo("\n".join(error_lines(error.code, error.message, error.hint)), err=True)


def has_devcloud() -> bool:
    """Whether this is a checkout of the repository, which has the laptop cloud; the package alone has not."""
    return find_spec("devcloud") is not None or Path("devcloud", "__main__.py").is_file()


def error_object(error: HyggeError) -> dict[str, Any]:
    """An error for machines."""
    value: dict[str, Any] = {"event": "error", "error": error.code, "message": error.message, "hint": error.hint}
    if isinstance(error, ConfigurationError):
        value["problems"] = [problem.to_json() for problem in error.problems]
    return value


@contextmanager
def error_boundary(*, json_: bool, verbose: bool) -> Iterator[None]:
    """Around a command: log as requested, turn errors into words and exit code 2, and end soon after Ctrl-C."""
    _set_up_logging(verbose=verbose, json_=json_)
    try:
        with ends_soon(interrupt_main_thread):
            yield
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except HyggeError as error:
        _refuse(error, json_=json_, verbose=verbose)
    except UnicodeEncodeError as error:
        # Nothing but names of files is encoded otherwise than in UTF-8.
        why = f"{error.object!a} cannot be named here: file names are encoded in {error.encoding}."
        _refuse(ConfigurationError(why, hint=NAMES_HINT), json_=json_, verbose=verbose)


def _refuse(error: HyggeError, *, json_: bool, verbose: bool) -> NoReturn:
    """Show an error, and end with exit code 2."""
    if verbose:
        echo(trace_of(error), err=True)
    if json_:
        echo_json(error_object(error))
    else:
        show_error(error)
    raise typer.Exit(EXIT_NOTHING_STARTED) from None


def _set_up_logging(*, verbose: bool, json_: bool) -> None:
    """Without --verbose only results and errors are shown, and no library's warnings. With --json each line of the log
    is an object, too."""
    root = logging.getLogger()
    if not verbose:
        root.addHandler(logging.NullHandler())
        return
    layout = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    add_ids_to_logs()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if json_ else logging.Formatter(layout))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("hygge_engine").setLevel(logging.DEBUG)
