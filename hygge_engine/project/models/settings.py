"""The base of every settings model, and the registry of home, store and connection types.

Homes and stores register their models here, so that ``project`` knows their keys without importing them. A model
describes and opens nothing: its ``opener`` names the module that does, which `hygge_engine.flow.factory` imports when
something is opened, so that a command that only reads settings stays fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticKnownError

from hygge_engine.errors import ConfigurationError, HyggeError
from hygge_engine.masking import remember_name, remember_place, remember_secret
from hygge_engine.project.models.locations import Location

RunType = Literal["full_drop", "incremental"]

# How a full_drop makes a table anew: by dropping it, or by landing what differs.
Reload = Literal["drop", "difference"]

# What is kept of rows that have changed: nothing, or each version in a table beside the entity's.
History = Literal["none", "versions"]

# The end of the names of that table, and of the entity that lands it.
HISTORY_SUFFIX = "_history"

# What that table has beside columns of rows: the number of a version, since when it is valid, how it came to be.
HISTORY_COLUMNS = ("__version", "__valid_from", "__operation")

# Imported by name when the first project is read: these packages depend on this one, never the other way round.
_BUILT_IN = (
    "hygge_engine.homes.files.settings",
    "hygge_engine.homes.mssql.settings",
    "hygge_engine.lake.journal_settings",
    "hygge_engine.stores.lake_files.settings",
    "hygge_engine.stores.mssql.settings",
    "hygge_engine.stores.open_mirroring.settings",
    "hygge_engine.stores.sqlite.settings",
)

# Where installed packages name the modules that register their homes and stores.
ENTRY_POINT_GROUP = "hygge_engine.types"

# The keys of lake stores that say where a table lands, from the outside in.
_LOCATION_KEYS = ("account_url", "filesystem", "mirror_name", "lakehouse", "path", "schema_name", "table_name")


class Settings(BaseModel):
    """A mapping of the project's files: unknown keys are refused, values cannot change afterwards.

    ``place_keys`` are those that say where something is, ``name_keys`` those of logins and databases. Their values, and
    all secrets, are registered with `hygge_engine.masking`, which masks them in output.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False, allow_inf_nan=False)

    place_keys: ClassVar[tuple[str, ...]] = ()
    name_keys: ClassVar[tuple[str, ...]] = ()

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_is_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """To Python, and pydantic after it, true is 1."""
        if isinstance(value, bool):
            field = cls.model_fields[str(info.field_name)]
            kinds = {field.annotation, *get_args(field.annotation)}
            if kinds & {int, float} and bool not in kinds:
                raise PydanticKnownError("int_type" if int in kinds else "float_type")
        return value

    def addresses(self) -> Mapping[str, str]:
        """The addresses that a credential is sent to, by key; ``options.lake_hosts`` bounds them."""
        return {}

    def directories(self) -> Mapping[str, str]:
        """The paths of this machine that are read or written, by key, relative to the project's directory or absolute;
        ``options.local_paths`` bounds them. They may be patterns."""
        return {}

    def own_folders(self) -> Mapping[str, str]:
        """The engine's own folders below paths of this machine, by the keys of these paths."""
        return {}

    def model_post_init(self, context: Any, /) -> None:
        for value in self.__dict__.values():
            if isinstance(value, SecretStr):
                remember_secret(value.get_secret_value())
        for key in self.place_keys:
            if isinstance(value := getattr(self, key, None), str):
                remember_place(key, value)
        for key in self.name_keys:
            if isinstance(value := getattr(self, key, None), str):
                remember_name(key, value)


class ConnectionSettings(Settings):
    """``connections.<name>``: how to reach one source. ``pool_size`` bounds the connections open at once, over all
    flows."""

    kind: ClassVar[str]
    type: str
    pool_size: int = Field(default=4, ge=1)


@dataclass(frozen=True)
class Surroundings:
    """What settings do not say themselves: the project's directory, and its connections."""

    directory: Path
    connections: Mapping[str, ConnectionSettings | None]


# The cursor of a home that lists what has changed by itself, deletes included, instead of looking for larger values:
# the name that SQL Server's Change Tracking gives it.
CHANGE_TRACKING = "SYS_CHANGE_VERSION"

# The same of what SQL Server's change data capture keeps: the name of its column.
CHANGE_DATA_CAPTURE = "__$start_lsn"

# The cursors of homes that list what has changed.
CHANGE_CURSORS = frozenset({CHANGE_TRACKING, CHANGE_DATA_CAPTURE})

# The cursor of a home of files that counts the time of a file's last change instead of a column: Spark's name for it.
FILE_MODIFIED = "_metadata.file_modification_time"


