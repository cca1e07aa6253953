"""The page about scale says what its worksheet computes."""

from __future__ import annotations

from pathlib import Path

from benchmarks import worksheet
from hygge_engine.orchestration.turns import activities_at_once

REPOSITORY = Path(__file__).parents[2]


def test_the_page_has_the_worksheet_as_it_is_computed() -> None:
    page = (REPOSITORY / "docs/scale.md").read_text(encoding="utf-8")
    small, large = worksheet.worksheet().split("\n\n")
    assert small in page
    assert large in page
    assert f"{worksheet.ROWS_PER_PROCESSOR_SECOND:,}" in page


def test_the_worksheet_reckons_with_the_hosts_settings() -> None:
    assert activities_at_once(REPOSITORY / "host.json") == worksheet.ACTIVITIES


def test_more_instances_are_never_slower_and_cost_no_less_than_one() -> None:
    for tables in worksheet.TABLES:
        lines = [worksheet.many_tables(tables, instances) for instances in worksheet.INSTANCES]
        assert sorted(lines, key=lambda line: -line.seconds) == lines
        assert all(line.instances <= instances for line, instances in zip(lines, worksheet.INSTANCES, strict=True))
