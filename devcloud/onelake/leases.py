"""Leases on files: acquire, renew, change, release, break, and what they ask of other operations."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Literal

from devcloud.onelake.errors import ServiceError
from devcloud.onelake.exchange import Response
from devcloud.onelake.records import Value
from devcloud.onelake.tree import Tree

type State = Literal["available", "leased", "breaking", "broken", "expired"]

_NANOSECONDS = 1_000_000_000


class Leases:
    """The lease of each path, as recorded beside the tree. A duration of -1 never ends; others are 15 to 60 seconds."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def state(self, key: str) -> State:
        """The state of the lease on a path now."""
        return self._state(self._tree.records.get(key, "lease"))

    def _state(self, lease: Value | None) -> State:
        if lease is None:
            return "available"
        now = self._tree.clock.now_ns()
        if lease["breaks_at"] is not None:
            return "breaking" if now < lease["breaks_at"] else "broken"
        if lease["expires_at"] is not None and now >= lease["expires_at"]:
            return "expired"
        return "leased"

    def headers(self, key: str) -> dict[str, str]:
        """The lease headers of a read."""
        state = self.state(key)
        locked = state in ("leased", "breaking")
        headers = {"x-ms-lease-state": state, "x-ms-lease-status": "locked" if locked else "unlocked"}
        lease = self._tree.records.get(key, "lease")
        if state == "leased" and lease is not None:
            headers["x-ms-lease-duration"] = "infinite" if lease["duration"] == -1 else "fixed"
        return headers

    def check(self, key: str, lease_id: str | None, *, writing: bool = True) -> None:
        """May an operation with this lease id continue? Raises the three 412 codes that the service distinguishes."""
        lease = self._tree.records.get(key, "lease")
        locked = self._state(lease) in ("leased", "breaking")
        if not lease_id:
            if writing and locked:
                raise ServiceError("LeaseIdMissing")
            return
        if lease is None or not locked:
            raise ServiceError("LeaseNotPresentWithBlobOperation")
        if lease["id"] != lease_id.lower():
            raise ServiceError("LeaseIdMismatchWithBlobOperation")

    def apply(self, key: str, headers: Mapping[str, str]) -> Response:
        """Carry out the lease action of a request on a path that exists."""
        lease = self._tree.records.get(key, "lease")
        state = self._state(lease)
        match headers.get("x-ms-lease-action", "").lower():
            case "acquire":
                return self._acquire(key, lease, state, headers)
            case "renew":
                lease = _held(lease, headers)
                if state in ("breaking", "broken"):
                    raise ServiceError("LeaseIsBrokenAndCannotBeRenewed")
                return self._grant(key, lease["id"], lease["duration"], 200)
            case "change":
                proposed = headers.get("x-ms-proposed-lease-id", "").lower()
                if lease is None or state != "leased" or lease["id"] not in (_lease_id(headers), proposed):
                    raise ServiceError("LeaseIdMismatchWithLeaseOperation")
                return self._grant(key, proposed, lease["duration"], 200)
            case "release":
                _held(lease, headers)
                self._tree.records.delete(key, "lease")
                return Response(200)
            case "break":
                return self._break(key, lease, state, headers)
        raise ServiceError("InvalidHeaderValue", "x-ms-lease-action is missing or unknown.")

    def _acquire(self, key: str, lease: Value | None, state: State, headers: Mapping[str, str]) -> Response:
        proposed = headers.get("x-ms-proposed-lease-id", "").lower() or str(uuid.uuid4())
        if state == "breaking":
            raise ServiceError("LeaseIsBreakingAndCannotBeAcquired")
        if state == "leased" and lease is not None and lease["id"] != proposed:
            raise ServiceError("LeaseAlreadyPresent")
        duration = _seconds(headers, "x-ms-lease-duration")
        if duration is None or (duration != -1 and not 15 <= duration <= 60):
            raise ServiceError("InvalidHeaderValue", "x-ms-lease-duration must be -1 or 15 to 60 seconds.")
        return self._grant(key, proposed, duration, 201)

    def _grant(self, key: str, lease_id: str, duration: int, status: int) -> Response:
        expires_at = None if duration == -1 else self._tree.clock.now_ns() + duration * _NANOSECONDS
        self._tree.records.put(
            key, "lease", {"id": lease_id, "duration": duration, "expires_at": expires_at, "breaks_at": None}
        )
        return Response(status, {"x-ms-lease-id": lease_id})

    def _break(self, key: str, lease: Value | None, state: State, headers: Mapping[str, str]) -> Response:
        if lease is None:
            raise ServiceError("LeaseNotPresentWithLeaseOperation")
        now = self._tree.clock.now_ns()
        remaining = 0
        if state in ("leased", "breaking"):
            left = lease["breaks_at"] if state == "breaking" else lease["expires_at"]
            # An infinite lease without a break period ends at once; otherwise the shorter of the two times counts.
            limit = None if left is None else max(0, -(-(left - now) // _NANOSECONDS))
            period = _seconds(headers, "x-ms-lease-break-period")
            times = [seconds for seconds in (limit, period) if seconds is not None]
            remaining = min(times) if times else 0
            self._tree.records.put(key, "lease", lease | {"breaks_at": now + remaining * _NANOSECONDS})
        return Response(202, {"x-ms-lease-time": str(remaining)})


def _lease_id(headers: Mapping[str, str]) -> str:
    return headers.get("x-ms-lease-id", "").lower()


def _held(lease: Value | None, headers: Mapping[str, str]) -> Value:
    if lease is None:
        raise ServiceError("LeaseNotPresentWithLeaseOperation")
    if lease["id"] != _lease_id(headers):
        raise ServiceError("LeaseIdMismatchWithLeaseOperation")
    return lease


def _seconds(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise ServiceError("InvalidHeaderValue", f"{name} is not a number of seconds.") from None
