"""``hygge doctor``: everything that a load depends on, checked part by part; one failed check does not hide the
others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from hygge_engine.checks import DoctorCheck, Result, attempt, failure
from hygge_engine.cli.figures import unended_text
from hygge_engine.cli.messages import EXIT_ENTITY_FAILED, EXIT_SETTLED, page_of, remedy_of
from hygge_engine.cli.output import echo_json, hanging, open_console
from hygge_engine.cli.reachability import Reachability
from hygge_engine.errors import HyggeError
from hygge_engine.flow.blocked import has_moved_on, is_at_work, settled_in, try_to_go_on, try_to_reload
from hygge_engine.flow.claims import author_of, check_versions_stay
from hygge_engine.flow.difference import advice
from hygge_engine.flow.due import compares_keys
from hygge_engine.flow.factory import beside_table, open_home, open_table
from hygge_engine.flow.planner import LEFT_HINT
from hygge_engine.flow.reach import look, verdict_on
from hygge_engine.flow.versions import holds_versions, polish_for
from hygge_engine.homes.files.checks import check_files
from hygge_engine.homes.files.home import FilesHome
from hygge_engine.homes.files.settings import FilesHomeSettings
from hygge_engine.homes.mssql.checks import check_connection, check_source
from hygge_engine.homes.mssql.drivers import check_driver
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from hygge_engine.journal.journal import FULL, FULL_REMEDY
from hygge_engine.lake.probe import clock_check, probe
from hygge_engine.orchestration.places import JournalPlace, place_of, places_of, unended_at
from hygge_engine.plain_text import counted
from hygge_engine.project import Entity, Project, load_project, select
from hygge_engine.stores.landing.state import LandingState
from hygge_engine.stores.landing.transitions import taken_over
from hygge_engine.stores.open_mirroring.checks import (
    ask_replication,
    check_change_data_feed,
    check_landing_zone,
    check_table,
    check_telemetry,
)
from hygge_engine.stores.open_mirroring.layout import layout_of
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "failed": ("✗", "red"), "unknown": ("?", "dim")}

# A section of its own, and what belongs to the sections of entities, by their ids.
type _Findings = tuple[DoctorSection | None, dict[str, list[DoctorCheck]]]

_FORGET_IT = "Start the load again, if none runs; `hygge compact` forgets this one after seven days."

_NOT_LOOKED_AT = "not checked"

# Sources and destinations checked at once: they wait for the network, not for this machine.
_AT_ONCE = 8


@dataclass
class DoctorSection:
    """What was found out about one part: ``kind`` is project, drivers, connection, store, journal or entity."""

    kind: str
    name: str
    checks: list[DoctorCheck] = field(default_factory=list)


def run(directory: Path, *, flows: list[str], overrides: list[str], json_: bool) -> int:
    """Check everything and return the exit code. Raises ConfigurationError, UnknownSelection."""
    project = load_project(directory, overrides=overrides)
    entities = select(project, flows)
    console = open_console()
    sections: list[DoctorSection] = []
    waiting = console.status("checking …") if console.is_terminal and not json_ else nullcontext()
    with waiting:
        for section in examine(project, entities):
            sections.append(section)
            if not json_:
                _show(console, section)
    counts = {result: sum(c.result == result for s in sections for c in s.checks) for result in _MARKS}
    if json_:
        found = [_section_object(section) for section in sections]
        echo_json({"project": project.name, "counts": counts, "sections": found})
    else:
        texts = [f"{counts['ok']} fine", f"{counts['warning']} to look at", f"{counts['failed']} failed"]
        console.print(Text(", ".join(texts) + f", {counts['unknown']} unknown", style="bold"))
    return EXIT_ENTITY_FAILED if counts["failed"] else EXIT_SETTLED


def examine(project: Project, entities: list[Entity]) -> Iterator[DoctorSection]:
    """All sections, in the order in which a load would need them."""
    yield _settings(project, entities)
    connections = _by(entities, lambda entity: entity.connection)
    yield from _drivers(project, connections)
    reachable = Reachability(project, entities)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        findings: list[Future[_Findings]] = []
        findings += [
            pool.submit(_check_sources, project, name, members, reachable) for name, members in connections.items()
        ]
        findings += [
            pool.submit(_check_store, project, name, members, reachable)
            for name, members in _by(entities, _store_of).items()
        ]
        apart = [entity for entity in entities if project.flows[entity.flow].journal.location != "store"]
        findings += [pool.submit(_check_journal, *found) for found in _journals(project, apart, reachable).items()]
        by_entity: dict[str, list[DoctorCheck]] = {entity.id: [] for entity in entities}
        for finding in findings:
            section, found = finding.result()
            for name, checks in found.items():
                by_entity[name] += checks
            if section is not None:
                yield section
        # Last, and only where both sides respond: the newest value is compared with what has landed.
        sound = [entity for entity in entities if not any(map(_stops, by_entity[entity.id]))]
        for entity, checks in zip(sound, pool.map(lambda entity: _check_both(project, entity), sound), strict=True):
            by_entity[entity.id] += checks
    for name, checks in by_entity.items():
        yield DoctorSection("entity", name, checks)


def _settings(project: Project, entities: list[Entity]) -> DoctorSection:
    counts = {"flows": project.flows, "entities": project.entities, "connections": project.connections}
    found = ", ".join(f"{name}: {len(each):,}" for name, each in counts.items())
    section = DoctorSection("project", project.name, [DoctorCheck("settings", "ok", found, "hygge.yml and flows/")])
    if len(entities) < len(project.entities):
        section.checks.append(DoctorCheck("selection", "ok", f"entities: {len(entities):,}", "--flow"))
    return section


def _drivers(project: Project, connections: Iterable[str]) -> Iterator[DoctorSection]:
    used = [project.connections[name] for name in connections if name in project.connections]
    drivers = dict.fromkeys(connection.driver for connection in used if isinstance(connection, MssqlConnection))
    for driver in drivers:
        yield DoctorSection("drivers", driver, check_driver(driver))


def _check_sources(project: Project, name: str, entities: list[Entity], reachable: Reachability) -> _Findings:
    connection = project.connections.get(name)
    if not isinstance(connection, MssqlConnection):
        return None, {entity.id: _check_home(project, entity, reachable) for entity in entities}
    section = DoctorSection("connection", name)
    section.checks, session = check_connection(connection)
    if session is None:
        if start := reachable.missing_laptop_cloud(entities[0]):
            section.checks = [_remedied(check, start) for check in section.checks]
        unknown = DoctorCheck("source", "unknown", f"{_NOT_LOOKED_AT}: the connection {name} does not work")
        return section, {entity.id: [unknown] for entity in entities}
    try:
        found: dict[str, list[DoctorCheck]] = {}
        for entity in entities:
            mark = entity.watermark if entity.effective_run_type == "incremental" else None
            if isinstance(entity.home, MssqlHomeSettings):
                fold = entity.polish.fold if entity.polish is not None else False
                found[entity.id] = check_source(
                    session, entity.home, mark, key_columns=entity.store.key_columns, fold=fold
                )
        return section, found
    finally:
        session.close()


def _remedied(check: DoctorCheck, remedy: str) -> DoctorCheck:
    return replace(check, remedy=remedy) if check.result == "failed" else check


def _stops(check: DoctorCheck) -> bool:
    """Whether source or destination need no further checks."""
    return check.result == "failed" or check.found.startswith(_NOT_LOOKED_AT)


def _check_both(project: Project, entity: Entity) -> list[DoctorCheck]:
    """What rests on source and destination together."""
    if refused := _check_versions(project, entity):
        return refused
    return _check_reload(project, entity) if entity.effective_run_type == "full_drop" else _check_reach(project, entity)


def _check_versions(project: Project, entity: Entity) -> list[DoctorCheck]:
    """Whether the table is a history, which no load of another kind of entity replaces."""
    name, how = "history", "the landing state's key and columns"
    try:
        table = open_table(project, entity)
        state = table.state()
        if state is None or entity.history_of or not holds_versions(state):
            return []
        with open_home(project, entity) as home:
            polish = polish_for(home.describe(), entity)
        check_versions_stay(state, settled_in(table)[0], author_of(project, entity), entity, polish)
    except HyggeError as error:
        return [failure(name, how, error)]
    return []


def _check_reload(project: Project, entity: Entity) -> list[DoctorCheck]:
    """What can be done against the drop of a table that readers miss meanwhile, at each of its loads."""
    name, how = "reload", "the source's key, and what the store does with rows of the same key"
    try:
        table = open_table(project, entity)
        with open_home(project, entity) as home:
            polish = polish_for(home.describe(), entity)
        told = advice(entity, table, polish, polish.key(table.key_columns))
    except HyggeError as error:
        return [failure(name, how, error)]
    remedy = "Set reload: difference. For the small table that nobody reads between loads a drop will do."
    return [DoctorCheck(name, "warning", told, how, remedy)] if told else []


def _check_reach(project: Project, entity: Entity) -> list[DoctorCheck]:
    """Whether the source's newest value is a bound that the next load can read up to, and all changes since the last
    one are known still."""
    name, how = "newest value", "the source's largest watermark, and the landing state's"
    try:
        state = open_table(project, entity).state()
        with open_home(project, entity) as home:
            reach = look(home, entity, state)
    except HyggeError as error:
        return [failure(name, how, error)]
    if reach is None or entity.watermark is None:
        return []
    tracks = entity.watermark.lists_changes
    if tracks:
        name, how = "kept changes", "the versions that the server knows, and the landing state's"
    if verdict := verdict_on(reach, entity.watermark, compares=compares_keys(entity)):
        result: Result = "failed" if verdict.action == "fail" else "warning"
        return [DoctorCheck(name, result, verdict.text, how, verdict.hint, verdict.fault.code)]
    if tracks:
        found = f"those since the last load are known, up to {reach.upper.counted_in} {reach.upper.value}"
        return [DoctorCheck(name, "ok", found, how)]
    if reach.left:
        return [DoctorCheck(name, "warning", reach.left, how, LEFT_HINT)]
    if reach.unread:
        return [DoctorCheck(name, "warning", reach.unread, how, "Reload the table with run_type full_drop.")]
    if reach.early:
        remedy = "Nothing where clocks differ a little; else correct these rows, or lower watermark.max_ahead."
        return [DoctorCheck(name, "warning", reach.early, how, remedy)]
    if reach.ahead:
        remedy = "Correct these rows, or raise watermark.max_ahead if such times are right."
        return [DoctorCheck(name, "warning", reach.ahead, how, remedy)]
    return [DoctorCheck(name, "ok", f"{reach.upper.column} {reach.upper.value}", how)]


def _check_home(project: Project, entity: Entity, reachable: Reachability) -> list[DoctorCheck]:
    """What can be said of a source without a connection."""
    home = entity.home
    if error := reachable.source(entity):
        return [failure("source", "connect to account_url", error)]
    files = open_home(project, entity) if isinstance(home, FilesHomeSettings) else None
    if not isinstance(home, FilesHomeSettings) or not isinstance(files, FilesHome):
        return [_describe(project, entity)]
    mark = entity.watermark if entity.effective_run_type == "incremental" else None
    return check_files(files, home, mark, key_columns=entity.store.key_columns)


def _describe(project: Project, entity: Entity) -> DoctorCheck:
    """A source of a type that has no checks of its own: a load's first requests."""
    how = f"describe the {entity.home.type}"

    def look() -> DoctorCheck:
        with open_home(project, entity) as home:
            table = home.describe()
        key = f"key {', '.join(table.key)}" if table.key else "no key"
        return DoctorCheck("source", "ok", f"{table.name}, {counted(len(table.columns), 'column')}, {key}", how)

    return attempt("source", how, look)


