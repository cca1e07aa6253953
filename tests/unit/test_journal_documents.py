"""What docs/journal.md says about columns and functions is so."""

from __future__ import annotations

import re
from pathlib import Path

from hygge_engine.journal import SCHEMA, Journal
from hygge_engine.journal.rows import SCHEMA_VERSION

TEXT = (Path(__file__).parents[2] / "docs" / "journal.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_column_is_described_in_its_order_and_with_its_type() -> None:
    described = []
    for names, type_ in re.findall(r"^\| (`[^|]+) \| (string|int64|float64) \|", section("Columns"), re.MULTILINE):
        described += [(name, type_) for name in re.findall(r"`(\w+)`", names)]
    types = {"double": "float64"}
    assert described == [(field.name, types.get(str(field.type), str(field.type))) for field in SCHEMA]
    assert f"| {SCHEMA_VERSION} |" in section("Columns")


def test_every_function_that_is_named_exists() -> None:
    named = re.findall(r"^\| `(\w+)\(", section("Reading and writing"), re.MULTILINE)
    assert len(named) >= 7
    assert set(named) <= set(dir(Journal))
