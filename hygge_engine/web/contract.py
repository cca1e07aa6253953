"""What the API takes and returns, as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from pydantic import Field, TypeAdapter

from hygge_engine import __version__
from hygge_engine.journal.summaries import LEVELS
from hygge_engine.orchestration.request import RELOADS, REQUESTED_BY_LIMIT_CHARACTERS, RUN_TYPES
from hygge_engine.statuses import RunStatus
from hygge_engine.web.door import BODY_LIMIT_BYTES, KEY_LIMIT_CHARACTERS, LOAD_ID
from hygge_engine.web.pages import PAGE_DEFAULT, PAGE_LIMIT, RUNS_DEFAULT
from hygge_engine.web.responses import JSON, PROBLEM_JSON
from hygge_engine.web.under_way import STATUSES

Time = Annotated[str, Field(description="ISO 8601, UTC", examples=["2026-03-01T06:00:00+00:00"])]
NextUrl = Annotated[str | None, Field(description="Where the next page is; null on the last one.")]
EntityStatus = Annotated[str, Field(json_schema_extra={"enum": list(STATUSES)})]
RunType = Annotated[str, Field(json_schema_extra={"enum": list(RUN_TYPES)})]
Reload = Annotated[str, Field(json_schema_extra={"enum": list(RELOADS)})]


Bound = str | int
Window = TypedDict("Window", {"from": Bound, "to": Bound}, total=False)
Window.__doc__ = "Bounds of the watermark, both inclusive; one of them may be left out."


class LoadRequested(TypedDict, total=False):
    """What to load; everything where nothing is said."""

    flows: list[str] | None
    entities: Annotated[list[str] | None, Field(description="Names within the chosen flows, or flow.entity.")]
    run_type: RunType | None
    reload: Reload | None
    requested_by: Annotated[str, Field(max_length=REQUESTED_BY_LIMIT_CHARACTERS)]
    window: Window | None


class Accepted(TypedDict):
    """A load that has been started, or that waits and will do the same."""

    load_id: str
    state: Literal["pending"]
    status_url: str
    cancel_url: str


class Cancelling(TypedDict):
    """A load that stops at its last commits. A ``message`` says what will take longer."""

    load_id: str
    state: Literal["cancelling"]
    status_url: str
    message: NotRequired[str]


class Counted(TypedDict):
    """Rows by what they were to the table, as far as that is known."""

    rows_inserted: NotRequired[int | None]
    rows_updated: NotRequired[int | None]
    rows_deleted: NotRequired[int | None]
    rows_unchanged: NotRequired[int | None]


class EntityLine(Counted):
    """An entity of a load: under way, or ended. ``rows`` have been read so far."""

    flow: str
    entity: str
    status: EntityStatus
    rows: int
    bytes: NotRequired[int]
    updated: NotRequired[Time]
    message: NotRequired[str]
    error: NotRequired[str]
    hint: NotRequired[str]
    expectations: NotRequired[str]
    ranges: NotRequired[int]
    ranges_read: NotRequired[int]


class Totals(TypedDict, total=False):
    """How many entities there are in all, and of each status; ``rows`` are those of entities that have ended."""

    entities: int
    rows: int
    cancelled: bool
    idle: int
    success: int
    fail: int
    skip: int
    cancel: int
    running: int
    waiting: int
    pending: int


class RequestShown(TypedDict):
    """What was asked for, and by whom."""

    flows: list[str] | None
    entities: list[str] | None
    run_type: RunType | None
    reload: Reload | None
    requested_by: str | None
    principal: str | None


class LoadStatus(TypedDict):
    """Where a load stands; ``status`` is how it ended, null before."""

    load_id: str
    state: Literal["pending", "planning", "loading", "settling", "settled", "lost"]
    status: RunStatus | None
    created: Time | None
    updated: Time | None
    request: RequestShown
    totals: Totals
    entities: list[EntityLine]
    next_url: NextUrl
    summary: NotRequired[Annotated[dict[str, Any], Field(description="The rest of what a load returns.")]]
    message: NotRequired[str]


class AddedUp(Counted):
    """What entity runs come to, in the journal; ``duration`` in seconds."""

    started: Time | None
    finished: Time | None
    status: str | None
    succeeded: int
    failed: int
    skipped: int
    cancelled: int
    rows: int
    bytes: int
    duration: float | None
    message: str | None


class LoadRun(AddedUp):
    """A load, as the journal has it. ``status`` is the gravest of its entities'."""

    coordinator_run_id: str
    coordinator: str | None
    entities: int
    requested_by: str | None
    run_type: str | None
    principal: str | None


