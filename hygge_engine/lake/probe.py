"""Does a lake keep what it promises? The landing protocol depends on conditional writes and on renames that never
overwrite; a lake that ignores the conditions would lose or double rows when two loads meet."""

from __future__ import annotations

import ssl
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from hygge_engine.checks import DoctorCheck, attempt, failure
from hygge_engine.errors import HyggeError, LakeConditionNotMet, LakeConflict, LakeError, LakeNotFound, LakeUnavailable
from hygge_engine.lake.base import Lake

# Long enough for a slow link; a host that does not respond to the first packet by then is behind a firewall.
CONNECT_TIMEOUT_SECONDS = 10.0

# The Date header is exact to a second, and the response takes its time.
CLOCK_TOLERANCE_SECONDS = 30.0
# Azure Storage refuses a shared-key request whose date is off by more than this ("Authorize with Shared Key").
CLOCK_LIMIT_SECONDS = 15 * 60.0

_SET_CLOCK = "Set the clocks by NTP (timedatectl, chrony); a container has the clock of its host."

_WRONG_PLACE = "Check filesystem, path and mirror_name; OneLake wants the GUIDs of workspace and mirrored database."

_IGNORED = (
    "Land in OneLake, in an ADLS Gen2 account with hierarchical namespace, or in an emulator that honours If-Match and "
    "If-None-Match: without them two loads that meet would overwrite each other's files."
)


def check_responds(account_url: str, timeout_seconds: float = CONNECT_TIMEOUT_SECONDS) -> None:
    """Raise LakeUnavailable where nothing responds at the account's address, which the SDK would find out only after
    many attempts. Any response will do, and any certificate: their faults show when they are used. Behind a proxy
    nothing can be said, and nothing is raised."""
    parts = urlsplit(account_url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection: HTTPConnection = HTTPSConnection(host, port, timeout=timeout_seconds, context=context)
    else:
        connection = HTTPConnection(host, port, timeout=timeout_seconds)
    try:
        connection.request("HEAD", "/")
        connection.getresponse()
    except OSError as error:
        if isinstance(error, ssl.SSLError):
            return
        raise LakeUnavailable(
            f"cannot reach {host} on port {port}: {error.strerror or 'no response'}",
            hint="Check account_url, DNS, and the firewalls and private endpoints in between.",
        ) from error
    except HTTPException:
        return  # It responded, with something that this client does not know.
    finally:
        connection.close()


def probe(lake: Lake, root: str) -> list[DoctorCheck]:
    """Try every operation that the landing protocol needs, in a folder of its own below ``root``, and delete the
    folder.

    Where ``root`` does not exist yet, the folder is made in its nearest ancestor that does, so that nothing is left.
    """
    try:
        base = _existing(lake, root)
    except HyggeError as error:
        return [failure("lake", "look at the journal's folder", error)]
    folder = f"{base}/.doctor-{uuid.uuid4().hex[:12]}".lstrip("/")
    checks: list[DoctorCheck] = []
    try:
        for step in (_write, _conditional_write, _rename):
            checks.append(step(lake, folder))
            if checks[-1].result == "failed":
                break
    finally:
        cleaned = _clean_up(lake, folder)
    if checks[0].result == "failed":
        # Without the right to write there is none to delete either, which is not a second fault.
        return [checks[0] if base else _nowhere(checks[0], root), *([cleaned] if cleaned.result == "ok" else [])]
    return [*checks, cleaned]


def clock_check(name: str, there: datetime, how: str) -> DoctorCheck:
    """How far another machine's clock is from this one's."""
    seconds = (there - datetime.now(UTC)).total_seconds()
    off = abs(seconds)
    found = f"{off:.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine" if off >= 1 else "agrees with ours"
    if off <= CLOCK_TOLERANCE_SECONDS:
        return DoctorCheck(name, "ok", found, how)
    return DoctorCheck(name, "failed" if off > CLOCK_LIMIT_SECONDS else "warning", found, how, _SET_CLOCK)


def _existing(lake: Lake, path: str) -> str:
    """The path, or its nearest ancestor that exists; empty for the lake's root."""
    while path and lake.info(path) is None and next(lake.list(path), None) is None:
        path = path.rpartition("/")[0]
    return path


def _nowhere(check: DoctorCheck, root: str) -> DoctorCheck:
    """A failed write where nothing of the path exists: OneLake makes nothing outside of its items."""
    found = f"nothing exists at {root.partition('/')[0]}, and nothing can be made there: {check.found}"
    return replace(check, found=found, remedy=_WRONG_PLACE, code=LakeNotFound.code)


def _write(lake: Lake, folder: str) -> DoctorCheck:
    path, how = f"{folder}/state.json", "Put Blob with If-None-Match: *, then a read"

    def look() -> DoctorCheck:
        lake.put(path, b"1", if_absent=True)
        if lake.read(path).data != b"1":
            return DoctorCheck("write", "failed", "a file that was written reads differently", how, _IGNORED)
        return DoctorCheck("write", "ok", "a file can be written and read", how)

    return attempt("write", how, look)


def _conditional_write(lake: Lake, folder: str) -> DoctorCheck:
    path, how = f"{folder}/state.json", "Put Blob with If-None-Match: *, If-Match, and If-Match with an old etag"

    def look() -> DoctorCheck:
        if not _refused(lambda: lake.put(path, b"2", if_absent=True)):
            return _ignored("conditional write", "If-None-Match: * on a write", how)
        old = lake.read(path).etag
        lake.put(path, b"3", if_match=old)
        if not _refused(lambda: lake.put(path, b"4", if_match=old)) or lake.read(path).data != b"3":
            return _ignored("conditional write", "If-Match with an old etag", how)
        return DoctorCheck("conditional write", "ok", "conditions are honoured", how)

    return attempt("conditional write", how, look)


def _rename(lake: Lake, folder: str) -> DoctorCheck:
    final, how = f"{folder}/final", "create, append, flush, rename; then rename another file onto it"

    def stage(name: str) -> str:
        writer = lake.stage(f"{folder}/{name}")
        writer.write(name.encode())
        return writer.finish().path

    def look() -> DoctorCheck:
        lake.rename(stage("first"), final)
        second = stage("second")
        if not _refused(lambda: lake.rename(second, final)) or lake.read(final).data != b"first":
            return _ignored("rename", "If-None-Match: * on a rename", how)
        return DoctorCheck("rename", "ok", "renames move whole files and never overwrite", how)

    return attempt("rename", how, look)


def _clean_up(lake: Lake, folder: str) -> DoctorCheck:
    how = "delete the probe's folder, then look for it"

    def look() -> DoctorCheck:
        lake.delete_directory(folder)
        left = lake.info(folder) is not None
        remedy = f"Delete {folder} by hand."
        return DoctorCheck("delete", "failed", f"{folder} is still there", how, remedy) if left else _deleted(how)

    return attempt("delete", how, look)


def _deleted(how: str) -> DoctorCheck:
    return DoctorCheck("delete", "ok", "nothing of the probe is left", how)


def _refused(write: Callable[[], object]) -> bool:
    try:
        write()
    except (LakeConditionNotMet, LakeConflict):
        return True
    return False


def _ignored(name: str, condition: str, how: str) -> DoctorCheck:
    return DoctorCheck(name, "failed", f"the lake ignores {condition}", how, _IGNORED, LakeError.code)
