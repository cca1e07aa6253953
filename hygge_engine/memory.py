"""How this process's memory goes back to the system, so that its peak is what is in use at once, not what ever was."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

# M_MMAP_THRESHOLD and M_ARENA_MAX of glibc's malloc.h; see mallopt(3).
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8

# Blocks from this size on are mapped by themselves and unmapped when they are freed. Left alone, glibc raises its
# threshold to 32 MiB as soon as such a block has been freed, and keeps what lies below in heaps that only shrink at
# their end.
_MAPPED_BYTES = 1 << 20

# Heaps for all threads together, instead of eight for each core: reader, encoder and uploader take turns with blocks of
# the same sizes.
_ARENAS = 2


def choose_allocator() -> None:
    """Let Arrow use the system's allocator, unless the environment names another. For programs, before they import
    Arrow, which looks once.

    Its usual one keeps what was freed for the thread that had it; reader, encoder and uploader hand their blocks on.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


@cache
def give_memory_back() -> None:
    """Make what lives on malloc (the drivers, Arrow, Parquet's writer) return large blocks as soon as they are freed.

    For the whole process, once; nothing on a system without glibc. What it is worth: docs/performance.md.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(_MMAP_THRESHOLD, _MAPPED_BYTES)
        libc.mallopt(_ARENA_MAX, _ARENAS)


def trim() -> None:
    """Return what lies free within malloc's heaps, which otherwise grow a little with every row group."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
