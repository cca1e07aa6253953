"""The orchestrator of a load: plan, slide a window of activities over the entities, settle (write the journal).

A generator in the part of Durable Functions that behaves the same on both SDK generations (see `context`). Its rules:

- It decides from its input, the results of its activities and the context's clock, and from nothing else.
- It never examines an exception, because these differ between SDKs; expected failures are values.
- It never ends before ``settle_load`` has run.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, cast

from hygge_engine.flow.slices import CANCELLED, numbers_in
from hygge_engine.orchestration.concurrency import DividedRun, EntityRunState
from hygge_engine.orchestration.context import Context, Task, Timer
from hygge_engine.orchestration.lanes import (
    ACTIVITIES_PER_LANE_HISTORY,
    LANES_FROM_ENTITIES,
    TABLE_LANES_PER_HISTORY,
    Group,
    Lanes,
    Taking,
    lane_input,
    table_lane_id,
)
from hygge_engine.orchestration.payloads import (
    BoardReference,
    EntityPayload,
    LaneResults,
    SettleTask,
    SlicePayload,
    Summary,
)
from hygge_engine.orchestration.progress import LoadProgress
from hygge_engine.orchestration.stop_signals import CancelSignal, HasteSignal
from hygge_engine.orchestration.summary import summarize
from hygge_engine.orchestration.verdict import (
    CRASH_PAUSE_SECONDS,
    CRASHED,
    CRASHES_LIMIT,
    begin_ending,
    ending_unreleased,
    judge,
    with_lost_table,
)
from hygge_engine.plain_text import recordable_in

# Times that `plan_load` is tried: it reads a few files, so next to nothing that stops it passes by itself.
PLAN_ATTEMPTS = 3

# How long a load may wait until it is planned, with every try: by then its caller asks again.
PLANNING_LIMIT = timedelta(minutes=30)

# Times that `settle_load` is tried. It writes the only record of the load, so it has a larger retry budget than an
# entity; the pauses are its own `retry_after_seconds`.
SETTLE_ATTEMPTS = 10

# Times that lanes are told to stop. Their slices see the marker of the cancellation even so.
STOP_ATTEMPTS = 3

# Times that results are tried to be written down, before they are carried on until the next ones.
PARCEL_ATTEMPTS = 3

# Activities after which a history is full. Every event of an orchestration replays its whole history, at 0.05 to 0.1 ms
# for each event in it with SDK 1.7: that costs a load of 1,500 slices 67 s of processor time in one history and 19 s in
# histories of a hundred (one 2-core machine, slices of 0.15 s, eight at once). What remains is run by lanes of one
# table; after `TABLE_LANES_PER_HISTORY` of them the orchestration restarts, with an empty history, as soon as what runs
# has ended.
ACTIVITIES_PER_HISTORY = 100

# How far ahead a timer lies that is cancelled when it is made: beyond the end of a load, because a host may keep it and
# look at it when it comes due.
NUDGE_AHEAD = timedelta(days=1)

# The key of an orchestration's input that holds what an earlier history has reached.
EARLIER_HISTORY = "carried"

# The plan where none was made.
_CANCELLED = {"status": "cancelled", "message": "The load was cancelled before it was planned."}
_NO_TURN = {
    "status": "failed",
    "error": "load.no_progress",
    "message": f"It was not the load's turn within {PLANNING_LIMIT.seconds // 60} minutes: others had all places.",
}

# The message of an entity whose slice was not waited for.
_LEFT = " It waited for something that did not respond, and was abandoned."

Steps = Generator[Task, Any, Summary | None]

# Called with each entity that will not run again. For display only: it must change nothing.
OnEnded = Callable[[EntityPayload], None]


def load(context: Context) -> Steps:
    """Run one load (input: `LoadRequest.to_json`) and return its summary (see `summary.summarize`)."""
    return (yield from load_steps(context, lambda _: None, ACTIVITIES_PER_HISTORY))


def load_steps(
    context: Context,
    on_ended: OnEnded,
    activities_per_history: int | None = None,
    haste: Iterable[Task] = (),
) -> Steps:
    """`load`, for a host that wants to show each entity as it settles, or that keeps no history (None: no limit).

    ``haste``: two events, see `HasteSignal`. With the first each entity releases its table at once, whatever its slice
    is doing; with the second all end as they are.
    """
    input_ = context.get_input() or {}
    # Whatever the request holds, it must not keep the load's end from being written.
    request = recordable_in({key: value for key, value in input_.items() if key != EARLIER_HISTORY})
    load_id = request.get("coordinator_run_id") or context.instance_id
    cancel = CancelSignal(context)
    if EARLIER_HISTORY in input_:
        progress = LoadProgress.from_json(input_[EARLIER_HISTORY], on_ended)
    else:
        started = context.current_utc_datetime
        context.set_custom_status({"phase": "planning"})
        plan: dict[str, Any] = {}
        if not request.get("skip_reason"):
            asked: dict[str, Any] = {"load_id": load_id, "request": request}
            if activities_per_history is not None:
                asked |= {"lanes_from": LANES_FROM_ENTITIES, "table_lanes": True, "shares": True, "packed": True}
            plan = yield from _ask(context, "plan_load", asked, PLAN_ATTEMPTS, cancel, PLANNING_LIMIT)
        progress = LoadProgress(plan, started, on_ended)
    crew = _Crew(context, load_id, progress) if EARLIER_HISTORY not in input_ and "board" in progress.plan else None
    ended = yield from _run_entities(
        context, load_id, progress, cancel, HasteSignal(haste), activities_per_history, crew=crew
    )
    if not ended:
        context.continue_as_new({**request, EARLIER_HISTORY: progress.to_json()})
        return None
    totals = progress.totals
    context.set_custom_status(totals.status("settling"))
    summary = summarize(load_id, request, progress, finished=context.current_utc_datetime)
    to_settle: SettleTask = {"summary": summary, "request": request, "results": progress.results}
    if progress.parks:
        to_settle |= {"board": progress.plan["board"], "parcels": progress.parcels}
    summary["journal"] = yield from _ask(context, "settle_load", to_settle, SETTLE_ATTEMPTS)
    context.set_custom_status(totals.status("settled"))
    return summary


def lane(context: Context) -> Generator[Task, Any, LaneResults | None]:
    """Run one lane of a load (input: `lane_input`): one entity after another, as long as there is one to take. With
    what an earlier history has reached and nothing to take (`LoadProgress.of_table`): one entity, which is given back
    where it has to wait."""
    input_ = context.get_input()
    if EARLIER_HISTORY in input_:
        progress = LoadProgress.from_json(input_[EARLIER_HISTORY], lambda _: None)
    else:
        begins = Taking(input_)
        plan = {"settings_hash": input_["settings_hash"], "concurrency": 1, "pools": begins.pools}
        if "result_bytes" in input_:
            plan["result_bytes"] = input_["result_bytes"]
        if "entities" in input_:
            plan["entities_at_most"] = input_["entities"]
        progress = LoadProgress(plan, context.current_utc_datetime, lambda _: None, begins)
    load_id, cancel, taking = input_["load_id"], CancelSignal(context), progress.taking
    limit = ACTIVITIES_PER_LANE_HISTORY
    ended = yield from _run_entities(
        context, load_id, progress, cancel, HasteSignal(()), limit, waits=taking is not None
    )
    if not ended and (progress.slots.ready or (taking is not None and progress.may_wait)):
        context.continue_as_new({"load_id": load_id, EARLIER_HISTORY: progress.to_json()})
        return None
    returned: LaneResults = {
        "results": progress.results,
        "exhausted": taking is None or taking.exhausted,
        "cancelled": progress.totals.cancelled,
    }
    if progress.result_bytes:
        returned["bytes"] = progress.result_bytes
    if taking is not None and taking.divided:
        returned["divided"] = taking.divided
    return returned if ended else {**returned, "deferred": progress.deferred_to_json()}


class _Crew:
    """The lanes of a load, and the entities that none of them has ended so far. Whatever becomes of a lane, what it
    does not report is run by the load. ``running`` are the lanes under way; where it ``shares`` its places, tables in
    ranges have some beside them."""

    def __init__(self, context: Context, load_id: str, progress: LoadProgress) -> None:
        self._context = context
        self._load_id = load_id
        self._progress = progress
        self._left = {entity_run.entity["entity_run_id"]: entity_run for entity_run in progress.slots.drain()}
        self.shares = bool(progress.plan.get("shares"))
        for id_, entity_run in [*self._left.items()] if self.shares else []:
            if entity_run.entity.get("apart"):
                progress.slots.admit(self._left.pop(id_))
        planned = [entity_run.entity for entity_run in self._left.values()]
        self._lanes = Lanes(load_id, planned, progress.slots)
        self.running: dict[Task, Group] = {}
        self._short: set[Task] = set()

    def begin(self) -> list[Task]:
        """Let as many lanes begin as there are places for. Where ranges may want some of these, half of them end soon:
        nothing else gets a lane to give up its place."""
        progress, fresh = self._progress, []
        while not progress.totals.cancelled and (begun := self._lanes.begin_next()):
            lane_id, group = begun
            board, hash_ = progress.plan["board"], progress.settings_hash
            slots = progress.slots
            others = slots.running or slots.ready or slots.deferred
            long = sum(
                each.connection == group.connection for task, each in self.running.items() if task not in self._short
            )
            is_short = bool(self.shares and others and long >= slots.half_of(group.connection))
            input_ = lane_input(self._load_id, hash_, board, lane_id, group, shares=self.shares, is_short=is_short)
            task = self._context.call_sub_orchestrator("run_lane", input_, lane_id)
            self.running[task] = group
            if is_short:
                self._short.add(task)
            fresh.append(task)
        return fresh

    def makes_room(self, entity_run: EntityRunState, beside: Iterable[EntityRunState]) -> bool:
        """Whether an entity run, or a range of one, may have a place that a lane could have: as long as there are
        others that want it, half of them."""
        connection = entity_run.connection
        if self._progress.totals.cancelled or not self._lanes.want(connection):
            return True
        return sum(each.connection == connection for each in beside) < self._progress.slots.half_of(connection)

    def take_back(self, task: Task, returned: LaneResults | None, now: datetime) -> None:
        """Keep what a lane reports. Tables that it has met in ranges are run by the load from now on, if places are
        shared with them, and otherwise when all lanes have ended."""
        group, progress = self.running.pop(task), self._progress
        self._short.discard(task)
        reported = returned["results"] if returned else []
        results = [each for each in reported if self._left.pop(each["entity_run_id"], None)]
        progress.take_over(results, returned.get("bytes") if returned else None)
        ended = len(results)
        for id_, attempts in (returned.get("divided", {}) if returned else {}).items():
            if id_ in self._left:
                self._left[id_].attempts = attempts
                if self.shares:
                    self._run(self._left.pop(id_), now)
                    ended += 1
        for due, value in returned.get("deferred", []) if returned else []:
            waiting = EntityRunState.from_json(value)
            if planned := self._left.pop(waiting.entity.get("entity_run_id", ""), None):
                waiting.index = planned.index
                _run_again(progress, waiting, datetime.fromisoformat(due), now)
                ended += 1
        self._lanes.end(group, returned, ended=ended)
        if returned and returned["cancelled"]:
            _stop(progress, now)

    def leave(self, now: datetime) -> None:
        """Leave what no lane has reported to the load. None may be running."""
        for entity_run in self._left.values():
            self._run(entity_run, now)
        self._left.clear()

    def _run(self, entity_run: EntityRunState, now: datetime) -> None:
        progress = self._progress
        if progress.totals.cancelled and not entity_run.attempts:
            progress.end(entity_run, _stopped(entity_run), now)
            return
        if progress.totals.cancelled:
            begin_ending(entity_run, _stopped(entity_run))  # it was divided, and holds its table
        progress.slots.admit(entity_run)


def _run_entities(
    context: Context,
    load_id: str,
    progress: LoadProgress,
    cancel: CancelSignal,
    haste: HasteSignal,
    limit: int | None,
    *,
    waits: bool = True,
    crew: _Crew | None = None,
) -> Generator[Task, Any, bool]:
    """Run the entities of a plan, those of a ``crew`` by lanes. Returns True once each has ended; False where a new
    history should continue, and with ``waits`` false where nothing is left but to wait."""
    slots = progress.slots
    running: dict[Task, EntityRunState] = {}
    on_lanes: dict[Task, EntityRunState] = {}
    spare = TABLE_LANES_PER_HISTORY if progress.plan.get("table_lanes") else 0
    begun = 0
    alarm = _Alarm(context)
    if cancel.has_come and (crew is None or crew.shares):
        _stop(progress, context.current_utc_datetime)

    def begin(may: Callable[[EntityRunState], bool] = lambda _: True) -> list[Task]:
        nonlocal begun
        fresh = []
        while (limit is None or begun < limit + spare) and (
            started := progress.start_next(context.current_utc_datetime, may)
        ):
            if spare and limit is not None and begun >= limit and not started.division:
                task = _call_lane(context, load_id, progress, started)
                on_lanes[task] = started
            else:
                task = _call(context, load_id, progress, started)
            begun += 1
            running[task] = started
            fresh.append(task)
        return fresh

    while True:
        yield from _put_down(context, load_id, progress)
        outstanding = bool(running) or alarm.timer is not None
        fresh: list[Task] = []
        if crew is not None:
            fresh = [*begin(partial(crew.makes_room, beside=running.values())), *crew.begin()]
            if not crew.running:
                crew.leave(context.current_utc_datetime)
                crew = None
                if cancel.has_come:
                    _stop(progress, context.current_utc_datetime)
                yield from _put_down(context, load_id, progress)
        # Also where nothing but lanes begins: a cancellation has to be passed on before any of them has ended.
        outstanding = outstanding or crew is not None
        fresh += begin()
        full = limit is not None and begun >= limit + spare
        if crew is None and not running and (full or slots.next_due is None or not (waits and progress.may_wait)):
            alarm.set(None)
            return not slots.ready and not slots.deferred and not progress.takes_more
        if alarm.set(progress.next_look(context.current_utc_datetime)) and alarm.timer is not None:
            fresh.append(alarm.timer)
        lanes = crew.running if crew is not None else {}
        _show(context, progress, len(lanes))
        waits_for = [*lanes, *running, *cancel.waits_for, *haste.waits_for]
        if alarm.timer is not None:
            waits_for.append(alarm.timer)
        if fresh and outstanding:
            waits_for.append(_nudge(context))
        winner = yield context.task_any(waits_for)
        now = context.current_utc_datetime
        if crew is not None and winner in crew.running:
            crew.take_back(winner, cast("LaneResults | None", (yield from _read(winner))), now)
        elif winner in running:
            entity_run = running.pop(winner)
            slots.stop(entity_run)
            result = yield from _read(winner)
            if on_lanes.pop(winner, None) and result is not None:
                _take_back(progress, cast("LaneResults", result), now)
            elif entity_run.is_taken or _has_taken(progress, entity_run, result, now):
                _go_on(entity_run, cast("SlicePayload | None", result), now, progress)
        elif winner is alarm.timer:
            slots.wake(max(now, alarm.ring()))
            if progress.taking is not None and not slots.ready:
                begun += 1
                look = progress.taking.look(load_id, progress.settings_hash)
                if ((yield from _read(context.call_activity("run_next", look))) or {}).get("cancelled"):
                    _stop(progress, context.current_utc_datetime)
        elif cancel.take(winner):
            _stop(progress, now)
            _show(context, progress, len(lanes))  # what passes it on may wait for a storage that is slow
            boards = _boards_of(load_id, progress, on_lanes.values()) if crew is None else [progress.plan["board"]]
            for board in boards:
                yield from _stop_lanes(context, load_id, board)
        elif haste.take(winner):
            hurry = _leave if haste.is_last else _let_go
            hurry(progress, list(running.values()), now)
            running.clear()


def _show(context: Context, progress: LoadProgress, lanes: int) -> None:
    """Tell whoever asks how far the load is, with so many lanes under way."""
    totals, slots = progress.totals, progress.slots
    context.set_custom_status(totals.status_of_lanes(lanes, slots) if lanes else totals.status("loading", slots))


def _call(context: Context, load_id: str, progress: LoadProgress, entity_run: EntityRunState) -> Task:
    """Begin the next slice of an entity run; of one that is still to be taken, with what it takes."""
    entity_run.attempts += 1
    if entity_run.is_taken or progress.taking is None:
        return context.call_activity("run_flow", progress.task(load_id, entity_run))
    return context.call_activity("run_next", progress.taking.task(load_id, progress.settings_hash, entity_run))


def _call_lane(context: Context, load_id: str, progress: LoadProgress, entity_run: EntityRunState) -> Task:
    """Let an entity run go on in a lane of its own, until it has ended or has to wait."""
    input_ = {"load_id": load_id, EARLIER_HISTORY: progress.of_table(entity_run)}
    entity_run.attempts += 1  # should nothing be heard of the lane
    progress.table_lanes_begun += 1
    return context.call_sub_orchestrator("run_lane", input_, table_lane_id(load_id, progress.table_lanes_begun))


def _take_back(progress: LoadProgress, returned: LaneResults, now: datetime) -> None:
    """Keep what a lane of one table has reached."""
    progress.take_over(returned["results"])
    for due, entity_run in returned.get("deferred", []):
        _run_again(progress, EntityRunState.from_json(entity_run), datetime.fromisoformat(due), now)
    if returned["cancelled"]:
        _stop(progress, now)


def _boards_of(load_id: str, progress: LoadProgress, entity_runs: Iterable[EntityRunState]) -> list[BoardReference]:
    """Where the marker has to be for the slices of some entities: beside the journal of their flow."""
    if progress.parks:
        return [progress.plan["board"]]
    of_flows = {each.entity["flow"]: each.entity["entity"] for each in entity_runs}
    return [{"flow": flow, "entity": entity, "name": load_id} for flow, entity in of_flows.items()]


def _put_down(context: Context, load_id: str, progress: LoadProgress) -> Generator[Task, Any]:
    """Write results down beside the board where they are too many to be carried on. Where that fails they are."""
    while parcel := progress.next_parcel():
        task = {"load_id": load_id, "board": progress.plan["board"], "parcel": progress.parcels, "results": parcel}
        answer = yield from _ask(context, "run_next", task, PARCEL_ATTEMPTS)
        if answer["status"] == "failed":
            return
        progress.drop(parcel)


def _stop_lanes(context: Context, load_id: str, board: BoardReference) -> Generator[Task, Any]:
    """Pass a cancellation on, by the marker that lanes and slices look for."""
    yield from _ask(context, "run_next", {"load_id": load_id, "board": board, "stop": True}, STOP_ATTEMPTS)


def _has_taken(
    progress: LoadProgress, entity_run: EntityRunState, result: dict[str, Any] | None, now: datetime
) -> bool:
    """Whether a lane's turn has taken an entity; it is asked for again where that is not known."""
    taking = progress.taking
    if taking is None:
        raise RuntimeError("only a lane takes entities")
    again = taking.read(entity_run, result, now)
    if again is not None:
        progress.slots.defer(entity_run, again)
    if result is not None and result.get("cancelled"):
        _stop(progress, now)
    return entity_run.is_taken


