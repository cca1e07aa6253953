"""``hygge go``: a load in this process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from hygge_engine.cli.crowds import FIRST_SHOWN, Timed, is_crowd
from hygge_engine.cli.figures import rows_text, seconds_text
from hygge_engine.cli.interrupt import EXIT_INTERRUPTED, GRACE_SECONDS, end_process, ends_soon
from hygge_engine.cli.messages import (
    EXIT_ENTITY_FAILED,
    EXIT_NOTHING_STARTED,
    EXIT_SETTLED,
    error_lines,
    setting_place,
)
from hygge_engine.cli.observers import Display, choose_display, write_event
from hygge_engine.cli.output import echo, open_console
from hygge_engine.cli.reachability import Pulse, Reachability
from hygge_engine.errors import BoundUnusable, HyggeError
from hygge_engine.flow.bounds import check_window
from hygge_engine.orchestration.local import LocalLoad
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.orchestration.verdict import ATTEMPTS
from hygge_engine.plain_text import first_few
from hygge_engine.project import Entity, Project, load_project, select
from hygge_engine.project.models.settings import Reload, RunType

# Longest time without progress for which a load that was asked to stop may still write its journal.
_SETTLING_SECONDS = 30.0


def run(
    directory: Path,
    *,
    flows: list[str],
    entities: list[str],
    run_type: RunType | None,
    reload: Reload | None,
    window_from: str | None,
    window_to: str | None,
    concurrency: int | None,
    overrides: list[str],
    json_: bool,
    verbose: bool,
) -> int:
    """Run a load, show it, and return the exit code. Raises ConfigurationError, UnknownSelection, LoadError, and
    BoundUnusable for a window that an entity's watermark cannot have."""
    project = load_project(directory, overrides=overrides)
    if concurrency is not None:
        project = replace(project, options=project.options.model_copy(update={"concurrency": concurrency}))
    # Asked here too, so that a misspelt name never becomes a load in the journal.
    request = LoadRequest(
        tuple(flows),
        tuple(entities),
        run_type,
        reload=reload,
        requested_by="hygge go",
        window_from=_bound("--from", window_from),
        window_to=_bound("--to", window_to),
    )
    selected = select(project, flows, entities, run_type, backfill=request.is_backfill, reload=reload)
    console = open_console()
    reachable = Reachability(project, selected)
    homeless = {entity.id: error for entity in selected if (error := _lost(reachable, entity))}
    if homeless:
        request = _without(request, selected, homeless)
    if request.is_backfill:
        asked = [entity for entity in selected if not (entity.id in homeless or reachable.source(entity))]
        check_window(project, asked, request.window_from, request.window_to)
    with choose_display(console, json_=json_, verbose=verbose) as display:
        timed = Timed(display)
        load = LocalLoad(
            project,
            request,
            timed,
            display.slice_ended,
            display.journal_unsettled,
            display.ranges_read,
            unreachable={entity.id: error for entity in selected if (error := reachable.source(entity))},
        )

        def stop() -> None:
            display.stopping()
            load.request_cancel()

        journals = reachable.pulse_of_journals([entity for entity in selected if entity.id not in homeless])
        monitor = SilenceMonitor(load, display, journals)
        with ends_soon(stop, silence_seconds=monitor.silence_seconds, leaving=display.leaving):
            summary = load.run()
    _add_failures(summary, homeless)
    if json_:
        write_event("summary", **summary)
    else:
        _show_summary(console, summary, project, timed.longest())
    code = exit_code(summary)
    if load.is_hung:
        end_process(code)
    return code


