"""``hygge plan``: what a load would do, without moving a row."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.text import Text

from hygge_engine.cli.figures import bytes_text, rows_text, seconds_text
from hygge_engine.cli.messages import EXIT_ENTITY_FAILED, EXIT_SETTLED, setting_place
from hygge_engine.cli.output import echo, echo_json, hanging, open_console
from hygge_engine.cli.reachability import Reachability
from hygge_engine.errors import HomePermissionDenied, HyggeError, SchemaChanged
from hygge_engine.expectations.rules import rules_of
from hygge_engine.flow.blocked import check_fit, check_settled, has_moved_on, settled_in
from hygge_engine.flow.bounds import cursor_type_of
from hygge_engine.flow.claims import author_of, check_base, check_versions_stay
from hygge_engine.flow.difference import advice, check_versions, digests_of, outlook, why_not_known
from hygge_engine.flow.drift import HISTORY_HINT, RELOAD_HINT, compare
from hygge_engine.flow.due import compares_keys, due_at
from hygge_engine.flow.factory import open_home, open_table
from hygge_engine.flow.ownership import check_author
from hygge_engine.flow.planner import check_is_not_handed_over, look_at_place, spelling_of
from hygge_engine.flow.reach import Reach, look, verdict_on
from hygge_engine.flow.versions import polish_for
from hygge_engine.homes.base import ChecksAccess, EstimatesKeys, Home, SourceSchema
from hygge_engine.orchestration.estimates import Estimate, estimate, recall
from hygge_engine.polish.polish import Polish
from hygge_engine.project import Entity, Project, load_project, select
from hygge_engine.project.models.settings import RunType
from hygge_engine.stores.base import Destination
from hygge_engine.stores.landing.state import LandingState, Mode
from hygge_engine.stores.landing.transitions import mode_of, rolled_forward, taken_over
from hygge_engine.watermark import Watermark

# How often a table is examined whose loads continue meanwhile.
LOOKS_LIMIT = 3

# What becomes of an earlier load that has not ended.
_GOES_ON, _GIVES_WAY = "it is finished first", "this one takes its place"

_MODES = {
    "initial": "first load",
    "changes": "what is new",
    "reload": "drop and reload",
    "difference": "reload by difference",
    "incremental": "what is new",
    "full_drop": "drop and reload",
}


@dataclass
class Line:
    """What would happen to one entity. ``rows`` is the source's own estimate of all its rows; ``committed`` the
    watermark that the destination has reached; ``deletes`` when its keys are compared and what that costs;
    ``columns`` counts those that land, ``polish`` says how they do; ``errors`` say why something is not known."""

    flow: str
    entity: str
    source: str
    destination: str
    run_type: str
    mode: str
    watermark: str = ""
    committed: str = ""
    rows: int | None = None
    columns: int | None = None
    deletes: str = ""
    polish: list[str] = field(default_factory=list)
    expectations: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def run(
    directory: Path,
    *,
    flows: list[str],
    entities: list[str],
    run_type: RunType | None,
    offline: bool,
    overrides: list[str],
    json_: bool,
) -> int:
    """Show the plan and return the exit code. Raises ConfigurationError, UnknownSelection."""
    project = load_project(directory, overrides=overrides)
    selected = select(project, flows, entities, run_type)
    reachable = Reachability(project, [] if offline else selected)
    with ThreadPoolExecutor(max_workers=project.options.concurrency) as pool:
        lines = list(pool.map(lambda entity: plan_entity(project, entity, reachable, offline=offline), selected))
    _warn_of_twins(lines, selected)
    outlook = None if offline else _outlook(project, selected, lines, reachable)
    if json_:
        value = {"project": project.name, "settings_hash": project.settings_hash()}
        told = None if outlook is None else asdict(outlook)
        echo_json(value | {"entities": [asdict(line) for line in lines], "estimate": told})
    else:
        _show(lines)
        if outlook is not None:
            console = open_console()
            console.print(_told(outlook), soft_wrap=True)
    for hint in reachable.hints:
        echo(f"do: {hint}", err=True)
    return EXIT_ENTITY_FAILED if any(line.errors for line in lines) else EXIT_SETTLED


def _outlook(
    project: Project, entities: Sequence[Entity], lines: Sequence[Line], reachable: Reachability
) -> Estimate | None:
    """How long a load takes, where a journal says so, or a source says how many rows will be read."""
    remembered = [entity for entity in entities if not reachable.journal(entity)]
    pairs = list(zip(entities, lines, strict=True))
    whole = {entity.id for entity, line in pairs if line.mode not in ("changes", "incremental")}
    rows = {entity.id: line.rows for entity, line in pairs if line.rows is not None and entity.id in whole}
    try:
        memory = recall(project, remembered)
        return estimate(project, entities, memory.seconds(whole), memory.seconds_by_rows(rows))
    except HyggeError as error:
        echo(f"not estimated: how long a load takes, because the journal cannot be read: {error}", err=True)
        return None


def _told(outlook: Estimate) -> Text:
    text = f"a load takes about {seconds_text(outlook.seconds)}, bounded by {outlook.bound_by}"
    if new := outlook.unknown + outlook.by_rows:
        text += f"; {new:,} of {outlook.known + new:,} entities have not been loaded like this before"
    if outlook.by_rows:
        text += f", {outlook.by_rows:,} of them estimated by their rows"
    return Text(text)


def plan_entity(project: Project, entity: Entity, reachable: Reachability, *, offline: bool) -> Line:
    """One line of the plan; a fault of source or destination is an error of the line.

    Where a load continues with the table meanwhile, the fault may only be an effect of that: the table is examined
    again.
    """
    for _ in range(LOOKS_LIMIT - 1):
        line, state = _plan_entity(project, entity, reachable, offline=offline)
        if not line.errors or state is None or not has_moved_on(project, entity, state):
            return line
    return _plan_entity(project, entity, reachable, offline=offline)[0]


def _plan_entity(
    project: Project, entity: Entity, reachable: Reachability, *, offline: bool
) -> tuple[Line, LandingState | None]:
    """A line, and the landing state that it rests on; None where it rests on none."""
    run_type = entity.effective_run_type
    line = Line(
        flow=entity.flow,
        entity=entity.name,
        source=_source_of(entity),
        destination=entity.store.destination(entity.name),
        run_type=run_type,
        mode=run_type,
        watermark=entity.watermark.cursor if entity.watermark and run_type == "incremental" else "",
    )
    state: LandingState | None = None
    if offline:
        return line, state
    if unreachable := reachable.destination(entity):
        line.errors.append(f"the destination: {unreachable.message}")
    else:
        try:
            destination = open_table(project, entity)
            state = destination.state() or LandingState()
            _add_state(line, state)
            if moved := check_author(state, author_of(project, entity), entity):
                line.warnings.append(moved)
        except HyggeError as error:
            line.errors.append(f"the destination: {error}")
    if unreachable := reachable.source(entity):
        line.errors.append(f"the source: {unreachable.message}")
        return line, state
    polish: Polish | None = None
    try:
        with open_home(project, entity) as home:
            polish = _add_source(line, home.describe(), entity, project)
            if state is not None and (repointed := check_base(state, home.describe().stands_for)):
                line.warnings.append(repointed)
            if entity.watermark and entity.watermark.lag_seconds and run_type == "incremental":
                cursor = entity.watermark.cursor
                Watermark(cursor, cursor_type_of(home, cursor)).check_lag()
            if refused := _refusal(home):
                line.errors.append(f"the source: {refused}")
            _add_reach(line, look(home, entity, state), entity)
            if compares_keys(entity):
                line.deletes = _comparison(home, polish, entity, state)
    except HyggeError as error:
        place = setting_place(entity, error.code, error.message)
        line.errors.append(f"the source: {error}" + (f" ({place})" if place else ""))
    try:
        if state is not None and polish is not None:
            check_versions_stay(state, settled_in(destination)[0], author_of(project, entity), entity, polish)
            if run_type == "incremental":
                check_settled(destination, state)
            _add_destination(line, destination, state, polish, entity)
            follows = taken_over(state, reloads=run_type == "full_drop")
            if follows.open is not None and follows.open.mode != "reload":
                check_fit(project, entity, destination, follows, polish)
    except HyggeError as error:
        line.errors.append(f"the destination: {error}")
    return line, state


def _comparison(home: Home, polish: Polish, entity: Entity, state: LandingState | None) -> str:
    """When the keys of a table are compared next, and what that costs."""
    due = due_at(entity, state) if state is not None and state.has_history else None
    when = f"next from {due:%Y-%m-%d %H:%M} UTC on" if due is not None else "next with this load"
    if state is None or not state.has_history:
        when = "counted from the first load on"
    elif due is None or due <= datetime.now(UTC):
        when = "due with this load"
    rows = home.describe().approximate_rows
    told = [f"keys compared every {seconds_text(entity.deletes.every)}, {when}"]
    if isinstance(home, EstimatesKeys):
        bytes_, index = home.key_cost(polish.sources_of(polish.key(entity.store.key_columns)))
        if rows is not None and bytes_:
            told.append(f"about {rows:,} keys of {bytes_} bytes at most, {bytes_text(rows * bytes_)}")
        if index:
            told.append(f"the index {index} has them without the rows")
        elif index is not None:
            told.append("no index has them without the rows, so that the server reads all rows")
    return "; ".join(told)


def _refusal(home: Home) -> HomePermissionDenied | None:
    """What the login may not read, where the home knows."""
    try:
        if isinstance(home, ChecksAccess):
            home.check_access()
    except HomePermissionDenied as refused:
        return refused
    return None


def _warn_of_twins(lines: Sequence[Line], entities: Sequence[Entity]) -> None:
    """Entities of a flow that read the same rows mostly lack ``{entity}`` in what their flow says."""
    seen: dict[tuple[str, str], str] = {}
    for line, entity in zip(lines, entities, strict=True):
        if entity.history_of:
            continue
        keys = [key for key in entity.home.source_keys if getattr(entity.home, key)]
        first = seen.setdefault((entity.flow, entity.home.model_dump_json()), entity.name)
        if keys and first != entity.name:
            line.warnings.append(
                f"reads the same rows as {first}; if it should not, write {{entity}} in the home's {keys[0]}"
            )


def _source_of(entity: Entity) -> str:
    """The source's name: a connection and a table, or whatever the home's type has instead."""
    settings = entity.home.model_dump(include={"connection", "table", "path", "query"}, exclude_none=True)
    if "query" in settings:
        settings["query"] = "a query"
    return ": ".join(str(part) for part in settings.values()) or entity.home.type


def _add_source(line: Line, table: SourceSchema, entity: Entity, project: Project) -> Polish:
    line.rows = table.approximate_rows
    polish = polish_for(table, entity)
    line.columns = len(polish.table.columns)
    line.polish = polish.describe()
    if not table.resumable:
        minutes = project.options.slice_minutes
        line.warnings.append(f"no unique key, so all rows must move within one slice of {minutes:g} minutes")
    line.warnings += [*table.notes, *table.omissions]
    line.warnings += [f"{column.name}: {column.loss}" for column in polish.table.columns if column.loss]
    if entity.watermark:
        column = entity.watermark.column if entity.watermark.names_column else ""
        spelling_of(table, [name for name in (column, entity.watermark.primary_key) if name], "watermark")
    key = polish.key(entity.store.key_columns)
    if entity.store.upserts() or entity.store.deletes():
        polish.check_identity(key)
    rules = rules_of(entity.expectations, polish, key)
    line.expectations = rules.names if rules else []
    return polish


def _add_destination(
    line: Line, destination: Destination[Any], state: LandingState, polish: Polish, entity: Entity
) -> None:
    """Check that the source's rows can land at their destination, and still fit those that have landed. Raises
    SchemaChanged, LandingBroken, and what `look_at_place` raises."""
    mode = mode_of(state, reload=line.run_type == "full_drop")
    if mode != "reload":
        check_is_not_handed_over(destination, state)
    if entity.history_of:
        mode = _add_history(line, destination, state, polish, entity, mode)
    columns = {column.name: str(column.type) for column in polish.table.columns}
    if mode == "changes":
        opened = state.open
        meant = opened.before if opened is not None and not opened.has_landed else None
        landed = state if meant is None else replace(state, **vars(meant))
        if entity.deletes.mark and entity.deletes.column not in landed.columns:
            del columns[entity.deletes.column]  # whatever is done about the source's own new columns
        drift = compare(landed, columns, entity.schema_changes, polish.treatments)
        if drift.refused:
            raise SchemaChanged(drift.message, hint=HISTORY_HINT if entity.history_of else RELOAD_HINT)
        line.warnings += [drift.message] if drift.message else []
        if drift.rebuilds:
            line.mode = mode = "reload"
        columns = drift.columns
        if line.mode == "reload":  # because of its source
            mode = "reload"
    if mode == "reload" and state.has_history and not entity.history_of:
        keys = polish.key(destination.key_columns)
        if entity.reload == "drop":
            line.warnings += filter(None, [advice(entity, destination, polish, keys)])
        elif why := outlook(entity, destination, polish, state, keys):
            line.warnings.append(f"reload: difference cannot be applied yet, the table is dropped: {why}")
        else:
            line.mode, mode = "difference", "changes"
    if compares_keys(entity):
        keys = polish.key(destination.key_columns)
        would_drop = line.mode == "difference" and not entity.history_of
        if why := outlook(entity, destination, polish, state, keys, keys_alone=not would_drop):
            if would_drop:
                line.errors.append(f"the source: it has fallen behind, and what differs cannot be landed: {why}")
            else:
                line.warnings.append(f"keys cannot be compared yet, so that no deletes are known: {why}")
    destination.check_access()
    line.warnings += look_at_place(destination, state, polish, columns, mode)


def _add_history(
    line: Line, destination: Destination[Any], state: LandingState, polish: Polish, entity: Entity, mode: Mode
) -> Mode:
    """Check that versions of rows can be told apart, and return what becomes of those that have landed."""
    keys = polish.key(destination.key_columns)
    check_versions(destination, polish, keys)
    if not state.has_history or state.handed_over_at:
        return mode
    if why := why_not_known(state, digests_of(entity, polish, polish.table.schema, keys)):
        line.warnings.append(f"each row of the source lands once more, as a baseline: {why}")
    if line.mode == "reload":  # asked for, or because of its source
        line.mode = "difference"
    return "changes"


def _add_state(line: Line, state: LandingState) -> None:
    reloads = line.run_type == "full_drop"
    line.mode = mode_of(state, reload=reloads)
    if line.mode == "changes" and state.watermark is not None:
        line.committed = state.watermark.value or ""
    if state.open is not None:
        state = rolled_forward(state)
        gives_way = state.open is not None and taken_over(state, reloads=reloads).open is None
        line.warnings.append(f"an earlier load has not ended; {_GIVES_WAY if gives_way else _GOES_ON}")


def _add_reach(line: Line, reach: Reach | None, entity: Entity) -> None:
    if reach is None or entity.watermark is None:
        return
    line.warnings += [text for text in (reach.ahead, reach.early, reach.left, reach.unread) if text]
    verdict = verdict_on(reach, entity.watermark, compares=compares_keys(entity))
    if verdict is None:
        return
    if verdict.action == "fail":
        line.errors.append(f"the source: {verdict.text}. {verdict.hint}")
        return
    line.warnings.append(verdict.text)
    if verdict.action in ("reload", "difference"):
        line.mode = verdict.action


def _show(lines: list[Line]) -> None:
    """Blocks rather than a table: destinations are long, terminals are not."""
    console = open_console()
    for line in lines:
        since = f" after {line.committed}" if line.committed else ""
        by = f" by {line.watermark}{since}" if line.watermark else ""
        size = f", about {rows_text(line.rows)} at the source" if line.rows is not None else ""
        head = Text(f"{line.flow}.{line.entity}", style="bold").append(f"  {_MODES[line.mode]}{by}{size}", style="")
        console.print(head, soft_wrap=True)
        console.print(Text(f"    {line.source} → {line.destination}"), soft_wrap=True)
        if line.polish:
            console.print(
                Text("    polish: ", style="cyan").append("; ".join(line.polish), style="default"), soft_wrap=True
            )
        if line.deletes:
            console.print(
                Text("    deletes: ", style="cyan").append(hanging(line.deletes, 6), style="default"), soft_wrap=True
            )
        if line.expectations:
            console.print(
                Text("    expects: ", style="cyan").append(", ".join(line.expectations), style="default"),
                soft_wrap=True,
            )
        for text in line.warnings:
            console.print(
                Text("    warning: ", style="yellow").append(hanging(text, 6), style="default"), soft_wrap=True
            )
        for text in line.errors:
            console.print(Text("    error: ", style="red").append(hanging(text, 6), style="default"), soft_wrap=True)
