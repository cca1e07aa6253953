"""A mark on a directory that dies with it, where the disk can hold one: (stamp, inode) in an extended attribute.

Inodes are given out again at once, so that they alone do not distinguish a directory from one that was deleted and made
again behind the server's back, as a replicator or a test on disk does it.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

_ATTRIBUTE: Final = "user.devcloud.stamp"
_UNSUPPORTED: Final = (errno.ENOTSUP, errno.EPERM, errno.EACCES)


class DirectoryMarks:
    """Reads and writes marks. `supported` turns false for good where the disk refuses one."""

    def __init__(self) -> None:
        self.supported = sys.platform == "linux"

    def read(self, disk: str) -> tuple[int, int] | None:
        """The mark of a directory, or None."""
        if sys.platform != "linux" or not self.supported:
            return None
        try:
            stamp, _, inode = os.getxattr(disk, _ATTRIBUTE).partition(b":")
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                self.supported = False
            return None
        return int(stamp), int(inode)

    def write(self, disk: str, stamp: int, inode: int) -> None:
        """Mark a directory, as far as the disk allows it."""
        if sys.platform == "linux" and self.supported:
            try:
                os.setxattr(disk, _ATTRIBUTE, f"{stamp}:{inode}".encode())
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self.supported = False