def _stop(progress: LoadProgress, now: datetime) -> None:
    """Begin no entity any more, and let those that have begun release their tables as soon as their slices end."""
    totals, slots = progress.totals, progress.slots
    if totals.cancelled:
        return
    totals.cancelled = True
    for entity_run in slots.drain():
        if not entity_run.is_taken:
            continue
        if not entity_run.attempts:
            progress.end(entity_run, _stopped(entity_run), now)
            continue
        if entity_run.ending is None:
            begin_ending(entity_run, _stopped(entity_run))
        slots.resume(entity_run)


def _let_go(progress: LoadProgress, running: Iterable[EntityRunState], now: datetime) -> None:
    """Wait for no slice and no pause any more: whatever has begun releases its table, if necessary while its slice
    still runs, as after the death of a worker."""
    _stop(progress, now)
    slots = progress.slots
    for entity_run in running:
        slots.stop(entity_run)
        if entity_run.division:
            continue
        entity_run.started = entity_run.started or progress.started.isoformat()
        if entity_run.ending is None:
            begin_ending(entity_run, _stopped(entity_run, _LEFT))
        slots.resume(entity_run)
    for entity_run in slots.drain():
        if entity_run.ending is None:  # its ranges were running
            begin_ending(entity_run, _stopped(entity_run, _LEFT))
        slots.resume(entity_run)


