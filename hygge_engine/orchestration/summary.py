"""A load that has ended, in a page: its output."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, cast

from hygge_engine.orchestration.payloads import EntityPayload, Summary, SummaryLine
from hygge_engine.orchestration.progress import LoadProgress
from hygge_engine.row_counts import COUNT_NAMES
from hygge_engine.statuses import JOURNAL_STATUS

# An output travels through the orchestration's history: of a message only the beginning is kept there. The journal
# has it whole.
SUMMARY_MESSAGE_LIMIT_CHARACTERS = 500

# What a line has besides, where a result has it.
_OPTIONAL_KEYS: tuple[Literal["error", "hint", "expectations"], ...] = ("error", "hint", "expectations")


def summarize(load_id: str, request: Mapping[str, Any], progress: LoadProgress, *, finished: datetime) -> Summary:
    """The output of a load: its totals, and a line per entity but for idle ones. The lines of a large load would be too
    long for an output, and are in the journal."""
    plan, totals, started = progress.plan, progress.totals, progress.started
    skipped = request.get("skip_reason", "")
    summary: Summary = {
        "load_id": load_id,
        "status": "skip" if skipped else "fail" if plan.get("status") == "failed" else totals.load_status,
        "message": skipped or plan.get("message", ""),
        "error": plan.get("error", ""),
        "requested_by": request.get("requested_by", ""),
        "principal": request.get("principal", ""),
        "started": started.isoformat(),
        "finished": finished.isoformat(),
        "duration": round((finished - started).total_seconds(), 3),
        "rows": totals.rows,
        "entities": totals.entities,
        "success": totals.ended["success"],
        "fail": totals.ended["fail"],
        "skip": totals.ended["skip"],
        "cancel": totals.ended["cancel"],
        "results": [] if progress.parks else [_line(result) for result in progress.results],
    }
    if plan.get("idle"):
        summary["idle"] = plan["idle"]
    if progress.parks:
        summary["results_in_journal"] = True
    return summary


def _line(result: EntityPayload) -> SummaryLine:
    line: SummaryLine = {
        "flow": result["flow"],
        "entity": result["entity"],
        "status": JOURNAL_STATUS[result["status"]],
        "rows": result.get("rows", 0),
    }
    if result.get("message"):
        line["message"] = result["message"][:SUMMARY_MESSAGE_LIMIT_CHARACTERS]
    for key in _OPTIONAL_KEYS:
        if result.get(key):
            line[key] = result[key]
    counts = {name: result[name] for name in COUNT_NAMES if result.get(name) is not None}
    return cast("SummaryLine", {**line, **counts})
