"""``polish``: what is done to rows on their last mile, as a project says it."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, StringConstraints, model_validator

from hygge_engine.project.models.settings import Settings

# SQL Server's own limit for an identifier; every destination takes as much.
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128)]

_MASK = re.compile(r"full|email|hash|empty|(?:first|last)_[1-9]")

# A salt that can be guessed protects nothing; this only keeps out what is no salt at all.
_SALT_MINIMUM_CHARACTERS = 8


def check_mask(mask: str) -> str:
    """Return ``mask`` if it names one; raise ValueError otherwise."""
    if not _MASK.fullmatch(mask):
        raise ValueError(f"`{mask}` is no mask: it is full, email, hash, empty, or first_4, last_4 (with 1 to 9)")
    return mask


Mask = Annotated[str, AfterValidator(check_mask)]


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
    hash_ids: dict[ColumnName, tuple[ColumnName, ...]] = Field(default_factory=dict)
    constants: dict[ColumnName, bool | int | float | str] = Field(default_factory=dict)
    load_columns: dict[ColumnName, Literal["load_id", "loaded_at"]] = Field(default_factory=dict)

    @property
    def salt(self) -> bytes:
        """What goes before every value that is hashed."""
        return b"" if self.hash_salt is None else self.hash_salt.get_secret_value().encode()

    @model_validator(mode="after")
    def _salts_its_hashes(self) -> Self:
        if "hash" in self.mask.values() and self.hash_salt is None:
            raise ValueError("`mask` hashes columns, which takes a `hash_salt`; keep it in a variable")
        return self
