"""What a tick of the app's one timer starts: the flows that came due, except those whose last scheduled load still
runs."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

from hygge_engine.errors import HyggeError, LakeConditionNotMet
from hygge_engine.orchestration.durable_status import is_running, request_of
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.orchestration.ticks import Served, TickFile, tick_file_of
from hygge_engine.telemetry import in_trace_of

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Project

_log = logging.getLogger(__name__)

# The app settings that hold the timer's schedule (NCRONTAB, six fields) and the time zone it is read in.
SCHEDULE_SETTING = "HYGGE_SCHEDULE"
TIME_ZONE_SETTING = "WEBSITE_TIME_ZONE"

REQUESTED_BY = "schedule"
ID_PREFIX = "schedule-"

# A timer may fire a little before its time; what it stands for is the tick that comes due within this time.
EARLY = timedelta(seconds=1)

# A timer function that runs longer than this after its tick was started by hand.
LATE = timedelta(seconds=60)

# A tick is served twice within this time at most; what claims to be served further ahead was written by a wrong clock,
# and would keep everything from being started until then.
AHEAD = timedelta(hours=1)


@dataclass(frozen=True)
class Tick:
    """One firing of the timer: the time it stands for, and the time of the tick before it."""

    due: datetime
    previous: datetime

    @property
    def load_id(self) -> str:
        """The instance id of the load that this tick starts: the same wherever and however often the tick arrives."""
        return f"{ID_PREFIX}{self.due.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def read_tick(schedule_status: Mapping[str, Any], *, past_due: bool, now: datetime) -> Tick:
    """The tick that a timer trigger speaks of. ``schedule_status`` is the trigger's; times are in the app's zone."""
    zone = time_zone()
    now = now.astimezone(zone)
    schedule = os.environ.get(SCHEDULE_SETTING, "")
    due = _latest_occurrence(schedule, now + EARLY)
    if due is None or (now - due > LATE and not past_due):
        # Started by hand between two ticks: it stands for itself.
        due = now.replace(microsecond=0)
    last = _last_tick(schedule_status, zone)
    if last is None or last >= due:
        last = _latest_occurrence(schedule, due - EARLY)
    return Tick(due, last or due - timedelta(days=1))


def _last_tick(schedule_status: Mapping[str, Any], zone: tzinfo) -> datetime | None:
    """When the timer fired last, by the host's record; None where it never has (.NET's first year)."""
    text = str(schedule_status.get("Last") or "")
    if not text or text.startswith("0001-"):
        return None
    last = datetime.fromisoformat(text)
    return last.replace(tzinfo=zone) if last.tzinfo is None else last.astimezone(zone)


def _latest_occurrence(expression: str, moment: datetime) -> datetime | None:
    """The last occurrence not after a timestamp, to the second; None for a schedule that is not an NCRONTAB
    expression."""
    from cronsim import CronSim, CronSimError

    try:
        # Backwards it begins before the given time, except within a second: then with that second.
        return next(CronSim(expression, moment.replace(microsecond=1), reverse=True), None)
    except CronSimError:
        return None


def time_zone() -> tzinfo:
    """The zone that schedules are read in: UTC, unless the app says otherwise."""
    name = os.environ.get(TIME_ZONE_SETTING)
    return ZoneInfo(name) if name else UTC


def requests_of(
    project: Project, tick: Tick, running: Iterable[tuple[str, Mapping[str, Any]]], missed: Iterable[str] = ()
) -> list[LoadRequest]:
    """The loads that a tick starts: one for the due flows that are free, one to record those that are not.

    ``running`` are the loads under way: id and request of each. ``missed`` flows came due earlier, and their loads were
    never started.
    """
    from hygge_engine.project.selection import due_flows

    came_due = {flow.name for flow in due_flows(project, tick.previous, tick.due)} | set(missed)
    due = [name for name in project.flows if name in came_due]
    busy: dict[str, str] = {}
    for load_id, request in running:
        if load_id.startswith(ID_PREFIX) and not request.get("skip_reason"):
            busy |= dict.fromkeys(request.get("flows") or project.flows, load_id)
    free = tuple(name for name in due if name not in busy)
    held = tuple(name for name in due if name in busy)
    base = LoadRequest(requested_by=REQUESTED_BY)
    requests = [replace(base, flows=free, coordinator_run_id=tick.load_id)] if free else []
    if held:
        loads = ", ".join(sorted({busy[name] for name in held}))
        reason = f"Not started for {', '.join(held)}: the load of an earlier tick still runs ({loads})."
        skip_id = f"{tick.load_id}-skipped"
        requests.append(replace(base, flows=held, coordinator_run_id=skip_id, skip_reason=reason))
    return requests


class ScheduleClient(Protocol):
    """What a tick needs of the durable client of either SDK generation."""

    async def start_new(self, orchestration_function_name: str, instance_id: str, client_input: Any) -> Any: ...

    async def get_status(self, instance_id: str, *, show_input: bool = False) -> Any: ...

    async def get_status_by(self, *, runtime_status: Any) -> Any: ...


async def start_due_loads(
    open_project: Callable[[], Project], tick: Tick, client: ScheduleClient, running_statuses: Sequence[Any]
) -> list[str]:
    """Start what a tick starts and return the loads' ids.

    What came due is what no tick has served yet (`ticks`): a tick that dies before or during this is made up for by the
    next one, and one that arrives twice starts nothing the second time.
    """
    project = await asyncio.to_thread(open_project)
    file, served = await asyncio.to_thread(_read_served, project)
    if served is not None:
        if served.until - tick.due > AHEAD:
            _log.warning(
                "The schedules are said to be served until %s, which is not in the past.", served.until.isoformat()
            )
            served = replace(served, until=tick.previous)
        if served.until >= tick.due:
            _log.info("What came due until %s is served already.", tick.due.isoformat())
            return []
        tick = replace(tick, previous=served.until.astimezone(tick.due.tzinfo))
    kept = timedelta(seconds=project.options.history_retention)
    known, missed = await _look_after(served, client, purged=served is not None and tick.due - served.until >= kept)
    running = await running_loads(client, running_statuses, known)
    requests = requests_of(project, tick, running.items(), missed)
    begun = {str(each.coordinator_run_id): each.flows for each in requests if not each.skip_reason}
    now_served = Served(tick.due, {load: tuple(request["flows"]) for load, request in known.items()} | begun)
    if file is not None and not await asyncio.to_thread(_write_served, file, now_served, served):
        return []
    started = []
    for request in requests:
        load_id = str(request.coordinator_run_id)
        if await client.get_status(load_id):
            _log.info("The tick of %s has started load %s already.", tick.due.isoformat(), load_id)
            continue
        with in_trace_of(load_id):
            await client.start_new("load", load_id, request.to_json())
        started.append(load_id)
    return started


async def _look_after(
    served: Served | None, client: ScheduleClient, *, purged: bool
) -> tuple[dict[str, Mapping[str, Any]], set[str]]:
    """Of the loads that earlier ticks meant to start: those that run, and the flows of those that were never started.

    ``purged``: so long ago that one which is not to be found may have ended since.
    """
    running: dict[str, Mapping[str, Any]] = {}
    missed: set[str] = set()
    for load_id, flows in (served.loads if served else {}).items():
        status = await client.get_status(load_id)
        if status and is_running(status):
            running[load_id] = {"flows": list(flows)}
        elif not status and not purged:
            missed |= set(flows)
    return running, missed


async def running_loads(
    client: ScheduleClient, running_statuses: Sequence[Any], known: Mapping[str, Mapping[str, Any]]
) -> dict[str, Mapping[str, Any]]:
    """The scheduled loads under way: those ``known``, and those that a listing shows besides, with SDK 1.7 on its first
    page alone."""
    query: dict[str, Any] = {"runtime_status": list(running_statuses)}
    if "instance_id_prefix" in inspect.signature(client.get_status_by).parameters:
        query["instance_id_prefix"] = ID_PREFIX
    running = dict(known)
    for listed in await client.get_status_by(**query):
        load_id = str(listed.instance_id)
        if load_id.startswith(ID_PREFIX) and load_id not in known:
            # A listing may leave inputs out, and without its own a load would seem to be one of all flows.
            running[load_id] = request_of(listed) or request_of(await client.get_status(load_id, show_input=True))
    return running


def _read_served(project: Project) -> tuple[TickFile | None, Served | None]:
    """The file that says what is served, None where it cannot be used now; and what it says."""
    try:
        file = tick_file_of(project)
        return file, file.read() if file is not None else None
    except HyggeError as error:
        _log.warning("What earlier ticks have started cannot be read, so the host's own record is used: %s", error)
        return None, None


def _write_served(file: TickFile, served: Served, before: Served | None) -> bool:
    """Say what is about to be started; False where another host serves this tick."""
    try:
        file.write(served, over=before)
    except LakeConditionNotMet:
        _log.info("Another host serves the tick of %s.", served.until.isoformat())
        return False
    except HyggeError as error:
        _log.warning("What this tick starts cannot be written down; the next one may not know of it: %s", error)
    return True
