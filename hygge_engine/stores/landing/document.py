"""One small JSON document that several attempts read and conditionally replace.

Every write carries a fresh nonce, which distinguishes our own write after a lost response from a foreign one.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod

from hygge_engine.errors import LakeConditionNotMet, LakeNotFound, LandingFenced
from hygge_engine.lake.base import Lake


class DocumentFile[T](ABC):
    """Reads and replaces one document. Holds the etag of what was last read or written, so that a foreign write in
    between makes the next one fail."""

    def __init__(self, lake: Lake, path: str) -> None:
        self._lake = lake
        self.path = path
        self._etag: str | None = None

    @abstractmethod
    def _encode(self, document: T, nonce: str) -> bytes:
        """The document with a nonce in it."""

    @abstractmethod
    def _decode(self, data: bytes) -> tuple[T, str]:
        """Document and nonce. Raises LandingUnreadable for what this version cannot read."""

    def read(self) -> T | None:
        """The document, or None where there is none. Raises LandingUnreadable."""
        try:
            content = self._lake.read(self.path)
        except LakeNotFound:
            self._etag = None
            return None
        self._etag = content.etag
        return self._decode(content.data)[0]

    def write(self, document: T) -> T:
        """Replace what was read. Raises LandingFenced where another attempt has written since."""
        nonce = uuid.uuid4().hex
        try:
            data = self._encode(document, nonce)
            self._etag = self._lake.put(self.path, data, if_match=self._etag, if_absent=self._etag is None)
        except LakeConditionNotMet as error:
            self._etag = self._etag_of_own_write(nonce, error)
        return document

    def _etag_of_own_write(self, nonce: str, error: LakeConditionNotMet) -> str:
        try:
            content = self._lake.read(self.path)
        except LakeNotFound:
            content = None
        if content is None or self._decode(content.data)[1] != nonce:
            raise LandingFenced(f"another attempt has taken over {self.path}") from error
        return content.etag
