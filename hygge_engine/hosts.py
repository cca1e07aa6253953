"""Hosts as people and URLs name them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE | re.ASCII)

_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

# Doors to one OneLake: for all of it, by region, without a protocol in the name, and for one workspace by a private
# link (learn.microsoft.com/fabric/onelake/onelake-access-api, and on workspaces' private links).
_ONELAKE = re.compile(
    r"(?:(?P<region>[a-z0-9]+)-)?(?:onelake\.(?:dfs|blob)|api[.-]onelake)\.fabric\.microsoft\.com"
    r"|[0-9a-f]{32}\.z[0-9a-f]{2}\.(?:dfs|blob|onelake)\.fabric\.microsoft\.com",
    re.ASCII,
)
_ONELAKES_OWN = "onelake.dfs.fabric.microsoft.com"
# Microsoft's own rings have tenants of their own, so that only a GUID means the same there.
_RINGS = ("daily", "dxt", "msit")

_ADDRESS = re.compile(r"(?P<scheme>https?)://(?P<host>[^/?#]*)(?P<path>.*)", re.IGNORECASE | re.DOTALL)
_SERVER = re.compile(r"(?P<host>[^,/\\\s]+)(?:\\[^,/]*)?,(?P<port>\d+)(?P<rest>/.*)?", re.ASCII | re.DOTALL)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or its address as people write it."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_host(host: str) -> bool:
    """Whether a URL's host is one that all readers of URLs take for the same."""
    if ":" in host:
        return is_loopback(host) or _is_address(host)
    return _HOST.fullmatch(host) is not None


def split_address(address: str) -> SplitResult | None:
    """The parts of a service's address; None where nothing can be reached by it, or readers of URLs take it for
    different things."""
    try:
        url = urlsplit(address)
        reachable = is_host(url.hostname or "") and (url.port is None or url.port > 0)
    except ValueError:
        return None
    return url if reachable and not url.netloc.endswith(":") and not re.search(r"\s", address) else None


def is_guid(value: str) -> bool:
    """Whether a name is a GUID, as Fabric writes them."""
    return _GUID.fullmatch(value) is not None


def identity_of(place: str) -> str:
    """One text for all addresses of one place, to be compared and never shown: an address by http, as that of a
    lake's folder, or ``host,port/database`` of a SQL Server. What stands before an address, and what is none, stays.

    It knows what a name says by itself: letter case of a host, its last dot, the port that is meant anyway, this
    machine, OneLake's doors, GUIDs. Whether a name of a workspace stands for some GUID only Fabric knows.
    """
    if found := _ADDRESS.search(place):
        return place[: found.start()] + _identity_of_url(found["scheme"], found["host"], found["path"])
    if found := _SERVER.fullmatch(place):
        return f"{_canonical_host(found['host'])},{found['port'].lstrip('0')}{found['rest'] or ''}"
    return place


def _identity_of_url(scheme: str, authority: str, path: str) -> str:
    host, colon, port = authority.rpartition(":")
    if not colon or "]" in port:
        host, port = authority, ""
    host = _canonical_host(host)
    parts = [part for part in path.split("/") if part]
    if found := _ONELAKE.fullmatch(host):
        if found["region"] not in _RINGS or is_guid(parts[0] if parts else ""):
            host = _ONELAKES_OWN
        parts = [part.lower() if is_guid(part) else part for part in parts[:2]] + parts[2:]
    port = port.lstrip("0")
    is_usual = port in ("", "443" if scheme.lower() == "https" else "80")
    return "/".join([host if is_usual else f"{host}:{port}", *parts])


def _canonical_host(host: str) -> str:
    host = host.lower().removesuffix(".")
    if host in ("localhost", "127.0.0.1", "::1", "[::1]"):
        return "localhost"
    return host


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
