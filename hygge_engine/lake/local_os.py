"""What the local lake needs of the operating system: locks between processes, moves that replace nothing, syncs."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from hygge_engine.errors import LakeConflict, LakeDenied, LakeError, LakeNotFound, LakeUnavailable

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_CONFLICTS = (errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY, errno.EBUSY)
_UNAVAILABLE = (errno.EAGAIN, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT, errno.EMFILE, errno.ENFILE)
_OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT) if sys.platform != "win32" else (errno.ENOSPC,)

# What to do about something that stands where the lake needs a file or folder of its own.
MOVE_AWAY = "Give the store or the journal another path, or move it away."

RESTORE_LINK = "Restore what it leads to, or remove the link."

# Linux, include/uapi/linux/fs.h and fcntl.h.
_RENAME_NOREPLACE = 1
_AT_FDCWD = -100

# How long to sleep between attempts where the system does not wait for a lock, in seconds.
_LOCK_POLL_SECONDS = 0.01

# Record locks belong to the process, so threads need a lock of their own: one for each lock file.
_thread_locks: dict[str, threading.Lock] = {}
_thread_locks_guard = threading.Lock()


def _forget_thread_locks() -> None:
    """In a forked child the threads that held locks do not exist; record locks are not inherited either."""
    global _thread_locks_guard
    _thread_locks_guard = threading.Lock()
    _thread_locks.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_thread_locks)


@contextlib.contextmanager
def root_errors(root: Path) -> Iterator[None]:
    """Turn what keeps the directory of a lake from being made into a LakeError that says what is in the way, and
    where."""
    try:
        yield
    except (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
        check_links(root)
        nearest = next(path for path in (root, *root.parents) if os.path.lexists(path))
        if not nearest.is_dir():
            raise LakeError(f"{root} cannot be a folder: {nearest} is a file.", hint=MOVE_AWAY) from error
        hint = "Check the owner and mode of the folder, or give the store or the journal another path."
        message = f"{root} cannot be made in {nearest}: {error.strerror or error}."
        raise LakeDenied(message, status=403, hint=hint) from error


def check_links(path: Path) -> None:
    """Raise LakeError for a link on the way to a path, or at it, that leads nowhere: nothing can ever be there."""
    for each in (*reversed(path.parents), path):
        if each.is_symlink() and not each.exists():
            raise LakeError(f"{each} is a link to {os.readlink(each)}, and leads nowhere.", hint=RESTORE_LINK)


@contextlib.contextmanager
def lake_errors(path: str) -> Iterator[None]:
    """Turn the operating system's errors into the LakeError family; ``path`` is what the message names, where the
    system does not say which file or folder it was."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        place = str(error.filename or path or "the folder")
        if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ELOOP:
            how = ": its links lead in a circle" if error.errno == errno.ELOOP else ""
            raise LakeNotFound(f"{path or place} does not exist{how}.", status=404) from error
        if isinstance(error, PermissionError) or error.errno == errno.EROFS:
            hint = "Check the owner and mode of the file, and of the folders above it."
            raise LakeDenied(f"{place}: {reason}.", status=403, hint=hint) from error
        if error.errno in _CONFLICTS:
            where = f" ({error.filename})" if error.filename else ""
            raise LakeConflict(f"{path}: {reason}{where}.", status=409, hint=MOVE_AWAY) from error
        if error.errno in _UNAVAILABLE:
            raise LakeUnavailable(f"{place}: {reason}.") from error
        hint = "Free some disk space." if error.errno in _OUT_OF_SPACE else ""
        raise LakeError(f"{place}: {reason}.", hint=hint) from error


def is_there(path: Path, *, follow: bool = True) -> bool:
    """Whether anything has this name; a link that leads nowhere only where it is not followed. Raises LakeError where
    the system does not say, LakeDenied where it must not."""
    try:
        with lake_errors(str(path)):
            path.stat(follow_symlinks=follow)
    except LakeNotFound:
        return False
    return True


def open_file(path: Path) -> BinaryIO:
    """Open a plain file to read it. Raises LakeConflict for a FIFO, a socket or a device, which could be waited for for
    ever, and OSError as `open` does."""
    not_blocking = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    # Looked at before, because opening a device may do something, and after, because it may be another one by then.
    if not _is_special(path.stat()):
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | not_blocking))  # noqa: SIM115
        if not _is_special(os.fstat(file.fileno())):
            return file
        file.close()
    raise LakeConflict(f"{path} is no plain file, and one is needed there.", status=409, hint=MOVE_AWAY)


def _is_special(status: os.stat_result) -> bool:
    return not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode)


@contextlib.contextmanager
def lock_files(paths: Sequence[Path]) -> Iterator[None]:
    """Hold an exclusive lock on each file, made where missing, against threads and processes alike."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            with _thread_locks_guard:
                thread_lock = _thread_locks.setdefault(str(path), threading.Lock())
            stack.enter_context(thread_lock)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            # Closing the file releases its lock, and so does the end of the process.
            stack.callback(os.close, descriptor)
            _lock(descriptor)
        yield


def move_without_replacing(source: Path, destination: Path) -> None:
    """Rename in one step. Raises FileExistsError where the destination exists, FileNotFoundError where the source or
    the destination's folder does not.

    Linux checks the destination in the rename itself. Windows does so in every rename. Elsewhere, and on filesystems
    that lack the flag, the caller's locks keep other users of the lake out between the check and the rename; a hard
    link would refuse as well, but a process killed before it removes the old name would leave both.
    """
    if sys.platform == "linux" and _rename_no_replace(source, destination):
        return
    if sys.platform != "win32" and os.path.lexists(destination):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination))
    os.rename(source, destination)


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable. Windows has no such call and needs none."""
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rename_no_replace(source: Path, destination: Path) -> bool:
    """Call renameat2; False where the C library or the filesystem does not offer it."""
    renameat2 = _renameat2()
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(destination), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(destination))


@cache
def _renameat2() -> Any:
    try:
        return ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return None


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            except PermissionError:
                time.sleep(_LOCK_POLL_SECONDS)
            else:
                return

else:

    def _lock(descriptor: int) -> None:
        # Record locks, not flock: a child forked while a lock is held does not keep it, and NFS honours them.
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                # Two processes wait for each other's locks, which different threads of theirs hold. The system does not
                # know threads and sees a deadlock; none is possible, because all locks are taken in one order.
                if error.errno != errno.EDEADLK:
                    raise
                time.sleep(_LOCK_POLL_SECONDS)
            else:
                return