class SilenceMonitor:
    """Return how long a load that was asked to stop has been silent, since it was first asked.

    A load that waits for a silent service is hurried on, as long as a journal responds that can record it. While the
    journal is written, the journal's storage decides: a slow machine or lake must not leave a load without its rows.
    """

    def __init__(
        self, load: LocalLoad, display: Display, journals: Pulse, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._load = load
        self._display = display
        self._journals = journals
        self._clock = clock
        self._asked: float | None = None
        self._given_up: list[str] = []
        self._hurried = 0
        self._has_warned = False

    def silence_seconds(self) -> float:
        """Seconds. To be called from one thread, and again and again."""
        if self._asked is None:
            self._asked = self._clock()
            self._journals.begin()
        silent = min(self._load.silence_seconds(), self._clock() - self._asked)
        if silent < GRACE_SECONDS:
            return silent
        if self._load.is_settling:
            return self._of_settling(silent)
        return 0.0 if self._hurries() else silent

    def _hurries(self) -> bool:
        self._given_up = self._journals.silent(GRACE_SECONDS)
        hurried = len(self._given_up) < self._journals.count and self._load.hurry(self._given_up)
        self._hurried += hurried
        return hurried

    def _of_settling(self, silent: float) -> float:
        # Where tables could not even be released, a lake may hang in all but the simplest request: its journal will.
        if silent >= _SETTLING_SECONDS or self._hurried > 1:
            return silent
        journals = self._journals.silence_seconds(self._given_up)
        if journals < GRACE_SECONDS and not self._has_warned:
            self._has_warned = True
            self._display.settling()
        return journals


def _bound(option: str, value: str | None) -> str:
    """A bound that was given, empty where none was. An empty one, of a variable that is not set, would make an ordinary
    load of a window."""
    if value is not None and not value.strip():
        raise BoundUnusable(f"{option} is empty.", hint="Leave it out for a window without that end.")
    return value or ""


def _lost(reachable: Reachability, entity: Entity) -> HyggeError | None:
    """Why an entity's rows or its runs have no place to go to."""
    return reachable.destination(entity) or reachable.journal(entity)


def _without(request: LoadRequest, selected: Sequence[Entity], homeless: Mapping[str, HyggeError]) -> LoadRequest:
    """The request for what is left. Raises the first error where nothing is."""
    left = tuple(entity.id for entity in selected if entity.id not in homeless)
    if not left:
        raise next(iter(homeless.values()))
    return replace(request, flows=(), entities=left)


def _add_failures(summary: dict[str, Any], homeless: Mapping[str, HyggeError]) -> None:
    """Count what could not even begin; it is in no journal."""
    for name, error in homeless.items():
        flow, _, entity = name.partition(".")
        failure = {"flow": flow, "entity": entity, "status": "fail", "rows": 0, "message": str(error)}
        summary["results"].append(failure | {"error": error.code, "hint": error.hint})
    if homeless:
        summary["fail"] += len(homeless)
        summary["entities"] += len(homeless)
        summary["status"] = "cancel" if summary["status"] == "cancel" else "fail"


def exit_code(summary: Mapping[str, Any]) -> int:
    """The exit code of a load's summary."""
    if summary["status"] == "cancel":
        return EXIT_INTERRUPTED
    if summary["status"] == "fail" and not summary["entities"]:
        return EXIT_NOTHING_STARTED
    if summary["fail"] or summary["status"] == "fail" or summary.get("journal", {}).get("status") == "failed":
        return EXIT_ENTITY_FAILED
    return EXIT_SETTLED


def _show_summary(console: Console, summary: Mapping[str, Any], project: Project, longest: str) -> None:
    _show_failures(summary["results"], project, summary["load_id"])
    if summary["error"]:
        _show_failure("", summary["error"], summary["message"])
    journal = summary.get("journal", {})
    if journal.get("status") == "failed":
        _show_failure("journal", journal.get("error", "journal"), journal.get("message", ""))
    elif journal.get("message"):
        echo(f"journal: {journal['message']}", err=True)
    counts = [
        f"{summary[status]:,} {word}"
        for status, word in (
            ("success", "settled"),
            ("fail", "failed"),
            ("skip", "skipped"),
            ("cancel", "cancelled"),
        )
        if summary[status]
    ]
    line = Text(f"{', '.join(counts) or 'nothing to do'}: ", style="bold")
    line.append(f"{rows_text(summary['rows'])} in {seconds_text(summary['duration'])}", style="")
    console.print(line, soft_wrap=True)
    if is_crowd(summary["entities"]):
        console.print(f"Longest: {longest}.", soft_wrap=True)
    if summary["status"] == "cancel":
        console.print("Cancelled. What was committed stays; the next load continues from there.", soft_wrap=True)
    where = "" if project.directory == Path() else f" --project {project.directory}"
    console.print(Text(f"hygge runs {summary['load_id']}{where}", style="dim"), soft_wrap=True)


def _show_failures(results: Sequence[Mapping[str, Any]], project: Project, load_id: str) -> None:
    """What went wrong, once: a server that is down is one error, however many tables it had. What went wrong first
    comes first; of very many errors some are shown, and the others counted."""
    failures: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        if result["status"] == "fail":
            failures.setdefault(ATTEMPTS.sub("", result.get("message", "")), []).append(result)
    shown = list(failures.values())[: FIRST_SHOWN if is_crowd(len(failures)) else None]
    for alike in shown:
        first = alike[0]
        names = first_few([f"{result['flow']}.{result['entity']}" for result in alike])
        code, message = first.get("error", ""), first.get("message", "")
        place = setting_place(project.flows[first["flow"]].entities[first["entity"]], code, message)
        _show_failure(names, code, message, first.get("hint", ""), place)
    rest = [result for alike in list(failures.values())[len(shown) :] for result in alike]
    if rest:
        codes = Counter(str(result.get("error", "")) for result in rest)
        by_code = ", ".join(f"{count:,} {code}" for code, count in codes.most_common(FIRST_SHOWN))
        echo(f"{len(rest):,} more failed: {by_code}. All of them: `hygge runs {load_id} --failed`.", err=True)


def _show_failure(name: str, code: str, message: str, hint: str = "", place: str = "") -> None:
    # The message of a failed entity has the hint in it, for the journal.
    why = message.replace(hint, "").replace("  ", " ").strip() if hint else message
    first, *rest = error_lines(code, why, hint, place)
    echo("\n".join([f"{name}: {first}" if name else first, *rest]), err=True)