class FlowRuns(AddedUp):
    """How a flow, or an entity, has come along; ``status`` is that of its newest run, ``duration`` is of all."""

    flow: str
    entity: NotRequired[str | None]
    runs: int
    succeeded_at: Time | None


class EntityRun(Counted):
    """A row of the journal (docs/journal.md); ``duration`` in seconds."""

    entity_run_id: str | None
    coordinator_run_id: str
    flow_run_id: str | None
    coordinator: str | None
    flow: str | None
    entity: str | None
    start_time: str | None
    finish_time: str | None
    status: str | None
    run_type: str | None
    row_count: int | None
    duration: float | None
    primary_key: str | None
    watermark_column: str | None
    watermark_type: str | None
    watermark: str | None
    message: str | None
    schema_version: str | None
    bytes: int | None
    files: int | None
    error: str | None
    attempts: int | None
    requested_by: str | None
    expectations: str | None
    principal: str | None


class Runs(TypedDict):
    """A page of the journal: loads, or flows or entities."""

    runs: list[LoadRun] | list[FlowRuns]
    next_url: NextUrl


class Run(LoadRun):
    """A load of the journal with a page of its entity runs."""

    entity_runs: list[EntityRun]
    next_url: NextUrl


class RecordedLoad(Run):
    """A load whose orchestration has been purged, from the journal."""

    load_id: str
    state: Literal["settled"]


class FlowEntity(TypedDict):
    """What a flow moves."""

    name: str
    run_type: RunType
    home: str
    store: str
    connection: str | None
    watermark: str | None


class Flow(TypedDict):
    """A flow with its entities on this page."""

    name: str
    schedule: str | None
    run_type: RunType
    entities: list[FlowEntity]


class Flows(TypedDict):
    """What the project can load."""

    project: str
    flows: list[Flow]
    next_url: NextUrl


class Healthy(TypedDict):
    """The app can read its project."""

    status: Literal["healthy"]
    version: str
    flows: int


class Unhealthy(TypedDict):
    """The app cannot read its project."""

    status: Literal["unhealthy"]
    version: str
    problems: int


class UnknownFlow(TypedDict):
    """A flow that the project does not have, and the one that is called most alike."""

    flow: str
    nearest: str | None


