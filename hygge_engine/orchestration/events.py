"""What a load writes to the log, for the alerts, queries and workbook of ``infra/monitoring`` (see
``docs/operations.md``).

Each event is one line, a name and a JSON object, because that is what every log pipeline carries unharmed. An activity
may run twice, so a line may come twice: readers keep the last for each ``load_id`` or ``entity_run_id``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hygge_engine.masking import masked_in
from hygge_engine.orchestration.summary import SUMMARY_MESSAGE_LIMIT_CHARACTERS
from hygge_engine.statuses import JOURNAL_STATUS
from hygge_engine.telemetry.facts import entity_run_of

if TYPE_CHECKING:
    from hygge_engine.flow.slices import SliceResult, SliceTask

_log = logging.getLogger(__name__)

# What an event holds of a summary; ``results`` would make the line long, and has events of its own.
_LOAD_KEYS = (
    *("load_id", "status", "message", "error", "requested_by", "principal", "started", "finished", "duration"),
    *("rows", "entities"),
    *JOURNAL_STATUS.values(),
)


def log_load(summary: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
    """``hygge.load`` for a load that has ended, and ``hygge.entity`` for each of its tables."""
    _write("hygge.load", {key: summary[key] for key in _LOAD_KEYS if key in summary})
    for run in map(entity_run_of, results):
        fields = {
            "load_id": summary["load_id"],
            "entity_run_id": run.entity_run_id,
            "flow": run.flow,
            "entity": run.entity,
            "run_type": run.run_type,
            "status": run.status,
            "rows": run.rows,
            **run.counts.by_name(),
            "bytes": run.bytes,
            "started": run.started.isoformat() if run.started else None,
            "duration": run.duration_seconds,
            "lag": run.lag_seconds,
            "attempts": run.attempts,
            "error": run.error,
            "message": run.message,
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
    shown = masked_in(dict(fields))
    # Masked before it is cut: half a secret would not be recognised.
    shortened = {
        key: value[:SUMMARY_MESSAGE_LIMIT_CHARACTERS] if key == "message" else value for key, value in shown.items()
    }
    _log.log(level, "%s %s", name, json.dumps(shortened, ensure_ascii=False))
