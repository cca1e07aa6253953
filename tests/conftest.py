"""What every test begins with."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from hygge_engine import masking
from hygge_engine.homes.mssql.silence import silent_servers
from hygge_engine.homes.mssql.throttle import paces

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
