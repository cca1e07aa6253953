"""The commands and their options. What a command does is imported when it runs, so that ``--help`` is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from hygge_engine.cli.completion import complete_entity, complete_flow
from hygge_engine.cli.messages import EXIT_NOTHING_STARTED, error_boundary
from hygge_engine.cli.options import Commands
from hygge_engine.cli.output import echo

RunTypeChoice = Literal["full_drop", "incremental"]
ReloadChoice = Literal["drop", "difference"]

app = typer.Typer(
    name="hygge",
    cls=Commands,
    help=(
        "Moves SQL Server tables into Microsoft Fabric, every row exactly once.\n\n"
        "A project is a directory with hygge.yml (connections) and flows/<flow>/flow.yml (what moves where). "
        "Each command explains itself with --help.\n\n"
        "\b\nA project, step by step:\n"
        "  hygge init shop              create one\n"
        "  hygge validate               are the files right?\n"
        "  hygge doctor                 does everything work that a load needs?\n"
        "  hygge plan                   what would move?\n"
        "  hygge go --entity orders     move one table\n"
        "  hygge go                     move everything that is new\n"
        "  hygge runs --failed          what went wrong, and why\n"
        "  hygge reconcile              is everything there?\n\n"
        "Exit codes: 0 everything succeeded, 1 an entity failed, 2 nothing could start, 130 stopped by Ctrl-C."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import version

    echo(f"hygge-engine {version('hygge-engine')}")
    raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """What every command has in common."""


ProjectOption = Annotated[
    Path, typer.Option("--project", "-p", envvar="HYGGE_PROJECT", help="The project's directory.", metavar="DIR")
]
FlowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--flow",
        "-f",
        help="Only this flow; repeat the option for several.",
        metavar="FLOW",
        autocompletion=complete_flow,
    ),
]
EntityOption = Annotated[
    list[str] | None,
    typer.Option(
        "--entity",
        "-e",
        help="Only this entity, as `entity` or `flow.entity`; repeat the option for several.",
        metavar="ENTITY",
        autocompletion=complete_entity,
    ),
]
RunTypeOption = Annotated[
    RunTypeChoice | None,
    typer.Option("--run-type", "-t", help="Instead of the flows' own run type, and of a store's `incremental`."),
]
ReloadOption = Annotated[
    ReloadChoice | None,
    typer.Option("--reload", help="How tables are reloaded, instead of their own `reload`; with run type full_drop."),
]
VarOption = Annotated[
    list[str] | None,
    typer.Option(
        "--var",
        help="Any setting, for this command only: `flow.orders.store.row_marker=0`, `options.concurrency=2`; repeat "
        "the option for several.",
        metavar="PATH=VALUE",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log to standard error, with stack traces.")]


@app.command(short_help="Create a project.", context_settings={"allow_extra_args": True})
def init(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="The new project's directory.", metavar="DIR")] = Path(),
    name: Annotated[str, typer.Option("--name", help="The project's name; by default the directory's.")] = "",
    files: Annotated[
        str | None,
        typer.Option(
            "--files", help="Read files below DIR instead of a database, such as 'exports/*.csv'.", metavar="PATTERN"
        ),
    ] = None,
    server: Annotated[str, typer.Option("--server", help="SQL Server: host, or host,port.")] = "",
    database: Annotated[str, typer.Option("--database", help="The database to read.")] = "",
    tables: Annotated[
        str, typer.Option("--tables", help="Tables, separated by commas; the default schema is dbo.")
    ] = "",
    workspace: Annotated[
        str, typer.Option("--workspace", help="GUID of the Fabric workspace, or the mirrored database's address.")
    ] = "",
    mirror: Annotated[
        str, typer.Option("--mirror", help="GUID of the mirrored database; not needed with its address.")
    ] = "",
    watermark: Annotated[
        str, typer.Option("--watermark", help="Column with the time of last change; without it, tables are reloaded.")
    ] = "",
    username: Annotated[str, typer.Option("--username", help="SQL login; by default, log in with Entra.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: use the defaults, and report missing options.")
    ] = False,
    verbose: VerboseOption = False,
) -> None:
    """Create a project: asks a few questions, writes files that validate, and says what to do next.

    Nothing is asked where the options say everything, with --yes, or without a terminal. Nothing is
    ever overwritten. The password of a SQL login is taken from the variable SQL_PASSWORD, or asked for with the other
    questions, and kept in local.settings.json. Rows of files land in a local folder, or in Fabric with --workspace.

    \b
    Examples:
      hygge init shop
      hygge init --files 'exports/*.csv'
      hygge init shop --server sql.example.com --database shop --tables orders,sales.customers \\
        --watermark modified_at --workspace ADDRESS_OF_THE_MIRRORED_DATABASE
    """
    with error_boundary(json_=False, verbose=verbose):
        from hygge_engine.cli.init import refuse_expanded, run
        from hygge_engine.cli.scaffold import Answers

        refuse_expanded(directory, files, context.args)
        if context.args:
            context.fail(f"Got unexpected extra arguments ({' '.join(context.args)})")
        answers = Answers(name, files or "", server, database, tables, workspace, mirror, watermark, username)
        raise typer.Exit(run(directory, answers, ask=not yes))


@app.command(short_help="Run a load in this process and show it live.")
def go(
    project: ProjectOption = Path(),
    flow: FlowOption = None,
    entity: EntityOption = None,
    run_type: RunTypeOption = None,
    reload: ReloadOption = None,
    window_from: Annotated[
        str | None,
        typer.Option("--from", help="Load again the rows whose watermark column is at least this.", metavar="VALUE"),
    ] = None,
    window_to: Annotated[
        str | None,
        typer.Option("--to", help="Load again the rows whose watermark column is at most this.", metavar="VALUE"),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", min=1, max=256, help="How many entities to move at once.", metavar="N"),
    ] = None,
    var: VarOption = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a load in this process and show it live.

    All flows and entities, unless --flow or --entity choose. With --from, --to or both, the rows of that window are
    loaded again and merged by key; the watermark stays where it is. An entity that fails does not stop the others.
    Ctrl-C stops after the current batches are committed; the next load continues from there. With --json each line is
    an object with the key `event`: planned, progress, waiting, settled, summary, or error.

    \b
    Examples:
      hygge go                                   everything, as the flows say
      hygge go --entity orders --run-type full_drop  reload one table
      hygge go --run-type full_drop --reload drop    drop what has landed, whatever `reload` says
      hygge go --entity orders --from 2024-01-01  load its rows since then again
      hygge go --var flow.orders.store.row_marker=0  override a setting once
    """
    with error_boundary(json_=json_, verbose=verbose):
        from hygge_engine.cli.go import run

        code = run(
            project,
            flows=flow or [],
            entities=entity or [],
            run_type=run_type,
            reload=reload,
            window_from=window_from,
            window_to=window_to,
            concurrency=concurrency,
            overrides=var or [],
            json_=json_,
            verbose=verbose,
        )
        raise typer.Exit(code)


