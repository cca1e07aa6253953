"""``polish``: what is done to rows on their last mile, as a project says it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, field_validator, model_validator

from hygge_engine.letter_case import in_any_case
from hygge_engine.project.models.settings import Settings

# SQL Server's own limit for an identifier; every destination takes as much.
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128)]

_MASK = re.compile(r"full|email|hash|empty|(?:first|last)_[1-9]")

# A salt that can be guessed protects nothing; this only refuses what is not a salt at all.
_SALT_MINIMUM_CHARACTERS = 8


def check_mask(mask: str) -> str:
    """Return ``mask`` if it names one; raise ValueError otherwise."""
    if not _MASK.fullmatch(mask):
        raise ValueError(f"`{mask}` is not a mask: it is full, email, hash, empty, or first_4, last_4 (with 1 to 9)")
    return mask


Mask = Annotated[str, AfterValidator(check_mask)]


# The keys that give columns names.
_NAMING = ("rename", "hash_ids", "constants", "load_columns")


class PolishSettings(Settings):
    """``polish``: what happens to the source's columns before they land, in this order: drop, trim, fold, mask, rename,
    case, add.

    ``drop``, ``trim``, ``fold``, ``mask``, ``rename`` and ``hash_ids`` name columns as the source does, in any case.
    ``constants``, ``hash_ids`` and ``load_columns`` add columns, each by its name.
    """

    drop: tuple[ColumnName, ...] = ()
    trim: bool | tuple[ColumnName, ...] = False
    fold: bool | tuple[ColumnName, ...] = False
    mask: dict[ColumnName, Mask] = Field(default_factory=dict)
    hash_salt: SecretStr | None = Field(default=None, min_length=_SALT_MINIMUM_CHARACTERS)
    rename: dict[ColumnName, ColumnName] = Field(default_factory=dict)
    case: Literal["pascal", "camel", "snake"] | None = None
    hash_ids: dict[ColumnName, Annotated[tuple[ColumnName, ...], Field(min_length=1)]] = Field(default_factory=dict)
    constants: dict[ColumnName, bool | int | float | str] = Field(default_factory=dict)
    load_columns: dict[ColumnName, Literal["load_id", "loaded_at"]] = Field(default_factory=dict)

    @field_validator("rename")
    @classmethod
    def _renames_apart(cls, value: dict[str, str]) -> dict[str, str]:
        if (name := _alike(value.values())) is not None:
            raise ValueError(f"`{name}` is the new name of two columns; to destinations, case makes no other name")
        return value

    @model_validator(mode="after")
    def _names_are_given_once(self) -> Self:
        if (name := _alike(self.given_names)) is not None:
            keys = [key for key in _NAMING if any(in_any_case(name) == in_any_case(each) for each in _names(self, key))]
            raise ValueError(f"{' and '.join(f'`{key}`' for key in dict.fromkeys(keys))} give the name `{name}` twice")
        for key in ("rename", "mask"):
            if lost := [name for name in getattr(self, key) if name in self.drop]:
                raise ValueError(f"`{key}` names `{lost[0]}`, which `drop` leaves out")
        return self

    @property
    def given_names(self) -> tuple[str, ...]:
        """The names of columns that the settings themselves give."""
        return (*self.rename.values(), *self.hash_ids, *self.constants, *self.load_columns)

    @property
    def salt(self) -> bytes:
        """What goes before every value that is hashed."""
        return b"" if self.hash_salt is None else self.hash_salt.get_secret_value().encode()

    @model_validator(mode="after")
    def _salts_its_hashes(self) -> Self:
        if "hash" in self.mask.values() and self.hash_salt is None:
            raise ValueError("`mask` hashes columns, which takes a `hash_salt`; keep it in a variable")
        return self


def _names(polish: PolishSettings, key: str) -> Iterable[str]:
    value: dict[str, Any] = getattr(polish, key)
    return value.values() if key == "rename" else value


def _alike(names: Iterable[str]) -> str | None:
    """The first name that is there before, in any case."""
    seen: set[str] = set()
    for name in names:
        if in_any_case(name) in seen:
            return name
        seen.add(in_any_case(name))
    return None
