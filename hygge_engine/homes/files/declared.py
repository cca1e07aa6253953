"""The columns of files by their names: which of them are one, and which ones ``columns`` of a home speaks of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hygge_engine.errors import HomeError, HomeNotFound
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.homes.files.settings import ColumnSettings
from hygge_engine.letter_case import by_any_case, in_any_case
from hygge_engine.project.telling.problems import nearest, suggest_each


class Spellings:
    """Known names of columns, found in any case."""

    def __init__(self, known: Iterable[str]) -> None:
        self._exact = dict.fromkeys(known)
        self._any_case = by_any_case(self._exact)

    def find(self, name: str) -> str | None:
        """The one of the known names that is meant: itself, or the first that differs in case alone."""
        return name if name in self._exact else next(iter(self.alike(name)), None)

    def alike(self, name: str) -> list[str]:
        """The known names that differ from this one in case alone, or not at all."""
        return self._any_case.get(in_any_case(name), [])


def told_apart(names: Iterable[str]) -> frozenset[str]:
    """Those of the names, all of one row, that differ from another one in case alone: they are two columns."""
    return frozenset(name for alike in by_any_case(names).values() if len(alike) > 1 for name in alike)


class CommonNames:
    """What a column is called whose name the files spell in several ways: as in the first of them.

    Names that differ in case alone are one column, unless a row has both, or ``declared`` does: these are separate in
    all files.
    """

    def __init__(self, declared: Iterable[str] = ()) -> None:
        self._first: dict[str, str] = {}
        self._file_of: dict[str, str] = {}
        self._apart: dict[str, set[str]] = {}
        self._apart_by: dict[str, str] = {}
        self._tell_apart(told_apart(declared), "`columns`")

    def add(self, file: SourceFile, names: Iterable[str], apart: Iterable[str]) -> None:
        """Take in how a file calls its columns; ``apart`` are those that one of its rows has beside one that differs
        in case alone."""
        for name in names:
            self._first.setdefault(in_any_case(name), name)
            self._file_of.setdefault(name, file.name)
        self._tell_apart(apart, file.name)

    def _tell_apart(self, names: Iterable[str], by: str) -> None:
        for name in names:
            self._apart.setdefault(in_any_case(name), set()).add(name)
            self._apart_by.setdefault(in_any_case(name), by)

    def check(self) -> None:
        """Raise HomeError where a file has a third spelling of a name of which two are separate columns."""
        for name, file_name in self._file_of.items():
            both = self._apart.get(in_any_case(name))
            if both and name not in both:
                raise HomeError(
                    f"{file_name} has a column {name!r}, and {self._apart_by[in_any_case(name)]} has both "
                    f"{' and '.join(map(repr, sorted(both)))}: which of them it is remains unknown.",
                    hint="Spell it in the same way in all files.",
                )

    def all(self) -> list[str]:
        """The common names, in the order of their first appearance."""
        return list(dict.fromkeys(map(self.of, self._file_of)))

    def of(self, name: str) -> str:
        """The common name of what a file calls so."""
        form = in_any_case(name)
        return name if form in self._apart else self._first.get(form, name)


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

    ``found`` are the common names of the files' columns. Raises HomeNotFound for a column that no file has; where not
    all of a file was looked at (``complete``), for one whose name is nearly that of another. Raises HomeError where the
    name is ambiguous but for case.
    """
    settings: dict[str, ColumnSettings] = {}
    in_files, in_folders, in_settings = Spellings(found), Spellings(files[0].partitions), Spellings(declared)
    others = [other for other in found if in_settings.find(other) is None]
    unknown = [
        name
        for name in declared
        if in_folders.find(name) is None and in_files.find(name) is None and (complete or nearest(name, others))
    ]
    if unknown:
        where = files[0].name if len(files) == 1 else f"None of the {len(files):,} files from {files[0].name} on"
        column = f"{'no' if len(files) == 1 else 'a'} column "
        told = f" {'and' if len(files) == 1 else 'or'} {column}".join(map(repr, unknown))
        message = f"{where} has {column}{told}, which `columns` names."
        raise HomeNotFound(message, hint=suggest_each(unknown, others or found))
    for name, spec in declared.items():
        if in_folders.find(name) is not None:
            continue
        spelt = in_files.find(name)
        if len(alike := in_files.alike(name)) > 1 and name not in alike:
            names = " or ".join(repr(other) for other in alike)
            raise HomeError(f"`columns` names {name!r}, which may be {names}.", hint="Spell it as the files do.")
        if spelt in settings:
            raise HomeError(f"`columns` names {spelt!r} twice, once as {name!r}.", hint="Keep one of them.")
        settings[spelt or name] = spec
    return settings
