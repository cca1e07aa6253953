"""Checkov finds nothing in infra/ that is not explained beside it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHECKOV = ROOT / ".venv-checkov" / "bin" / "checkov"

# Checkov's parser knows neither `fail` nor lambda expressions. This file holds no resource that Checkov has a rule for.
NOT_SCANNED = "bicep/main.bicep"

# Words that a reason needs at least, to be one.
REASON_WORDS = 3


@pytest.fixture(scope="module")
def reports() -> dict[str, Any]:
    if not CHECKOV.exists():
        pytest.skip("`make test` sets up .venv-checkov")
    options = ["--framework", "bicep", "terraform", "--compact", "--skip-download", "--soft-fail", "--output", "json"]
    options += ["--skip-path", NOT_SCANNED.replace(".", r"\.") + "$"]
    scan = subprocess.run(
        [CHECKOV, "--directory", ROOT / "infra", *options],
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
        env={"PATH": "", "HOME": "", "LOG_LEVEL": "CRITICAL"},
    )
    return {report["check_type"]: report for report in json.loads(scan.stdout)}


# Takes 12 s of processor time, and the other tests take theirs beside it.
@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", ["bicep", "terraform"])
def test_checkov_finds_nothing_unexplained(reports: dict[str, Any], language: str) -> None:
    summary, results = reports[language]["summary"], reports[language]["results"]

    assert summary["parsing_errors"] == 0
    assert summary["passed"] > 0
    assert [f"{each['check_id']} {each['resource']}" for each in results["failed_checks"]] == []


def test_what_is_not_scanned_makes_the_resource_group_and_nothing_else() -> None:
    made = re.findall(r"^resource \w+ '([^@]+)@", (ROOT / "infra" / NOT_SCANNED).read_text(), re.MULTILINE)

    assert made == ["Microsoft.Resources/resourceGroups"]


def test_every_finding_that_is_passed_over_has_a_reason() -> None:
    written = [
        line.strip()
        for path in sorted((ROOT / "infra").rglob("*"))
        if path.suffix in (".tf", ".bicep")
        for line in path.read_text().splitlines()
        if "checkov:skip" in line
    ]

    assert written
    for line in written:
        found = re.fullmatch(r"(?://|#) ?checkov:skip=CKV2?_AZURE_\d+: (.+)", line)
        assert found is not None, line
        assert len(found[1].split()) >= REASON_WORDS, line
