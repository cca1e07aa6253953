"""A part of `python -m tests.faults.changed_formats`: each pair of formats once, every moment, whatever comes next."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from hygge_engine.stores.landing import lease
from tests.faults.changed_formats import (
    MOMENTS,
    NEXT,
    Case,
    Moment,
    Story,
    Twice,
    cases,
    contents,
    run,
    run_twice,
    twice,
)

A_FEW = [
    Case("parquet", "csv", "incremental", True, "intent written", "another load"),
    Case("parquet", "ndjson", "full_drop", True, "dropping", "full_drop"),
    Case("parquet", "delta", "incremental", True, "between slices", "goes on"),
    Case("parquet", "delta", "incremental", True, "between slices", "closing"),
    Case("csv", "parquet", "full_drop", True, "between slices", "goes on"),
    Case("csv", "ndjson", "full_drop", False, "half visible", "closing"),
    Case("csv", "delta", "incremental", False, "intent written", "another load"),
    Case("ndjson", "parquet", "incremental", True, "visible", "full_drop"),
    Case("ndjson", "csv", "full_drop", True, "before an intent", "another load"),
    Case("ndjson", "delta", "full_drop", True, "visible", "closing"),
    Case("delta", "parquet", "incremental", True, "half visible", "goes on"),
    Case("delta", "csv", "full_drop", True, "intent written", "full_drop"),
    Case("delta", "ndjson", "full_drop", True, "ranges read", "another load"),
]

A_FEW_TWICE = [
    Twice(Case("csv", "ndjson", "full_drop", True, "visible", "full_drop"), "between slices", "ndjson", "incremental"),
    Twice(
        Case("csv", "ndjson", "full_drop", True, "half visible", "full_drop"), "between slices", "csv", "incremental"
    ),
    Twice(
        Case("csv", "parquet", "full_drop", True, "dropping", "full_drop"), "between slices", "parquet", "incremental"
    ),
    Twice(Case("parquet", "ndjson", "incremental", True, "visible", "full_drop"), "cancelled", "ndjson", "incremental"),
    Twice(Case("parquet", "ndjson", "full_drop", True, "visible", "full_drop"), "dropping", "delta", "full_drop"),
    Twice(Case("delta", "csv", "incremental", True, "half visible", "full_drop"), "half visible", "csv", "incremental"),
    Twice(Case("csv", "delta", "full_drop", True, "visible", "full_drop"), "intent written", "delta", "incremental"),
]


@pytest.mark.parametrize("case", A_FEW, ids=str)
def test_a_changed_format_loses_and_mixes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    run(case, tmp_path, monkeypatch)


@pytest.mark.parametrize("case", A_FEW_TWICE, ids=str)
def test_a_remedy_that_dies_as_well_mixes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Twice) -> None:
    """Discarding it brings back what it had set aside, which is begun in another format than the settings say."""
    run_twice(case, tmp_path, monkeypatch)


def test_a_few_cases_have_all_there_is() -> None:
    every = set(cases())
    assert set(A_FEW) <= every
    assert {(case.before, case.after) for case in A_FEW} == {(case.before, case.after) for case in every}
    assert {case.moment for case in A_FEW} == set(MOMENTS)
    assert {case.next for case in A_FEW} == set(NEXT)
    assert set(A_FEW_TWICE) <= set(twice())


@pytest.mark.parametrize("moment", ["between slices", "dropping"])
def test_what_an_earlier_version_has_staged_in_two_formats_never_lands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: Moment
) -> None:
    """It began again where it still reads; past that only a reload helps, and is what the message names."""
    monkeypatch.setattr(lease, "has_ended", lambda process: True)
    case = Case("csv", "csv", "full_drop", True, moment, "another load")
    story = Story(tmp_path / "story", monkeypatch, case)
    story.warehouse.directory.mkdir()
    story.begin()
    (state,) = (story.warehouse.directory / "project/out/.hygge_journal/landing").rglob("*.json")
    document = json.loads(state.read_text())
    (staged, *_), where = document["open"]["staged"], state.parents[3]
    other = staged["staged"].replace(".csv", ".parquet")
    shutil.copy(where / staged["staged"], where / other)
    document["open"]["staged"].append(staged | {"staged": other})
    document["open"].pop("file_format", None)
    state.write_text(json.dumps(document))
    before = contents(story.warehouse.folder)
    for format_ in ("csv", "parquet"):
        story.warehouse.settle(format_)
        if moment == "dropping":
            refused = story.load(f"an increment in {format_}", "incremental")
            assert "No format can finish it: reload the table with run_type full_drop" in refused.message
            assert contents(story.warehouse.folder) == before
    assert story.load("reload", "full_drop").status == "done"
    story.check_landed(all_of_it=True)
    story.check_nothing_is_left()
