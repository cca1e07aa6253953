"""``home`` of type local, adls and onelake: which files hold an entity's rows, and how they are to be read."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from hygge_engine.homes.files.strftime import check_format
from hygge_engine.lake.onelake import ONELAKE_URL, journal_folder
from hygge_engine.lake.settings import FabricIdentifier, LakeSettings, is_fabric, lake_root
from hygge_engine.project.models.locations import Location, folder_on_disk, location, pattern_on_disk
from hygge_engine.project.models.settings import HomeSettings, Settings, Surroundings, register_home

FileFormat = Literal["parquet", "csv", "ndjson"]

# Codecs whose bytes below 128 are ASCII, or UTF-16: what a record's end can be told in.
Encoding = Literal[
    "auto",
    "utf-8",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "cp1250",
    "cp1252",
    "cp437",
    "cp850",
    "iso-8859-1",
    "iso-8859-15",
    "mac-roman",
]

# What files of a format are called.
_EXTENSIONS: dict[str, FileFormat] = {
    ".parquet": "parquet",
    ".parq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "ndjson",
}

# Named without the readers: a project is validated without their libraries.
_COMPRESSED = re.compile(r"\.(gz|zst|bz2|lz4)$")

_TYPE = re.compile(r"bool|int16|int32|int64|float32|float64|string|binary|date|timestamp|decimal\(\d+,\s*\d+\)")
_WILDCARD = re.compile(r"[*?\[]")
_MOST_DIGITS = 38


# The keys of `FilesHomeSettings` that are about CSV alone.
_OF_CSV = ("delimiter", "quote", "escape", "header", "null_values", "decimal")


def format_of(path: str) -> FileFormat | None:
    """The format that the name of a file or a pattern ends in, also where the file is compressed; None where it ends in
    none."""
    return _EXTENSIONS.get(PurePosixPath(_COMPRESSED.sub("", path.lower())).suffix)


def extensions_of(format_: FileFormat) -> list[str]:
    """How the names of files of a format end, before an ending that says how they are compressed."""
    return [extension for extension, named in _EXTENSIONS.items() if named == format_]


# Letters of other tools' patterns, the longer ones first, and what they are called here.
_DIRECTIVES = {
    "yyyy": "%Y",
    "YYYY": "%Y",
    "MM": "%m",
    "dd": "%d",
    "DD": "%d",
    "HH": "%H",
    "mm": "%M",
    "ss": "%S",
    "yy": "%y",
}


class ColumnSettings(Settings):
    """The type of one column, and how its text is to be read: ``format`` as of strftime for dates and timestamps, or
    ``epoch`` where they are a spreadsheet's serial days, which count from 1900 or from 1904."""

    type: str
    format: str | None = None
    epoch: Literal[1900, 1904] | None = None

    @field_validator("type")
    @classmethod
    def _type_is_known(cls, value: str) -> str:
        if not _TYPE.fullmatch(value):
            raise ValueError(
                "expected bool, int16, int32, int64, float32, float64, decimal(p,s), string, binary, date or timestamp"
            )
        if value.startswith("decimal"):
            digits, scale = (int(number) for number in re.findall(r"\d+", value))
            if not 1 <= digits <= _MOST_DIGITS or scale > digits:
                raise ValueError("expected decimal(p,s) with p from 1 to 38, and s of at most p")
        return value

    @field_validator("format")
    @classmethod
    def _format_has_directives(cls, value: str | None) -> str | None:
        """Java's and .NET's patterns are the ones that people know best."""
        if value is None or "%" in value:
            return value
        # Without hours, mm is meant to be the month.
        meant = value if re.search(r"[hH]", value) else value.replace("mm", "MM")
        for letters, directive in _DIRECTIVES.items():
            meant = meant.replace(letters, directive)
        raise ValueError(
            "expected a format with directives such as %Y, %m and %d" + (f": `{meant}`" if "%" in meant else "")
        )

    @model_validator(mode="after")
    def _only_times_have_a_form(self) -> Self:
        if self.type not in ("date", "timestamp") and (self.format or self.epoch):
            raise ValueError("format and epoch are for date and timestamp")
        if self.format and self.epoch:
            raise ValueError("expected one of format and epoch: serial days have no format")
        if self.format:
            check_format(self.type, self.format)
        return self


def _spelt_out(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


ColumnType = Annotated[
    ColumnSettings,
    BeforeValidator(_spelt_out),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        "type": {"type": "string"},
                        "format": {"type": "string"},
                        "epoch": {"enum": [1900, 1904]},
                    },
                },
            ]
        }
    ),
]


