"""What every line of the log has: the ids of the load and the entity while a slice runs, no secret, and one line.

The Functions host takes a line's text from the worker and nothing else, so the ids are in the text of the engine's
lines; for handlers that can do more, every record has them as attributes, those of libraries too. Texts from elsewhere
(rows, names, messages of servers) are in the arguments, so what they could do to a log or a terminal is taken out here,
for all handlers at once.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from hygge_engine.flow.slices import SliceTask
from hygge_engine.masking import mask
from hygge_engine.plain_text import lines_of, one_line

_IDS: ContextVar[Mapping[str, str] | None] = ContextVar("hygge_log_ids", default=None)

# The engine's lines begin with the name of the package.
_OURS = "hygge_engine"


@contextmanager
def logging_ids_of(task: SliceTask) -> Iterator[None]:
    """Lines of this thread belong to the entity run, until the end."""
    ids = {
        "hygge_load_id": task.load_id,
        "hygge_entity_run_id": task.entity_run_id,
        "hygge_flow": task.flow,
        "hygge_entity": task.entity,
    }
    token = _IDS.set(ids)
    try:
        yield
    finally:
        _IDS.reset(token)


class RecordWithIds(logging.LogRecord):
    """A log record that knows which entity run it belongs to, and whose text shows no secret and is one line.

    A stack trace has several; each is indented, so that none can pass for an entry of its own.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ids = _IDS.get()
        vars(self).update(self._ids or {})
        if self.exc_info and self.exc_info[1] is not None:
            # Formatters print this text where there is one, instead of making it themselves.
            self.exc_text = trace_of(self.exc_info[1])

    def getMessage(self) -> str:
        message = one_line(mask(super().getMessage()))
        ids = self._ids
        # Lines that name the load already are events, whose JSON ends the line.
        if ids is None or not self.name.startswith(_OURS) or ids["hygge_load_id"] in message:
            return message
        return f"{message} [load {ids['hygge_load_id']}, {ids['hygge_flow']}.{ids['hygge_entity']}]"


class JsonFormatter(logging.Formatter):
    """One JSON object for each record, for machines: ``event: log``, time, level, logger, message and, where there is
    one, the stack trace."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "event": "log",
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["trace"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(entry)


def add_ids_to_logs() -> None:
    """Let every record of this process have the ids. For the application's start; a second call changes nothing."""
    logging.setLogRecordFactory(RecordWithIds)


def trace_of(error: BaseException) -> str:
    """An error's stack trace as it may be shown."""
    return _indented(traceback.format_exception(error))


def _indented(lines: list[str]) -> str:
    return "\n".join(f"  {line}" for line in lines_of(mask("".join(lines))).rstrip("\n").split("\n"))
