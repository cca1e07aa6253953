"""What OneLake refuses or ignores where plain ADLS Gen2 obeys.

Source of the rules: Microsoft's page on OneLake API parity. The status and code of a refusal are not documented; 403
and `OperationNotAllowed` are this emulator's choice.
"""

from __future__ import annotations

from typing import Final

from devcloud.onelake.account import Account
from devcloud.onelake.errors import ServiceError
from devcloud.onelake.exchange import MUTATING_VERBS, Request

IGNORED_HEADERS: Final = (
    "x-ms-owner",
    "x-ms-group",
    "x-ms-permissions",
    "x-ms-acl",
    "x-ms-acls",
    "x-ms-encryption-key",
    "x-ms-encryption-key-sha256",
    "x-ms-encryption-algorithm",
    "x-ms-access-tier",
)

# <item>/<first-level folder>: everything a client may change lies deeper.
_MANAGED_DEPTH = 2


def refuse_in_onelake(account: Account, request: Request) -> None:
    """Raise what OneLake returns for a request that it does not allow in a workspace."""
    if request.verb in ("create_filesystem", "delete_filesystem", "list_filesystems"):
        raise ServiceError("OperationNotAllowed")
    if request.verb == "set_access_control":
        raise ServiceError("InvalidQueryParameterValue", "OneLake does not support setting access control.")
    if request.trailing_slash and request.method in ("HEAD", "GET"):
        # Field reports: a probe with a trailing slash looks like a failed sign-in.
        raise ServiceError("AuthenticationFailed")
    if request.verb in MUTATING_VERBS:
        refuse_managed_path(account, request.filesystem, request.path)


def refuse_managed_path(account: Account, filesystem: str, path: str) -> None:
    """Raise unless a client may create, rename or delete here: below a first-level folder of an existing item."""
    parts = path.split("/") if path else []
    if len(parts) <= _MANAGED_DEPTH:
        raise ServiceError("OperationNotAllowed")
    if account.tree.find(f"{filesystem}/{parts[0]}") is None:
        raise ServiceError("PathNotFound", f"The workspace holds no item {parts[0]}.")
    if account.tree.find("/".join((filesystem, *parts[:_MANAGED_DEPTH]))) is None:
        raise ServiceError("OperationNotAllowed", f"The item has no first-level folder {parts[1]}.")


def rejected_headers(request: Request) -> str | None:
    """The headers of a request that OneLake ignores, for `x-ms-rejected-headers`."""
    ignored = [name for name in IGNORED_HEADERS if name in request.headers]
    return ",".join(ignored) if ignored else None
