"""``make soak`` itself, for some seconds: it does what it says, and notices what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.soak import Soak


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
@pytest.mark.timeout(300)
def test_a_short_soak_ends_with_everything_in_its_place_and_notices_where_not(tmp_path: Path) -> None:
    with Soak(tmp_path, tables=2, seed=3, faults=0.05) as soak:
        soak.run(3.0, lambda line: None)
        assert soak.conclude() == []
        report = soak.report()
        assert "GET /api/loads/{id}" in report
        assert "progress files" in report
        soak.change_behind_its_back()
        assert any("is not its source" in line for line in soak.check())
