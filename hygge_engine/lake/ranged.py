"""A file of a lake as a seekable stream: each read is a request for its bytes, on the etag that was found first."""

from __future__ import annotations

import io
from collections.abc import Buffer

from hygge_engine.errors import LakeConditionNotMet
from hygge_engine.lake.base import Lake, PathInfo


class RangedFile(io.RawIOBase):
    """Holds nothing of the file. Reads raise LakeConditionNotMet or LakeNotFound once it is not the same any more."""

    def __init__(self, lake: Lake, file: PathInfo) -> None:
        super().__init__()
        self._lake = lake
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.length}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._file.length - self._position)
        if wanted <= 0:
            return 0
        data = self._lake.read_range(self._file.path, self._position, wanted, if_match=self._file.etag)
        if len(data) != wanted:  # no bytes would mean the file's end
            raise LakeConditionNotMet(
                f"{self._file.path}: of {wanted:,} bytes from {self._position:,} on, {len(data):,} came.", status=412
            )
        view[:wanted] = data
        self._position += len(data)
        return len(data)
