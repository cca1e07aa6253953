"""Timer triggers: NCRONTAB schedules (six fields, or five without seconds) and time spans, in UTC."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from devcloud.functions.durable_history import format_time
from devcloud.functions.settings import parse_timespan, substitute_settings
from devcloud.functions.worker_protocol import Function, FunctionAppError

log = logging.getLogger("devcloud.functions.timers")


def iterate_schedule(text: str, start: datetime) -> Iterator[datetime]:
    """Return the moments after ``start`` at which a schedule fires; raises FunctionAppError if it cannot be read."""
    interval = parse_timespan(text)
    if interval is not None:
        return (start + interval * count for count in range(1, 1 << 62))
    try:
        return CronSim(text, start)
    except CronSimError as error:
        raise FunctionAppError(f"the schedule '{text}' is not an NCRONTAB expression: {error}") from None


def read_schedule(function: Function, settings: dict[str, str]) -> str:
    """Return a timer function's schedule with its ``%SETTING%`` filled in; raises FunctionAppError."""
    schedule = substitute_settings(str(function.trigger["schedule"]), settings)
    iterate_schedule(schedule, datetime.now(UTC))
    return schedule


def describe_tick(last: datetime | None, following: datetime) -> str:
    """Return what a timer trigger passes to its function."""
    status = {
        "Last": format_time(last) if last is not None else "0001-01-01T00:00:00+00:00",
        "Next": format_time(following),
        "LastUpdated": format_time(datetime.now(UTC)),
    }
    return json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": False})


async def run_timer(function: Function, schedule: str, fire: Callable[[str], Awaitable[None]]) -> None:
    """Fire a timer function at each moment of its schedule, one run at a time, until cancelled."""
    last = None
    if function.trigger.get("runOnStartup"):
        last = datetime.now(UTC)
        await fire(describe_tick(None, next(iterate_schedule(schedule, last))))
    while True:
        due = next(iterate_schedule(schedule, datetime.now(UTC)))
        while (remaining := (due - datetime.now(UTC)).total_seconds()) > 0:
            # Wall clocks jump; sleeping in short steps follows them.
            await asyncio.sleep(min(remaining, 30.0))
        await fire(describe_tick(last, next(iterate_schedule(schedule, due))))
        last = due
