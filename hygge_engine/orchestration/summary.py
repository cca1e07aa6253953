"""A load that has ended, in a page: its output."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hygge_engine.flow.slices import JOURNAL_STATUS
from hygge_engine.orchestration.progress import LoadProgress

# An output travels through the orchestration's history: of a message only the beginning is kept there. The journal
# has it whole.
SUMMARY_MESSAGE_LIMIT_CHARACTERS = 500


def summarize(
    load_id: str, request: Mapping[str, Any], progress: LoadProgress, *, finished: datetime
) -> dict[str, Any]:
    """The output of a load: its totals, and a line per entity. Times in ISO 8601, UTC; ``duration`` in seconds."""
    plan, totals, started = progress.plan, progress.totals, progress.started
    skipped = request.get("skip_reason", "")
    failed = plan if plan.get("status") == "failed" else {}
    return {
        "load_id": load_id,
        "status": "skip" if skipped else "fail" if failed else totals.load_status,
        "message": skipped or failed.get("message", ""),
        "error": failed.get("error", ""),
        "requested_by": request.get("requested_by", ""),
        "principal": request.get("principal", ""),
        "started": started.isoformat(),
        "finished": finished.isoformat(),
        "duration": round((finished - started).total_seconds(), 3),
        "rows": totals.rows,
        "entities": totals.entities,
        **totals.settled,
        "results": [_line(answer) for answer in progress.answers],
    }


def _line(answer: Mapping[str, Any]) -> dict[str, Any]:
    line = {
        "flow": answer["flow"],
        "entity": answer["entity"],
        "status": JOURNAL_STATUS[answer["status"]],
        "rows": answer.get("rows", 0),
    }
    if answer.get("message"):
        line["message"] = answer["message"][:SUMMARY_MESSAGE_LIMIT_CHARACTERS]
    line |= {key: answer[key] for key in ("error", "hint", "expectations") if answer.get(key)}
    return line
