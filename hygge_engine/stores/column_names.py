"""Which column names a destination can hold, checked before the first row instead of when a write is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from hygge_engine.errors import ColumnRefused
from hygge_engine.letter_case import in_any_case

# How many columns at fault one message names.
NAMED_FAULTS = 5

# What Delta refuses in the names of columns, but for tables with column mapping, which are not written here.
DELTA_REFUSED = " ,;{}()\n\t="


@dataclass(frozen=True)
class ColumnNames:
    """Which column names a destination can hold: none with one of ``refused`` in it or longer than ``longest``
    characters, none that is ``taken``, no two that have the same ``form``, and no more than ``most`` (0: any number).
    ``where`` is what refuses them, for messages."""

    where: str = "the destination"
    refused: str = ""
    taken: tuple[str, ...] = ()
    longest: int = 0
    form: Callable[[str], str] = in_any_case
    most: int = 0

    def check(self, columns: Sequence[str], landed: Collection[str] = ()) -> None:
        """Raises ColumnRefused, which names all columns at fault."""
        if self.most and len(columns) > self.most:
            raise ColumnRefused(
                f"{self.where} cannot hold a table of {len(columns):,} columns, {self.most:,} at most",
                hint="Leave some out with polish.drop, or let the rows land in files.",
            )
        seen: dict[str, str] = {}
        faults = []
        for name in columns:
            first = seen.setdefault(self.form(name), name)
            if first is not name:
                alike = "is there twice" if first == name else f"differs from {first!r} in case alone"
                faults.append(f"{name!r} {alike}")
            elif name not in landed and (reason := self._reason(name)):
                faults.append(f"{name!r} {reason}")
        if faults:
            more = f"; {len(faults) - NAMED_FAULTS} more" if len(faults) > NAMED_FAULTS else ""
            raise ColumnRefused(
                f"{self.where} cannot hold these column names: {'; '.join(faults[:NAMED_FAULTS])}{more}",
                hint="Give them other names with polish.rename, or leave them out with polish.drop.",
            )

    def _reason(self, name: str) -> str:
        if not name:
            return "is empty"
        if found := sorted(set(name) & set(self.refused)):
            return f"has {', '.join(repr(mark) for mark in found)} in it"
        if self.form(name) in map(self.form, self.taken):
            return "is taken"
        return f"has more than {self.longest} characters" if self.longest and len(name) > self.longest else ""
