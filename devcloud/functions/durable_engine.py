"""The engine of Durable Functions: runs orchestrators episode by episode, hands out activities, fires timers.

What is to be done lives in the task hub; this only decides what runs now. One episode of an instance at a time, with
all events that have arrived for it; on each instance of the app at most the configured number of episodes and
activities at once.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

from devcloud.functions.durable_history import (
    IGNORED_BY_SDK,
    Event,
    EventType,
    encode_request,
    format_time,
    make_event,
    parse_time,
)
from devcloud.functions.durable_model import Activity, Episode, Instance, SubOrchestration
from devcloud.functions.durable_replay import Action, HostReplay, UnsupportedActionError, Work
from devcloud.functions.durable_store import TaskHub
from devcloud.functions.faults import Faults, HostKilledError
from devcloud.functions.instances import AppInstance, InHand, InstancePool
from devcloud.functions.settings import HostSettings
from devcloud.functions.worker_protocol import (
    ACTIVITY_TRIGGER,
    ORCHESTRATION_TRIGGER,
    Function,
    FunctionTimeoutError,
    Input,
    Outcome,
    WorkerExitedError,
)

log = logging.getLogger("devcloud.functions.durable")

# Where the SDK appends its output to the message of the exception by which an orchestrator fails.
FAILURE_MARK = "$OutOfProcData$:"
CUSTOM_STATUS_LIMIT_BYTES = 16 * 1024  # of the extension
_SCHEDULING_EVENTS = {EventType.TASK_SCHEDULED, EventType.SUB_ORCHESTRATION_INSTANCE_CREATED, EventType.TIMER_CREATED}


class DurableEngine:
    """Drives the orchestrations of one task hub. Belongs to one event loop."""

    def __init__(
        self,
        hub: TaskHub,
        instances: InstancePool,
        functions: list[Function],
        settings: HostSettings,
        faults: Faults,
        die: Callable[[], None],
    ) -> None:
        self.hub = hub
        self._instances = instances
        self._settings = settings
        self._faults = faults
        self._die = die
        self.orchestrators = {f.name: f for f in functions if f.kind == ORCHESTRATION_TRIGGER}
        self._activities = {f.name: f for f in functions if f.kind == ACTIVITY_TRIGGER}
        self._wake = asyncio.Event()
        self._episodes: set[str] = set()
        self._held_activities: list[Activity] = []
        self._last_activity_id = 0
        self._tasks: set[asyncio.Task[None]] = set()
        # Histories of live instances, as events and as the text that the SDK gets; a copy of what the hub holds.
        self._histories: dict[tuple[str, str], tuple[list[Event], list[str]]] = {}
        self._timeout_seconds = settings.function_timeout.total_seconds()
        self._dead = False

    def wake(self) -> None:
        """Look for work again: something has been posted to the hub."""
        self._wake.set()

    def halt(self) -> None:
        """Stop dead: what is under way is neither finished nor recorded."""
        self._dead = True
        for task in self._tasks:
            task.cancel()
        self.wake()

    async def run(self) -> None:
        """Run until cancelled or halted."""
        try:
            while not self._dead:
                self._wake.clear()
                self._dispatch()
                timer = self.hub.next_timer()
                pause = None
                if timer is not None:
                    pause = max(0.0, (parse_time(timer.due) - datetime.now(UTC)).total_seconds())
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    if timer is not None:
                        self.hub.fire(timer)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _dispatch(self) -> None:
        for instance_id in self.hub.list_waiting_instances():
            if instance_id in self._episodes:
                continue
            on = self._instances.find_free("episode", self._settings.max_concurrent_orchestrators)
            if on is None:
                break
            self._start_episode(instance_id, on)
        opened = self.hub.list_activities(self._last_activity_id)
        if opened:
            self._last_activity_id = opened[-1].activity_id
            self._held_activities += opened
        still_held = []
        for activity in self._held_activities:
            on = self._find_free(activity)
            if on is None:
                still_held.append(activity)
            else:
                self._start_activity(activity, on)
        self._held_activities = still_held

    def _find_free(self, activity: Activity, unlike: AppInstance | None = None) -> AppInstance | None:
        return self._instances.find_free(
            "activity",
            self._settings.max_concurrent_activities,
            lambda each: each is not unlike and not self._faults.is_paused(activity.name, each.id),
        )

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish_task)

    def _finish_task(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None and not self._dead:
            # Going on would run the same work into the same failure, over and over.
            log.error("the durable engine has failed and stands still", exc_info=task.exception())
            self.halt()

    # Orchestrations

    def _start_episode(self, instance_id: str, on: AppInstance) -> None:
        instance = self.hub.find(instance_id)
        if instance is None:
            return
        inbox = self.hub.read_inbox(instance)
        if instance.ended:
            self.hub.drop_inbox([position for position, _ in inbox])
            return
        if self._handle_control_event(instance, inbox) or instance.suspended:
            return
        self._episodes.add(instance_id)
        work = InHand("episode", instance.name, instance_id)
        on.take(work)
        self._start_task(self._run_episode(instance, inbox, on, work))

    def _handle_control_event(self, instance: Instance, inbox: list[tuple[int, Event | None]]) -> bool:
        """Terminate, suspend or resume without asking the orchestrator; returns whether there was such an event."""
        for position, event in inbox:
            kind = event["EventType"] if event is not None else None
            if event is not None and kind == EventType.EXECUTION_TERMINATED:
                output = json.dumps(event["Input"])
                taken = [waiting for waiting, _ in inbox]
                episode = Episode(instance, taken, [event], "Terminated", output, instance.custom_status)
                self._commit(episode, None)
                return True
            if kind in (EventType.EXECUTION_SUSPENDED, EventType.EXECUTION_RESUMED):
                self.hub.drop_inbox([position])
                self.hub.set_suspended(instance, kind == EventType.EXECUTION_SUSPENDED)
                self.wake()
                return True
        return False

    async def _run_episode(
        self, instance: Instance, inbox: list[tuple[int, Event | None]], on: AppInstance, work: InHand
    ) -> None:
        try:
            arrived = [event for _, event in inbox if event is not None]
            past, played = self._history(instance)
            new_events = [make_event(EventType.ORCHESTRATOR_STARTED)]
            if not past:
                started = make_event(
                    EventType.EXECUTION_STARTED, Name=instance.name, Input=instance.input, Version=None
                )
                new_events.append(started)
            new_events += arrived
            outcome = await self._replay(instance, played, new_events, on)
            if outcome is None:
                return
            taken = [position for position, _ in inbox]
            self._commit(self._make_episode(instance, taken, past, new_events, outcome), on)
        finally:
            self._episodes.discard(instance.instance_id)
            on.release(work)

    async def _replay(
        self, instance: Instance, played: list[str], new_events: list[Event], on: AppInstance
    ) -> Outcome | None:
        """Run the orchestrator function; None if its worker died, so that the episode is run again."""
        function = self.orchestrators.get(instance.name)
        if function is None:
            reason = f"the function '{instance.name}' doesn't exist or is not an orchestrator function"
            return Outcome(False, None, reason)
        parent_id = instance.parent.instance_id if instance.parent else None
        input_value = json.loads(instance.input) if instance.input is not None else None
        request = encode_request(instance.instance_id, input_value, parent_id, played, new_events)
        try:
            return await on.worker.invoke(
                function, [Input(function.trigger["name"], "string", request)], self._timeout_seconds
            )
        except WorkerExitedError:
            return None
        except FunctionTimeoutError as error:
            return Outcome(False, None, str(error))

    def _history(self, instance: Instance) -> tuple[list[Event], list[str]]:
        key = (instance.instance_id, instance.execution_id)
        if key not in self._histories:
            events = self.hub.read_history(instance.instance_id)
            self._histories[key] = (events, [json.dumps(e) for e in events if e["EventType"] not in IGNORED_BY_SDK])
        return self._histories[key]

    def _make_episode(
        self, instance: Instance, taken: list[int], past: list[Event], new_events: list[Event], outcome: Outcome
    ) -> Episode:
        state, error = _read_answer(outcome)
        actions: list[Action] = [action for actions in state.get("actions", []) for action in actions]
        custom_status = json.dumps(state["customStatus"]) if "customStatus" in state else instance.custom_status
        episode = Episode(instance, taken, list(new_events), custom_status=custom_status)
        replay = HostReplay(actions)
        try:
            replay.run([*past, *new_events])
        except UnsupportedActionError as unsupported:
            error = str(unsupported)
        if len((custom_status or "").encode()) > CUSTOM_STATUS_LIMIT_BYTES:
            error = f"The size of the custom status exceeds {CUSTOM_STATUS_LIMIT_BYTES // 1024} KB."
        known = {event["EventId"] for event in past if event["EventType"] in _SCHEDULING_EVENTS}
        for work in replay.work.values():
            if work.task_id not in known:
                self._schedule(episode, work)
        if error is not None and not replay.blocked:
            episode.status = "Failed"
            episode.output = json.dumps(f"Orchestrator function '{instance.name}' failed: {error}")
        elif replay.continue_as_new is not None and not replay.blocked:
            episode.continue_as_new = True
            # The SDK encodes the new input as it encodes a client's: JSON inside a JSON string.
            episode.next_input = json.dumps(replay.continue_as_new["input"])
        elif state.get("isDone") and not replay.blocked:
            episode.status = "Completed"
            episode.output = json.dumps(state.get("output"))
        episode.events.append(make_event(EventType.ORCHESTRATOR_COMPLETED))
        if episode.status != "Running":
            completed = make_event(
                EventType.EXECUTION_COMPLETED, Result=episode.output, OrchestrationStatus=episode.status
            )
            episode.events.append(completed)
        return episode

    def _schedule(self, episode: Episode, work: Work) -> None:
        action = work.action
        if work.kind == "timer":
            # A cancelled timer is made too, and fires unheard if its orchestration lasts that long: so it is on Azure.
            if work.retry_delay_ms is not None:
                due = format_time(datetime.now(UTC) + timedelta(milliseconds=work.retry_delay_ms))
            else:
                due = format_time(parse_time(action["fireAt"]))
            episode.events.append(make_event(EventType.TIMER_CREATED, work.task_id, FireAt=due))
            episode.timers.append((work.task_id, due))
            return
        name, text = action["functionName"], action["input"]
        if work.kind == "activity":
            episode.events.append(make_event(EventType.TASK_SCHEDULED, work.task_id, Name=name, Input=text))
            episode.activities.append((work.task_id, name, text))
            return
        instance_id = action.get("instanceId") or f"{episode.instance.execution_id}:{work.task_id:04x}"
        created = make_event(
            EventType.SUB_ORCHESTRATION_INSTANCE_CREATED, work.task_id, Name=name, InstanceId=instance_id, Input=text
        )
        episode.events.append(created)
        episode.sub_orchestrations.append(SubOrchestration(work.task_id, name, instance_id, json.dumps(text)))

    def _commit(self, episode: Episode, on: AppInstance | None) -> None:
        counted = self.hub.count_history_events()
        if self._strike(counted, episode, on, before_commit=True):
            return
        self.hub.commit(episode)
        self._strike(counted, episode, on, before_commit=False)
        key = (episode.instance.instance_id, episode.instance.execution_id)
        if episode.continue_as_new or episode.status != "Running":
            self._histories.pop(key, None)
        elif key in self._histories:
            events, played = self._histories[key]
            events += episode.events
            played += [
                json.dumps({**event, "IsPlayed": True})
                for event in episode.events
                if event["EventType"] not in IGNORED_BY_SDK
            ]
        if episode.status != "Running":
            log.info("%s '%s' %s", episode.instance.name, episode.instance.instance_id, episode.status.lower())
            if episode.status == "Failed":
                log.error("%s", json.loads(episode.output or "null"))
        self.wake()

    def _strike(self, counted: int, episode: Episode, on: AppInstance | None, *, before_commit: bool) -> bool:
        """Let die what has to at this commit; returns whether that was the episode's instance."""
        victim = self._faults.take_death(
            counted, len(episode.events), before_commit=before_commit, instance=on.id if on else None
        )
        if victim == "host":
            self._die()
            raise HostKilledError
        if victim == "instance" and on is not None:
            on.worker.kill()
        return victim is not None

    # Activities

    def _start_activity(self, activity: Activity, on: AppInstance) -> None:
        double = self._faults.take_double(activity.name, on.id)
        self._start_delivery(activity, on, lose_result=double is not None and not double.at_once)
        if double is not None and double.at_once:
            self._start_delivery(activity, self._find_free(activity, unlike=on) or on)

    def _start_delivery(self, activity: Activity, on: AppInstance, *, lose_result: bool = False) -> None:
        work = InHand("activity", activity.name, activity.instance_id)
        on.take(work)
        self._start_task(self._run_activity(activity, on, work, lose_result=lose_result))

    async def _run_activity(self, activity: Activity, on: AppInstance, work: InHand, *, lose_result: bool) -> None:
        try:
            self.hub.count_delivery(activity)
            event = await self._deliver(activity, on)
            if event is None or lose_result:
                self._held_activities.append(activity)
            else:
                self.hub.complete_activity(activity, event)
        finally:
            on.release(work)

    async def _deliver(self, activity: Activity, on: AppInstance) -> Event | None:
        """Run an activity; returns the event that reports it, or None if it has to be delivered again."""
        function = self._activities.get(activity.name)
        if function is None:
            return _failed(activity, f"the function '{activity.name}' doesn't exist or is not an activity function", "")
        inputs = [Input(function.trigger["name"], "json", activity.input)]
        try:
            outcome = await on.worker.invoke(
                function, inputs, self._timeout_seconds, lambda: self._kill_on_start(activity, on)
            )
            if self._faults.take_kill(activity.name, "finish", on.id) is not None:
                on.worker.kill()
                raise WorkerExitedError("killed after the activity had finished")
        except WorkerExitedError as error:
            if self._faults.fail_on_worker_exit:
                return _failed(activity, str(error), "")
            log.warning("activity '%s' of '%s' is delivered again: %s", activity.name, activity.instance_id, error)
            return None
        except FunctionTimeoutError as error:
            # The extension reports a timeout as the activity's own failure.
            return _failed(activity, str(error), "")
        if not outcome.succeeded:
            log.error("activity '%s' of '%s' failed\n%s", activity.name, activity.instance_id, outcome.traceback)
            return _failed(activity, outcome.error, outcome.traceback)
        return make_event(EventType.TASK_COMPLETED, TaskScheduledId=activity.task_id, Result=outcome.value)

    def _kill_on_start(self, activity: Activity, on: AppInstance) -> None:
        delay = self._faults.take_kill(activity.name, "start", on.id)
        if delay == 0.0:
            # Not later: the outcome may be waiting to be read already.
            on.worker.kill()
        elif delay is not None:
            asyncio.get_running_loop().call_later(delay, on.worker.kill)


def _failed(activity: Activity, error: str, details: str) -> Event:
    reason = f"Activity function '{activity.name}' failed: {error}"
    return make_event(EventType.TASK_FAILED, TaskScheduledId=activity.task_id, Reason=reason, Details=details)


def _read_answer(outcome: Outcome) -> tuple[dict[str, Any], str | None]:
    """Return the SDK's output and the error by which the orchestrator failed, if it did."""
    if outcome.succeeded:
        return json.loads(str(outcome.value)), None
    _, mark, text = outcome.traceback.rpartition(FAILURE_MARK)
    if not mark:
        return {}, outcome.error
    state = json.loads(text)
    return state, str(state.get("error") or outcome.error)
