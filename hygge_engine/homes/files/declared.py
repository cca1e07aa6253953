"""``columns`` of a home: which of the files' columns they speak of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hygge_engine.errors import HomeNotFound
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.homes.files.settings import ColumnSettings
from hygge_engine.project.telling.problems import nearest, suggest


class Spellings:
    """Known names of columns, found in any case."""

    def __init__(self, known: Iterable[str]) -> None:
        self._exact = dict.fromkeys(known)
        self._any_case = {name.casefold(): name for name in reversed(self._exact)}

    def find(self, name: str) -> str | None:
        """The one of the known names that is meant: itself, or the first that differs in case alone."""
        return name if name in self._exact else self._any_case.get(name.casefold())


def first_twice(names: Iterable[str]) -> str | None:
    """The first name that is there before."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def declared_columns(
    declared: Mapping[str, ColumnSettings], found: Sequence[str], files: Sequence[SourceFile], *, complete: bool = True
) -> dict[str, ColumnSettings]:
    """What the settings say of columns, by the files' own spelling, without those that folders give.

    Raises HomeNotFound for a column that no file has; where not all of a file was looked at (``complete``), for one
    whose name is nearly that of another.
    """
    settings: dict[str, ColumnSettings] = {}
    in_files, in_folders, in_settings = Spellings(found), Spellings(files[0].partitions), Spellings(declared)
    others = [other for other in found if in_settings.find(other) is None]
    for name, spec in declared.items():
        if in_folders.find(name) is not None:
            continue
        spelt = in_files.find(name)
        if spelt is None and (complete or nearest(name, others)):
            where = files[0].name if len(files) == 1 else f"None of the {len(files):,} files from {files[0].name} on"
            raise HomeNotFound(
                f"{where} has {'no' if len(files) == 1 else 'a'} column {name!r}, which `columns` names.",
                hint=suggest(name, others or found),
            )
        settings[spelt or name] = spec
    return settings
