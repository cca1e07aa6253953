"""Hosts as people and URLs name them."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE | re.ASCII)


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


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
