"""What travels through the history of an orchestration, as JSON: the keys of each payload, and what they hold.

A request is `hygge_engine.orchestration.request.LoadRequest`, a slice's task is
`hygge_engine.flow.slices.SliceTask`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

from hygge_engine.statuses import RunStatus

if TYPE_CHECKING:
    from hygge_engine.flow.slices import SliceStatus


class RequestedLoad(TypedDict):
    """What a request says of every entity: the bounds of a window that is loaded again, without any of which the load
    is an ordinary one; and ``reload``, which overrules the settings."""

    window_from: NotRequired[str]
    window_to: NotRequired[str]
    reload: NotRequired[str]


class PlannedEntity(RequestedLoad):
    """One entity of a plan.

    ``connection`` is the one whose pool its activities draw from, empty where they need none; one activity takes
    ``connections_at_once`` of it, and ``connections_at_most`` where no other activity needs them. One that is ``apart``
    is not run by a lane, because it may be read in ranges.
    """

    flow: str
    entity: str
    entity_run_id: str
    run_type: str
    connection: NotRequired[str]
    connections_at_once: NotRequired[int]
    connections_at_most: NotRequired[int]
    apart: NotRequired[bool]


class BoardReference(TypedDict):
    """Where the plan of a load lies for its lanes: beside the journal of an entity, under a name of its own, with so
    many places ``per_shelf``."""

    flow: str
    entity: str
    name: str
    per_shelf: NotRequired[int]


class IdleTables(TypedDict):
    """The tables of a load that have ended with its plan, because they have no news (`idle`): how many, when they were
    looked at, and the rest as one text."""

    count: int
    started: str
    finished: str
    packed: str


class PackedPlan(TypedDict):
    """The entities of a plan without their names (`parcels`): the ids of their runs, of which kind each is, and what
    else the plan knows of each kind."""

    kinds: list[dict[str, Any]]
    kind_of: list[int]
    ids: list[str]


class Plan(TypedDict):
    """What ``plan_load`` returns: no secret, no data. ``pools`` are the sizes of connections' pools by name; with a
    ``board`` the load has lanes, with ``table_lanes`` a full history has lanes of one table, and where it
    ``shares`` its places ranges are read beside lanes. Where the entities are
    ``packed``, the board has their names, and takes the results (``parks``). ``idle`` tables are not among them."""

    status: Literal["planned"]
    settings_hash: str
    concurrency: int
    pools: dict[str, int]
    entities: list[PlannedEntity]
    board: NotRequired[BoardReference]
    table_lanes: NotRequired[bool]
    shares: NotRequired[bool]
    idle: NotRequired[IdleTables]
    packed: NotRequired[PackedPlan]
    parks: NotRequired[bool]


class SlicePayload(TypedDict, total=False):
    """What ``run_flow`` returns: ``status`` always, and the fields of a `SliceResult` that differ from their defaults.

    ``waiting``: it was not the slice's turn, and nothing has been done; ``not_before`` says when to try again.
    ``pool``: because all connections to its source are others'.
    """

    status: SliceStatus
    rows: int
    bytes: int
    files: int
    message: str
    error: str
    hint: str
    transient: bool
    retry_after_seconds: float | None
    not_before: str
    started: str
    finished: str
    primary_key: str
    watermark_column: str
    watermark_type: str
    watermark: str
    expectations: str
    reached: str
    begun_again: bool
    table_gone: bool | None
    busy: bool
    ranges: int
    ranges_left: str
    division: str
    rows_inserted: int | None
    rows_updated: int | None
    rows_deleted: int | None
    rows_unchanged: int | None
    waiting: bool
    pool: bool


class EntityPayload(SlicePayload):
    """The last result of an entity, by the plan's names; ``attempts`` counts its slices."""

    flow: str
    entity: str
    entity_run_id: str
    run_type: str
    attempts: int


class LaneResults(TypedDict):
    """What a lane returns. ``exhausted``: it found nothing more to take; ``cancelled``: it was told to stop. The
    results of one that takes entities have so many ``bytes``. ``deferred``: entity runs (`EntityRunState.to_json`) that
    a lane of one table gives back because they have to wait, each behind the time until when. ``divided``: how many
    slices had entities, by their ids, that another lane gives back because their tables are read in ranges."""

    results: list[EntityPayload]
    exhausted: bool
    cancelled: bool
    bytes: NotRequired[int]
    deferred: NotRequired[list[tuple[str, dict[str, Any]]]]
    divided: NotRequired[Mapping[str, int]]


class SummaryLine(TypedDict):
    """What has come of one entity, ``status`` in the journal's words."""

    flow: str
    entity: str
    status: str
    rows: int
    message: NotRequired[str]
    error: NotRequired[str]
    hint: NotRequired[str]
    expectations: NotRequired[str]
    rows_inserted: NotRequired[int]
    rows_updated: NotRequired[int]
    rows_deleted: NotRequired[int]
    rows_unchanged: NotRequired[int]


class Summary(TypedDict):
    """The output of a load that has ended. Times in ISO 8601, UTC; ``duration`` in seconds.

    ``status`` in the journal's words; ``success``, ``fail``, ``skip`` and ``cancel`` count entities; ``idle`` ones are
    among these, and have no line among the ``results``. ``journal`` is the result of ``settle_load``.
    """

    load_id: str
    status: RunStatus
    message: str
    error: str
    requested_by: str
    principal: str
    started: str
    finished: str
    duration: float
    rows: int
    entities: int
    success: int
    fail: int
    skip: int
    cancel: int
    results: list[SummaryLine]
    idle: NotRequired[IdleTables]
    results_in_journal: NotRequired[bool]
    journal: NotRequired[Mapping[str, Any]]


class SettleTask(TypedDict):
    """The input of ``settle_load``, which records a load. ``silent_journals`` are entities, by id, whose journals are
    known not to respond; ``attempt`` counts from 1. With a ``board`` the results have no names, and those of the first
    so many ``parcels`` are there."""

    summary: Summary
    request: Mapping[str, Any]
    results: list[EntityPayload]
    attempt: NotRequired[int]
    silent_journals: NotRequired[Sequence[str]]
    board: NotRequired[BoardReference]
    parcels: NotRequired[int]


class Settled(TypedDict):
    """A load is recorded: how many rows in how many journals. A ``message`` says what there is to do about these."""

    status: Literal["settled"]
    rows: int
    places: int
    message: NotRequired[str]


class NotSettled(TypedDict):
    """What kept a load from being recorded, all of it in ``message``."""

    status: Literal["failed"]
    error: str
    message: str
    transient: bool
    retry_after_seconds: float | None