class FilesHomeSettings(HomeSettings):
    """Files in one ``format``, named by ``path``: a file, a folder with the files of the format's endings below it, or
    a pattern (``*`` within a name, ``**`` over folders), which takes any ending. Names that begin with ``_``, ``.`` or
    ``~$`` are left out, as other tools do. Folders called ``name=value`` are columns, unless ``partitions`` is false.

    ``key`` names the columns that identify a row. ``columns`` says the types of columns; others are taken from the
    files, or left out where ``infer`` is false. ``batch_rows`` and ``batch_mb`` (MiB of Arrow data) bound one batch,
    whichever is reached first.

    For ``csv``: ``delimiter``, ``quote`` and ``escape`` are one character each, ``null_values`` the unquoted texts that
    mean NULL, ``decimal`` the decimal mark. ``encoding`` is for ``csv`` and ``ndjson``; ``auto`` takes what a byte
    order mark says, else UTF-8, with single bytes that are none read as Windows-1252.
    """

    opener: ClassVar[str] = "hygge_engine.homes.files.opening"
    source_keys: ClassVar[tuple[str, ...]] = ("path",)
    type: str
    path: str = Field(default="{entity}", min_length=1)
    format: FileFormat = "parquet"
    key: tuple[str, ...] = ()
    columns: dict[str, ColumnType] = Field(default_factory=dict)
    infer: bool = True
    partitions: bool = True
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    quote: str = Field(default='"', max_length=1)
    escape: str = Field(default="", max_length=1)
    header: bool = True
    null_values: tuple[str, ...] = ("",)
    decimal: Literal[".", ","] = "."
    encoding: Encoding = "auto"
    batch_rows: int = Field(default=50_000, ge=1)
    batch_mb: int = Field(default=16, ge=1)

    @field_validator("path")
    @classmethod
    def _path_can_be_matched(cls, value: str) -> str:
        if os.sep == "/" and "\\" in value:
            raise ValueError("expected folders separated by `/`; a backslash is a part of a name here")
        if unclosed := re.search(r"\[[^\]]*$", value):
            raise ValueError(f"`{unclosed[0]}` opens a bracket that nothing closes; a bracket itself is written `[[]`")
        return value

    @field_validator("encoding", mode="before")
    @classmethod
    def _encoding_by_any_name(cls, value: object) -> object:
        names = {"utf8": "utf-8", "utf-8-sig": "utf-8", "latin-1": "iso-8859-1", "windows-1252": "cp1252"}
        return names.get(value.lower(), value.lower()) if isinstance(value, str) else value

    @field_validator("delimiter", mode="before")
    @classmethod
    def _tab_by_its_name(cls, value: object) -> object:
        return "\t" if value in ("tab", "\\t") else value

    @field_validator("delimiter", "quote", "escape")
    @classmethod
    def _marks_are_plain(cls, value: str) -> str:
        if value and (not value.isascii() or value in "\r\n\0"):
            raise ValueError("expected an ASCII character that ends no line")
        return value

    @model_validator(mode="after")
    def _format_fits_the_path(self) -> Self:
        """A named format outweighs a file's name; a missing one was mostly forgotten."""
        if "format" in self.model_fields_set:
            return self
        named = format_of(self.path)
        if named and named != self.format:
            raise ValueError(
                f"`path` ends like {named}, and without `format` files are {self.format}: add `format: {named}`"
            )
        return self

    @model_validator(mode="after")
    def _keys_are_of_the_format(self) -> Self:
        """A key without effect on this format is a mistake that the author would not notice."""
        of_text = ("encoding",) if self.format == "ndjson" else ()
        for name in (*_OF_CSV, "encoding"):
            if self.format != "csv" and name in self.model_fields_set and name not in of_text:
                raise ValueError(
                    f"`{name}` does not apply to files of {self.format}: remove it, with `{name}: null` if inherited"
                )
        return self

    @model_validator(mode="after")
    def _says_what_to_read(self) -> Self:
        if not self.infer and not self.columns:
            raise ValueError("infer: false leaves out all columns but those of `columns`, and there are none")
        if len({self.delimiter, self.quote, self.escape} - {""}) < sum(
            bool(mark) for mark in (self.delimiter, self.quote, self.escape)
        ):
            raise ValueError("delimiter, quote and escape have to differ")
        if self.escape and any(self.escape in text for text in self.null_values):
            raise ValueError("null_values cannot hold the escape character: it is gone before they are compared")
        return self

    def fixed_folder(self) -> str:
        """The folder within ``path`` that the lake of `opening.place_of` begins in."""
        return ""

    def has_file_times(self) -> bool:
        return True

    def keeps_journal(self) -> bool:
        return True

    def shared_folder(self, entity: str) -> str:
        """The folder that the entities of a flow have in common, for their journal and landing states: the one above
        the first part of ``path`` that names the entity or is a pattern, else above the last part."""
        parts = self.path.split("/")
        own = (number for number, part in enumerate(parts) if entity in part or _WILDCARD.search(part))
        return "/".join(parts[: next(own, len(parts) - 1)])


