"""Which loads the API accepts: no more than the app can run, and none that already waits.

Loads of the schedule have places of their own: they are neither counted here nor refused.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid4

from hygge_engine.errors import InvalidRequest
from hygge_engine.orchestration.durable_status import DurableStatus, is_running, request_of
from hygge_engine.orchestration.lanes import LANE_PREFIX
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.orchestration.schedule import ID_PREFIX
from hygge_engine.plain_text import HAS, counted
from hygge_engine.web.door import Refused
from hygge_engine.web.loads import waits
from hygge_engine.web.responses import Response, problem

# How soon a caller should come again who was refused, in seconds: by then some load will have ended.
RETRY_SECONDS = 30

# How long a load that was started here is kept, in seconds: longer than any listing of loads takes.
REMEMBERED_SECONDS = 60.0

# Requests that are looked at together: each costs a listing, and the timer's function runs beside them.
ASKING_LIMIT = 40

# Bytes at the end of a load's id that identify the request. Its beginning, which people see where ids are shortened, is
# the load's own.
_DIGEST_BYTES = 6

# What two requests may differ in and still ask for the same.
_NO_PART = ("traceparent", "coordinator_run_id")


class ListingClient(Protocol):
    """What admission needs of the durable client of either SDK generation."""

    async def get_status(self, instance_id: str, *, show_input: bool = False) -> DurableStatus: ...

    async def get_status_by(self, *, runtime_status: Any) -> Sequence[DurableStatus]: ...


class Admitted(NamedTuple):
    """The id of a load, and whether it is still to be started: an identical one may wait already."""

    load_id: str
    is_new: bool


class Admission:
    """``running_statuses``: the SDK's words for orchestrations that have not ended. Belongs to one event loop; each
    process has its own, so that several of them may accept a few loads more. ``is_cancelled`` says whether a load was
    asked to stop; it may block."""

    def __init__(self, running_statuses: Sequence[Any], is_cancelled: Callable[[str, DurableStatus], bool]) -> None:
        self._statuses = list(running_statuses)
        self._is_cancelled = is_cancelled
        # Loads that this process has let in, and since when a listing shows them; None while they are being started.
        self._let_in: dict[str, float | None] = {}
        self._asking = 0
        # Held by a request with a key from its look at what is there until its load is there.
        self.one_key_at_a_time = asyncio.Lock()

    @contextmanager
    def door(self) -> Iterator[None]:
        """Around a request, from its first byte to its response. Raises Refused (429) where too many are under way."""
        if self._asking >= ASKING_LIMIT:
            raise Refused(
                _come_back(f"{self._asking} load requests are being processed; no more are accepted for now.")
            )
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    async def admit(self, request: LoadRequest, client: ListingClient, limit: int, key: str = "") -> Admitted:
        """Accept a load, while fewer than ``limit`` of them have not ended; the caller calls `started` afterwards.

        With an idempotency ``key`` the load is the one that an earlier request with this key has started. Raises
        Refused (429) where it is one too many, and (422) where the key was another request's.
        """
        if key and await self.is_known(key_id := id_of_key(key, request.principal), request, client):
            return Admitted(key_id, is_new=False)
        asked_at = time.monotonic()
        listed = await client.get_status_by(runtime_status=self._statuses)
        listed_ids = {str(status.instance_id) for status in listed if is_running(status)}
        running = {load_id for load_id in listed_ids if not load_id.startswith(LANE_PREFIX)}
        mark = _mark(request)
        for load_id in sorted(running) if not key else ():
            if load_id.endswith(mark) and await self._waits_for_the_same(load_id, request, client):
                return Admitted(load_id, is_new=False)
        # Between the count and the entry nothing else runs.
        unfinished = {load_id for load_id in running if not load_id.startswith(ID_PREFIX)}
        unfinished |= {load_id for load_id, since in self._let_in.items() if since is None or since >= asked_at}
        if len(unfinished) >= limit:
            raise Refused(
                _come_back(f"{counted(len(unfinished), 'load', verb=HAS)} not ended; no more are accepted for now.")
            )
        own = str(UUID(bytes=uuid4().bytes[:-_DIGEST_BYTES] + _digest(request), version=4))
        load_id = id_of_key(key, request.principal) if key else own
        self._let_in[load_id] = None
        return Admitted(load_id, is_new=True)

    async def is_known(self, load_id: str, request: LoadRequest, client: ListingClient) -> bool:
        """Whether a load has been started under the id of a key. Raises Refused where it was asked for otherwise."""
        status = await client.get_status(load_id, show_input=True)
        if not status:
            return False
        if _digest(LoadRequest.from_json(request_of(status))) != _digest(request):
            detail = "This Idempotency-Key has come with another request. Give each request a key of its own."
            raise Refused(problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, code=InvalidRequest.code))
        return True

    async def _waits_for_the_same(self, load_id: str, request: LoadRequest, client: ListingClient) -> bool:
        """Whether a load that asks for the same has not begun: it will read all that there is by now."""
        status = await client.get_status(load_id, show_input=True)
        if not status or not waits(status) or _digest(LoadRequest.from_json(request_of(status))) != _digest(request):
            return False
        return not await asyncio.to_thread(self._is_cancelled, load_id, status)

    def started(self, load_id: str) -> None:
        """A load that was let in has been started, or could not be: listings that are asked for from now on know."""
        now = time.monotonic()
        self._let_in[load_id] = now
        for known in [known for known, since in self._let_in.items() if since and since < now - REMEMBERED_SECONDS]:
            del self._let_in[known]


def id_of_key(key: str, principal: str) -> str:
    """The id of the load that a caller's idempotency key starts: the same in every process."""
    return str(UUID(bytes=hashlib.sha256(json.dumps([principal, key]).encode()).digest()[:16], version=4))


def _digest(request: LoadRequest) -> bytes:
    asked = {key: value for key, value in request.to_json().items() if key not in _NO_PART}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()[:_DIGEST_BYTES]


def _mark(request: LoadRequest) -> str:
    """What the ids of identical requests end with: the last group of a UUID."""
    return f"-{_digest(request).hex()}"


def _come_back(reason: str) -> Response:
    detail = f"{reason} Try again in {RETRY_SECONDS} seconds."
    response = problem(HTTPStatus.TOO_MANY_REQUESTS, detail, code="load.too_many")
    return Response(response.status, response.payload, {"Retry-After": str(RETRY_SECONDS)}, response.content_type)
