"""What a Function app says about itself outside its code: ``host.json`` and its app settings."""

import argparse
import json
import logging
import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from devcloud.functions.worker_protocol import FunctionAppError

# Of the plans that a timer-driven loader is deployed to (Flex Consumption, Premium).
DEFAULT_FUNCTION_TIMEOUT = timedelta(minutes=30)
# Of the Durable Functions extension: ten per processor.
DEFAULT_CONCURRENCY = 10 * (os.cpu_count() or 1)
# A worker takes seconds to start and a hundred megabytes or more.
MOST_INSTANCES = 64
DEFAULT_TASK_HUB = "TestHubName"
# A host.json value may be overridden by an app setting of this form, with __ between the levels.
OVERRIDE_PREFIX = "AzureFunctionsJobHost__"

_LOG_LEVELS = {
    "Trace": logging.DEBUG,
    "Debug": logging.DEBUG,
    "Information": logging.INFO,
    "Warning": logging.WARNING,
    "Error": logging.ERROR,
    "Critical": logging.CRITICAL,
    "None": logging.CRITICAL + 1,
}

_SETTING = re.compile(r"%([^%]+)%")
_TIMESPAN = re.compile(r"(?:(?P<days>\d+)\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{2}):(?P<seconds>\d{2})(?:\.\d+)?")


@dataclass(frozen=True)
class HostSettings:
    """The part of ``host.json`` that this host honours."""

    function_timeout: timedelta = DEFAULT_FUNCTION_TIMEOUT
    route_prefix: str = "api"
    task_hub: str = DEFAULT_TASK_HUB
    max_concurrent_activities: int = DEFAULT_CONCURRENCY
    max_concurrent_orchestrators: int = DEFAULT_CONCURRENCY
    log_level: int = logging.INFO


def read_host_json(app_directory: Path, settings: dict[str, str]) -> HostSettings:
    """Read ``host.json`` beside the app, with the overrides that the app settings hold; raises FunctionAppError."""
    path = app_directory / "host.json"
    if not path.is_file():
        raise FunctionAppError(f"{app_directory} has no host.json")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise FunctionAppError(f"{path}: {error}") from None
    for name, value in settings.items():
        if name.startswith(OVERRIDE_PREFIX):
            _override(content, name.removeprefix(OVERRIDE_PREFIX).split("__"), value)
    durable = content.get("extensions", {}).get("durableTask", {})
    http = content.get("extensions", {}).get("http", {})
    defaults = HostSettings()
    timeout = content.get("functionTimeout")
    return HostSettings(
        function_timeout=parse_function_timeout(str(timeout)) if timeout is not None else defaults.function_timeout,
        route_prefix=str(http.get("routePrefix", defaults.route_prefix)).strip("/"),
        task_hub=substitute_settings(str(durable.get("hubName", defaults.task_hub)), settings),
        max_concurrent_activities=int(
            durable.get("maxConcurrentActivityFunctions", defaults.max_concurrent_activities)
        ),
        max_concurrent_orchestrators=int(
            durable.get("maxConcurrentOrchestratorFunctions", defaults.max_concurrent_orchestrators)
        ),
        log_level=_log_level(content.get("logging", {}).get("logLevel", {}).get("default", "Information")),
    )


def _log_level(name: str) -> int:
    """The level that a name of .NET's stands for."""
    if name not in _LOG_LEVELS:
        raise FunctionAppError(f"host.json: there is no log level '{name}'; expected one of {', '.join(_LOG_LEVELS)}")
    return _LOG_LEVELS[name]


def _override(content: dict[str, Any], path: list[str], value: str) -> None:
    for level in path[:-1]:
        content = content.setdefault(level, {})
    content[path[-1]] = value


def parse_timespan(text: str) -> timedelta | None:
    """Return the duration that a .NET time span (``[d.]hh:mm:ss``) names, or None if the text is something else."""
    match = _TIMESPAN.fullmatch(text.strip())
    if match is None:
        return None
    return timedelta(**{unit: int(amount or 0) for unit, amount in match.groupdict().items()})


def parse_function_timeout(text: str) -> timedelta:
    """Return ``functionTimeout`` of ``host.json``; -1 means without limit."""
    if text.strip() == "-1":
        return timedelta.max
    duration = parse_timespan(text)
    if duration is None:
        raise FunctionAppError(f"host.json: functionTimeout '{text}' is not of the form hh:mm:ss")
    return duration


def substitute_settings(text: str, settings: dict[str, str]) -> str:
    """Replace each ``%NAME%`` by the app setting NAME; raises FunctionAppError for one that is not set."""

    def look_up(match: re.Match[str]) -> str:
        name = match.group(1)
        value = settings.get(name, os.environ.get(name))
        if value is None:
            raise FunctionAppError(f"'%{name}%' does not resolve to a value: there is no app setting {name}")
        return value

    return _SETTING.sub(look_up, text)


def read_local_settings(path: Path) -> dict[str, str]:
    """Read the ``Values`` of a ``local.settings.json``; the environment wins over it, as in the core tools."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise FunctionAppError(f"{path}: {error}") from None
    return {name: str(value) for name, value in content.get("Values", {}).items() if name not in os.environ}


def parse_instances(text: str) -> int:
    """Return how many instances a command line asks for; raises ArgumentTypeError."""
    number = int(text) if text.isascii() and text.isdecimal() else 0
    if not 1 <= number <= MOST_INSTANCES:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {MOST_INSTANCES}, not '{text}'")
    return number
