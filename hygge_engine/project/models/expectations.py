"""``expectations``: what has to be true of rows that arrive, as a project says it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from hygge_engine.project.models.duration import Duration
from hygge_engine.project.models.polish import ColumnName
from hygge_engine.project.models.settings import Settings

Severity = Literal["warn", "fail"]
Value = bool | int | float | str

_SEVERITY = "`fail`: the rows do not land; `warn`: they do, and the run's message says so"


class Expectation(Settings):
    """One kind of expectation. ``severity`` says what happens where it is not met."""

    severity: Severity = Field(default="fail", description=_SEVERITY)


class ColumnsExpectation(Settings):
    """An expectation of columns; ``severity`` may differ from column to column, and is ``fail`` where nothing is
    said."""

    severity: Severity | dict[ColumnName, Severity] = Field(
        default="fail", description=f"{_SEVERITY}; or a mapping of columns to either"
    )

    def severity_of(self, column: str) -> Severity:
        """What happens where a column does not meet it."""
        return self.severity if isinstance(self.severity, str) else self.severity.get(column, "fail")


class NotNull(ColumnsExpectation):
    """``not_null``: columns that always have a value."""

    columns: tuple[ColumnName, ...] = Field(min_length=1, description="those that always have a value")


class AcceptedValues(ColumnsExpectation):
    """``accepted_values``: columns and all values that they may have, besides NULL."""

    columns: dict[ColumnName, tuple[Value, ...]] = Field(
        min_length=1, description="a mapping of columns to lists of values"
    )

    @field_validator("columns")
    @classmethod
    def _accepts_something(cls, value: dict[str, tuple[Value, ...]]) -> dict[str, tuple[Value, ...]]:
        if empty := [name for name, values in value.items() if not values]:
            raise ValueError(f"`{empty[0]}` accepts no value; expected at least one")
        return value


class Bounds(Settings):
    """The smallest and the largest value, both included."""

    min: Value | None = None
    max: Value | None = None

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("expected `min`, `max` or both")
        if _is_above(self.min, self.max):
            raise ValueError(f"`min` is above `max`: nothing lies between {self.min} and {self.max}")
        return self


def _is_above(low: Value | None, high: Value | None) -> bool:
    """Whether bounds surely leave nothing between them: numbers and times do not depend on the column's type, texts may
    be anything."""
    if isinstance(low, str) and isinstance(high, str):
        with suppress(ValueError, TypeError):
            return datetime.fromisoformat(low) > datetime.fromisoformat(high)
        return False
    return isinstance(low, (int, float)) and isinstance(high, (int, float)) and low > high


class Range(ColumnsExpectation):
    """``range``: columns and the bounds that their values keep."""

    columns: dict[ColumnName, Bounds] = Field(
        min_length=1, description="a mapping of columns to `min`, `max` or both, included"
    )


class Matches(ColumnsExpectation):
    """``matches``: columns of text and the regular expression that each whole value matches."""

    columns: dict[ColumnName, str] = Field(
        min_length=1, description="a mapping of columns to regular expressions for the whole value"
    )

    @field_validator("columns")
    @classmethod
    def _patterns_can_be_read(cls, value: dict[str, str]) -> dict[str, str]:
        for name, pattern in value.items():
            check_pattern(pattern, name)
        return value


# What the package that compares says of a pattern, and how we say it.
_PATTERN_FAULTS = {
    "must be <= the end": "a range in it runs backwards, or has no end",
    "unclosed character class": "a `[` is not closed",
    "unclosed group": "a `(` is not closed",
    "unopened group": "a `)` closes nothing",
    "repetition operator missing": "there is nothing before a `*`, `+`, `?` or `{`",
    "repetition": "a `{…}` in it counts nothing",
    "look-around": "it looks around",
    "backreferences": "it refers back",
    "incomplete escape": "it ends in a single backslash",
    "escape": "a backslash precedes a character that has no meaning with one",
    "capture group": "a group in it has a name that is none",
    "size limit": "it would grow too large",
}


def check_pattern(pattern: str, column: str) -> None:
    """Raise ValueError where a pattern is not a regular expression of the supported kind."""
    import polars as pl  # Projects without patterns are validated without it.

    try:
        for whole in (pattern, f"^(?:{pattern})$"):  # alone as well: `a)(b` is whole only within brackets
            pl.Series([""]).str.contains(whole)
    except pl.exceptions.ComputeError as error:
        found = (ours for theirs, ours in _PATTERN_FAULTS.items() if theirs in str(error))
        reason = next(found, "it cannot be read")
        raise ValueError(
            f"`{pattern}`, which `{column}` is to match, is not a regular expression: {reason} (the syntax is that of "
            "Rust's regex: no look-around, no back-references)"
        ) from None


class Unique(Expectation):
    """``unique``: columns whose values together are never the same twice; the key where none are named."""

    columns: tuple[ColumnName, ...] = Field(
        default=(), description="those whose values together never repeat; the key, where none are named"
    )


class RowCount(Expectation):
    """``row_count``: how many rows a load lands, which for a ``full_drop`` are the table's."""

    min: int | None = Field(default=None, ge=0, description="rows of a load at least; for a `full_drop` the table's")
    max: int | None = Field(default=None, ge=0, description="and at most")

    @model_validator(mode="after")
    def _bounds_something(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("expected `min`, `max` or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"`min` is above `max`: no number of rows is between {self.min} and {self.max}")
        return self


class Freshness(Expectation):
    """``freshness``: how old the newest value of a column may be when a load begins."""

    column: ColumnName = Field(description="a column of dates or times")
    max_age: Duration = Field(description="how old its newest value may be when a load begins: `2d`, `90m`")


class ExpectationsSettings(Settings):
    """``expectations``: what has to be true of rows before they become visible. Columns are named as they land.

    What is not met fails the load, or with ``severity: warn`` is reported in its message.
    """

    not_null: NotNull | None = None
    unique: Unique | None = None
    accepted_values: AcceptedValues | None = None
    range: Range | None = None
    matches: Matches | None = None
    row_count: RowCount | None = None
    freshness: Freshness | None = None
