"""What a server's catalogue says of many tables at once: see `catalogue` for one.

Only the sys views are asked, and only of tables. Whatever else a name stands for is left out, as is a table of which
not all can be known without asking more: each of them is described on its own by whoever reads it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import batched
from typing import Any

from hygge_engine.errors import HomeUnavailable
from hygge_engine.homes.mssql.catalogue import FACTS, GRAPH_INTERNAL, SourceObject, column_of, key_of
from hygge_engine.homes.mssql.identifiers import qualify
from hygge_engine.homes.mssql.session import whole
from hygge_engine.letter_case import confusable

# Puts a statement to the server: its rows, and no more than so many of them.
Ask = Callable[[str, int], Sequence[tuple[Any, ...]]]

# Tables that one statement of the catalogue is about. Their ids are numbers in its text, some ten bytes each.
TABLES_AT_ONCE = 1_250

# Names of a database that are looked through; one of more has its tables described one by one.
MOST_NAMES = 200_000

# Rows of the catalogue about `TABLES_AT_ONCE` tables: 200 for each.
MOST_ROWS = 250_000

_NAMES = """\
SELECT o.object_id, s.name, o.name FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
WHERE o.type = 'U'"""

_COLUMNS = """\
SELECT c.object_id, c.name, t.name AS system_type, u.name AS user_type, c.max_length, c.precision, c.scale, \
c.is_nullable, {facts} FROM sys.columns AS c LEFT JOIN sys.types AS t ON t.user_type_id = c.system_type_id \
LEFT JOIN sys.types AS u ON u.user_type_id = c.user_type_id WHERE c.object_id IN ({ids}) \
ORDER BY c.object_id, c.column_id"""

_INDEXES = """\
SELECT i.object_id, i.index_id, i.has_filter, i.is_disabled, c.name, i.is_unique, i.type, ic.key_ordinal \
FROM sys.indexes AS i \
JOIN sys.index_columns AS ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id \
JOIN sys.columns AS c ON c.object_id = ic.object_id AND c.column_id = ic.column_id \
WHERE i.object_id IN ({ids}) AND i.is_hypothetical = 0 AND ic.is_included_column = 0 \
ORDER BY i.object_id, i.is_primary_key DESC, i.index_id, ic.key_ordinal"""

_ROWS = """\
SELECT p.object_id, SUM(p.rows) AS row_count FROM sys.partitions AS p \
WHERE p.object_id IN ({ids}) AND p.index_id IN (0, 1) GROUP BY p.object_id"""

_ALL_ROWS = """\
SELECT o.object_id, s.name, o.name, SUM(p.rows) AS row_count FROM sys.partitions AS p \
JOIN sys.objects AS o ON o.object_id = p.object_id JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
WHERE o.type = 'U' AND p.index_id IN (0, 1) GROUP BY o.object_id, s.name, o.name"""

# What sys.indexes calls a clustered index and any other whose keys are in their order.
_ORDERED_INDEXES = (1, 2)


@dataclass(frozen=True)
class Described:
    """A table, its ``id`` in the database, and the columns that an index begins with."""

    id: int
    source: SourceObject
    leading: frozenset[str]


def describe_tables(ask: Ask, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], Described]:
    """The tables of these names (schema, table), as far as the catalogue shows all that has to be known of them.

    Raises HomeError; HomeUnavailable where there are too many names, or the responses do not match the requests.
    """
    ids = _ids_of(_bounded(ask, _NAMES, MOST_NAMES), names)
    found: dict[tuple[str, str], Described] = {}
    for some in batched(ids.items(), TABLES_AT_ONCE, strict=False):
        found |= _described(ask, dict(some))
    return found


def count_rows(ask: Ask, names: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """About how many rows the tables of these names (schema, table) have, by the server's statistics, in one statement;
    nothing of those that it does not show.

    Raises HomeError; HomeUnavailable where there are too many names.
    """
    rows = _bounded(ask, _ALL_ROWS, MOST_NAMES)
    counts = {row[0]: row[3] for row in rows}
    doing = "Counting the rows of tables"
    return {name: max(0, whole(counts[id_], doing)) for name, id_ in _ids_of((row[:3] for row in rows), names).items()}


def _ids_of(rows: Iterable[tuple[Any, ...]], names: Collection[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Which table each name is: the one that is spelt so, or else the only one that differs in case alone."""
    exact: dict[tuple[str, str], int] = {}
    alike: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for object_id, schema, name in rows:
        number = whole(object_id, "Looking through the tables of the database")
        exact[schema, name] = number
        alike[confusable(schema), confusable(name)].append(number)
    found = {}
    for schema, name in names:
        candidates = alike[confusable(schema), confusable(name)]
        if (schema, name) in exact:
            found[schema, name] = exact[schema, name]
        elif len(candidates) == 1:
            found[schema, name] = candidates[0]
    return found


def _described(ask: Ask, ids: dict[tuple[str, str], int]) -> dict[tuple[str, str], Described]:
    listed = ", ".join(map(str, ids.values()))
    columns = next(
        filter(None, (_by_table(_bounded(ask, _COLUMNS.format(facts=facts, ids=listed))) for facts in FACTS)), {}
    )
    indexes = _by_table(_bounded(ask, _INDEXES.format(ids=listed)))
    rows = _by_table(_bounded(ask, _ROWS.format(ids=listed)))
    found = {}
    for name, number in ids.items():
        source = _source(name, columns.get(number, []), indexes.get(number, []), rows.get(number, []))
        if source is not None:
            leading = {str(row[3]) for row in indexes.get(number, []) if _leads(row)}
            found[name] = Described(number, source, frozenset(leading))
    return found


def _source(
    name: tuple[str, str],
    columns: Sequence[tuple[Any, ...]],
    indexes: Sequence[tuple[Any, ...]],
    rows: Sequence[tuple[Any, ...]],
) -> SourceObject | None:
    """A table; None where a column is masked, so that more would have to be asked."""
    described = tuple(column_of(row) for row in columns if row[-1] not in GRAPH_INTERNAL)
    if not described or any(column.masked for column in described):
        return None
    sql = qualify(*name)
    key = key_of([row[:4] for row in indexes if row[4]], described)
    count = whole(rows[0][0], f"Describing {'.'.join(name)}") if rows else None
    return SourceObject(".".join(name), sql, described, key, count, sql)


def _leads(row: tuple[Any, ...]) -> bool:
    """Whether an index's row is about the first of its columns, by which all rows of the table are in order."""
    _, has_filter, is_disabled, _, _, kind, ordinal = row
    return ordinal == 1 and kind in _ORDERED_INDEXES and not has_filter and not is_disabled


def _by_table(rows: Iterable[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    """Rows without their first column, by that: a table's id."""
    tables: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for number, *rest in rows:
        tables[whole(number, "Reading the catalogue of the database")].append(tuple(rest))
    return dict(tables)


def _bounded(ask: Ask, sql: str, most: int = MOST_ROWS) -> Sequence[tuple[Any, ...]]:
    rows = ask(sql, most + 1)
    if len(rows) > most:
        raise HomeUnavailable(f"The catalogue has more than {most:,} rows about some tables.")
    return rows