def _leave(progress: LoadProgress, running: Iterable[EntityRunState], now: datetime) -> None:
    """End whatever has not ended, as it is."""
    _stop(progress, now)
    slots = progress.slots
    for entity_run in running:
        slots.stop(entity_run)
        if not entity_run.division:
            slots.resume(entity_run)
    for entity_run in slots.drain():
        progress.end(entity_run, with_lost_table(ending_unreleased(entity_run, _stopped(entity_run))), now)


def _go_on(entity_run: EntityRunState, result: SlicePayload | None, now: datetime, progress: LoadProgress) -> None:
    """Let an entity whose activity has ended run again, now or later, or end it."""
    if result is not None and result.get("pool"):
        progress.slots.hold(entity_run.connection, max(datetime.fromisoformat(result["not_before"]), now))
    if entity_run.division:
        _go_on_in_ranges(entity_run, result, now, progress)
        return
    verdict = judge(entity_run, result, now)
    totals, slots = progress.totals, progress.slots
    if verdict.result is not None and verdict.holding and entity_run.ending is None:
        begin_ending(entity_run, _stopped(entity_run) if totals.cancelled else verdict.result)
        slots.resume(entity_run)
    elif verdict.result is not None:
        progress.end(entity_run, with_lost_table(verdict.result), now)
        if verdict.result["status"] == "cancelled":
            # A slice that saw the marker knows of the cancellation even if the event is lost.
            _stop(progress, now)
    else:
        _run_again(progress, entity_run, verdict.due, now)