class HomeSettings(Settings):
    """``home``: where rows come from. A model with a key ``connection`` names a connection of its own kind there.

    ``opener`` is a module with ``open_home(settings, project, entity)``, which returns the entity's source, not yet
    connected; and ``open_journal(settings, project, entity)`` where it keeps the journal.
    ``needs_watermark`` says whether an incremental read takes a ``watermark``, or the home finds what is new without.
    ``source_keys`` are the keys that say what is read, where nothing else does: entities with the same settings read
    the same rows.
    """

    kind: ClassVar[str]
    opener: ClassVar[str] = ""
    needs_watermark: ClassVar[bool] = True
    source_keys: ClassVar[tuple[str, ...]] = ()
    type: str

    def origin(self, surroundings: Surroundings) -> str:
        """Where the rows come from, for people and without any secret: another text where they come from elsewhere."""
        return self.type

    def reads(self, surroundings: Surroundings, entity: str) -> Sequence[Location]:
        """Where the entity's rows come from, as far as the settings say: no store of its flow may write there."""
        return ()

    def keeps_journal(self) -> bool:
        """Whether the journal may lie beside these rows, as ``journal.location: home`` requires."""
        return False

    def journal_address(self, entity: str) -> str:
        """The journal's place for people, without any secret; the same for all entities that share it."""
        return "home"

    def tracks_changes(self) -> bool:
        """Whether it can list what has changed, deletes included, so that ``watermark.change_tracking`` and
        ``watermark.cdc`` apply."""
        return False

    def cannot_list_keys(self, surroundings: Surroundings) -> str:
        """Why the keys of its rows cannot be read without the rows, and looked up, as ``deletes.compare`` requires; as
        a clause, empty where they can."""
        return "this home does not read keys alone"

    def has_file_times(self) -> bool:
        """Whether its rows are in files with a time of last change, so that ``watermark.file_modified``
        applies."""
        return False

    def connections_at_once(self) -> int:
        """How many of its connection's ``pool_size`` one slice takes."""
        return 1

    def connections_at_most(self) -> int:
        """How many a slice would take if no other needed them."""
        return self.connections_at_once()

    def divides(self) -> bool:
        """Whether a large table is read in ranges, by several slices at once."""
        return False

    def with_connections(self, count: int) -> Self:
        """These settings for a slice with a number of connections."""
        return self


class Capacity(NamedTuple):
    """How many ``tables`` a ``place`` takes that entities share, ``own`` of which are about the loads themselves."""

    place: str
    tables: int
    own: int


class StoreSettings(Settings):
    """``store``: where rows land. ``incremental`` overrides the flow's run type (see `effective_run_type`).
    ``key_columns`` identify a row there; without them the source's own key does.

    ``opener`` is a module with ``open_table(settings, project, entity)``, which returns the entity's destination, not
    yet connected; and ``open_journal(settings, project, entity)`` where it keeps the journal.
    """

    kind: ClassVar[str]
    opener: ClassVar[str] = ""
    type: str
    incremental: bool | None = None
    key_columns: tuple[str, ...] = ()

    def writes(self, surroundings: Surroundings, entity: str) -> Location | None:
        """Where the entity's table is, as far as the settings say: no home of its flow may read there."""
        return None

    def keeps_journal(self) -> bool:
        """Whether the journal may lie beside these rows, as ``journal.location: store`` requires."""
        return False

    def keeps(self, surroundings: Surroundings) -> Location | None:
        """The engine's folder beside its tables: landing states, what is staged, and the journal if it is here."""
        return None

    def destination(self, entity: str) -> str:
        """Where the entity's rows land, for people; two entities that name the same place cannot both load."""
        parts = [getattr(self, name) for name in _LOCATION_KEYS if name in type(self).model_fields]
        first, *rest = [str(part) for part in parts if part]
        parts = [first.rstrip("/"), *(part.strip("/") for part in rest)]
        return "/".join(parts if "table_name" in type(self).model_fields else [*parts, entity])

    def deletes(self) -> bool:
        """Whether a row can be deleted by its key, as ``watermark.change_tracking`` and ``watermark.cdc``
        require."""
        return False

    def marks(self) -> bool:
        """Whether a row that the source has deleted can be marked, and stay as it was, as ``deletes.mark`` requires."""
        return False

    def upserts(self) -> bool:
        """Whether a row that is landed again replaces the one before, so that ``lag`` may read it again."""
        return False

    def compares(self) -> bool:
        """Whether what has landed can be compared with the source, as ``reload: difference`` and ``deletes.compare``
        require."""
        return False

    def of_history(self, entity: str) -> Self | None:
        """The settings of the table beside the entity's in which ``history: versions`` keeps each version of a row;
        None for a store that cannot keep them. Raises ValidationError where the longer name is none."""
        if "table_name" not in type(self).model_fields or not self.compares():
            return None
        given: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        table = str(given["table_name"]).replace("{entity}", entity)
        return type(self)(**given | {"table_name": f"{table}{HISTORY_SUFFIX}"})

    def agreements(self, journal: str) -> dict[tuple[str, str], str]:
        """Settings on which all entities of a place must agree: (place, key) to value. ``journal`` is where their runs
        are recorded, for people; its key is ``journal.location``."""
        return {}

    def capacity(self) -> Capacity | None:
        """What the place takes that the table shares with those of other entities; None where nothing bounds it."""
        return None

    def telemetry(self) -> str:
        """The part of a `destination` that all tables about the loads themselves have in common; empty where there are
        none. No entity may land there."""
        return ""


