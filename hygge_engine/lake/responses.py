"""What a storage service's responses mean: errors, times, etags, and what the SDK cannot do without."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.pipeline import PipelineResponse

from hygge_engine.errors import (
    LakeConditionNotMet,
    LakeConflict,
    LakeDenied,
    LakeError,
    LakeNotFound,
    LakeUnavailable,
)
from hygge_engine.retry import TRANSIENT_HTTP_STATUSES, UNREACHABLE_BUDGET_SECONDS

# What the system says about a connection that could not be made, within all that the SDK says around it.
_SYSTEM_ERROR = re.compile(r"\[Errno -?\d+\] ([A-Z][\w ,-]+)")

# A range that begins where the file does, and perhaps where it ends.
_FROM_THE_START = re.compile(r"bytes=0-(\d*)")


class Etags:
    """Etags as this engine keeps them, without quotes, and as one service spells them.

    RFC 9110 §8.8.3 wants quotes around them, and listings of ADLS come without. A service that sends none in its
    headers either compares what it gets with what it sent, letter by letter.
    """

    def __init__(self) -> None:
        self._quoted = True

    def observe(self, header: str) -> None:
        """Learn how the service spells its etags, from one that it sent."""
        self._quoted = header.endswith('"')

    def spell(self, etag: str) -> str:
        """An etag for a request's header."""
        return f'"{etag}"' if self._quoted and not etag.endswith('"') else etag

    def unchanged(self, etag: str | None) -> dict[str, Any]:
        """The SDK's conditions for a request that a file with another etag refuses; none where any will do."""
        if etag is None:
            return {}
        return {"etag": self.spell(etag), "match_condition": MatchConditions.IfNotModified}


def bare_etag(header: str | None) -> str:
    """An etag without quotes; a weak one (``W/"…"``) stays as it is, empty stands for none."""
    return header.strip('"') if header and header.startswith('"') else header or ""


def moment_of(header: str | None) -> datetime | None:
    """An HTTP date (RFC 9110 §5.6.7) in UTC; None where there is none, or where it is something else."""
    try:
        moment = parsedate_to_datetime(header) if header else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def complete_range(response: PipelineResponse[Any, Any]) -> None:
    """Declare a whole file to be the range that was requested, where it is.

    The SDK asks for every file as a range, in a header of its own, and refuses a response that does not call itself
    one, which a service is free to give (RFC 9110 §14.2).
    """
    headers: MutableMapping[str, str] = response.http_response.headers
    wanted = _FROM_THE_START.fullmatch(response.http_request.headers.get("x-ms-range", ""))
    length = headers.get("Content-Length", "")
    if response.http_response.status_code != 200 or "Content-Range" in headers or not wanted or not length.isdigit():
        return
    if not wanted[1] or int(wanted[1]) + 1 >= int(length):
        headers["Content-Range"] = f"bytes 0-{max(0, int(length) - 1)}/{length}"


def lake_error(error: AzureError, verb: str, path: str, url: str) -> LakeError:
    """The lake error for an SDK error: by HTTP status first, the service's error code only adds to the message."""
    what = f"cannot {verb} {path} in {url}"
    if isinstance(error, HttpResponseError) and error.status_code:
        status = error.status_code
        code = _text(getattr(error, "error_code", None)) or str(error.reason or "")
        message = f"{what}: {status} {code}".rstrip()
        if status == 404:
            return LakeNotFound(message, status=status)
        if status == 409:
            return LakeConflict(message, status=status)
        if status == 412:
            return LakeConditionNotMet(message, status=status)
        if status in (401, 403):
            hint = "Check the credential, its role on the workspace or container, and the network rules of the account."
            return LakeDenied(message, status=status, hint=hint)
        if status in TRANSIENT_HTTP_STATUSES or code == "CapacityLimitExceeded":
            return LakeUnavailable(message, status=status, retry_after_seconds=_retry_after(error))
        return LakeError(message, status=status)
    if isinstance(error, ClientAuthenticationError):  # azure-identity: no token was to be had
        first_line = str(error).split("\n", 1)[0]
        return LakeDenied(f"{what}: {first_line}", hint="Check the store's credential settings.")
    if isinstance(error, ServiceRequestError):  # the request never left: no such host, or nothing listens there
        found = _SYSTEM_ERROR.search(str(error))
        unreachable = LakeUnavailable(f"cannot reach {url}: {found[1] if found else 'nothing responds there'}")
        unreachable.patience_seconds = UNREACHABLE_BUDGET_SECONDS
        return unreachable
    if isinstance(error, ServiceResponseError):
        return LakeUnavailable(f"{what}: the connection broke before the response arrived")
    return LakeUnavailable(f"{what}: {type(error).__name__}")


def _text(code: object) -> str:
    """The SDK gives an error code as a plain string or as an enum."""
    return "" if code is None else str(getattr(code, "value", code))


def _retry_after(error: HttpResponseError) -> float | None:
    """Seconds from a Retry-After header (RFC 9110 §10.2.3: a number, or a date)."""
    value = getattr(error.response, "headers", {}).get("Retry-After")
    if not value:
        return None
    if value.isdigit():
        return float(value)
    moment = moment_of(value)
    return None if moment is None else max(0.0, (moment - datetime.now(UTC)).total_seconds())