def _look_at(project: Project, entity: Entity) -> list[DoctorCheck]:
    """A destination of a type that has no checks of its own: a load's first requests."""
    how = f"read the landing state of the {entity.store.type}"

    def look() -> DoctorCheck:
        destination = open_table(project, entity)
        destination.check_access()
        state = destination.state()
        if state is None or (not state.has_history and state.watermark is None):
            return DoctorCheck("destination", "ok", "nothing has landed yet", how)
        mark = f", up to {state.watermark.column} {state.watermark.value}" if state.watermark else ""
        return DoctorCheck("destination", "ok", f"loaded before{mark}", how)

    return [attempt("destination", how, look), *_check_open_load(project, entity)]


def _check_open_load(project: Project, entity: Entity) -> list[DoctorCheck]:
    """Whether a load that has begun and not ended can continue; each later one would have to finish it first."""
    name, how = "open load", "read what it would read next"
    state: LandingState | None = None
    try:
        state = open_table(project, entity).state()
        if state is None or state.open is None:
            return []
        since = f"begun {state.open.started}, {state.open.files} files so far"
        if is_at_work(state):
            return [DoctorCheck(name, "ok", f"under way: {since}", "the owner in the landing state")]
        follows = taken_over(state, reloads=entity.effective_run_type == "full_drop")
        if follows.open is None:
            return [DoctorCheck(name, "ok", f"{since}; the next load takes its place", "what it has landed so far")]
        try_to_go_on(project, entity, follows)
    except HyggeError as error:
        if error.transient:
            return [DoctorCheck(name, "unknown", error.message, how)]
        if state is not None and has_moved_on(project, entity, state):
            return [DoctorCheck(name, "ok", "under way: a load has continued with it meanwhile", how)]
        remedy = _way_back(project, entity, state, error)
        return [DoctorCheck(name, "failed", f"cannot go on: {error.message}", how, remedy, error.code)]
    return [DoctorCheck(name, "ok", f"{since}; the next load continues from there", how)]


