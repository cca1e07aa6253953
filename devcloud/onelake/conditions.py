"""Conditional headers: If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, for a path or for the source of
a rename.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from multidict import CIMultiDict, CIMultiDictProxy

from devcloud.onelake.errors import NotModifiedError, ServiceError
from devcloud.onelake.exchange import parse_http_date

_NANOSECONDS = 1_000_000_000

_CONDITION = re.compile(r"(?:x-ms-source-)?if-(?:none-)?match|(?:x-ms-source-)?if-(?:un)?modified-since", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request demands of the state it meets; ETags without quotes, dates in seconds since 1970."""

    if_match: frozenset[str] | None = None
    if_none_match: frozenset[str] | None = None
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Conditions:
        """The conditions on the path itself."""
        return cls._read(headers, "")

    @classmethod
    def of_source(cls, headers: Mapping[str, str]) -> Conditions:
        """The conditions on the source of a rename."""
        return cls._read(headers, "x-ms-source-")

    @classmethod
    def _read(cls, headers: Mapping[str, str], prefix: str) -> Conditions:
        def tags(name: str) -> frozenset[str] | None:
            text = headers.get(prefix + name)
            return frozenset(_bare(tag) for tag in text.split(",")) if text else None

        def date(name: str) -> int | None:
            text = headers.get(prefix + name)
            return parse_http_date(text) if text else None

        return cls(tags("if-match"), tags("if-none-match"), date("if-modified-since"), date("if-unmodified-since"))

    @property
    def only_if_missing(self) -> bool:
        """Whether the request wants the path not to exist: `If-None-Match: *`."""
        return self.if_none_match is not None and "*" in self.if_none_match

    def check_read(self, etag: str, modified_ns: int) -> None:
        """For a read of something that exists. Raises `NotModifiedError` or `ConditionNotMet`."""
        if self._fails_match(etag) or self._is_newer(modified_ns):
            raise ServiceError("ConditionNotMet")
        if self._fails_none_match(etag) or self._is_older(modified_ns):
            raise NotModifiedError

    def check_write(self, etag: str | None, modified_ns: int, *, code: str = "ConditionNotMet") -> None:
        """For a change; `etag` is None when nothing is there yet. Raises `code`."""
        if etag is None:
            if self.if_match is not None:
                raise ServiceError(code)
            return
        if (
            self._fails_match(etag)
            or self._fails_none_match(etag)
            or self._is_newer(modified_ns)
            or self._is_older(modified_ns)
        ):
            raise ServiceError(code)

    def _fails_match(self, etag: str) -> bool:
        return self.if_match is not None and not self.if_match & {"*", _bare(etag)}

    def _fails_none_match(self, etag: str) -> bool:
        return self.if_none_match is not None and bool(self.if_none_match & {"*", _bare(etag)})

    def _is_newer(self, modified_ns: int) -> bool:
        return self.if_unmodified_since is not None and modified_ns // _NANOSECONDS > self.if_unmodified_since

    def _is_older(self, modified_ns: int) -> bool:
        return self.if_modified_since is not None and modified_ns // _NANOSECONDS <= self.if_modified_since


def without_conditions(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Headers as a service sees them that looks at no condition."""
    kept = ((name, value) for name, value in headers.items() if not _CONDITION.fullmatch(name))
    return CIMultiDictProxy(CIMultiDict(kept))


def _bare(tag: str) -> str:
    return tag.strip().removeprefix("W/").strip('"')
