"""The entities of a load that has not ended, in pages: one listing for each journal, and what is said of those on the
page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from hygge_engine.journal.entity_states import EntityState, key_of
from hygge_engine.statuses import JOURNAL_STATUS
from hygge_engine.web.pages import PAGE_LIMIT, Page

if TYPE_CHECKING:
    from hygge_engine.journal import ProgressFiles

Line = dict[str, Any]

# How many ranges of a table were left when it was divided, and of how many.
_RANGES = re.compile("([0-9]{1,6})/([0-9]{1,6})", re.ASCII)

# What an entity of a load may be: under way, then ended.
STATUSES = ("pending", "running", "waiting", *JOURNAL_STATUS.values())


def lines_under_way(
    load_id: str,
    selected: Iterable[tuple[str, str]],
    journals: Sequence[ProgressFiles],
    page: Page,
    status: str | None,
    recorded: Mapping[str, Line],
) -> tuple[list[Line], str | None, dict[str, int]]:
    """A page of lines about entities, only those with a ``status`` where one is given, the name that the next page
    comes after, and what all of them add up to.

    ``selected`` are flow and entity of what the load was asked to move. What a deployment has taken out of the project
    since then, and has begun before, is among them; of very many, some. ``recorded`` are the lines of those that the
    journals have, by `key_of` their names: their files may be gone.
    """
    found = [(journal, journal.states(load_id)) for journal in journals]
    states = {key: (journal, state) for journal, known in found for key, state in known.items()}
    names = {key_of(flow, entity): (flow, entity) for flow, entity in selected}
    names |= {key: (line["flow"], line["entity"]) for key, line in recorded.items()}
    gone = islice((key for key in states if key not in names), PAGE_LIMIT)
    for key, texts in _explained(load_id, [states[key] for key in gone]).items():
        names[key] = (texts["flow"], texts["entity"])
    lines = {key: _line(*name, states[key][1] if key in states else None) for key, name in names.items()}
    lines |= recorded
    chosen = [key for key, line in lines.items() if status is None or line["status"] == status]
    shown, after = page.by_name(chosen, lambda key: name_of(lines[key]))
    left = [states[key] for key in shown if key in states and key not in recorded]
    explained = _explained(load_id, [(journal, state) for journal, state in left if state.explained])
    told = [{**lines[key], **_told(explained.get(key, {}), states[key][1] if key in states else None)} for key in shown]
    return told, after, _totals_of(lines.values())


def _told(texts: Mapping[str, str], state: EntityState | None) -> Line:
    """What an entity's file says; of a table in ranges also how many of them have been read."""
    said: Line = {name: text for name, text in texts.items() if name != "ranges"}
    found = _RANGES.fullmatch(texts.get("ranges", ""))
    if found is not None and state is not None:
        left, count = map(int, found.groups())
        said |= {"ranges": count, "ranges_read": max(0, min(count, count - left + state.parts_read))}
    return said


def _totals_of(lines: Iterable[Line]) -> dict[str, int]:
    """How many entities there are, and how many of them have each status; ``rows`` are those of ended ones."""
    totals: Counter[str] = Counter(dict.fromkeys(("entities", "rows", *STATUSES), 0))
    for line in lines:
        totals["entities"] += 1
        totals[line["status"]] += 1
        totals["rows"] += line["rows"] if line["status"] in JOURNAL_STATUS.values() else 0
    return dict(totals)


def name_of(line: Line) -> str:
    """An entity as pages name it."""
    return f"{line['flow']}.{line['entity']}"


def _explained(load_id: str, of: Sequence[tuple[ProgressFiles, EntityState]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for journal in dict.fromkeys(journal for journal, _ in of):
        found |= journal.explanations(load_id, [state for owner, state in of if owner is journal])
    return found


def _line(flow: str, entity: str, state: EntityState | None) -> Line:
    if state is None:
        return {"flow": flow, "entity": entity, "status": "pending", "rows": 0}
    return {
        "flow": flow,
        "entity": entity,
        "status": state.status,
        "rows": state.rows,
        "bytes": state.bytes,
        "updated": state.updated.isoformat(timespec="milliseconds"),
    }
