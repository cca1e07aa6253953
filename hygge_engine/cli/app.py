"""The commands and their options. What a command does is imported when it runs, so that ``--help`` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hygge_engine.cli.messages import EXIT_NOTHING_STARTED, reporting

RunTypeChoice = Literal["full_drop", "incremental"]

app = typer.Typer(
    name="hygge",
    help=(
        "Moves SQL Server tables into Microsoft Fabric, every row exactly once.\n\n"
        "A project is a directory with hygge.yml (connections) and flows/<flow>/flow.yml (what moves where). "
        "Begin with `hygge validate` (are the files right?), go on with `hygge plan` (what would move?), then "
        "`hygge go` (move it) and `hygge runs` (what has moved?). `hygge init` begins a project, `hygge doctor` finds "
        "out why something does not work.\n\n"
        "Exit codes: 0 everything settled, 1 an entity failed, 2 nothing could start, 130 stopped by Ctrl-C."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ProjectOption = Annotated[
    Path, typer.Option("--project", "-p", envvar="HYGGE_PROJECT", help="The project's directory.", metavar="DIR")
]
FlowOption = Annotated[
    list[str] | None, typer.Option("--flow", "-f", help="Only this flow; may be given several times.", metavar="FLOW")
]
EntityOption = Annotated[
    list[str] | None,
    typer.Option(
        "--entity", "-e", help="Only this entity, as `entity` or `flow.entity`; several times too.", metavar="ENTITY"
    ),
]
RunTypeOption = Annotated[
    RunTypeChoice | None,
    typer.Option("--run-type", "-t", help="Instead of the flows' own; a store's `incremental` still overrules it."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON for machines instead of text for people.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log to standard error, with stack traces.")]


@app.command()
def init(
    directory: Annotated[Path, typer.Argument(help="Where the project begins.", metavar="DIR")] = Path(),
    name: Annotated[str, typer.Option("--name", help="The project's name; else the directory's.")] = "",
    server: Annotated[str, typer.Option("--server", help="SQL Server: host, or host,port.")] = "",
    database: Annotated[str, typer.Option("--database", help="The database to read.")] = "",
    tables: Annotated[
        str, typer.Option("--tables", help="Tables, separated by commas; without a schema, of dbo.")
    ] = "",
    workspace: Annotated[
        str, typer.Option("--workspace", help="GUID of the Fabric workspace, or the mirrored database's address.")
    ] = "",
    mirror: Annotated[
        str, typer.Option("--mirror", help="GUID of the mirrored database; not needed with its address.")
    ] = "",
    watermark: Annotated[
        str, typer.Option("--watermark", help="Column with the time of last change; without it tables are reloaded.")
    ] = "",
    username: Annotated[str, typer.Option("--username", help="SQL login; without it Entra's login is used.")] = "",
    verbose: VerboseOption = False,
) -> None:
    """Begin a project: asks a few questions, writes files that validate, and says what to do next.

    What an option answers is not asked. Without a terminal nothing is asked at all. Nothing is ever overwritten. The
    password of a SQL login is asked for, or taken from the variable SQL_PASSWORD, and kept in local.settings.json.
    """
    with reporting(json_=False, verbose=verbose):
        from hygge_engine.cli.init import Answers, run

        answers = Answers(name, server, database, tables, workspace, mirror, watermark, username)
        raise typer.Exit(run(directory, answers))


@app.command()
def go(
    project: ProjectOption = Path(),
    flow: FlowOption = None,
    entity: EntityOption = None,
    run_type: RunTypeOption = None,
    window_from: Annotated[
        str,
        typer.Option("--from", help="Load again: rows whose watermark column is not below this.", metavar="VALUE"),
    ] = "",
    window_to: Annotated[
        str,
        typer.Option("--to", help="Load again: rows whose watermark column is not above this.", metavar="VALUE"),
    ] = "",
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", min=1, max=256, help="Entities moved at once.", metavar="N")
    ] = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a load in this process and show it live.

    All flows and entities, unless --flow or --entity choose. With --from, --to or both, the rows of that window are
    loaded once more and merged by key; the watermark stays where it is. An entity that fails does not stop the
    others. Ctrl-C commits what is whole and stops; the next load goes on from there. With --json each line is an
    object with the key `event`: planned, progress, waiting, settled, summary, or error.
    """
    with reporting(json_=json_, verbose=verbose):
        from hygge_engine.cli.go import run

        code = run(
            project,
            flows=flow or [],
            entities=entity or [],
            run_type=run_type,
            window_from=window_from,
            window_to=window_to,
            concurrency=concurrency,
            json_=json_,
            verbose=verbose,
        )
        raise typer.Exit(code)


@app.command()
def plan(
    project: ProjectOption = Path(),
    flow: FlowOption = None,
    entity: EntityOption = None,
    run_type: RunTypeOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask neither source nor destination.")] = False,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show what a load would do: source, destination, mode, watermark, rows, warnings. Moves nothing.

    Asks each source for its columns and its approximate size, and each destination how far it has come. Ends with 1
    where a source or destination could not be asked.
    """
    with reporting(json_=json_, verbose=verbose):
        from hygge_engine.cli.plan import run

        raise typer.Exit(
            run(
                project,
                flows=flow or [],
                entities=entity or [],
                run_type=run_type,
                offline=offline,
                json_=json_,
            )
        )


@app.command()
def doctor(
    project: ProjectOption = Path(), flow: FlowOption = None, json_: JsonOption = False, verbose: VerboseOption = False
) -> None:
    """Check everything that a load stands on, and say what to do about each fault. Changes nothing.

    The project's files, drivers and their libraries, each connection (reach, login, version, encryption, clock), each
    source table (permission, key, watermark, size, Change Tracking), each lake (write, conditions, rename, delete: in a
    folder of its own that it removes) and what Fabric says of each table. What is down hides nothing else. Ends with 1
    where something failed.
    """
    with reporting(json_=json_, verbose=verbose):
        from hygge_engine.cli.doctor import run

        raise typer.Exit(run(project, flows=flow or [], json_=json_))


@app.command()
def runs(
    load_id: Annotated[str | None, typer.Argument(help="One load, with each of its entities.")] = None,
    project: ProjectOption = Path(),
    flow: Annotated[str | None, typer.Option("--flow", "-f", help="Only this flow.", metavar="FLOW")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many, newest first.")] = 20,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show past loads from the journal, or one load with its entities."""
    with reporting(json_=json_, verbose=verbose):
        from hygge_engine.cli.runs import run

        raise typer.Exit(run(project, load_id=load_id, flow=flow, failed=failed, limit=limit, json_=json_))


@app.command()
def validate(project: ProjectOption = Path(), json_: JsonOption = False, verbose: VerboseOption = False) -> None:
    """Check the project's files and variables. Asks neither source nor destination."""
    with reporting(json_=json_, verbose=verbose):
        from hygge_engine.cli.validate import run

        run(project, json_=json_)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def dev(context: typer.Context, project: ProjectOption = Path()) -> None:
    """Start an Azure for one laptop and leave it up: SQL Server with sample data, OneLake, Fabric's replicator and a
    Functions host that serves the project.

    Needs a checkout of the repository. Further arguments go to `python -m devcloud up`.
    """
    from hygge_engine.cli.dev import run

    raise typer.Exit(run(project, context.args))


def main() -> None:
    """The entry point of the ``hygge`` command."""
    app()


__all__ = ["EXIT_NOTHING_STARTED", "app", "main"]
