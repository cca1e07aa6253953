"""A project as the other packages see it: validated, merged, and unchangeable."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SerializeAsAny, StringConstraints, WithJsonSchema, model_validator

from hygge_engine.project.models.disk import DiskReach, LocalPaths
from hygge_engine.project.models.duration import Duration, at_least
from hygge_engine.project.models.expectations import ExpectationsSettings
from hygge_engine.project.models.polish import PolishSettings
from hygge_engine.project.models.schedule import check_schedule
from hygge_engine.project.models.settings import (
    CHANGE_DATA_CAPTURE,
    CHANGE_TRACKING,
    FILE_MODIFIED,
    HISTORY_SUFFIX,
    ConnectionSettings,
    History,
    HomeSettings,
    JournalPlaceSettings,
    Reload,
    RunType,
    Settings,
    StoreSettings,
    effective_run_type,
)

# Names become folders of a data lake and parts of an orchestration's id, which allow neither slashes nor `#` nor `?`.
_FLOW_NAME = re.compile(r"\w[\w-]*")
_ENTITY_NAME = re.compile(r"\w(?:[\w. $-]*[\w$-])?")
_NAME_LIMIT_CHARACTERS = 128  # SQL Server's own limit for an identifier.


# The shortest retention of runs: below it, Friday's failures would be gone on Monday.
MIN_RETENTION_SECONDS = 7 * 86_400.0

# The shortest time that histories of orchestrations are kept: longer than any load runs, and than any tick is missed.
MIN_HISTORY_RETENTION_SECONDS = 2 * 86_400.0


# The shortest time that versions of rows are kept that others have followed: a load looks for them once a day.
MIN_VERSION_SECONDS = 86_400.0

Retention = Annotated[Duration, at_least(MIN_VERSION_SECONDS), Field(ge=MIN_VERSION_SECONDS)]


def check_flow_name(name: str) -> str:
    """Return ``name`` if it can name a flow; raise ValueError otherwise."""
    if not _FLOW_NAME.fullmatch(name) or len(name) > _NAME_LIMIT_CHARACTERS:
        raise ValueError("a flow's name is letters, digits, '_' and '-' (128 at most)")
    return name


def check_entity_name(name: str) -> str:
    """Return ``name`` if it can name an entity; raise ValueError otherwise."""
    if not _ENTITY_NAME.fullmatch(name) or len(name) > _NAME_LIMIT_CHARACTERS:
        raise ValueError(
            "an entity's name is letters, digits, '_', '-', '$' and inner '.' and blanks, and begins with a letter, a "
            "digit or '_' (128 at most)"
        )
    return name


FlowName = Annotated[str, AfterValidator(check_flow_name)]
EntityName = Annotated[str, AfterValidator(check_entity_name)]
Schedule = Annotated[str, AfterValidator(check_schedule)]


# OneLake, Fabric's REST API and storage accounts, in Microsoft's clouds.
MICROSOFT_HOSTS = (
    "*.fabric.microsoft.com",
    "*.dfs.core.windows.net",
    "*.storage.azure.net",
    "*.dfs.core.usgovcloudapi.net",
    "*.dfs.core.chinacloudapi.cn",
)

# A host, or all hosts below one.
_HOST_PATTERN = r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$"


class Options(Settings):
    """``options``: how loads run. ``concurrency`` bounds the entities moved at once; ``slice_minutes`` the time that
    one activity works before it lets another carry on (below the platform's limit for a function, five minutes on the
    Consumption plan). ``history_retention`` (seconds, or text such as ``30d``) is how long the histories of
    orchestrations are kept after these were started. ``unfinished_loads`` bounds the loads that the API lets in before
    others have ended; those of the schedule are not counted. ``skip_idle`` ends tables that certainly have no news with
    the plan, all at once, instead of by an activity each.

    ``lake_hosts`` and ``local_paths`` bound what flows reach: the hosts that credentials of lakes are sent to
    (``*.example.com`` stands for all below it), and the directories of this machine: ``none``, those below the
    ``project``'s own, or ``anywhere``. This machine is always a host; without ``local_paths`` it is ``project``, and in
    Azure ``none``."""

    concurrency: int = Field(default=8, ge=1, le=256)
    slice_minutes: float = Field(default=4.0, gt=0)
    history_retention: Annotated[
        Duration, at_least(MIN_HISTORY_RETENTION_SECONDS), Field(ge=MIN_HISTORY_RETENTION_SECONDS)
    ] = 14 * 86_400.0
    # Fewer than a listing's page has with SDK 1.7, which is all that it gives.
    unfinished_loads: int = Field(default=32, ge=1, le=80)
    skip_idle: bool = True
    lake_hosts: tuple[Annotated[str, StringConstraints(pattern=_HOST_PATTERN)], ...] = MICROSOFT_HOSTS
    local_paths: LocalPaths | None = None


class JournalSettings(Settings):
    """``journal``: where runs are recorded, and for how long.

    ``location`` is ``store`` (beside the rows that land), ``home`` (beside those that are read), or a place of its own;
    a path in the files is a directory of this machine. ``retention`` (seconds, or text such as ``400d``) removes older
    loads from the journal. Loads are folded into the canonical file once there are ``fold_after_loads`` of them.
    """

    location: Annotated[
        str | SerializeAsAny[JournalPlaceSettings],
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}], "default": "store"}),
    ] = "store"
    retention: Annotated[Duration, at_least(MIN_RETENTION_SECONDS), Field(ge=MIN_RETENTION_SECONDS)] | None = None
    fold_after_loads: int = Field(default=64, ge=1, le=10_000)


class WatermarkSettings(Settings):
    """``watermark``: how an incremental load knows what is new.

    Rows are compared by ``column``, then ``primary_key``. ``lag`` (seconds, or text such as ``5m``) reads that much
    again before the last watermark, for rows that were committed late.

    With ``change_tracking: true`` the source itself lists what was inserted, updated and deleted; ``column`` and
    ``lag`` do not count then. ``cdc`` does the same by change data capture: ``true``, or the name of the one capture
    instance that counts. ``on_expired`` says what to do when the source no longer keeps all changes since the last
    load: ``fail``, or ``reload`` the table.

    ``on_backwards`` says what to do when the source's newest value is below what was loaded before: ``fail``,
    ``reload`` the table, or ``ignore`` it and wait for newer values. Values that lie further ahead of the source's own
    clock than ``max_ahead`` do not count as its newest.

    With ``file_modified: true`` whole files are new that were added or changed since the last load; ``column`` has no
    place beside it.
    """

    column: str = ""
    primary_key: str | None = None
    lag: Duration = 0.0
    change_tracking: bool = False
    cdc: bool | Annotated[str, Field(min_length=1, max_length=100)] = False
    on_expired: Literal["fail", "reload"] = "fail"
    file_modified: bool = False
    on_backwards: Literal["fail", "reload", "ignore"] = "fail"
    max_ahead: Duration = 86_400.0

    @property
    def cursor(self) -> str:
        """What a home is asked for."""
        if self.file_modified:
            return FILE_MODIFIED
        if self.cdc:
            return CHANGE_DATA_CAPTURE
        return CHANGE_TRACKING if self.change_tracking else self.column

    @property
    def lists_changes(self) -> bool:
        """Whether the source lists what has changed, instead of values that are compared."""
        return self.change_tracking or bool(self.cdc)

    @property
    def account(self) -> str:
        """What lists the changes, for people."""
        return "Change data capture" if self.cdc else "Change Tracking"

    @property
    def names_column(self) -> bool:
        """Whether ``column`` is what counts."""
        return not (self.lists_changes or self.file_modified)

    @property
    def lag_seconds(self) -> float:
        """How far before the last watermark reading begins again."""
        return 0.0 if self.lists_changes else self.lag

    @model_validator(mode="after")
    def _knows_what_is_new(self) -> Self:
        if not self.column and self.names_column:
            raise ValueError("expected `column`, or `change_tracking: true`, `cdc: true` or `file_modified: true`")
        if self.column and self.file_modified:
            raise ValueError(
                "expected one of `file_modified` and `column`: rows are new by their file or by a value "
                "(`column: null` takes an inherited one away)"
            )
        if self.change_tracking and self.file_modified:
            raise ValueError(
                "expected one of `change_tracking` and `file_modified`: a table has the one, files the other"
            )
        if self.cdc and (self.change_tracking or self.file_modified):
            other = "change_tracking" if self.change_tracking else "file_modified"
            raise ValueError(f"expected one of `cdc` and `{other}`: a load follows one account of changes")
        return self


class SchemaChangesSettings(Settings):
    """``schema_changes``: what an increment does when the source's columns are not those that have been landed.

    ``added``: ``evolve`` lands new columns, with NULL in the rows that have landed before, also where the source gave
    these a DEFAULT; ``freeze`` leaves them out, ``fail`` stops before the first row. ``removed``: ``evolve`` continues
    without them, so that rows from now on have NULL there. ``rebuild`` reloads the table, as a ``full_drop`` would. A
    renamed column counts as one removed and one added.
    """

    added: Literal["evolve", "rebuild", "freeze", "fail"] = "evolve"
    removed: Literal["evolve", "fail"] = "evolve"
    retyped: Literal["fail", "rebuild"] = "fail"


class DeletesSettings(Settings):
    """``deletes``: how increments learn of rows that the source has deleted, where nothing lists them.

    With ``compare`` the keys of all rows are read ``every`` so often (seconds, or text such as ``1d``) after an
    increment, and compared with what has landed; rows that are gone are deleted.

    With ``mark`` deleted rows stay as they were last known, however their deletes are known, and ``column`` has the
    time of the load that noticed.
    """

    compare: bool = False
    every: Duration = 86_400.0
    mark: bool = False
    column: str = Field(default="__deleted_at", min_length=1)


# The sections that an entity may do without, by name; each is inherited key by key.
OPTIONAL_SECTIONS: Mapping[str, type[Settings]] = {
    "watermark": WatermarkSettings,
    "deletes": DeletesSettings,
    "schema_changes": SchemaChangesSettings,
    "polish": PolishSettings,
    "expectations": ExpectationsSettings,
}


# The keys, by section, that may stand in its place where they are all that is set, and true.
SHORT_FORMS: Mapping[str, tuple[str, ...]] = {"deletes": ("compare", "mark")}


@dataclass(frozen=True)
class Entity:
    """One table of a flow, with everything it inherits. ``run_type`` is the flow's or its own, before the store's
    ``incremental`` overrides it; ``reload`` says how a full_drop makes the table anew. ``history_of`` names the entity
    of the flow whose versions of rows it lands, where it was made of that one's ``history``; those that others have
    followed are kept for ``history_retention`` (seconds; None: for ever). ``places`` says where each
    text of its settings stands (``file:line:column``), for errors that only the source can find; secrets are left
    out."""

    name: str
    flow: str
    run_type: RunType
    home: HomeSettings
    store: StoreSettings
    watermark: WatermarkSettings | None = None
    schema_changes: SchemaChangesSettings = field(default_factory=SchemaChangesSettings)
    polish: PolishSettings | None = None
    expectations: ExpectationsSettings | None = None
    reload: Reload = "drop"
    history: History = "none"
    history_of: str = ""
    history_retention: float | None = None
    deletes: DeletesSettings = field(default_factory=DeletesSettings)
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def id(self) -> str:
        """``flow.entity``, as the command line and the API name it."""
        return f"{self.flow}.{self.name}"

    @property
    def reads_as(self) -> Entity:
        """The entity as its home knows it: that of a history reads what the other one does."""
        return replace(self, name=self.history_of) if self.history_of else self

    def with_history(self, store: StoreSettings) -> Entity:
        """The entity beside this one that lands each version of its rows in ``store``.

        Its table is never made anew, so that no change of columns may ask for that. It compares keys by itself, as
        this one does; what is gone is a version, and nothing is marked.
        """
        changes = self.schema_changes
        kept = changes.model_copy(
            update={"added": "evolve" if changes.added == "rebuild" else changes.added, "retyped": "fail"}
        )
        return replace(
            self,
            name=f"{self.name}{HISTORY_SUFFIX}",
            store=store,
            schema_changes=kept,
            reload="difference",
            history="none",
            history_of=self.name,
            deletes=DeletesSettings(compare=self.deletes.compare, every=self.deletes.every),
        )

    def with_connections(self, count: int) -> Entity:
        """The entity for a slice with a number of connections to its source."""
        return replace(self, home=self.home.with_connections(count))

    @property
    def effective_run_type(self) -> RunType:
        """What the store will do: append, or truncate and reload."""
        return effective_run_type(self.run_type, self.store.incremental)

    def with_run_type(self, run_type: RunType) -> Entity:
        """The entity for a load whose run type was requested, which overrules the store's ``incremental`` as well."""
        return replace(self, run_type=run_type, store=self.store.model_copy(update={"incremental": None}))

    @property
    def connection(self) -> str:
        """The name of the connection that its home draws from; empty where it has none."""
        # By convention of `HomeSettings`, the key `connection` names one.
        return str(self.home.model_dump(include={"connection"}).get("connection") or "")

    @property
    def reload_command(self) -> str:
        """The command that reloads the table."""
        return f"hygge go --entity {self.id} --run-type full_drop"


