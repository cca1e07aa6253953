"""History events and actions of Durable Functions as the SDK 1.x writes and reads them (JSON, replay schema V3)."""

import json
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

Event = dict[str, Any]

# The SDK cuts longer timers into pieces; both values are the defaults of the Azure Storage provider.
MAXIMUM_SHORT_TIMER = "6.00:00:00"
LONG_TIMER_INTERVAL = "3.00:00:00"


class EventType(IntEnum):
    """The history events that this host writes."""

    EXECUTION_STARTED = 0
    EXECUTION_COMPLETED = 1
    EXECUTION_TERMINATED = 3
    TASK_SCHEDULED = 4
    TASK_COMPLETED = 5
    TASK_FAILED = 6
    SUB_ORCHESTRATION_INSTANCE_CREATED = 7
    SUB_ORCHESTRATION_INSTANCE_COMPLETED = 8
    SUB_ORCHESTRATION_INSTANCE_FAILED = 9
    TIMER_CREATED = 10
    TIMER_FIRED = 11
    ORCHESTRATOR_STARTED = 12
    ORCHESTRATOR_COMPLETED = 13
    EVENT_RAISED = 15
    EXECUTION_SUSPENDED = 19
    EXECUTION_RESUMED = 20


class ActionType(IntEnum):
    """The actions that an orchestrator returns."""

    CALL_ACTIVITY = 0
    CALL_ACTIVITY_WITH_RETRY = 1
    CALL_SUB_ORCHESTRATOR = 2
    CALL_SUB_ORCHESTRATOR_WITH_RETRY = 3
    CONTINUE_AS_NEW = 4
    CREATE_TIMER = 5
    WAIT_FOR_EXTERNAL_EVENT = 6
    WHEN_ANY = 11
    WHEN_ALL = 12


# What the SDK's replay ignores; left out of its requests because it parses every event's timestamp, at length.
IGNORED_BY_SDK = {
    EventType.TASK_SCHEDULED,
    EventType.SUB_ORCHESTRATION_INSTANCE_CREATED,
    EventType.TIMER_CREATED,
    EventType.ORCHESTRATOR_COMPLETED,
    EventType.EXECUTION_COMPLETED,
    EventType.EXECUTION_SUSPENDED,
    EventType.EXECUTION_RESUMED,
}


def format_time(moment: datetime) -> str:
    """Return a timestamp as the extension writes it: UTC, microseconds, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> datetime:
    """Read a timestamp; one without a zone is UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def make_event(kind: EventType, event_id: int = -1, **fields: Any) -> Event:
    """Make a history event that happens now; ``event_id`` is the task's number for events that schedule one."""
    return {
        "EventType": int(kind),
        "EventId": event_id,
        "IsPlayed": False,
        "Timestamp": format_time(datetime.now(UTC)),
        **fields,
    }


def encode_request(
    instance_id: str, input_value: Any, parent_id: str | None, played: list[str], new_events: list[Event]
) -> str:
    """Return what an orchestration trigger passes to the SDK; ``played`` are old events, encoded once and kept."""
    fresh = [json.dumps(event) for event in new_events if event["EventType"] not in IGNORED_BY_SDK]
    envelope = json.dumps(
        {
            "input": input_value,
            "instanceId": instance_id,
            "isReplaying": bool(played),
            "parentInstanceId": parent_id,
            "upperSchemaVersion": 0,
            "upperSchemaVersionNew": 2,
            "maximumShortTimerDuration": MAXIMUM_SHORT_TIMER,
            "longRunningTimerIntervalDuration": LONG_TIMER_INTERVAL,
        }
    )
    return f'{{"history":[{",".join(played + fresh)}],{envelope[1:]}'
