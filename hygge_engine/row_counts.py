"""What has become of the rows of an entity run: inserted, updated, deleted or left as they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self


@dataclass(frozen=True)
class RowCounts:
    """Rows told apart; None where their number is not known. ``inserted``, ``updated`` and ``deleted`` have landed;
    ``unchanged`` ones were compared with what had landed, and left out: None where nothing was compared."""

    inserted: int | None = None
    updated: int | None = None
    deleted: int | None = None
    unchanged: int | None = None

    def __add__(self, other: Self) -> RowCounts:
        """Both together: what is not known of one of them is not known of both, but for what was compared."""
        compared = [each for each in (self.unchanged, other.unchanged) if each is not None]
        return RowCounts(
            _sum(self.inserted, other.inserted),
            _sum(self.updated, other.updated),
            _sum(self.deleted, other.deleted),
            sum(compared) if compared else None,
        )

    def fits(self, rows: int) -> bool:
        """Whether so many rows may have landed."""
        landed = (self.inserted, self.updated, self.deleted)
        known = sum(each for each in landed if each is not None)
        return known <= rows if None in landed else known == rows

    def by_name(self) -> dict[str, int | None]:
        """The numbers as results and the journal name them."""
        return dict(zip(COUNT_NAMES, (self.inserted, self.updated, self.deleted, self.unchanged), strict=True))


UNKNOWN: Final = RowCounts()

# Of a load that has landed nothing, and not compared anything.
NOTHING_LANDED: Final = RowCounts(0, 0, 0)

COUNT_NAMES: Final = ("rows_inserted", "rows_updated", "rows_deleted", "rows_unchanged")


def counts_of(result: Mapping[str, Any], rows: int) -> RowCounts:
    """The numbers in the result of an entity run that has landed so many ``rows``; a result that has landed none need
    not name them."""
    found = RowCounts(*(result.get(name) for name in COUNT_NAMES))
    return found if rows else replace(NOTHING_LANDED, unchanged=found.unchanged)


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