@app.command(short_help="Show what a load would do, and move nothing.")
def plan(
    project: ProjectOption = Path(),
    flow: FlowOption = None,
    entity: EntityOption = None,
    run_type: RunTypeOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Query neither source nor destination.")] = False,
    var: VarOption = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show what a load would do: source, destination, mode, watermark, rows, warnings. Moves nothing.

    Queries each source for its columns and its approximate size, and each destination for its state. Exits with 1 where
    a source or destination could not be read.

    \b
    Examples:
      hygge plan --offline                       what the files say, without a connection
      hygge plan --flow orders --run-type full_drop  before a reload
    """
    with error_boundary(json_=json_, verbose=verbose):
        from hygge_engine.cli.plan import run

        raise typer.Exit(
            run(
                project,
                flows=flow or [],
                entities=entity or [],
                run_type=run_type,
                offline=offline,
                overrides=var or [],
                json_=json_,
            )
        )


@app.command(short_help="Check everything that a load depends on.")
def doctor(
    project: ProjectOption = Path(),
    flow: FlowOption = None,
    var: VarOption = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Check everything that a load depends on, and say what to do about each fault. Changes nothing.

    The project's files, drivers and their libraries, each connection (reach, login, version, encryption, clock), each
    source table (permission, key, watermark, size, Change Tracking), each lake (write, conditions, rename, delete: in a
    folder of its own that it removes) and what Fabric says of each table. One failed check does not hide the others.
    Exits with 1 where something failed.

    \b
    Examples:
      hygge doctor
      hygge doctor --flow orders --json
    """
    with error_boundary(json_=json_, verbose=verbose):
        from hygge_engine.cli.doctor import run

        raise typer.Exit(run(project, flows=flow or [], overrides=var or [], json_=json_))


@app.command(short_help="Test the assumptions about OneLake and Fabric on an empty mirrored database.")
def probe(
    workspace: Annotated[
        str, typer.Option("--workspace", help="GUID of the Fabric workspace, or the mirrored database's address.")
    ] = "",
    mirror: Annotated[
        str, typer.Option("--mirror", help="GUID of the mirrored database; not needed with its address.")
    ] = "",
    flow: Annotated[
        str,
        typer.Option(
            "--flow",
            "-f",
            help="Use the account_url, credential and fabric_api_url of this flow's store; by default OneLake, signed "
            "in by `az login`.",
            metavar="FLOW",
            autocompletion=complete_flow,
        ),
    ] = "",
    project: ProjectOption = Path(),
    minutes: Annotated[float, typer.Option("--minutes", min=1, max=240, help="Stop after this many minutes.")] = 75,
    report: Annotated[
        str, typer.Option("--report", help="Write the report to PATH.md and PATH.json.", metavar="PATH")
    ] = "",
    var: VarOption = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Test every assumption about OneLake and Fabric, on a mirrored database made for the purpose.

    Makes, changes, breaks and drops tables in the schemas hygge_probe and __hygge_probe, and removes them; refuses a
    mirrored database that holds anything. Replication has to be running. For each assumption the report says what was
    seen, whether it holds, and what to set if it does not. Ctrl-C removes what was made and ends; the next probe
    removes what a killed one has left. Exits with 1 where something does not hold, or could not be seen.

    \b
    Examples:
      hygge probe --workspace ADDRESS_OF_THE_MIRRORED_DATABASE
      hygge probe --flow orders_to_fabric --workspace GUID --mirror GUID --report probes/first
    """
    with error_boundary(json_=json_, verbose=verbose):
        from hygge_engine.cli.probe import run

        code = run(
            project,
            workspace=workspace,
            mirror=mirror,
            flow=flow,
            minutes=minutes,
            report=report,
            overrides=var or [],
            json_=json_,
        )
        raise typer.Exit(code)


@app.command(short_help="Show past loads: all, one, or one entity's.")
def runs(
    load_id: Annotated[str | None, typer.Argument(help="One load, with each of its entities.")] = None,
    project: ProjectOption = Path(),
    flow: Annotated[
        str | None,
        typer.Option("--flow", "-f", help="Only this flow.", metavar="FLOW", autocompletion=complete_flow),
    ] = None,
    entity: Annotated[
        str | None,
        typer.Option(
            "--entity",
            "-e",
            help="The runs of one entity, as `entity` or `flow.entity`.",
            metavar="ENTITY",
            autocompletion=complete_entity,
        ),
    ] = None,
    by: Annotated[
        Literal["load", "flow", "entity"],
        typer.Option("--by", help="One line for each load, flow or entity."),
    ] = "load",
    failed: Annotated[bool, typer.Option("--failed", help="Only what failed.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Show at most N lines (20; of one load a page).")
    ] = None,
    var: VarOption = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show past loads from the journal; one load with its entities; one entity with its runs; or the latest state of
    each flow or entity.

    \b
    Examples:
      hygge runs --failed                        loads in which something failed
      hygge runs LOAD_ID --failed                what failed in one of them, and why
      hygge runs --entity orders --limit 5       the history of one table
      hygge runs --by entity                     when each table was last loaded, and how
    """
    with error_boundary(json_=json_, verbose=verbose):
        from hygge_engine.cli.runs import run

        code = run(
            project,
            load_id=load_id,
            flow=flow,
            entity=entity,
            by=by,
            failed=failed,
            limit=limit,
            overrides=var or [],
            json_=json_,
        )
        raise typer.Exit(code)


@app.command(short_help="Compact the journal, and remove old loads.")
def compact(
    project: ProjectOption = Path(),
    retention: Annotated[
        str,
        typer.Option(
            "--retention",
            help="How long to keep loads, such as 400d. Overrides `journal.retention`.",
            metavar="DURATION",
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report how many loads would be removed.")] = False,
    var: VarOption = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compact the journal's files into one, and remove the loads that are older than its retention.

    Loads do this by themselves now and then; this does it at once. Mirrored tables follow. Tables and landing states
    are not touched. A copy of journal.parquet, put back, restores the loads that were in it.

    \b
    Examples:
      hygge compact --dry-run --retention 400d   how many loads are older?
      hygge compact                              as the settings say
    """
    with error_boundary(json_=json_, verbose=verbose):
        from hygge_engine.cli.compact import run

        raise typer.Exit(run(project, retention=retention, dry_run=dry_run, overrides=var or [], json_=json_))


@app.command(short_help="Hand over a table that existed before its first load.")
def adopt(
    entity: Annotated[
        str,
        typer.Argument(
            help="The entity that gets the table: `flow.entity`.", metavar="ENTITY", autocompletion=complete_entity
        ),
    ],
    project: ProjectOption = Path(),
    confirm: Annotated[
        str,
        typer.Option("--confirm", help="The table's name, to hand it over without a question.", metavar="NAME"),
    ] = "",
    var: VarOption = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Hand over a folder or table that existed before its first load, and that loads therefore refuse.

    Shows what is there, what the next full_drop would replace and what stays, and asks for the table's name. Without it
    nothing is changed, and the command exits with 2. Loads of other run types wait for that full_drop.

    \b
    Examples:
      hygge adopt orders_to_fabric.orders        what would become of it?
      hygge adopt orders_to_fabric.orders --confirm orders  hand it over
    """
    with error_boundary(json_=json_, verbose=verbose):
        from hygge_engine.cli.adopt import run

        raise typer.Exit(run(project, entity=entity, confirm=confirm, overrides=var or [], json_=json_))


@app.command(short_help="Compare destinations with their sources.")
def reconcile(
    project: ProjectOption = Path(),
    flow: FlowOption = None,
    entity: EntityOption = None,
    counts_only: Annotated[
        bool, typer.Option("--counts-only", help="Compare row counts only: quick, but blind to changed values.")
    ] = False,
    all_rows: Annotated[
        bool, typer.Option("--all-rows", help="Also compare what has changed at the source since the last load.")
    ] = False,
    var: VarOption = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Compare destinations with their sources: rows and checksums, and the keys of rows that differ. Moves nothing.

    Reads both sides completely. With a watermark, compares only rows that have not changed since the last load.
    Verdicts: equal, differs, behind (rows are still on their way), not readable, failed. Shows keys, and only the names
    of other columns. Exits with 1 where anything is not equal.

    \b
    Examples:
      hygge reconcile
      hygge reconcile --entity orders
      hygge reconcile --flow orders_to_fabric --counts-only --json
    """
    with error_boundary(json_=json_, verbose=verbose):
        from hygge_engine.cli.reconcile import run

        code = run(
            project,
            flows=flow or [],
            entities=entity or [],
            counts_only=counts_only,
            all_rows=all_rows,
            overrides=var or [],
            json_=json_,
        )
        raise typer.Exit(code)


@app.command(short_help="Check the project's files and variables.")
def validate(
    project: ProjectOption = Path(),
    var: VarOption = None,
    json_: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Check the project's files and variables. Queries neither source nor destination.

    Shows every mistake at once, each with its file, line and column, what was expected, and the nearest valid name.

    \b
    Examples:
      hygge validate
      hygge validate --project shop --var options.concurrency=2
    """
    with error_boundary(json_=json_, verbose=verbose):
        from hygge_engine.cli.validate import run

        run(project, overrides=var or [], json_=json_)


@app.command(
    short_help="Start the laptop cloud.",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def dev(context: typer.Context, project: ProjectOption = Path()) -> None:
    """Start the laptop cloud and leave it running: SQL Server with sample data, OneLake, Fabric's replicator and a
    Functions host that serves the project.

    Needs a checkout of the repository. Further arguments go to `python -m devcloud up`.

    \b
    Examples:
      hygge dev
      hygge dev --sql-port 15000 --directory /tmp/cloud
    """
    from hygge_engine.cli.dev import run

    raise typer.Exit(run(project, context.args))


__all__ = ["EXIT_NOTHING_STARTED", "app"]