@dataclass(frozen=True)
class Flow:
    """Entities that share a home, a store, a journal and a schedule (six-field NCRONTAB; None: at every tick)."""

    name: str
    schedule: str | None
    run_type: RunType
    entities: Mapping[str, Entity]
    journal: JournalSettings = field(default_factory=JournalSettings)


@dataclass(frozen=True)
class Project:
    """Everything that hygge.yml and flows/ say. Flows and entities keep the order of the files.

    ``journal`` is what hygge.yml says of it; each flow has its own, which inherits that.
    """

    name: str
    directory: Path
    connections: Mapping[str, ConnectionSettings]
    options: Options
    journal: JournalSettings
    flows: Mapping[str, Flow]

    @property
    def entities(self) -> list[Entity]:
        """All entities of all flows, in order."""
        return [entity for flow in self.flows.values() for entity in flow.entities.values()]

    def disk_reach(self, flow: str | None = None, *, ours: bool = True) -> DiskReach:
        """What a flow may touch of this machine's disk; None for what flows share. Homes may not read the engine's own
        files."""
        return DiskReach(self.directory, self.options.local_paths, flow, ours)

    def settings_hash(self) -> str:
        """SHA-256 (hexadecimal) of all settings. The same in every process and on every machine; a changed secret
        does not change it."""
        document = {
            "name": self.name,
            "connections": {name: dump_settings(value) for name, value in self.connections.items()},
            "options": dump_settings(self.options),
            "journal": dump_settings(self.journal),
            "flows": [
                {
                    "name": flow.name,
                    "schedule": flow.schedule,
                    "run_type": flow.run_type,
                    "journal": dump_settings(flow.journal),
                    "entities": [_dump_entity(entity) for entity in flow.entities.values()],
                }
                for flow in self.flows.values()
            ],
        }
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def dump_settings(settings: Settings) -> dict[str, Any]:
    """A JSON-serialisable mapping in which every secret that is set reads ``**********``."""
    return settings.model_dump(mode="json")


def _dump_entity(entity: Entity) -> dict[str, Any]:
    return {
        "name": entity.name,
        "run_type": entity.run_type,
        "home": dump_settings(entity.home),
        "store": dump_settings(entity.store),
        "watermark": dump_settings(entity.watermark) if entity.watermark else None,
        "schema_changes": dump_settings(entity.schema_changes),
        "polish": dump_settings(entity.polish) if entity.polish else None,
        "expectations": dump_settings(entity.expectations) if entity.expectations else None,
        # Left out as long as they are the defaults: loads that an earlier version has planned go on.
        **({"reload": entity.reload} if entity.reload != "drop" else {}),
        **({"history_of": entity.history_of, "kept": entity.history_retention} if entity.history_of else {}),
        **({"deletes": dump_settings(entity.deletes)} if entity.deletes != DeletesSettings() else {}),
    }
