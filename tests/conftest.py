"""What every test begins with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from hygge_engine import masking
from hygge_engine.homes.mssql.silence import silent_servers
from hygge_engine.homes.mssql.throttle import paces
from hygge_engine.telemetry import process as telemetry_process

pytest.register_assert_rewrite("tests.support")


@pytest.fixture(autouse=True)
def no_secret_of_other_tests() -> None:
    """A process remembers its secrets; a test must not be shown the masks of another one's."""
    masking.forget_everything()


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """The log's settings belong to the process: what a test, or a command that it calls, changes ends with it."""
    root = logging.getLogger()
    factory, disabled, handlers = logging.getLogRecordFactory(), root.manager.disable, list(root.handlers)
    states = {logger: (logger.level, logger.disabled, logger.propagate) for logger in (root, *_own_loggers())}
    yield
    logging.setLogRecordFactory(factory)
    logging.disable(disabled)
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
    for logger in (root, *_own_loggers()):
        level, logger.disabled, logger.propagate = states.get(logger, (logging.NOTSET, False, True))
        logger.setLevel(level)


def _own_loggers() -> list[logging.Logger]:
    """The project's loggers, as far as its modules have been imported."""
    known = logging.getLogger().manager.loggerDict
    return [
        logger
        for name, logger in known.items()
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in ("hygge_engine", "devcloud")
    ]


@pytest.fixture(autouse=True)
def no_silent_server_of_other_tests() -> None:
    """Nor treat a server as silent, or short of resources, because another test's was, at the same port."""
    silent_servers.forget()
    paces.forget()


@pytest.fixture(autouse=True)
def no_exporter_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nor share its process with an exporter whose receiver has gone, and which tries again for a minute: its jitter
    comes from `random`, whose state Hypothesis watches while it draws."""
    exporters: list[Any] = []
    signals_to = telemetry_process.signals_to

    def remember(spans: list[Any], metrics: list[Any], *rest: Any) -> Any:
        exporters.extend([*spans, *metrics])
        return signals_to(spans, metrics, *rest)

    monkeypatch.setattr(telemetry_process, "signals_to", remember)
    yield
    for exporter in exporters:
        exporter.shutdown()
