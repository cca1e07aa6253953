"""What travels through the history of an orchestration, as JSON: the keys of each payload, and what they hold.

A request is `hygge_engine.orchestration.request.LoadRequest`, a slice's task and its answer are
`hygge_engine.flow.slices.SliceTask` and `SliceResult`.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict


class BackfillBounds(TypedDict):
    """The bounds of a window that is loaded again, as they were asked for; without any the load is an ordinary one."""

    window_from: NotRequired[str]
    window_to: NotRequired[str]


class PlannedEntity(BackfillBounds):
    """One entity of a plan.

    ``connection`` is the one whose pool its activities draw from, empty where they need none; one activity takes
    ``connections_at_once`` of it, and ``connections_at_most`` where nobody else wants them.
    """

    flow: str
    entity: str
    entity_run_id: str
    run_type: str
    connection: NotRequired[str]
    connections_at_once: NotRequired[int]
    connections_at_most: NotRequired[int]


class Plan(TypedDict):
    """What ``plan_load`` answers: no secret, no data. ``pools`` are the sizes of connections' pools by name."""

    status: Literal["planned"]
    settings_hash: str
    concurrency: int
    pools: dict[str, int]
    entities: list[PlannedEntity]


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


class Summary(TypedDict):
    """The output of a load that has ended. Times in ISO 8601, UTC; ``duration`` in seconds.

    ``status`` in the journal's words; ``success``, ``fail``, ``skip`` and ``cancel`` count entities. ``journal`` is the
    answer of ``settle_load``.
    """

    load_id: str
    status: str
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
    journal: NotRequired[dict[str, Any]]