def _run_again(progress: LoadProgress, entity_run: EntityRunState, due: datetime | None, now: datetime) -> None:
    """Let an entity run go on, not before ``due``; in a load that was cancelled it releases its table at once."""
    totals, slots = progress.totals, progress.slots
    if totals.cancelled and not entity_run.attempts:
        progress.end(entity_run, _stopped(entity_run), now)
    elif totals.cancelled and entity_run.ending is None:
        begin_ending(entity_run, _stopped(entity_run))
        slots.admit(entity_run)
    elif entity_run.ending is None and entity_run.last.get("ranges_left"):
        _divide(progress, entity_run, now)
    elif due is None or due <= now:
        slots.admit(entity_run)
    else:
        slots.defer(entity_run, due)


def _divide(progress: LoadProgress, entity_run: EntityRunState, now: datetime) -> None:
    """Let the ranges be read that the last slice of an entity run has named. A lane leaves them to its load, which has
    more places."""
    found = entity_run.last
    if progress.taking is not None:
        progress.taking.give_back(entity_run)
    elif progress.is_of_table:
        progress.slots.defer(entity_run, now)
    else:
        entity_run.last = {**found, "ranges_left": ""}  # or a slice without a result would name them again
        left = numbers_in(found["ranges_left"])
        progress.slots.divide(DividedRun(entity_run, found["division"], left, found["ranges"]))


