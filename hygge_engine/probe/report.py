"""What a probe has found, for people and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hygge_engine.masking import mask, masked_in
from hygge_engine.plain_text import one_line
from hygge_engine.probe.assumptions import ASSUMPTIONS, Finding

# How much of what a service says is shown.
_LONGEST_WORDS = 300


@dataclass(frozen=True)
class Report:
    """All findings of one probe of the mirrored database at ``place``; ``ended`` is empty where it came to its end."""

    place: str
    began: datetime
    seconds: float
    requests: int
    findings: Sequence[Finding]
    ended: str = ""

    def count(self, holds: str) -> int:
        """How many assumptions hold, do not, or are unknown."""
        return sum(finding.holds == holds for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The report as one object."""
        rows: list[dict[str, Any]] = []
        for finding in self.findings:
            assumption = ASSUMPTIONS[finding.id]
            row: dict[str, Any] = {
                "id": finding.id,
                "assumption": assumption.text,
                "seen": words(finding),
                "holds": finding.holds,
            }
            set_ = "" if finding.holds == "yes" else assumption.remedy
            seconds = None if finding.seconds is None else round(finding.seconds, 1)
            rows.append(row | {"set": set_, "seconds": seconds})
        counts = {holds: self.count(holds) for holds in ("yes", "no", "unknown")}
        found: dict[str, Any] = masked_in(
            {
                "place": self.place,
                "began": self.began.isoformat(timespec="seconds"),
                "seconds": round(self.seconds, 1),
                "requests": self.requests,
                "ended": self.ended,
                "counts": counts,
                "assumptions": rows,
            }
        )
        return found

    def to_markdown(self) -> str:
        """The report as a page."""
        lines = [
            "# What hygge probe has seen",
            "",
            f"{_cell(self.place)}, {self.began:%Y-%m-%d %H:%M} UTC, {self.seconds:.0f} s, {self.requests:,} requests. "
            f"{self.count('yes')} hold, {self.count('no')} do not, {self.count('unknown')} are unknown."
            + (f" {_cell(self.ended)}" if self.ended else ""),
            "",
            "| assumption | seen | holds | what to set if not |",
            "|---|---|---|---|",
        ]
        for finding in self.findings:
            assumption = ASSUMPTIONS[finding.id]
            cells = (assumption.text, words(finding), finding.holds, assumption.remedy)
            lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
        return "\n".join(lines) + "\n"


def words(finding: Finding) -> str:
    """What was seen, on one line and not too long: it holds words of a service."""
    text = one_line(finding.seen)
    return text if len(text) <= _LONGEST_WORDS else f"{text[: _LONGEST_WORDS - 1]}…"


def _cell(text: str) -> str:
    return one_line(mask(text)).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
