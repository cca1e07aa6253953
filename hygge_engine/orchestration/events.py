"""What a load tells the log, for the alerts, queries and workbook of ``infra/monitoring`` (see ``docs/operations.md``).

Each event is one line, a name and a JSON object, because that is what every log pipeline carries unharmed. An activity
may run twice, so a line may come twice: readers keep the last for each ``load_id`` or ``entity_run_id``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hygge_engine.orchestration.summary import JOURNAL_STATUS, SUMMARY_MESSAGE_LIMIT_CHARACTERS

if TYPE_CHECKING:
    from hygge_engine.flow.slices import SliceResult, SliceTask

_log = logging.getLogger(__name__)

# What of a summary stands in its event; ``results`` would make the line long, and has events of its own.
_LOAD_KEYS = (
    *("load_id", "status", "message", "error", "requested_by", "started", "finished", "duration", "rows", "entities"),
    *JOURNAL_STATUS.values(),
)


def log_load(summary: Mapping[str, Any], results: list[Mapping[str, Any]]) -> None:
    """``hygge.load`` for a load that has ended, and ``hygge.entity`` for each of its tables."""
    _write("hygge.load", {key: summary[key] for key in _LOAD_KEYS if key in summary})
    for answer in results:
        fields = {
            "load_id": summary["load_id"],
            "entity_run_id": answer["entity_run_id"],
            "flow": answer["flow"],
            "entity": answer["entity"],
            "run_type": answer["run_type"],
            "status": JOURNAL_STATUS[answer["status"]],
            "rows": answer.get("rows", 0),
            "bytes": answer.get("bytes", 0),
            "duration": _seconds(answer.get("started"), answer.get("finished")),
            "attempts": answer["attempts"],
            "error": answer.get("error", ""),
            "message": answer.get("message", ""),
        }
        _write("hygge.entity", fields)


def log_failed_attempt(task: SliceTask, result: SliceResult) -> None:
    """``hygge.attempt_failed`` for a slice that failed, whether or not it will be tried again."""
    fields = {
        "load_id": task.load_id,
        "entity_run_id": task.entity_run_id,
        "flow": task.flow,
        "entity": task.entity,
        "attempt": task.attempt,
        "error": result.error,
        "transient": result.transient,
        "retry_after_seconds": result.retry_after_seconds,
        "message": result.message,
    }
    _write("hygge.attempt_failed", fields, logging.WARNING)


def _write(name: str, fields: Mapping[str, Any], level: int = logging.INFO) -> None:
    shortened = {
        key: value[:SUMMARY_MESSAGE_LIMIT_CHARACTERS] if key == "message" else value for key, value in fields.items()
    }
    _log.log(level, "%s %s", name, json.dumps(shortened, ensure_ascii=False))


def _seconds(started: str | None, finished: str | None) -> float | None:
    """Between two times in ISO 8601; None where one is not known, as for a table that never began."""
    if not started or not finished:
        return None
    return round((datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds(), 3)