def _go_on_in_ranges(
    range_run: EntityRunState, result: SlicePayload | None, now: datetime, progress: LoadProgress
) -> None:
    """Let a range whose activity has ended be read on, now or later, or end it; with the last one of an entity's load
    the entity itself goes on."""
    slots = progress.slots
    divided, verdict = slots.divided(range_run), judge(range_run, result, now)
    entity_run = divided.entity_run
    entity_run.started = entity_run.started or range_run.started
    if verdict.result is not None and verdict.result["status"] == "cancelled":
        _stop(progress, now)
    elif verdict.result is not None and verdict.result["status"] != "done":
        slots.stop_ranges(divided)
        if divided.given_up is None:
            which = f"range {range_run.range_number + 1:,} of {divided.count:,}"
            message = f"{which}: {verdict.result.get('message', '')}"
            divided.given_up = {**verdict.result, "message": message}
    elif verdict.result is None and divided.given_up is None and not progress.totals.cancelled:
        if verdict.due is None or verdict.due <= now:
            slots.resume(range_run)
        else:
            slots.defer(range_run, verdict.due)
    if divided.is_over and slots.is_divided(entity_run):  # otherwise its last range has stopped the load
        slots.undivide(divided)
        if divided.given_up is not None:
            begin_ending(entity_run, divided.given_up)
        elif progress.totals.cancelled:
            begin_ending(entity_run, _stopped(entity_run))
        slots.resume(entity_run)