def _way_back(project: Project, entity: Entity, state: LandingState | None, error: HyggeError) -> str:
    """What frees a table that is blocked by an error: a full_drop, unless something blocks that, too."""
    reload = f"`{entity.reload_command}`"
    try:
        if state is None:
            return f"The table is blocked. {error.hint}"
        try_to_reload(project, entity, state)
    except HyggeError as met:
        if met.message == error.message:
            return f"The table is blocked, for a full_drop as well, until this is put right. {error.hint}"
        return f"The table is blocked. A full_drop would fail, too: {met.message} {met.hint} After that {reload}."
    return f"The table is blocked. {error.hint} {reload} discards it and reloads the table.".replace("  ", " ")


def _check_store(project: Project, name: str, entities: list[Entity], reachable: Reachability) -> _Findings:
    """The lake of a store, the mirrored database in it, and the entities' tables there."""
    section = DoctorSection("store", name)
    first = entities[0]
    settings = first.store
    error = reachable.destination(first)
    if not settings.keeps_journal():
        if error:
            down = failure("destination", "connect to the server", error)
            return None, {entity.id: [down] for entity in entities}
        return None, {entity.id: _look_at(project, entity) for entity in entities}
    try:
        if error:
            raise error
        # Beside the destination lie the landing states, wherever the journal is.
        place = JournalPlace(*beside_table(project, first))
    except HyggeError as error:
        section.checks.append(failure("reachable", "connect to account_url", error))
        unknown = DoctorCheck("destination", "unknown", f"{_NOT_LOOKED_AT}: the store does not work")
        return section, {entity.id: [unknown] for entity in entities}
    section.checks += probe(place.lake, place.root)
    if any(check.result == "failed" for check in section.checks):
        unknown = DoctorCheck("destination", "unknown", f"{_NOT_LOOKED_AT}: the store does not work")
        return section, {entity.id: [unknown] for entity in entities}
    section.checks.append(clock_check("clock", place.lake.now(), "the Date header of its responses"))
    section.checks += _check_remembered(place)
    if not isinstance(settings, OpenMirroringSettings):
        return section, {entity.id: _look_at(project, entity) for entity in entities}
    layout = layout_of(settings, first.flow, first.name)
    section.checks.append(check_landing_zone(place.lake, layout))
    replication = ask_replication(place.lake, settings, layout)
    section.checks += replication.checks
    section.checks += check_change_data_feed(settings)
    section.checks += check_telemetry(place.lake, settings, replication)
    found: dict[str, list[DoctorCheck]] = {}
    for entity in entities:
        if isinstance(entity.store, OpenMirroringSettings):
            own = layout_of(entity.store, entity.flow, entity.name)
            found[entity.id] = [
                *check_table(place.lake, own, replication),
                *_check_open_load(project, entity),
            ]
    return section, found


