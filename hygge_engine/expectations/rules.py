"""The expectations of an entity as rules over the columns that land, worked out before the first row is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import polars as pl
import pyarrow as pa

from hygge_engine.errors import ConfigurationError
from hygge_engine.polish.polish import Polish
from hygge_engine.project.models.expectations import Bounds, ExpectationsSettings, Freshness, RowCount, Severity, Value
from hygge_engine.project.telling.problems import suggest_each, told_columns, unknown_columns


@dataclass(frozen=True)
class RowRule:
    """Rows of which ``violated`` is true do not meet it. ``setting`` is the kind, ``name`` what it is called."""

    name: str
    setting: str
    severity: Severity
    columns: tuple[str, ...]
    violated: pl.Expr


@dataclass(frozen=True)
class UniqueRule:
    """No two rows have the same values in ``columns``. ``in_order``: a full read sends rows in the order of these."""

    name: str
    setting: str
    severity: Severity
    columns: tuple[str, ...]
    in_order: bool


@dataclass(frozen=True)
class Rules:
    """All that is expected of a table. ``shown_key`` are the key's columns whose values may be shown."""

    rows: tuple[RowRule, ...] = ()
    unique: UniqueRule | None = None
    row_count: RowCount | None = None
    freshness: Freshness | None = None
    fresh_column: str = ""
    shown_key: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """What the expectations are called, in messages and in the journal."""
        names = [rule.name for rule in self.rows]
        names += [self.unique.name] if self.unique else []
        names += ["row_count"] if self.row_count else []
        return names + ([self.freshness_name] if self.freshness else [])

    @property
    def freshness_name(self) -> str:
        """What the expectation of freshness is called."""
        return f"freshness({self.fresh_column})"


def rules_of(settings: ExpectationsSettings | None, polish: Polish, key: Sequence[str]) -> Rules | None:
    """The rules for what lands; None where nothing is expected. Raises ConfigurationError where they do not fit it."""
    if settings is None:
        return None
    return _RulesPlanner(polish, tuple(key)).plan(settings)


class _RulesPlanner:
    def __init__(self, polish: Polish, key: tuple[str, ...]) -> None:
        self._polish = polish
        self._key = tuple(name for name in key if name != polish.version)  # versions have no number yet
        self._types = {column.name: column.type for column in polish.table.columns}

    def plan(self, settings: ExpectationsSettings) -> Rules:
        self._check_columns(settings)
        fresh = self._find(settings.freshness.column) if settings.freshness else ""
        if fresh and not (pa.types.is_timestamp(self._types[fresh]) or pa.types.is_date(self._types[fresh])):
            raise ConfigurationError(
                f"expectations: `freshness` takes a column of times, `{fresh}` holds {self._types[fresh]}"
            )
        treated = self._polish.treatments
        return Rules(
            tuple(self._row_rules(settings)),
            self._unique(settings),
            settings.row_count,
            settings.freshness,
            fresh,
            tuple(name for name in self._key if name not in treated),
        )

    def _row_rules(self, settings: ExpectationsSettings) -> Iterator[RowRule]:
        if settings.not_null:
            for name in settings.not_null.columns:
                column = self._find(name)
                yield self._rule("not_null", column, settings.not_null.severity_of(name), pl.col(column).is_null())
        if settings.accepted_values:
            for name, values in settings.accepted_values.columns.items():
                column = self._find(name)
                accepted = self._values(column, "accepted_values", values)
                violated = ~pl.col(column).is_in(accepted.implode())
                yield self._rule("accepted_values", column, settings.accepted_values.severity_of(name), violated)
        if settings.range:
            for name, bounds in settings.range.columns.items():
                column = self._find(name)
                yield self._rule("range", column, settings.range.severity_of(name), self._outside(column, bounds))
        if settings.matches:
            for name, pattern in settings.matches.columns.items():
                column = self._find(name)
                violated = ~pl.col(column).str.contains(self._checked(pattern, column))
                yield self._rule("matches", column, settings.matches.severity_of(name), violated)

    def _rule(self, setting: str, column: str, severity: Severity, violated: pl.Expr) -> RowRule:
        return RowRule(f"{setting}({column})", setting, severity, (column,), violated)

    def _unique(self, settings: ExpectationsSettings) -> UniqueRule | None:
        if settings.unique is None:
            return None
        columns = tuple(self._find(name) for name in settings.unique.columns) or self._key
        if not columns:
            raise ConfigurationError(
                f"expectations: `unique` names no columns, and {self._polish.source.name} has no key",
                hint="Name the columns: `unique: { columns: [a, b] }`.",
            )
        in_order = self._polish.inputs_of(columns) == set(self._polish.source.key) != set()
        return UniqueRule(f"unique({','.join(columns)})", "unique", settings.unique.severity, columns, in_order)

    def _outside(self, column: str, bounds: Bounds) -> pl.Expr:
        outside = pl.lit(value=False)
        if bounds.min is not None:
            outside |= pl.col(column) < pl.lit(self._values(column, "range", (bounds.min,)))
        if bounds.max is not None:
            outside |= pl.col(column) > pl.lit(self._values(column, "range", (bounds.max,)))
        return outside

    def _values(self, column: str, setting: str, values: Sequence[Value]) -> pl.Series:
        """Values from the settings, as the column holds them."""
        type_ = self._types[column]
        words = [str(value).lower() if isinstance(value, bool) else str(value) for value in values]
        quoted = ", ".join(f"`{word}`" for word in words)
        texts = pa.array(words, pa.string())
        try:
            # A time without an offset is one in UTC, as everywhere.
            plain = texts.cast(pa.timestamp("us")) if pa.types.is_timestamp(type_) else texts
            return cast("pl.Series", pl.from_arrow(cast("Any", plain).cast(type_)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise ConfigurationError(
                f"expectations: `{setting}` compares `{column}`, which is {type_}, with {quoted}"
            ) from error

    def _checked(self, pattern: str, column: str) -> str:
        if not pa.types.is_string(self._types[column]):
            raise ConfigurationError(
                f"expectations: `matches` takes a column of text, `{column}` holds {self._types[column]}"
            )
        return f"^(?:{pattern})$"

    def _check_columns(self, settings: ExpectationsSettings) -> None:
        """Raise ConfigurationError for all columns that the settings name and that do not land."""
        named: dict[str, Iterable[str]] = {
            "freshness": [settings.freshness.column] if settings.freshness else (),
            "not_null": settings.not_null.columns if settings.not_null else (),
            "accepted_values": settings.accepted_values.columns if settings.accepted_values else (),
            "range": settings.range.columns if settings.range else (),
            "matches": settings.matches.columns if settings.matches else (),
            "unique": settings.unique.columns if settings.unique else (),
        }
        unknown = unknown_columns(named, lambda name: self._polish.landed_name(name) is not None)
        if unknown:
            message = f"{self._polish.source.name} lands no column {told_columns(unknown, 'expectations')}."
            raise ConfigurationError(message, hint=suggest_each(list(unknown), list(self._types)))

    def _find(self, name: str) -> str:
        """How a column that lands is called (`_check_columns`)."""
        return self._polish.landed_name(name) or name