@register_home
class LocalHomeSettings(FilesHomeSettings):
    """Files on this machine. ``path`` is relative to the project's directory, or absolute."""

    kind: ClassVar[str] = "local"
    type: Literal["local"] = "local"

    def directories(self) -> Mapping[str, str]:
        return {"path": self.path}

    def origin(self, surroundings: Surroundings) -> str:
        return str(Path(os.path.abspath(surroundings.directory / self.path)))

    def reads(self, surroundings: Surroundings, entity: str) -> Sequence[Location]:
        base, rest = self.split(surroundings.directory)
        if any(_WILDCARD.search(part) for part in rest):
            return pattern_on_disk(base, rest)
        return [folder_on_disk(base.joinpath(*rest)), *pattern_on_disk(base.joinpath(*rest), ["**"])]

    def split(self, directory: Path) -> tuple[Path, tuple[str, ...]]:
        """The folder to look in, and the name or pattern below it. The project's own directory is not a pattern,
        whatever its name."""
        path, own = Path(directory / self.path).absolute(), directory.absolute()
        parts = path.parts
        fixed = _fixed(parts, len(own.parts) if path.is_relative_to(own) else 0)
        return Path(*parts[:fixed]), parts[fixed:]

    def fixed_folder(self) -> str:
        parts = Path(self.path).parts
        return Path(*parts[: _fixed(parts)]).as_posix() if parts[1:] else ""

    def journal_address(self, entity: str) -> str:
        return f"home, {self.shared_folder(entity) or '.'}"


def _fixed(parts: Sequence[str], literal: int = 0) -> int:
    """How many parts are folders for certain: those before the first pattern, else all but the last. The first
    ``literal`` parts are none."""
    wild = (number for number, part in enumerate(parts) if number >= literal and _WILDCARD.search(part))
    return next(wild, len(parts) - 1)


class LakeHomeSettings(FilesHomeSettings, LakeSettings):
    """Files in a data lake."""

    path: str = Field(default="{entity}", min_length=1)

    def origin(self, surroundings: Surroundings) -> str:
        return f"{self.account_url.rstrip('/')}/{self.filesystem}/{self.pattern()}"

    def reads(self, surroundings: Surroundings, entity: str) -> Sequence[Location]:
        return [location(lake_root(self), self.pattern())]

    def pattern(self) -> str:
        """The path or pattern within the filesystem."""
        return self.path.strip("/")

    def journal_address(self, entity: str) -> str:
        return f"home, {self.account_url.rstrip('/')}/{self.filesystem}/{self.journal_root(entity)}"

    def journal_root(self, entity: str) -> str:
        """The journal's folder within the filesystem."""
        return journal_folder(self.shared_folder(entity))


@register_home
class AdlsHomeSettings(LakeHomeSettings):
    """Files of an ADLS Gen2 filesystem."""

    kind: ClassVar[str] = "adls"
    type: Literal["adls"] = "adls"

    def keeps_journal(self) -> bool:
        """In OneLake only below an item's ``Files/``."""
        return not is_fabric(self.account_url) or self.pattern().split("/")[1:2] == ["Files"]


@register_home
class OneLakeHomeSettings(LakeHomeSettings):
    """Files of a lakehouse, below ``Files/``. ``filesystem`` is the workspace and ``lakehouse`` the item, as GUIDs."""

    kind: ClassVar[str] = "onelake"
    type: Literal["onelake"] = "onelake"
    account_url: str = ONELAKE_URL
    lakehouse: FabricIdentifier

    def pattern(self) -> str:
        return f"{self.lakehouse}/Files/{self.path.strip('/')}"

    def journal_root(self, entity: str) -> str:
        return journal_folder(self.lakehouse, "Files", self.shared_folder(entity))