def _nudge(context: Context) -> Task:
    """A timer that is cancelled already, to be waited for beside tasks that are started while older ones still run.

    The extension that hosts SDK 1.7 replays our waits one after the other, and knows of each wait only the tasks that
    it started: it would start nothing more until one of them has ended, whatever else ends before
    (`OutOfProcOrchestrationShim.ProcessAsyncActionsV2`). A cancelled timer ends that wait at once and costs one history
    event; one that is due would do the same for two events and a replay more.
    """
    nudge = context.create_timer(context.current_utc_datetime + NUDGE_AHEAD)
    nudge.cancel()
    return nudge


class _Alarm:
    """The one timer that waits for the first of all deferred entities, however many there are."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._due: datetime | None = None
        self.timer: Timer | None = None

    def set(self, due: datetime | None) -> bool:
        """Ring at ``due`` (None: not at all); True where that is a change."""
        if due == self._due or (due is not None and self._due is not None and self._due < due):
            # Ringing too early costs one look at the slots, less than a new timer.
            return False
        if self.timer is not None:
            self.timer.cancel()
        self._due = due
        self.timer = None if due is None else self._context.create_timer(due)
        return True

    def ring(self) -> datetime:
        """Drop the timer, which has fired, and return when it was due: by another host's clock that may be after
        now."""
        due = self._due
        if due is None:
            raise RuntimeError("the alarm was not set")
        self._due = self.timer = None
        return due


def _ask(
    context: Context,
    name: str,
    input_: Mapping[str, Any],
    attempts: int,
    cancel: CancelSignal | None = None,
    limit: timedelta | None = None,
) -> Generator[Task, Any, dict[str, Any]]:
    """Call an activity until it returns anything but a transient failure; else return the last failure.

    An activity whose turn it is not is called again, for ``limit`` at most. With ``cancel`` a cancellation ends the
    waiting, but not a running activity.
    """
    attempt, crashes, waits = 1, 0, 0
    began = context.current_utc_datetime
    while True:
        task = context.call_activity(name, {**input_, "attempt": attempt, "waits": waits})
        if cancel is not None and not cancel.has_come:
            cancel.take((yield context.task_any([task, *cancel.waits_for])))
        result = yield from _read(task)
        if result is None:
            crashes += 1
            retry = {"transient": crashes < CRASHES_LIMIT, "retry_after_seconds": CRASH_PAUSE_SECONDS * crashes}
            result = {**CRASHED, **retry}
        if result.get("waiting"):
            waits += 1
            due = max(datetime.fromisoformat(result["not_before"]), context.current_utc_datetime)
        elif not result.get("transient") or attempt >= attempts:
            return result
        else:
            attempt += 1
            due = context.current_utc_datetime + timedelta(seconds=result.get("retry_after_seconds") or 0.0)
        if limit is not None and due - began > limit:
            return dict(_NO_TURN) if result.get("waiting") else result
        if (yield from _sleep(context, due, cancel)):
            return dict(_CANCELLED)


def _sleep(context: Context, due: datetime, cancel: CancelSignal | None) -> Generator[Task, Any, bool]:
    """Wait until ``due``, or no longer than until a cancellation comes. Whether it has come."""
    if cancel is not None and cancel.has_come:
        return True
    timer = context.create_timer(due)
    if cancel is None:
        yield timer
    elif cancel.take((yield context.task_any([timer, *cancel.waits_for]))):
        timer.cancel()
        return True
    return False


def _read(task: Task) -> Generator[Task, Any, dict[str, Any] | None]:
    """The value of an activity, or None where it ended without one."""
    try:
        value = yield task
    except Exception:  # noqa: BLE001 - which exception stands for a failed activity differs between the SDK generations
        return None
    return dict(value)


def _stopped(entity_run: EntityRunState, note: str = "") -> SlicePayload:
    """The result of an entity that a cancelled load does not run again; ``note`` adds how it was stopped."""
    if not entity_run.attempts:
        return {"status": "cancelled", "message": "The load was cancelled before this entity began."}
    message = f"{CANCELLED}{note}"
    if entity_run.last.get("status") == "failed":
        message += f" The last attempt had failed: {entity_run.last_failure}"
    return {**entity_run.last, "status": "cancelled", "message": message}