def _journals(
    project: Project, entities: list[Entity], reachable: Reachability
) -> dict[JournalPlace, HyggeError | None]:
    """The places that journals have for themselves, and why they cannot be reached."""
    first = {place_of(project, entity).key: entity for entity in reversed(entities)}
    return {place: reachable.journal(first[key]) for key, place in places_of(project, entities).items()}


def _check_journal(place: JournalPlace, error: HyggeError | None) -> _Findings:
    if error:
        return DoctorSection("journal", place.address, [failure("reachable", "connect to account_url", error)]), {}
    return DoctorSection("journal", place.address, [*probe(place.lake, place.root), *_check_remembered(place)]), {}


def _check_remembered(place: JournalPlace) -> list[DoctorCheck]:
    """Loads that have begun but are in no journal, and a journal that is full."""
    name, how = "load without an end", "the records of running loads, and the journal"
    try:
        found = [DoctorCheck(name, "warning", unended_text(load), how, _FORGET_IT) for load in unended_at(place)]
        name, how = "journal", "the lengths of its files"
        return found + [DoctorCheck(name, "warning", FULL, how, FULL_REMEDY)] * place.journal.is_full()
    except HyggeError as error:
        return [failure(name, how, error)]


def _store_of(entity: Entity) -> str:
    """The item or folder that the entity's store shares with others; a lake is probed once."""
    keys = {"account_url", "filesystem", "mirror_name", "lakehouse", "path"}
    settings = entity.store.model_dump(include=keys, exclude_none=True)
    order = ("account_url", "filesystem", "path", "mirror_name", "lakehouse")
    return "/".join(str(settings[key]).strip("/") for key in order if settings.get(key)) or entity.store.type


