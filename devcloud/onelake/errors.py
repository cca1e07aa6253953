"""The service's errors: one code, one status and one message each, as the REST error-code pages list them.

Both dialects share the causes but not always the codes (`PathNotFound` of the DFS API is `BlobNotFound` of the Blob
API), nor the body (JSON and XML). Handlers raise the DFS code; the response is written in the dialect of the request.
"""

from __future__ import annotations

import json
from typing import Final, Literal
from xml.sax.saxutils import escape

type Dialect = Literal["dfs", "blob"]

_ERRORS: Final[dict[str, tuple[int, str]]] = {
    "AuthenticationFailed": (403, "Server failed to authenticate the request."),
    "AuthorizationPermissionMismatch": (403, "The caller may not perform this operation."),
    "CapacityLimitExceeded": (
        430,
        "The compute capacity of the organisation has exceeded its limits. Try again later.",
    ),
    "ConditionNotMet": (412, "The condition specified using HTTP conditional header(s) is not met."),
    "DestinationPathIsBeingDeleted": (409, "The destination path is being deleted."),
    "DirectoryNotEmpty": (409, "The recursive query parameter value must be true to delete a non-empty directory."),
    "FilesystemAlreadyExists": (409, "The specified filesystem already exists."),
    "FilesystemNotFound": (404, "The specified filesystem does not exist."),
    "InternalError": (500, "The server encountered an internal error. Please retry the request."),
    "InvalidAuthenticationInfo": (401, "The authentication information was not provided in the correct format."),
    "InvalidBlockId": (400, "The specified block ID is invalid. The block ID must be Base64-encoded."),
    "InvalidBlockList": (400, "The specified block list is invalid."),
    "InvalidDestinationPath": (409, "An element of the destination path exists and is not a directory."),
    "InvalidFlushPosition": (
        400,
        "The data is not contiguous, or the position is not the length of the file after it.",
    ),
    "InvalidHeaderValue": (400, "The value of one of the HTTP headers is not in the correct format."),
    "InvalidInput": (400, "One of the request inputs is not valid."),
    "InvalidQueryParameterValue": (400, "The value of a query parameter in the request URI is not valid."),
    "InvalidRange": (416, "The range specified is invalid for the current size of the resource."),
    "InvalidRenameSourcePath": (409, "The destination is the source directory itself or lies within it."),
    "InvalidResourceName": (400, "The specified resource name contains invalid characters."),
    "InvalidSourceOrDestinationResourceType": (409, "The source and destination resource type must be identical."),
    "InvalidSourceUri": (400, "The source URI is invalid."),
    "InvalidUri": (400, "The request URI is invalid."),
    "InvalidXmlDocument": (400, "The specified XML is not syntactically valid."),
    "LeaseAlreadyBroken": (409, "The lease has already been broken and cannot be broken again."),
    "LeaseAlreadyPresent": (409, "There is already a lease present."),
    "LeaseIdMismatchWithBlobOperation": (412, "The lease ID specified did not match the lease ID of the resource."),
    "LeaseIdMismatchWithLeaseOperation": (409, "The lease ID specified did not match the lease ID of the resource."),
    "LeaseIdMissing": (412, "There is currently a lease on the resource and no lease ID was specified in the request."),
    "LeaseIsBreakingAndCannotBeAcquired": (409, "The lease is being broken and cannot be acquired until it is broken."),
    "LeaseIsBrokenAndCannotBeRenewed": (409, "The lease has been broken and cannot be renewed."),
    "LeaseNotPresentWithBlobOperation": (412, "There is currently no lease on the resource."),
    "LeaseNotPresentWithLeaseOperation": (409, "There is currently no lease on the resource."),
    "Md5Mismatch": (
        400,
        "The MD5 value specified in the request did not match the MD5 value calculated by the server.",
    ),
    "MissingRequiredHeader": (400, "An HTTP header that is mandatory for this request is not specified."),
    "NoAuthenticationInformation": (401, "Server failed to authenticate the request: no authentication information."),
    "OperationNotAllowed": (
        403,
        "Workspaces, items and their first-level folders are not managed through the storage API.",
    ),
    "OperationTimedOut": (500, "The operation could not be completed within the permitted time."),
    "PathAlreadyExists": (409, "The specified path already exists."),
    "PathConflict": (409, "An element of the path exists and its resource type is invalid for this operation."),
    "PathNotFound": (404, "The specified path does not exist."),
    "RenameDestinationParentPathNotFound": (404, "The parent directory of the destination path does not exist."),
    "ServerBusy": (503, "The server is currently unable to receive requests. Please retry your request."),
    "SourceConditionNotMet": (412, "The source condition specified using HTTP conditional header(s) is not met."),
    "SourcePathNotFound": (404, "The source path for a rename operation does not exist."),
    "TooManyRequests": (429, "Too many requests. Try again later."),
    "UnsupportedHttpVerb": (405, "The resource doesn't support the specified HTTP verb."),
    "NotImplemented": (501, "This emulator does not implement the requested operation."),
}

_DEFAULT_CODES: Final = {
    400: "InvalidInput",
    401: "InvalidAuthenticationInfo",
    403: "AuthorizationPermissionMismatch",
    404: "PathNotFound",
    409: "PathConflict",
    412: "ConditionNotMet",
    429: "TooManyRequests",
    430: "CapacityLimitExceeded",
    500: "InternalError",
    503: "ServerBusy",
}

_BLOB_CODES: Final = {
    "DirectoryNotEmpty": "DirectoryIsNotEmpty",
    "FilesystemAlreadyExists": "ContainerAlreadyExists",
    "FilesystemNotFound": "ContainerNotFound",
    "PathAlreadyExists": "BlobAlreadyExists",
    "PathNotFound": "BlobNotFound",
}


class ServiceError(Exception):
    """A refusal as the service would phrase it.

    `code` is the DFS spelling; `status` defaults to the documented one. An unknown code needs a status of its own.
    """

    def __init__(self, code: str, message: str | None = None, *, status: int | None = None) -> None:
        known_status, known_message = _ERRORS.get(code, (status or 500, code))
        self.code = code
        self.status = status or known_status
        self.message = message or known_message
        super().__init__(f"{self.status} {code}: {self.message}")

    def code_for(self, dialect: Dialect) -> str:
        """The code as the dialect spells it."""
        return _BLOB_CODES.get(self.code, self.code) if dialect == "blob" else self.code


class NotModifiedError(Exception):
    """A conditional read found nothing newer: status 304, without a body."""


def default_code(status: int) -> str:
    """The code that goes with `status` when a fault names none."""
    return _DEFAULT_CODES.get(status, "InternalError")


def default_status(code: str) -> int:
    """The documented status of `code`; 500 for a code that is not in the table."""
    return _ERRORS.get(code, (500, ""))[0]


def error_body(code: str, message: str, dialect: Dialect, request_id: str, date: str) -> tuple[bytes, str]:
    """The body of an error response and its content type."""
    text = f"{message}\nRequestId:{request_id}\nTime:{date}"
    if dialect == "dfs":
        return json.dumps({"error": {"code": code, "message": text}}).encode(), "application/json;charset=utf-8"
    document = (
        '<?xml version="1.0" encoding="utf-8"?>'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(text)}</Message></Error>"
    )
    return document.encode(), "application/xml"
