"""The ids of the load and the entity in every line that is logged while a slice runs.

The Functions host takes a line's text from the worker and nothing else, so the ids stand in the text of our own lines;
for handlers that can do more, every record has them as attributes, those of libraries too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from hygge_engine.flow.slices import SliceTask

_IDS: ContextVar[Mapping[str, str] | None] = ContextVar("hygge_log_ids", default=None)

# Lines of ours begin with the name of the package.
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
    """A log record that knows which entity run it belongs to."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ids = _IDS.get()
        vars(self).update(self._ids or {})

    def getMessage(self) -> str:
        message = super().getMessage()
        ids = self._ids
        # Lines that name the load already are events, whose JSON ends the line.
        if ids is None or not self.name.startswith(_OURS) or ids["hygge_load_id"] in message:
            return message
        return f"{message} [load {ids['hygge_load_id']}, {ids['hygge_flow']}.{ids['hygge_entity']}]"


def add_ids_to_logs() -> None:
    """Let every record of this process have the ids. For the application's start; a second call changes nothing."""
    logging.setLogRecordFactory(RecordWithIds)
