"""Payloads about one load: accepted, under way, ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from hygge_engine.orchestration.durable_status import (
    DurableStatus,
    custom_status_of,
    is_running,
    output_of,
    request_of,
)
from hygge_engine.orchestration.load import EARLIER_HISTORY
from hygge_engine.web.door import base_url, is_load_id
from hygge_engine.web.responses import Response, problem

# How soon a client should look again, in seconds: progress files are written every second.
POLL_SECONDS = 2


def links(load_id: str) -> dict[str, str]:
    """Where a load can be looked at and cancelled. No key is part of them."""
    status = f"{base_url()}/api/loads/{quote(load_id, safe='')}"
    return {"status_url": status, "cancel_url": f"{status}/cancel"}


def accepted(load_id: str) -> Response:
    """The response to a load that has been started."""
    urls = links(load_id)
    headers = {"Location": urls["status_url"], "Retry-After": str(POLL_SECONDS)}
    return Response(HTTPStatus.ACCEPTED, {"load_id": load_id, "state": "pending", **urls}, headers)


def cancelling(load_id: str) -> Response:
    """The response to a cancellation that the load will obey."""
    payload = {"load_id": load_id, "state": "cancelling", "status_url": links(load_id)["status_url"]}
    return Response(HTTPStatus.ACCEPTED, payload, {"Retry-After": str(POLL_SECONDS)})


def not_found(load_id: str) -> Response:
    """The response where neither the orchestrations nor the journal know a load."""
    detail = f"There is no load '{load_id}'." if is_load_id(load_id) else "No load has such an id."
    return problem(HTTPStatus.NOT_FOUND, detail, code="load.not_found")


def already_ended(load_id: str) -> Response:
    """The response to the cancellation of a load that has ended."""
    return problem(HTTPStatus.CONFLICT, f"Load '{load_id}' has ended already.", code="load.ended")


def settling(load_id: str) -> Response:
    """The response to the cancellation of a load that has nothing left to stop."""
    message = f"Load '{load_id}' is finishing: all of its tables have ended, and nothing is left to stop."
    return problem(HTTPStatus.CONFLICT, message, code="load.ended")


def can_stop(status: DurableStatus) -> bool:
    """Whether a load has tables that have not ended."""
    return is_running(status) and not is_settling(status)


def is_settling(status: DurableStatus) -> bool:
    """Whether all tables of a load have ended, so that their rows are being written to the journal, or are there."""
    return custom_status_of(status).get("phase") in ("settling", "settled")


def waits(status: DurableStatus) -> bool:
    """Whether a load has yet to look at its first table."""
    has_begun = EARLIER_HISTORY in request_of(status) or custom_status_of(status).get("phase") not in (None, "planning")
    return is_running(status) and not has_begun


def was_cancelled(status: DurableStatus) -> bool:
    """Whether a load has obeyed a cancellation."""
    return bool(custom_status_of(status).get("cancelled"))


def status_payload(
    load_id: str,
    status: DurableStatus,
    entities: Sequence[Mapping[str, Any]],
    next_url: str | None,
    added_up: Mapping[str, int] | None,
) -> dict[str, Any]:
    """A load as the orchestration knows it, with a page of its entities.

    ``added_up`` is what all of its entities come to; None where it has ended and has counted them itself. ``state`` is
    where the load stands; ``status`` is how it ended, in the journal's words, null before.
    """
    output = output_of(status)
    # A load knows by itself what has ended as soon as that has reached it, and of its lanes how many there are: its own
    # numbers are not those of the list.
    totals = {"cancelled": False, **custom_status_of(status), **(added_up or {})}
    state = totals.pop("phase", "pending")
    totals.pop("lanes", None)
    payload: dict[str, Any] = {
        "load_id": load_id,
        "state": state,
        "status": None,
        "created": _iso(status.created_time),
        "updated": _iso(status.last_updated_time),
        "request": _shown_request(request_of(status)),
        "totals": totals,
        "entities": entities,
        "next_url": next_url,
    }
    if output is not None:
        summary = {key: value for key, value in output.items() if key != "results"}
        if idle_tables := output.get("idle"):
            summary["idle"] = idle_tables["count"]
        payload |= {"state": "settled", "status": output["status"], "summary": summary}
    elif not is_running(status):
        # Only an intervention (a purge, `terminate`, a deployment that broke the orchestrator) ends a load like this.
        name = status.runtime_status.name if status.runtime_status else "unknown"
        payload |= {
            "state": "lost",
            "status": "fail",
            "message": f"The orchestration ended as {name} without finishing; the next load continues from here.",
        }
    return payload


def _shown_request(request: Mapping[str, Any]) -> dict[str, Any]:
    return {key: request.get(key) for key in ("flows", "entities", "run_type", "reload", "requested_by", "principal")}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
