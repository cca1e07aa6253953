"""Checks rows as they stream by, and judges a load before it commits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.errors import ExpectationFailed
from hygge_engine.expectations.repeats import Adjacent, Remembered, Repeats
from hygge_engine.expectations.rules import RowRule, Rules, UniqueRule
from hygge_engine.plain_text import counted
from hygge_engine.project.models.expectations import Severity
from hygge_engine.stores.landing.state import ExpectationResult

# Rows that a message names for each expectation, and how much it shows of each.
EXAMPLES = 3
EXAMPLE_CHARACTERS = 60


class ExpectationMonitor:
    """What a slice has found. ``before``: what the slices before it have; ``in_order``: rows come in the order of the
    source's key."""

    def __init__(self, rules: Rules, before: ExpectationResult, *, in_order: bool) -> None:
        self._rules = rules
        self.checked = replace(before, found=dict.fromkeys(rules.names, 0) | before.found)
        columns = [name for rule in (*rules.rows, rules.unique) if rule is not None for name in rule.columns]
        self._columns = list(dict.fromkeys([*columns, *([rules.fresh_column] if rules.freshness else [])]))
        self._repeats: Repeats = Adjacent() if rules.unique and rules.unique.in_order and in_order else Remembered()

    @property
    def notes(self) -> list[str]:
        """What could not be checked to the end."""
        if self._rules.unique is None or self._repeats.complete:
            return []
        return [f"{self._rules.unique.name} was not fully checked: the slice has too many rows to keep"]

    def add(self, rows: pa.RecordBatch) -> None:
        """Take rows into account, as they land."""
        self.checked = replace(self.checked, rows=self.checked.rows + rows.num_rows)
        if not rows.num_rows or not self._columns:
            return
        frame = cast("pl.DataFrame", pl.from_arrow(rows.select(self._columns)))
        rules = self._rules.rows
        if rules:
            counts = frame.select(rule.violated.sum().alias(rule.name) for rule in rules).row(0, named=True)
            for rule in rules:
                if counts[rule.name]:
                    self._note(rule, frame.select(rule.violated.fill_null(value=False)).to_series(), rows)
        if self._rules.unique:
            self._add_unique(self._rules.unique, frame, rows)
        if self._rules.freshness:
            self._add_newest(frame.get_column(self._rules.fresh_column))

    def judge(self, *, last: bool, started: datetime, hint: str, counts: bool = True) -> ExpectationResult:
        """Evaluate what has been found so far: at the end of a load (``last``) including what only the whole load
        shows.

        ``counts``: the rows are a load's, and not those of a window that is loaded again. Raises ExpectationFailed
        where rows do not meet an expectation of severity ``fail``.
        """
        if counts:
            self._judge_load(last=last, started=started)
        severities = severities_of(self._rules)
        failed = [name for name, count in self.checked.found.items() if count and severities.get(name) == "fail"]
        if failed:
            raise ExpectationFailed(
                f"expectations are not met: {'; '.join(_in_words(self.checked, name) for name in failed)}",
                hint=hint.format(setting=failed[0].partition("(")[0]),
                outcome=outcome_of(self.checked, severities),
            )
        return self.checked

    def _judge_load(self, *, last: bool, started: datetime) -> None:
        expected, rows = self._rules.row_count, self.checked.rows
        if expected and expected.max is not None and rows > expected.max:
            self._set("row_count", f"{counted(rows, 'row')}, at most {expected.max:,} expected")
        if expected and last and expected.min is not None and rows < expected.min:
            self._set("row_count", f"{counted(rows, 'row')}, at least {expected.min:,} expected")
        if self._rules.freshness and last:
            name, newest = self._rules.freshness_name, self.checked.newest.get(self._rules.fresh_column)
            limit = timedelta(seconds=self._rules.freshness.max_age)
            if newest is None:
                self._set(name, "there is no value")
            elif started - datetime.fromisoformat(newest) > limit:
                self._set(name, f"the newest value is {newest}, older than {limit}")

    def _add_unique(self, rule: UniqueRule, frame: pl.DataFrame, rows: pa.RecordBatch) -> None:
        """NULL equals nothing, so rows with one are left out."""
        known = frame.select(pl.all_horizontal(pl.col(name).is_not_null() for name in rule.columns)).to_series()
        values = frame.select(rule.columns).hash_rows()
        repeated = self._repeats.find(values.filter(known))
        if repeated.any():
            places = known.arg_true().filter(repeated)
            self._note(rule, pl.Series(range(len(frame))).is_in(places.implode()), rows)

    def _add_newest(self, values: pl.Series) -> None:
        newest = cast("datetime | date | None", values.max())
        if newest is None:
            return
        moment = newest if isinstance(newest, datetime) else datetime(newest.year, newest.month, newest.day)
        text = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
        before = self.checked.newest.get(self._rules.fresh_column)
        if before is None or datetime.fromisoformat(text) > datetime.fromisoformat(before):
            self.checked = replace(self.checked, newest=self.checked.newest | {self._rules.fresh_column: text})

    def _note(self, rule: RowRule | UniqueRule, violated: pl.Series, rows: pa.RecordBatch) -> None:
        checked = self.checked
        known = checked.examples.get(rule.name, ())
        places = violated.arg_true()
        more = _keys_at(rows, self._rules.shown_key, places.head(EXAMPLES - len(known)).to_list())
        examples = checked.examples | ({rule.name: (*known, *more)} if known or more else {})
        found = checked.found | {rule.name: checked.found[rule.name] + len(places)}
        self.checked = replace(checked, found=found, examples=examples)

    def _set(self, name: str, words: str) -> None:
        examples = self.checked.examples | {name: (words,)}
        self.checked = replace(self.checked, found=self.checked.found | {name: 1}, examples=examples)


