"""What is found in rows that stream by, what is reported about them, and what is refused before the first."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from hygge_engine.errors import ConfigurationError, ExpectationFailed
from hygge_engine.expectations.checks import ExpectationMonitor, outcome_of, warning_of
from hygge_engine.expectations.repeats import Adjacent, Remembered
from hygge_engine.expectations.rules import rules_of
from hygge_engine.homes.base import Column, SourceSchema
from hygge_engine.polish.plan import polish_of
from hygge_engine.polish.versions import with_versions
from hygge_engine.project.models.expectations import ExpectationsSettings
from hygge_engine.project.models.polish import PolishSettings
from hygge_engine.stores.landing.state import ExpectationResult, LandingState, OpenLoad
from tests.unit.project_files import FLOW, find_problems, load

STARTED = datetime(2024, 1, 31, 12, tzinfo=UTC)
UTC_TIME = pa.timestamp("us", tz="UTC")
TYPES: dict[str, pa.DataType] = {
    "id": pa.int64(),
    "email": pa.string(),
    "status": pa.string(),
    "amount": pa.decimal128(10, 2),
    "level": pa.int16(),
    "born": pa.date32(),
    "seen": UTC_TIME,
}
GOOD: dict[str, Any] = {
    "id": 1,
    "email": "a@b.c",
    "status": "new",
    "amount": Decimal("1.50"),
    "level": 7,
    "born": date(2000, 1, 1),
    "seen": STARTED,
}
TABLE = SourceSchema("dbo.things", tuple(Column(name, type_, str(type_)) for name, type_ in TYPES.items()), key=("id",))


def batch(*rows: dict[str, Any]) -> pa.RecordBatch:
    values = [GOOD | {"id": number} | row for number, row in enumerate(rows, start=1)]
    return pa.RecordBatch.from_pylist(values, schema=TABLE.schema)


def checks_of(
    expected: dict[str, Any], before: ExpectationResult | None = None, *, in_order: bool = True
) -> ExpectationMonitor:
    rules = rules_of(ExpectationsSettings.model_validate(expected), polish_of(TABLE, None), TABLE.key)
    assert rules is not None
    return ExpectationMonitor(rules, before or ExpectationResult(), in_order=in_order)


def judged(expected: dict[str, Any], *batches: pa.RecordBatch, last: bool = True) -> ExpectationResult:
    checks = checks_of(expected)
    for rows in batches:
        checks.add(rows)
    return checks.judge(last=last, started=STARTED, hint="Set {setting}.")


@pytest.mark.parametrize(
    ("expected", "rows", "found"),
    [
        ({"not_null": {"columns": ["EMAIL"]}}, [{}, {"email": None}], {"not_null(email)": 1}),
        (
            {"accepted_values": {"columns": {"status": ["new", "paid"], "level": [7, "8"]}}},
            [{}, {"status": "NEW"}, {"status": None, "level": 9}],
            {"accepted_values(status)": 1, "accepted_values(level)": 1},
        ),
        (
            {"range": {"columns": {"amount": {"min": 1.5, "max": "2"}, "born": {"min": "2000-01-01"}}}},
            [{}, {"amount": Decimal("2.01")}, {"amount": None, "born": date(1999, 12, 31)}],
            {"range(amount)": 1, "range(born)": 1},
        ),
        (
            {"range": {"columns": {"seen": {"max": "2024-01-31T12:00:00"}}}},
            [{}, {"seen": STARTED.replace(microsecond=1)}],
            {"range(seen)": 1},
        ),
        (
            {"matches": {"columns": {"email": r"[^@]+@[^@]+"}}},
            [{}, {"email": "a@b@c"}, {"email": "x"}],
            {"matches(email)": 2},
        ),
        ({"unique": {}}, [{"id": 5}, {"id": 5}, {"id": 5}, {"id": 6}], {"unique(id)": 2}),
        (
            {"unique": {"columns": ["email", "level"]}},
            [{}, {"level": 8}, {}, {"email": None}, {"email": None}],
            {"unique(email,level)": 1},
        ),
        ({"row_count": {"min": 2}}, [{}], {"row_count": 1}),
        ({"row_count": {"max": 1}}, [{}, {}], {"row_count": 1}),
        ({"row_count": {"min": 1, "max": 2}}, [{}, {}], {"row_count": 0}),
        ({"freshness": {"column": "seen", "max_age": "1h"}}, [{}], {"freshness(seen)": 0}),
        ({"freshness": {"column": "seen", "max_age": "1h"}}, [{"seen": None}], {"freshness(seen)": 1}),
        ({"freshness": {"column": "born", "max_age": "1d"}}, [{}], {"freshness(born)": 1}),
        ({"freshness": {"column": "born", "max_age": "1d"}}, [{}, {"born": date(2024, 1, 31)}], {"freshness(born)": 0}),
    ],
)
def test_what_is_found(expected: dict[str, Any], rows: list[dict[str, Any]], found: dict[str, int]) -> None:
    setting, keys = next(iter(expected.items()))
    warned = judged(
        {setting: keys | {"severity": "warn"}}, *(batch(row | {"id": row.get("id", n)}) for n, row in enumerate(rows))
    )
    assert warned.found == found
    broken = {name: count for name, count in found.items() if count}
    assert json.loads(outcome_of(warned)) == {"passed": len(found) - len(broken), "warned": broken, "failed": {}}
    assert [name in warning_of(warned) for name in found] == [bool(count) for count in found.values()]
    if broken:
        with pytest.raises(ExpectationFailed) as caught:
            judged(expected, *(batch(row | {"id": row.get("id", n)}) for n, row in enumerate(rows)))
        assert json.loads(caught.value.outcome)["failed"] == broken
        assert all(name in caught.value.message for name in broken)
        assert caught.value.hint == f"Set {setting}."


def test_a_message_names_a_few_rows_by_their_key() -> None:
    rows = [{"email": None}] * 5
    with pytest.raises(ExpectationFailed) as caught:
        judged({"not_null": {"columns": ["email"]}}, batch(*rows[:2]), batch(*[{"id": 7} | row for row in rows]))
    assert "not_null(email) by 7 rows (id=1; id=2; id=7; …)" in caught.value.message


def test_a_hashed_key_and_values_are_never_shown() -> None:
    polish = polish_of(
        TABLE, PolishSettings.model_validate({"mask": {"id": "hash", "email": "full"}, "hash_salt": "a grain of salt"})
    )
    expected = {"matches": {"columns": {"status": "x"}}, "unique": {"columns": ["email"]}}
    rules = rules_of(ExpectationsSettings.model_validate(expected), polish, ("id",))
    assert rules is not None
    assert rules.shown_key == ()


def test_a_message_of_a_history_names_the_sources_key_alone() -> None:
    polish = with_versions(polish_of(TABLE, None))
    rules = rules_of(ExpectationsSettings.model_validate({"unique": {}}), polish, polish.key(("id",)))
    assert rules is not None
    assert (rules.shown_key, rules.names) == (("id",), ["unique(id)"])


def test_severity_may_differ_between_columns() -> None:
    expected = {"not_null": {"columns": ["email", "status"], "severity": {"email": "warn"}}}
    assert judged(expected, batch({"email": None})).found == {"not_null(email)": 1, "not_null(status)": 0}
    with pytest.raises(ExpectationFailed, match=r"not met: not_null\(status\) by 1 row \(id=1\)\. Set"):
        judged(expected, batch({"status": None, "email": None}))


def test_counts_and_the_newest_value_go_on_over_slices_and_through_the_state() -> None:
    expected = {
        "row_count": {"min": 3, "severity": "warn"},
        "not_null": {"columns": ["email"], "severity": "warn"},
        "freshness": {"column": "seen", "max_age": "1h", "severity": "warn"},
    }
    first = checks_of(expected)
    first.add(batch({}, {"email": None}))
    checked = first.judge(last=False, started=STARTED, hint="")
    opened = OpenLoad("a", "changes", "landing", STARTED.isoformat(), checked=checked)
    state, _ = LandingState.from_json(LandingState(open=opened).to_json("n"), "")
    assert state.open is not None
    second = checks_of(expected, state.open.checked)
    second.add(batch({"email": None, "seen": datetime(2020, 1, 1, tzinfo=UTC)}))
    found = second.judge(last=True, started=STARTED, hint="")
    assert found.found == {"not_null(email)": 2, "row_count": 0, "freshness(seen)": 0}
    assert found.rows == 3


def test_a_state_from_before_there_were_expectations_is_read() -> None:
    opened = OpenLoad("a", "changes", "landing", STARTED.isoformat())
    document = json.loads(LandingState(open=opened).to_json("n"))
    del document["open"]["checked"], document["newest"], document["treatments"]
    state, _ = LandingState.from_json(json.dumps(document).encode(), "")
    assert state == LandingState(open=opened)


@examples(deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=12))
def test_rows_in_any_order_are_compared_with_all_before(batches: list[list[int]]) -> None:
    seen: set[int] = set()
    repeats = Remembered()
    for values in batches:
        expected = []
        for value in values:
            expected.append(value in seen)
            seen.add(value)
        assert repeats.find(pl.Series(values, dtype=pl.UInt64)).to_list() == expected
    assert repeats.complete


@examples(deadline=None)
@given(st.lists(st.integers(0, 8), max_size=30).map(sorted), st.integers(1, 5))
def test_rows_in_order_are_compared_with_the_one_before(values: list[int], size: int) -> None:
    repeats = Adjacent()
    found = [
        each
        for n in range(0, len(values), size)
        for each in repeats.find(pl.Series(values[n : n + size], dtype=pl.UInt64))
    ]
    assert found == [n > 0 and value == values[n - 1] for n, value in enumerate(values)]


def test_what_is_remembered_is_bounded_and_says_so() -> None:
    repeats = Remembered(limit=10)
    for start in range(0, 40, 4):
        repeats.find(pl.Series(range(start, start + 4), dtype=pl.UInt64))
    assert not repeats.complete
    assert repeats.find(pl.Series([3, 39], dtype=pl.UInt64)).to_list() == [True, False]


@pytest.mark.parametrize(
    ("expected", "message", "hint"),
    [
        (
            {"not_null": {"columns": ["e-mail"]}},
            "lands no column `e-mail`, which `not_null` of expectations",
            "`email`",
        ),
        (
            {
                "not_null": {"columns": ["e-mail"]},
                "range": {"columns": {"lvl": {"min": 1}}},
                "unique": {"columns": ["x"]},
            },
            "and none `lvl`, which `range` of expectations names; and none `x`, which `unique` of expectations names.",
            "Did you mean `email` for `e-mail`, `level` for `lvl`? Known: ",
        ),
        ({"freshness": {"column": "email", "max_age": 1}}, "takes a column of times, `email` holds string", ""),
        ({"matches": {"columns": {"level": "x"}}}, "takes a column of text, `level` holds int16", ""),
        ({"accepted_values": {"columns": {"level": ["high"]}}}, "compares `level`, which is int16, with `high`", ""),
        ({"range": {"columns": {"born": {"min": "yesterday"}}}}, "compares `born`, which is date32[day], with", ""),
    ],
)
def test_what_does_not_fit_the_columns_is_refused(expected: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        checks_of(expected)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_columns_are_those_that_land_and_a_source_s_name_follows() -> None:
    polish = polish_of(TABLE, PolishSettings(rename={"email": "address"}))
    rules = rules_of(
        ExpectationsSettings.model_validate({"not_null": {"columns": ["Email"]}, "unique": {}}), polish, ("id",)
    )
    assert rules is not None
    assert rules.names == ["not_null(address)", "unique(id)"]
    with pytest.raises(ConfigurationError, match="has no key"):
        rules_of(ExpectationsSettings.model_validate({"unique": {}}), polish, ())


def test_they_are_inherited_key_by_key_and_given_on_the_command_line(tmp_path: Path) -> None:
    flow = FLOW.replace(
        "[orders, customers]", "[orders, {name: customers, expectations: {row_count: null, unique: {columns: [a]}}}]"
    )
    project = load(tmp_path, flow=flow + "expectations: { row_count: { min: 1 }, unique: { severity: warn } }\n")
    orders, customers = (entity.expectations for entity in project.entities)
    assert orders is not None
    assert customers is not None
    assert orders.row_count is not None
    assert (orders.row_count.min, customers.row_count) == (1, None)
    assert customers.unique is not None
    assert (customers.unique.columns, customers.unique.severity) == (("a",), "warn")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("row_count: {}", "expected `min`, `max` or both"),
        ("row_count: { min: -1 }", "a number of at least 0"),
        ("freshness: { column: a }", "expectations has no `max_age`"),
        ("freshness: { column: a, max_age: long }", "a duration is a number of seconds"),
        ("not_null: { columns: [a], severity: stop }", "`warn` or `fail`"),
        ("not_nul: { columns: [a] }", "expectations has no key `not_nul`"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, section: str, message: str) -> None:
    problems = find_problems(tmp_path, flow=f"{FLOW}expectations: {{ {section} }}\n")
    assert message in " ".join(str(problem) for problem in problems)
    assert {problem.line for problem in problems} == {FLOW.count("\n") + 1}
