"""``columns`` of a home: which of the files' columns they speak of."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from hygge_engine.errors import HomeNotFound
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.homes.files.settings import ColumnSettings
from hygge_engine.project.problems import nearest, suggest


def spelling(name: str, known: Collection[str]) -> str | None:
    """The one of the known names that is meant: itself, or one that differs in case alone."""
    if name in known:
        return name
    return next((other for other in known if other.casefold() == name.casefold()), None)


def declared_columns(
    declared: Mapping[str, ColumnSettings], found: Sequence[str], files: Sequence[SourceFile], *, complete: bool = True
) -> dict[str, ColumnSettings]:
    """What the settings say of columns, by the files' own spelling, without those that folders give.

    Raises HomeNotFound for a column that no file has; where not all of a file was looked at (``complete``), for one
    whose name is nearly that of another.
    """
    settings: dict[str, ColumnSettings] = {}
    for name, spec in declared.items():
        if spelling(name, files[0].partitions) is not None:
            continue
        spelt = spelling(name, found)
        others = [other for other in found if spelling(other, declared) is None]
        if spelt is None and (complete or nearest(name, others)):
            where = files[0].name if len(files) == 1 else f"None of the {len(files):,} files from {files[0].name} on"
            raise HomeNotFound(
                f"{where} has {'no' if len(files) == 1 else 'a'} column {name!r}, which `columns` names.",
                hint=suggest(name, others or found),
            )
        settings[spelt or name] = spec
    return settings