def severities_of(rules: Rules) -> dict[str, Severity]:
    """What happens where an expectation is not met, by its name."""
    found: dict[str, Severity] = {rule.name: rule.severity for rule in rules.rows}
    if rules.unique:
        found[rules.unique.name] = rules.unique.severity
    if rules.row_count:
        found["row_count"] = rules.row_count.severity
    if rules.freshness:
        found[rules.freshness_name] = rules.freshness.severity
    return found


def outcome_of(checked: ExpectationResult, severities: Mapping[str, Severity] | None = None) -> str:
    """What was found, for the journal: a JSON object with the number of expectations that were met (``passed``) and
    the rows that did not meet the others (``warned``, ``failed``). Empty where nothing was expected.

    Without ``severities`` the load has landed, so that what was not met is only reported.
    """
    if not checked.found:
        return ""
    broken = {name: count for name, count in checked.found.items() if count}
    failed = {name for name in broken if severities is not None and severities.get(name) == "fail"}
    outcome: dict[str, Any] = {"passed": len(checked.found) - len(broken)}
    outcome["warned"] = {name: count for name, count in broken.items() if name not in failed}
    outcome["failed"] = {name: count for name, count in broken.items() if name in failed}
    return json.dumps(outcome, separators=(",", ":"), ensure_ascii=False)


def warning_of(checked: ExpectationResult) -> str:
    """What a load that has landed did not meet, in words; empty where it met everything."""
    broken = [_in_words(checked, name) for name, count in checked.found.items() if count]
    return f"not as expected: {'; '.join(broken)}" if broken else ""


def _in_words(checked: ExpectationResult, name: str) -> str:
    examples = "; ".join(checked.examples.get(name, ()))
    if "(" not in name or name.startswith("freshness("):
        return f"{name}: {examples}"
    count = checked.found[name]
    rows = f"{name} by {counted(count, 'row')}"
    return f"{rows} ({examples}{'; …' if count > EXAMPLES else ''})" if examples else rows


def _keys_at(rows: pa.RecordBatch, key: tuple[str, ...], places: list[int]) -> list[str]:
    if not key:
        return []
    taken = [rows.column(rows.schema.names.index(name)).take(pa.array(places, pa.int64())) for name in key]
    texts = [_texts(column) for column in taken]
    found = [
        ", ".join(f"{name}={text}" for name, text in zip(key, each, strict=True)) for each in zip(*texts, strict=True)
    ]
    return [text if len(text) <= EXAMPLE_CHARACTERS else f"{text[:EXAMPLE_CHARACTERS]}…" for text in found]


def _texts(column: pa.Array[Any]) -> list[str]:
    if pa.types.is_binary(column.type):
        return [f"0x{value.hex().upper()}" if value is not None else "NULL" for value in column.to_pylist()]
    return ["NULL" if value is None else str(value) for value in pc.cast(column, pa.string()).to_pylist()]
