"""A part of `python -m tests.faults.changed_formats`: each pair of formats once, every moment, whatever comes next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.changed_formats import MOMENTS, NEXT, Case, cases, run

A_FEW = [
    Case("parquet", "csv", "incremental", True, "intent written", "another load"),
    Case("parquet", "ndjson", "full_drop", True, "dropping", "full_drop"),
    Case("parquet", "delta", "incremental", True, "between slices", "goes on"),
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


@pytest.mark.parametrize("case", A_FEW, ids=str)
def test_a_changed_format_loses_and_mixes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    run(case, tmp_path, monkeypatch)


def test_a_few_cases_have_all_there_is() -> None:
    every = set(cases())
    assert set(A_FEW) <= every
    assert {(case.before, case.after) for case in A_FEW} == {(case.before, case.after) for case in every}
    assert {case.moment for case in A_FEW} == set(MOMENTS)
    assert {case.next for case in A_FEW} == set(NEXT)
