"""Timer triggers: NCRONTAB schedules (six fields, or five without seconds) and time spans, in UTC."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cronsim import CronSim, CronSimError

from devcloud.functions.settings import parse_timespan, substitute_settings
from devcloud.functions.worker_protocol import Function, FunctionAppError

log = logging.getLogger("devcloud.functions.timers")


def iterate_schedule(text: str, start: datetime) -> Iterator[datetime]:
    """Return the times after ``start`` at which a schedule fires; raises FunctionAppError if it cannot be read."""
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


def describe_tick(last: datetime | None, following: datetime, *, past_due: bool = False) -> str:
    """Return what a timer trigger passes to its function; ``last`` is when it last fired by schedule."""
    status = {
        "Last": last.isoformat() if last is not None else "0001-01-01T00:00:00+00:00",
        "Next": following.isoformat(),
        "LastUpdated": datetime.now(UTC).isoformat(),
    }
    return json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due})


def is_monitored(function: Function, schedule: str) -> bool:
    """Return whether a tick that was missed is made up for: as on Azure, not if the timer fires more often than once a
    minute.
    """
    moments = iterate_schedule(schedule, datetime.now(UTC))
    interval = -(next(moments) - next(moments))
    return bool(function.trigger.get("useMonitor", True)) and interval >= timedelta(minutes=1)


class TimerLog(Protocol):
    """Records when each timer function last fired, across restarts."""

    def find_tick(self, name: str) -> datetime | None:
        """Return when the function last fired."""

    def record_tick(self, name: str, moment: datetime) -> None:
        """Note that the function has fired."""


async def run_timer(function: Function, schedule: str, ticks: TimerLog, fire: Callable[[str], Awaitable[None]]) -> None:
    """Fire a timer function at each time of its schedule, one run at a time, until cancelled."""
    last = ticks.find_tick(function.name)
    now = datetime.now(UTC)
    missed = last is not None and is_monitored(function, schedule) and next(iterate_schedule(schedule, last)) < now
    if missed or function.trigger.get("runOnStartup"):
        await fire(describe_tick(last, next(iterate_schedule(schedule, now)), past_due=missed))
    if missed:
        ticks.record_tick(function.name, now)
        last = now
    while True:
        due = next(iterate_schedule(schedule, datetime.now(UTC)))
        while (remaining := (due - datetime.now(UTC)).total_seconds()) > 0:
            # Wall clocks jump; sleeping in short steps follows them.
            await asyncio.sleep(min(remaining, 30.0))
        await fire(describe_tick(last, next(iterate_schedule(schedule, due))))
        ticks.record_tick(function.name, due)
        last = due
