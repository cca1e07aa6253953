"""The HTTP API without HTTP: each method serves one route, for any web framework and both durable SDK generations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import wraps
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from hygge_engine import __version__
from hygge_engine.errors import ConfigurationError, HyggeError, UnknownSelection
from hygge_engine.masking import masked_in
from hygge_engine.orchestration.durable_status import DurableStatus, is_running, output_of, request_of
from hygge_engine.orchestration.idle import lines_of
from hygge_engine.orchestration.request import (
    REQUESTED_BY_LIMIT_CHARACTERS,
    LoadRequest,
    parse_request,
    usable_traceparent,
)
from hygge_engine.orchestration.stop_signals import CANCEL_EVENT
from hygge_engine.orchestration.verdict import UNEXPECTED
from hygge_engine.plain_text import shortened
from hygge_engine.telemetry import in_trace_of
from hygge_engine.web.admission import Admission
from hygge_engine.web.door import Refused, decode_body, is_load_id, is_text, key_in
from hygge_engine.web.loads import (
    accepted,
    already_ended,
    can_stop,
    cancelling,
    is_settling,
    not_found,
    settling,
    status_payload,
    was_cancelled,
)
from hygge_engine.web.pages import RUNS_DEFAULT, Page
from hygge_engine.web.responses import Response, problem, problem_of
from hygge_engine.web.under_way import STATUSES, Line, lines_under_way, name_of

if TYPE_CHECKING:
    from hygge_engine.journal import Journals
    from hygge_engine.orchestration.places import JournalPlace
    from hygge_engine.project.models.project import Entity, Project

_log = logging.getLogger(__name__)

# How long a caller waits, in seconds, until the sources have said whether they can use a window; and how many requests
# with windows ask at once.
WINDOW_SECONDS = 20.0
WINDOWS_AT_ONCE = 4


class DurableClient(Protocol):
    """What the API needs of the durable client."""

    async def start_new(self, orchestration_function_name: str, instance_id: str, client_input: Any) -> Any: ...

    async def get_status(self, instance_id: str, *, show_input: bool = False) -> DurableStatus: ...

    async def get_status_by(self, *, runtime_status: Any) -> Sequence[DurableStatus]: ...

    async def raise_event(self, instance_id: str, event_name: str, event_data: Any = None) -> None: ...


def _responds[**P](route: Callable[P, Response]) -> Callable[P, Response]:
    """The route, which responds also to an unexpected error."""

    @wraps(route)
    def respond(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return route(*args, **kwargs)
        except Refused as refused:
            return refused.response
        except Exception:  # noqa: BLE001 - the last line before the host, whose own response would be empty
            return _unexpected()

    return respond


def _responds_later[**P](
    route: Callable[P, Coroutine[Any, Any, Response]],
) -> Callable[P, Coroutine[Any, Any, Response]]:
    """The same for a route that waits."""

    @wraps(route)
    async def respond(*args: P.args, **kwargs: P.kwargs) -> Response:
        try:
            return await route(*args, **kwargs)
        except Refused as refused:
            return refused.response
        except Exception:  # noqa: BLE001 - as above
            return _unexpected()

    return respond


def _unexpected() -> Response:
    _log.exception("A request failed unexpectedly.")
    detail = "Unexpected error. The app's log says more."
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail, code=UNEXPECTED)


class Api:
    """The routes below ``/api``. Failures are responses, never exceptions."""

    def __init__(self, open_project: Callable[[], Project], running_statuses: Sequence[Any] = ()) -> None:
        self._open_project = open_project
        self._admission = Admission(running_statuses, self._is_cancelled)
        # Threads of their own: those that everybody shares, the timer too, must not all wait for one source.
        self._asking_sources = ThreadPoolExecutor(WINDOWS_AT_ONCE, thread_name_prefix="window")

    @_responds_later
    async def start_load(
        self,
        body: bytes,
        client: DurableClient,
        *,
        requested_by: str,
        principal: str = "",
        content_type: str = "",
        traceparent: str = "",
        idempotency_key: str | None = None,
    ) -> Response:
        """``POST /api/loads``. ``content_type``, ``traceparent`` and ``idempotency_key``: the caller's headers of these
        names; ``requested_by`` counts where the body has none, ``principal`` is whom the platform has authenticated."""
        key = key_in(idempotency_key)
        given = (requested_by, principal, content_type, traceparent, key)
        with self._admission.door():
            return await self._start_load(body, client, *given)

    async def _start_load(
        self,
        body: bytes,
        client: DurableClient,
        requested_by: str,
        principal: str,
        content_type: str,
        traceparent: str,
        key: str,
    ) -> Response:
        try:
            decoded = decode_body(body, content_type)
            request, entities = await asyncio.to_thread(self._validate, decoded, requested_by)
            if request.is_backfill:
                await self._check_window(request, entities)
            who = masked_in({"requested_by": request.requested_by, "principal": principal})
            request = replace(request, **{key: name[:REQUESTED_BY_LIMIT_CHARACTERS] for key, name in who.items()})
            limit = (await asyncio.to_thread(self._open_project)).options.unfinished_loads
        except UnknownSelection as error:
            return await asyncio.to_thread(self._unknown, error, decoded)
        except HyggeError as error:
            return problem_of(error)
        # Requests with keys take turns once no source is asked any more, which may take long.
        async with self._admission.one_key_at_a_time if key else nullcontext():
            load_id, is_new = await self._admission.admit(request, client, limit, key)
            if is_new:
                await self._begin(load_id, replace(request, traceparent=usable_traceparent(traceparent)), client, key)
        return accepted(load_id)

    async def _begin(self, load_id: str, request: LoadRequest, client: DurableClient, key: str) -> None:
        try:
            with in_trace_of(load_id):
                await client.start_new("load", load_id, request.to_json())
        except Exception:
            # Another instance may have started the load of this key meanwhile: the SDK has one error for all.
            if not key or not await self._admission.is_known(load_id, request, client):
                raise
        finally:
            self._admission.started(load_id)

    @_responds_later
    async def load_status(
        self,
        load_id: str,
        client: DurableClient,
        *,
        limit: str | None = None,
        after: str | None = None,
        status: str | None = None,
    ) -> Response:
        """``GET /api/loads/{id}?limit=&after=&status=``."""
        if not is_load_id(load_id):
            return not_found(load_id)
        page, wanted = Page.requested(limit, after), _status_requested(status)
        found = await client.get_status(load_id, show_input=True)
        try:
            payload = await asyncio.to_thread(self._describe, load_id, found, page, wanted)
        except HyggeError as error:
            return problem_of(error)
        return not_found(load_id) if payload is None else Response(HTTPStatus.OK, payload)

    @_responds_later
    async def cancel_load(self, load_id: str, client: DurableClient) -> Response:
        """``POST /api/loads/{id}/cancel``: the event stops new slices, the marker those that run."""
        if not is_load_id(load_id):
            return not_found(load_id)
        status = await client.get_status(load_id, show_input=True)
        if not status:
            return not_found(load_id)
        if can_stop(status):
            try:
                await client.raise_event(load_id, CANCEL_EVENT, {})
            except Exception:  # the SDK has nothing more telling where the load has ended since
                if can_stop(await client.get_status(load_id, show_input=True)):
                    raise
            try:
                await asyncio.to_thread(self._mark_cancelled, load_id, status)
            except HyggeError as error:
                # The event is on its way: no new slice begins, and the running ones end by themselves within minutes.
                response = cancelling(load_id)
                return Response(response.status, {**response.payload, "message": str(error)}, response.headers)
            status = await client.get_status(load_id, show_input=True)
            if can_stop(status):
                return cancelling(load_id)
            # The load may have cleared its files before the marker was among them.
            await asyncio.to_thread(self._forget_marker, load_id, status)
        if is_running(status):
            return cancelling(load_id) if was_cancelled(status) else settling(load_id)
        return already_ended(load_id)

    @_responds
    def flows(self, limit: str | None = None, after: str | None = None) -> Response:
        """``GET /api/flows?limit=&after=``."""
        from hygge_engine.web.listings import flows_payload

        page = Page.requested(limit, after)
        return self._with_project(lambda project: Response(HTTPStatus.OK, flows_payload(project, page)))

    @_responds
    def runs(self, limit: str | None, flow: str | None, by: str | None = None, after: str | None = None) -> Response:
        """``GET /api/runs?limit=&flow=&by=&after=``."""
        from hygge_engine.journal.summaries import LEVELS
        from hygge_engine.web.listings import runs_payload

        level = next((level for level in LEVELS if level == (by or "load")), None)
        if level is None:
            return problem(HTTPStatus.BAD_REQUEST, f"'by' must be one of {', '.join(LEVELS)}.")
        page = Page.requested(limit, after, RUNS_DEFAULT)
        if flow is not None and not is_text(flow):
            return problem(HTTPStatus.BAD_REQUEST, "'flow' is not a name.")
        return self._with_project(
            lambda project: Response(HTTPStatus.OK, runs_payload(_journals(project), level, page, flow or None))
        )

    @_responds
    def run(
        self, load_id: str, limit: str | None = None, after: str | None = None, status: str | None = None
    ) -> Response:
        """``GET /api/runs/{coordinator_run_id}?limit=&after=&status=``."""
        if not is_load_id(load_id):
            return not_found(load_id)
        from hygge_engine.web.listings import run_payload

        page, wanted = Page.requested(limit, after), _status_requested(status)

        def respond(project: Project) -> Response:
            payload = run_payload(_journals(project), load_id, page, wanted, f"/api/runs/{load_id}")
            return not_found(load_id) if payload is None else Response(HTTPStatus.OK, payload)

        return self._with_project(respond)

    @_responds
    def health(self) -> Response:
        """``GET /api/health``: open to everybody, so it counts and names nothing."""
        try:
            project = self._open_project()
        except ConfigurationError as error:
            payload = {"status": "unhealthy", "version": __version__, "problems": max(1, len(error.problems))}
            return Response(HTTPStatus.SERVICE_UNAVAILABLE, payload)
        return Response(HTTPStatus.OK, {"status": "healthy", "version": __version__, "flows": len(project.flows)})

    @_responds
    def openapi(self) -> Response:
        """``GET /api/openapi.json``: the contract of all routes."""
        from hygge_engine.web.contract import document

        return Response(HTTPStatus.OK, document())

    def _with_project(self, work: Callable[[Project], Response]) -> Response:
        try:
            return work(self._open_project())
        except HyggeError as error:
            return problem_of(error)

    def _validate(self, body: Any, requested_by: str) -> tuple[LoadRequest, list[Entity]]:
        request = parse_request(body, requested_by=requested_by)
        return request, self._select(request)

    async def _check_window(self, request: LoadRequest, entities: list[Entity]) -> None:
        """Raises BoundUnusable where a source says in time that a bound is none: later than that, the load does."""

        def check() -> None:
            from hygge_engine.flow.bounds import check_window

            check_window(self._open_project(), entities, request.window_from, request.window_to)

        asked = asyncio.get_running_loop().run_in_executor(self._asking_sources, check)
        try:
            await asyncio.wait_for(asked, WINDOW_SECONDS)
        except TimeoutError:
            _log.warning(
                "Whether the window fits is not known yet: no source has responded within %g s.", WINDOW_SECONDS
            )

    def _select(self, request: LoadRequest) -> list[Entity]:
        from hygge_engine.project.selection import select

        return select(
            self._open_project(),
            request.flows,
            request.entities,
            request.run_type,
            backfill=request.is_backfill,
            reload=request.reload,
        )

    def _unknown(self, error: UnknownSelection, body: Any) -> Response:
        from hygge_engine.project.selection import UNKNOWN_LIMIT
        from hygge_engine.project.telling.problems import nearest

        known = self._open_project().flows
        asked = parse_request(body, requested_by="").flows
        missing = [name for name in asked if name not in known][:UNKNOWN_LIMIT]
        unknown = [{"flow": shortened(name), "nearest": nearest(shortened(name), known)} for name in missing]
        return problem(HTTPStatus.NOT_FOUND, str(error), code=error.code, unknown_flows=unknown)

    def _describe(self, load_id: str, status: DurableStatus, page: Page, wanted: str | None) -> dict[str, Any] | None:
        route = f"/api/loads/{load_id}"
        if not status:
            # Its orchestration may have been purged; the journal has it.
            from hygge_engine.web.listings import run_payload

            payload = run_payload(_journals(self._open_project()), load_id, page, wanted, route)
            return None if payload is None else {"load_id": load_id, "state": "settled", **payload}
        if (output := output_of(status)) is not None:
            lines_of_all = [*output["results"], *lines_of(output)]
            if output.get("results_in_journal"):
                lines_of_all = [*self._recorded(load_id).values()]
            ended = [line for line in lines_of_all if wanted in (None, line["status"])]
            lines, after = page.by_name(ended, name_of)
            added_up: dict[str, int] | None = None
        else:
            entities = self._entities_of(status)
            journals = [place.progress for place in self._places_of(entities)]
            names = [(entity.flow, entity.name) for entity in entities]
            recorded = self._recorded(load_id) if is_settling(status) else {}
            lines, after, added_up = lines_under_way(load_id, names, journals, page, wanted, recorded)
        return status_payload(load_id, status, lines, page.next_url(route, after, status=wanted), added_up)

    def _recorded(self, load_id: str) -> dict[str, Line]:
        """What the journals have of a load that is settling."""
        from hygge_engine.web.listings import recorded_lines

        return recorded_lines(_journals(self._open_project()), load_id)

    def _is_cancelled(self, load_id: str, status: DurableStatus) -> bool:
        """Whether a load was asked to stop, or that is unknown."""
        try:
            return any(place.progress.is_cancelled(load_id) for place in self._places_of(self._entities_of(status)))
        except HyggeError:
            return True

    def _mark_cancelled(self, load_id: str, status: DurableStatus) -> None:
        for place in self._places_of(self._entities_of(status)):
            place.progress.request_cancel(load_id)

    def _forget_marker(self, load_id: str, status: DurableStatus) -> None:
        try:
            for place in self._places_of(self._entities_of(status)):
                place.progress.clear(load_id)
        except HyggeError as error:
            _log.warning("The marker that was to stop load %s stays until it is swept: %s", load_id, error)

    def _places_of(self, entities: list[Entity]) -> list[JournalPlace]:
        from hygge_engine.orchestration.places import places_of

        return list(places_of(self._open_project(), entities).values())

    def _entities_of(self, status: DurableStatus) -> list[Entity]:
        """What a running load was asked to move; all entities if the project no longer knows."""
        try:
            return self._select(LoadRequest.from_json(request_of(status)))
        except UnknownSelection:
            return self._open_project().entities


def _status_requested(text: str | None) -> str | None:
    """The status that a request asks for. Raises Refused."""
    if text is not None and text not in STATUSES:
        raise Refused(problem(HTTPStatus.BAD_REQUEST, f"'status' must be one of {', '.join(STATUSES)}."))
    return text


def _journals(project: Project) -> Journals:
    from hygge_engine.orchestration.places import journals_of

    return journals_of(project)