def _by(entities: list[Entity], name_of: Callable[[Entity], str]) -> dict[str, list[Entity]]:
    groups: dict[str, list[Entity]] = {}
    for entity in entities:
        groups.setdefault(name_of(entity), []).append(entity)
    return groups


def _section_object(section: DoctorSection) -> dict[str, Any]:
    checks = []
    for check in section.checks:
        value = asdict(check) | {"remedy": _remedy(check)}
        checks.append(value | {"page": page_of(check.code) if check.code else ""})
    return {"kind": section.kind, "name": section.name, "checks": checks}


def _remedy(check: DoctorCheck) -> str:
    return check.remedy or (remedy_of(check.code) if check.result == "failed" else "")


def _show(console: Console, section: DoctorSection) -> None:
    console.print(Text(section.kind, style="dim").append(f" {section.name}", style="bold not dim"), soft_wrap=True)
    for check in section.checks:
        mark, colour = _MARKS[check.result]
        line = (
            Text(f"  {mark} ", style=colour)
            .append(f"{check.name}: ", style="bold")
            .append(hanging(check.found, 6), style="default")
        )
        console.print(line, soft_wrap=True)
        if check.result == "ok":
            continue
        if check.how:
            console.print(Text(f"      how: {check.how}", style="dim"), soft_wrap=True)
        if remedy := _remedy(check):
            see = f" See {page_of(check.code)}." if check.code else ""
            console.print(Text(f"      do:  {hanging(remedy, 11)}{see}"), soft_wrap=True)