class JournalPlaceSettings(Settings):
    """``journal.location`` as a mapping: a place of its own for the journal, in the folder ``.hygge_journal``.

    ``opener`` is a module with ``open_place(settings, project)``, which returns a lake, and the journal's folder in it.
    """

    kind: ClassVar[str]
    opener: ClassVar[str] = ""
    type: str

    def keeps(self, surroundings: Surroundings) -> Location | None:
        """The journal's folder."""
        return None

    @property
    def address(self) -> str:
        """The place for people, without any secret; the same for all who share it."""
        raise NotImplementedError


CONNECTIONS: dict[str, type[ConnectionSettings]] = {}
HOMES: dict[str, type[HomeSettings]] = {}
STORES: dict[str, type[StoreSettings]] = {}
JOURNAL_PLACES: dict[str, type[JournalPlaceSettings]] = {}


def register_connection[T: ConnectionSettings](model: type[T]) -> type[T]:
    """Class decorator: make ``connections.<name>.type: <kind>`` known."""
    return _register(CONNECTIONS, model)


def register_home[T: HomeSettings](model: type[T]) -> type[T]:
    """Class decorator: make ``home.type: <kind>`` known."""
    return _register(HOMES, model)


def register_store[T: StoreSettings](model: type[T]) -> type[T]:
    """Class decorator: make ``store.type: <kind>`` known."""
    return _register(STORES, model)


def register_journal_place[T: JournalPlaceSettings](model: type[T]) -> type[T]:
    """Class decorator: make ``journal.location.type: <kind>`` known."""
    return _register(JOURNAL_PLACES, model)


def _register[T: type[ConnectionSettings | HomeSettings | StoreSettings | JournalPlaceSettings]](
    registry: dict[str, Any], model: T
) -> T:
    known = registry.setdefault(model.kind, model)
    if (known.__module__, known.__qualname__) != (model.__module__, model.__qualname__):
        raise ConfigurationError(
            f"{model.__module__} and {known.__module__} both register the type {model.kind}",
            hint="Remove one of the two packages, or ask its author for another name.",
        )
    registry[model.kind] = model
    return model


def load_types() -> None:
    """Import the modules that register homes and stores: the built-in ones, then those of installed packages.

    A package names such a module in its entry points, in the group ``hygge_engine.types``. Raises ConfigurationError
    where such a module cannot be imported, or brings a type that another one has.
    """
    for module in _BUILT_IN:
        import_module(module)
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        package = entry_point.dist.name if entry_point.dist is not None else "an installed package"
        import_others(entry_point.load, f"{package} brings homes or stores in {entry_point.value}, which")


def import_others[T](load: Callable[[], T], what: str) -> T:
    """What ``load`` imports of an installed package.

    Raises ConfigurationError that begins with ``what``, whatever the package's code raises while it is imported.
    """
    try:
        return load()
    except HyggeError:
        raise
    except Exception as error:
        # The text of any other error may hold anything.
        is_telling = isinstance(error, ImportError | AttributeError | SyntaxError)
        reason = str(error) if is_telling else type(error).__name__
        raise ConfigurationError(
            f"{what} cannot be imported: {reason}",
            hint="Install what it lacks, or remove the package.",
        ) from error


def effective_run_type(run_type: RunType, incremental: bool | None) -> RunType:
    """What a store does for a flow's ``run_type`` and its own ``incremental``: append, or truncate and reload.

    ``incremental: true`` always appends, ``false`` always reloads, and without it the flow decides.
    """
    if incremental is None:
        return run_type
    return "incremental" if incremental else "full_drop"
