"""A load in numbers: the totals while it runs, and the summary when it has ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hygge_engine.orchestration.window import Window

# An entity's last answer in the journal's words.
JOURNAL_STATUS = {"done": "success", "failed": "fail", "skipped": "skip", "cancelled": "cancel"}

# An output travels through the orchestration's history: of a message only the beginning is kept there. The journal
# has it whole.
SUMMARY_MESSAGE_LIMIT_CHARACTERS = 500


class Totals:
    """What the orchestration's custom status shows: numbers only, because it may hold 16 KB at most."""

    def __init__(self, plan: Mapping[str, Any]) -> None:
        entities = self.entities = len(plan.get("entities", []))
        self.cancelled = False
        self.rows = 0
        self.settled = dict.fromkeys(JOURNAL_STATUS.values(), 0)
        self._window = {"running": 0, "waiting": 0, "pending": entities}

    def settle(self, answer: Mapping[str, Any]) -> None:
        """Count an entity that is not run again."""
        self.settled[JOURNAL_STATUS[answer["status"]]] += 1
        self.rows += answer.get("rows", 0)

    def count(self, window: Window) -> None:
        """Count the entities that are."""
        self._window = {"running": window.running, "waiting": window.deferred, "pending": window.ready}

    def status(self, phase: str) -> dict[str, Any]:
        """The custom status. ``rows`` are those of settled entities."""
        window = self._window if phase == "loading" else dict.fromkeys(self._window, 0)
        return {
            "phase": phase,
            "entities": self.entities,
            "rows": self.rows,
            "cancelled": self.cancelled,
            **self.settled,
            **window,
        }

    @property
    def load_status(self) -> str:
        """The load in one of the journal's words: the worst of its entities, ``cancel`` above all."""
        if self.cancelled:
            return "cancel"
        for status in ("fail", "success", "skip"):
            if self.settled[status]:
                return status
        return "success"


def summarize(
    load_id: str,
    request: Mapping[str, Any],
    plan: Mapping[str, Any],
    answers: Sequence[Mapping[str, Any]],
    totals: Totals,
    *,
    started: datetime,
    finished: datetime,
) -> dict[str, Any]:
    """The output of a load: its totals, and a line per entity. Times in ISO 8601, UTC; ``duration`` in seconds."""
    skipped = request.get("skip_reason", "")
    failed = plan if plan.get("status") == "failed" else {}
    return {
        "load_id": load_id,
        "status": "skip" if skipped else "fail" if failed else totals.load_status,
        "message": skipped or failed.get("message", ""),
        "error": failed.get("error", ""),
        "requested_by": request.get("requested_by", ""),
        "started": started.isoformat(),
        "finished": finished.isoformat(),
        "duration": round((finished - started).total_seconds(), 3),
        "rows": totals.rows,
        "entities": totals.entities,
        **totals.settled,
        "results": [_line(answer) for answer in answers],
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
    if answer.get("error"):
        line["error"] = answer["error"]
    return line