class Problem(TypedDict):
    """A failed request (RFC 9457); ``code`` names its page in docs/errors/."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str
    code: NotRequired[str]
    problems: NotRequired[list[str]]
    problem_count: NotRequired[int]
    unknown_flows: NotRequired[list[UnknownFlow]]


def _query(name: str, schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": dict(schema), "description": description}


def _limit(default: int) -> dict[str, Any]:
    bounds = {"type": "integer", "minimum": 1, "maximum": PAGE_LIMIT, "default": default}
    return _query("limit", bounds, "Lines of a page.")


_AFTER = _query(
    "after",
    {"type": "string", "minLength": 1},
    "The line that the page comes after, as next_url has it; where that cannot be one, the response is a 400.",
)
_STATUS = _query("status", {"enum": list(STATUSES)}, "Only entities with this status.")
_LOAD = {"in": "path", "required": True, "schema": {"type": "string", "pattern": f"^{LOAD_ID}$"}}


@dataclass(frozen=True)
class Route:
    """One operation: what it returns by status, beside problems with those of ``refusals``."""

    method: Literal["get", "post"]
    path: str
    summary: str
    returns: Mapping[HTTPStatus, Any]
    refusals: Sequence[HTTPStatus] = ()
    parameters: Sequence[Mapping[str, Any]] = ()
    takes: Any = None
    is_open: bool = False


_UNEXPECTED = HTTPStatus.INTERNAL_SERVER_ERROR
_FAILS = (_UNEXPECTED, HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE)
_REFUSES = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)

ROUTES = (
    Route(
        "post",
        "/loads",
        "Start a load",
        {HTTPStatus.ACCEPTED: Accepted},
        (
            *_REFUSES,
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.TOO_MANY_REQUESTS,
        ),
        [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "minLength": 1, "maxLength": KEY_LIMIT_CHARACTERS, "pattern": "^[!-~]+$"},
                "description": "Requests with one key start one load.",
            }
        ],
        takes=LoadRequested,
    ),
    Route(
        "get",
        "/loads/{load_id}",
        "Where a load stands",
        {HTTPStatus.OK: LoadStatus | RecordedLoad},
        _REFUSES,
        [{"name": "load_id", **_LOAD}, _limit(PAGE_DEFAULT), _AFTER, _STATUS],
    ),
    Route(
        "post",
        "/loads/{load_id}/cancel",
        "Stop a load at its last commits",
        {HTTPStatus.ACCEPTED: Cancelling},
        (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT),
        [{"name": "load_id", **_LOAD}],
    ),
    Route(
        "get",
        "/flows",
        "What the project can load",
        {HTTPStatus.OK: Flows},
        (HTTPStatus.BAD_REQUEST,),
        [_limit(PAGE_DEFAULT), _AFTER],
    ),
    Route(
        "get",
        "/runs",
        "The newest loads, or how each flow or entity has come along, from the journal",
        {HTTPStatus.OK: Runs},
        (HTTPStatus.BAD_REQUEST,),
        [
            _limit(RUNS_DEFAULT),
            _AFTER,
            _query("flow", {"type": "string"}, "Only runs of this flow, a name without control characters."),
            _query("by", {"enum": list(LEVELS), "default": LEVELS[0]}, "What a line is about."),
        ],
    ),
    Route(
        "get",
        "/runs/{coordinator_run_id}",
        "One load with its entity runs, from the journal",
        {HTTPStatus.OK: Run},
        _REFUSES,
        [{"name": "coordinator_run_id", **_LOAD}, _limit(PAGE_DEFAULT), _AFTER, _STATUS],
    ),
    Route(
        "get",
        "/health",
        "Whether the app can read its project",
        {HTTPStatus.OK: Healthy, HTTPStatus.SERVICE_UNAVAILABLE: Unhealthy},
        is_open=True,
    ),
    Route("get", "/openapi.json", "This document", {HTTPStatus.OK: dict[str, Any]}),
)


@cache
def document() -> dict[str, Any]:
    """The contract of this version of the API. Not to be changed: it is made once."""
    kinds = [kind for route in ROUTES for kind in (*route.returns.values(), route.takes) if kind is not None]
    schemas = TypeAdapter.json_schemas(
        [(kind, "validation", TypeAdapter(kind)) for kind in (*kinds, Problem)],
        ref_template="#/components/schemas/{model}",
    )
    of_kind, shared = {kind: schema for (kind, _), schema in schemas[0].items()}, schemas[1]["$defs"]
    # What is sent may have no other keys; what is returned may get more with a later version.
    shared["Window"] |= {"minProperties": 1, "additionalProperties": False}
    shared["LoadRequested"]["additionalProperties"] = False
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(f"/api{route.path}", {})[route.method] = _operation(route, of_kind)
    return {
        "openapi": "3.1.0",
        "info": {"title": "hygge-engine", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"}},
        "servers": [{"url": "/"}],
        "security": [{"key": []}, {"code": []}],
        "paths": paths,
        "components": {
            "schemas": shared,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "x-functions-key"},
                "code": {"type": "apiKey", "in": "query", "name": "code"},
            },
        },
    }


def _operation(route: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    responses = {
        str(int(status)): {"description": status.phrase, "content": {JSON: {"schema": schemas[kind]}}}
        for status, kind in route.returns.items()
    }
    for status in (*route.refusals, *((_UNEXPECTED,) if route.is_open else _FAILS)):
        content = {PROBLEM_JSON: {"schema": schemas[Problem]}}
        responses.setdefault(str(int(status)), {"description": status.phrase, "content": content})
    if not route.is_open:
        responses["401"] = {"description": "No function key, or a wrong one. The Functions host says so."}
    operation: dict[str, Any] = {"summary": route.summary, "responses": dict(sorted(responses.items()))}
    if route.parameters:
        operation["parameters"] = list(route.parameters)
    if route.takes is not None:
        description = f"At most {BODY_LIMIT_BYTES:,} bytes, in UTF-8."
        content = {JSON: {"schema": schemas[route.takes]}}
        operation["requestBody"] = {"description": description, "required": False, "content": content}
    if route.is_open:
        operation["security"] = []
    return operation
