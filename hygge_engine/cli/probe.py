"""``hygge probe``: what the engine assumes of OneLake and Fabric, tried on an empty mirrored database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hygge_engine.cli.interrupt import ends_soon, interrupt_main_thread
from hygge_engine.cli.messages import EXIT_ENTITY_FAILED, EXIT_SETTLED
from hygge_engine.cli.output import echo, echo_json, open_console
from hygge_engine.cli.scaffold import find_guids
from hygge_engine.errors import ConfigurationError
from hygge_engine.probe.assumptions import ASSUMPTIONS
from hygge_engine.probe.probe import Probe
from hygge_engine.probe.report import Report, words
from hygge_engine.probe.wire import Spent
from hygge_engine.project import Project, load_project, select
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

ONELAKE = "https://onelake.dfs.fabric.microsoft.com"
FABRIC = "https://api.fabric.microsoft.com"

# The longest wait for the last requests, which remove everything, before Ctrl-C abandons them.
_CLEANING_SILENCE_SECONDS = 15.0

_HOLDS = {"yes": ("yes", "green"), "no": ("no", "red"), "unknown": ("?", "yellow")}


def run(
    directory: Path,
    *,
    workspace: str,
    mirror: str,
    flow: str,
    minutes: float,
    report: str,
    overrides: list[str],
    json_: bool,
) -> int:
    """Try everything, show and write the report, and return the exit code. Raises ConfigurationError,
    UnknownSelection, NotOurs, LandingBusy and the LakeError family."""
    settings = _settings(directory, workspace, mirror, flow, overrides)
    path = _report_path(report)
    console = open_console()
    ended = ""
    with _saying(console, show=not json_) as status:
        probe = Probe(settings, minutes=minutes, say=status)
        try:
            with _patient(probe), closing(probe.run()) as findings:
                for _ in findings:
                    pass
        except Spent as spent:
            ended = f"It ended early: {spent}."
        except KeyboardInterrupt:
            _finish(console, probe.report("It was stopped."), path, json_=json_)
            raise
    found = probe.report(ended)
    if probe.removed_leftovers and not json_:
        echo("What an interrupted probe had left was removed first.")
    _finish(console, found, path, json_=json_)
    return EXIT_SETTLED if found.count("yes") == len(found.findings) else EXIT_ENTITY_FAILED


@contextmanager
def _patient(probe: Probe) -> Iterator[None]:
    """After the first Ctrl-C, as long as the lake responds, everything is removed before the command ends."""
    with ends_soon(interrupt_main_thread, silence_seconds=lambda: probe.silence_seconds - _CLEANING_SILENCE_SECONDS):
        yield


class _Status:
    """What is being done, on one line of a terminal."""

    def __init__(self, console: Console, *, show: bool) -> None:
        self.line = console.status("") if show and console.is_terminal else None

    def __call__(self, text: str) -> None:
        if self.line is not None:
            self.line.update(f"{text} …")


@contextmanager
def _saying(console: Console, *, show: bool) -> Iterator[_Status]:
    status = _Status(console, show=show)
    if status.line is None:
        yield status
        return
    with status.line:
        yield status


def _settings(directory: Path, workspace: str, mirror: str, flow: str, overrides: list[str]) -> OpenMirroringSettings:
    """The mirrored database, with the address and credential of a flow's store, else OneLake with `az login`."""
    guids = find_guids(workspace)
    if "://" in workspace and len(guids) >= 2:
        workspace, mirror = guids[0], mirror or guids[-1]
    if not workspace or not mirror:
        raise ConfigurationError(
            "The probe needs a mirrored database made for the purpose.",
            hint="Give --workspace and --mirror, or its address from the browser as --workspace.",
        )
    values: dict[str, Any] = {"account_url": ONELAKE, "credential": "default", "fabric_api_url": FABRIC}
    if flow:
        project = load_project(directory, overrides=overrides)
        values = _store_of(project, flow, workspace, mirror).model_dump(exclude={"type"}, exclude_unset=True)
    values |= {"type": OpenMirroringSettings.kind, "filesystem": workspace, "mirror_name": mirror}
    # Names, markers and keys are the probe's own, whatever the flow's are.
    for name in ("schema_name", "table_name", "key_columns", "row_marker", "mirror_journal", "mirror_schema"):
        values.pop(name, None)
    try:
        return OpenMirroringSettings(**values)
    except ValidationError as error:
        found = error.errors(include_input=False)[0]
        raise ConfigurationError(f"--workspace, --mirror: {found['msg']}") from None


def _store_of(project: Project, flow: str, workspace: str, mirror: str) -> OpenMirroringSettings:
    store = select(project, [flow])[0].store
    if not isinstance(store, OpenMirroringSettings):
        raise ConfigurationError(f"The flow {flow} does not land in a mirrored database.", hint="Name one that does.")
    for entity in project.entities:
        own = entity.store
        if isinstance(own, OpenMirroringSettings) and (own.filesystem, own.mirror_name) == (workspace, mirror):
            raise ConfigurationError(
                f"The flow {entity.flow} lands in this mirrored database.",
                hint="Make one for the purpose.",
            )
    return store


def _report_path(report: str) -> Path:
    """Where the report goes, without its suffix. Raises ConfigurationError."""
    path = Path(report or f"hygge-probe-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    if path.suffix in (".md", ".json"):
        path = path.with_suffix("")
    if not path.absolute().parent.is_dir():
        raise ConfigurationError(f"--report {report}: there is no folder {path.parent}.", hint="Make it first.")
    return path


def _finish(console: Console, report: Report, path: Path, *, json_: bool) -> None:
    """Write the report and show it. Raises ConfigurationError where it cannot be written."""
    document = report.to_json()
    if json_:
        echo_json(document)
    else:
        _show(console, report)
    texts = {".json": json.dumps(document, indent=1, ensure_ascii=False) + "\n", ".md": report.to_markdown()}
    try:
        for suffix, text in texts.items():
            path.with_name(path.name + suffix).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigurationError(
            f"The report {path} cannot be written: {error.strerror}.", hint="Give another --report, or use --json."
        ) from error
    if not json_:
        echo(f"Written to {path}.md and {path.name}.json.")


def _show(console: Console, report: Report) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("holds", "assumption", "seen", "what to set if not"):
        table.add_column(name, overflow="fold")
    for finding in report.findings:
        mark, colour = _HOLDS[finding.holds]
        assumption = ASSUMPTIONS[finding.id]
        remedy = "" if finding.holds == "yes" else assumption.remedy
        cells = (assumption.text, words(finding), remedy)
        table.add_row(Text(mark, style=colour), *(Text(cell) for cell in cells))
    console.print(table)
    counts = f"{report.count('yes')} hold, {report.count('no')} do not, {report.count('unknown')} are unknown"
    console.print(Text(f"{counts}; {report.requests:,} requests in {report.seconds:.0f} s. {report.ended}".rstrip()))
