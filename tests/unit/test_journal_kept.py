"""Looking at the newest loads again costs what has been added since, and a bounded number of requests in any case."""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.journal import LOADS_SCHEMA, Journal, Journals
from hygge_engine.journal import journal as journals
from hygge_engine.journal.kept import Kept
from hygge_engine.journal.summaries import LEVELS
from hygge_engine.lake.base import Content
from hygge_engine.lake.local import LocalLake
from tests.journal_rows import EPOCH, ROOT, make_row


class CountingLake(LocalLake):
    """Counts the files that are read, by folder."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: Counter[str] = Counter()

    def read(self, path: str) -> Content:
        self.reads["runs" if "/runs/" in path else "canonical"] += 1
        return super().read(path)


@pytest.fixture
def lake(tmp_path: Path) -> CountingLake:
    return CountingLake(tmp_path)


def fill(journal: Journal, loads: range, **values: Any) -> None:
    for load in loads:
        journal.append(f"load-{load}", [make_row(load, entity, **values) for entity in range(2)])


def shown(journal: Journal, limit: int = 20, **values: Any) -> list[str]:
    return journal.summary(limit=limit, **values)["coordinator_run_id"].to_list()


def test_the_same_question_is_answered_without_reading_a_file(lake: CountingLake) -> None:
    journal = Journals([Journal(lake, ROOT)])
    fill(Journal(lake, ROOT), range(8))
    Journal(lake, ROOT).fold(after_loads=1)
    fill(Journal(lake, ROOT), range(8, 12))
    questions: list[dict[str, Any]] = [{"limit": 5}, {"limit": 5, "flow": "flights"}, {"coordinator_run_id": "load-3"}]
    answers = [journal.summary(by, **question) for by in LEVELS for question in questions]
    lake.reads.clear()
    again = [journal.summary(by, **question) for by in LEVELS for question in questions]
    assert lake.reads == {}
    assert all(first.equals(second) for first, second in zip(answers, again, strict=True))


def test_what_is_added_is_seen_at_once_and_nothing_else_is_read_for_it(lake: CountingLake) -> None:
    journal = Journal(lake, ROOT)
    fill(journal, range(8))
    journal.fold(after_loads=1)
    fill(journal, range(8, 12))
    assert shown(journal, 3) == ["load-11", "load-10", "load-9"]
    fill(journal, range(12, 13))
    lake.reads.clear()
    assert shown(journal, 3) == ["load-12", "load-11", "load-10"]
    assert lake.reads == {"runs": 1}
    journal.fold(after_loads=1)
    assert shown(journal, 3) == ["load-12", "load-11", "load-10"]
    journal.retire(before=EPOCH + timedelta(hours=5))
    assert shown(journal, 20)[-1] == "load-5"


def test_a_journal_that_nobody_folds_stays_readable(lake: CountingLake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "RECENT_FILES", 10)
    journal = Journal(lake, ROOT)
    fill(journal, range(40))
    files = (Path(lake.url.removeprefix("file://")) / ROOT / "runs").iterdir()
    for number, path in enumerate(sorted(files, key=lambda path: path.name.split("~")[0])):
        moment = 1_800_000_000 + number  # what is newest by its name is not newest by its time
        os.utime(path, (moment, moment))
    newest = sorted(f"load-{load}" for load in range(40))[-10:]
    lake.reads.clear()
    assert shown(journal, 4) == sorted(newest, key=lambda load: -int(load.split("-")[1]))[:4]
    assert lake.reads["runs"] == 10
    assert len(shown(journal, 40)) == 40


def test_kept_values_have_a_bound_and_the_longest_unasked_goes() -> None:
    kept: Kept[str] = Kept(10)
    for key in "abc":
        kept.put(key, key, 4)
    assert [kept.get(key) for key in "abc"] == [None, "b", "c"]
    kept.get("b")
    kept.put("d", "d", 4)
    assert [kept.get(key) for key in "abcd"] == [None, "b", None, "d"]
    kept.put("e", "too large", 11)
    assert kept.get("e") is None


def test_an_empty_journal_has_no_loads(lake: CountingLake) -> None:
    assert Journal(lake, ROOT).summary(limit=5).columns == LOADS_SCHEMA.names
