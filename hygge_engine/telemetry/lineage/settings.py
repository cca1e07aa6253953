"""Where lineage goes: the variables of OpenLineage's own clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from hygge_engine.masking import remember_secret

URL = "OPENLINEAGE_URL"
ENDPOINT = "OPENLINEAGE_ENDPOINT"
API_KEY = "OPENLINEAGE_API_KEY"
NAMESPACE = "OPENLINEAGE_NAMESPACE"
DISABLED = "OPENLINEAGE_DISABLED"

# OpenLineage's own default.
_DEFAULT_ENDPOINT = "api/v1/lineage"

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class LineageRefused(Exception):
    """The settings name no receiver that may be used. The text shows no key, and of an address the host alone."""


@dataclass(frozen=True)
class LineageSettings:
    """A receiver: ``path`` of a file that events are appended to, or ``url`` to which each is posted, with ``api_key``
    as a bearer token. ``namespace`` of the jobs; empty: the project's name."""

    url: str = ""
    path: str = ""
    api_key: str = field(default="", repr=False)
    namespace: str = ""


def lineage_settings(environment: Mapping[str, str]) -> LineageSettings | None:
    """The receiver that these variables name, None where they name none. Raises LineageRefused."""
    address = environment.get(URL, "")
    if not address or environment.get(DISABLED, "").lower() == "true":
        return None
    namespace = environment.get(NAMESPACE, "")
    parts = urlsplit(address)
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.strip("/"):
            raise LineageRefused(f"{URL} names no file on this machine: file:///var/log/lineage.ndjson")
        return LineageSettings(path=parts.path, namespace=namespace)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise LineageRefused(f"{URL} must be an address with http://, https:// or file://")
    if parts.username is not None or parts.query or parts.fragment:
        raise LineageRefused(f"{URL} for {parts.hostname} is only an address: a key belongs in {API_KEY}")
    key = environment.get(API_KEY, "")
    remember_secret(key)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise LineageRefused(f"{URL} for {parts.hostname} must begin with https://")
    endpoint = environment.get(ENDPOINT) or _DEFAULT_ENDPOINT
    url = urljoin(f"{address.rstrip('/')}/", endpoint.lstrip("/"))
    if (urlsplit(url).scheme, urlsplit(url).netloc) != (parts.scheme, parts.netloc):
        raise LineageRefused(f"{ENDPOINT} must be a path on {parts.hostname}")
    return LineageSettings(url=url, api_key=key, namespace=namespace)
