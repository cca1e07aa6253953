"""The errors of hygge-engine: one family per package. `__cause__` keeps the error of the driver or service.

::

    HyggeError
    ├── ConfigurationError          project: every problem of the project's files at once
    ├── HomeError                   rows cannot be read
    │   ├── HomeUnavailable           transient: connection lost, deadlock victim, throttling, fail-over, timeout
    │   ├── HomeLoginFailed           the server or Entra refused the credential
    │   ├── HomePermissionDenied      logged in, but not allowed to read the object
    │   ├── HomeNotFound              no such database, table, view or column
    │   ├── KeyUnusable               the key does not identify every row
    │   ├── CursorUnusable            the watermark column cannot serve as a cursor
    │   ├── BoundUnusable             a bound of a window does not fit the watermark column
    │   ├── CursorMovedBack           the source's newest value is below what was loaded before
    │   ├── ChangesExpired            the source no longer has all changes since the last load
    │   ├── SourceChanged             a file that was read in part has changed
    │   ├── Unreadable                a file is not what its format, or the types of its columns, say
    │   └── UnsupportedType           the destination cannot hold a column's type
    ├── LakeError                   a data lake or local directory refused an operation
    │   ├── LakeNotFound              404
    │   ├── LakeConflict              409: exists already, or in use
    │   ├── LakeConditionNotMet       412: the file is not the one that was read
    │   ├── LakeDenied                401, 403
    │   └── LakeUnavailable           transient: 408, 429, 430, 5xx, connection lost
    ├── StoreError                  rows cannot be landed
    │   ├── LandingFenced             transient: another attempt has taken over this table
    │   ├── LandingBusy               transient: another load owns this table
    │   ├── StoreUnavailable          transient: the destination did not respond, or another program writes to it
    │   ├── FabricUnavailable         transient: Fabric's REST API did not respond
    │   ├── LandingBroken             state and landing zone disagree, or another program writes there
    │   │   └── LandingUnreadable     the state is damaged, or was written by another version
    │   ├── NotOurs                   what exists at the destination was not written by this entity
    │   ├── ColumnRefused             the destination cannot hold a column of this name
    │   ├── SchemaChanged             the source's columns no longer fit the mirrored table
    │   └── NotReadable               what has been landed cannot be read back
    ├── ExpectationError            rows that arrive are not what the settings expect
    │   └── ExpectationFailed         and must not land
    ├── JournalError                a run cannot be recorded
    └── LoadError                   a load cannot start or go on
        ├── InvalidRequest            the request itself cannot be used
        ├── UnknownSelection          the request names a flow or entity that the project does not have
        └── SettingsChanged           the deployment changed since the load was planned
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from hygge_engine.masking import mask
from hygge_engine.plain_text import one_line


class HyggeError(Exception):
    """Base of all errors that hygge-engine raises on purpose.

    ``message`` says what happened, ``hint`` what the user can do about it. Neither ever holds a secret: those that are
    known by their value (`hygge_engine.masking`) are masked here, wherever the message comes from. ``transient`` says
    whether the same call may succeed later; ``retry_after_seconds`` is the pause that the service asked for, if any;
    ``patience_seconds`` is the retry budget of one call, where that is less than usual. ``code`` names the
    error in documents and journals and never changes.
    """

    code: ClassVar[str] = "hygge"
    transient: bool = False
    patience_seconds: float | None = None

    def __init__(self, message: str, *, hint: str = "", retry_after_seconds: float | None = None) -> None:
        message = mask(message)
        super().__init__(message)
        self.message = message
        self.hint = mask(hint)
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        if not self.hint or not self.message:
            return self.message or self.hint
        stop = "" if self.message[-1] in ".!?:…" else "."
        return f"{self.message}{stop} {self.hint}"


@dataclass(frozen=True)
class Problem:
    """One thing to put right in a project's files.

    ``line`` and ``column`` count from 1 and are 0 where the problem has no place in a file. ``excerpt`` is the line of
    the file with a caret below the place.
    """

    file: str
    line: int
    column: int
    message: str
    found: str = ""
    expected: str = ""
    hint: str = ""
    excerpt: str = ""

    @property
    def place(self) -> str:
        """``file:line:column``, as editors and terminals link it."""
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def __str__(self) -> str:
        parts = [self.message]
        if self.found:
            parts.append(f"found {self.found}")
        if self.expected:
            parts.append(f"expected {self.expected}")
        return one_line(f"{self.place}: {'; '.join(parts)}. {self.hint}".strip())

    def render(self) -> str:
        """Several lines for a terminal. What the files say is text in them, whatever it is."""
        lines = [f"{one_line(self.place)}: {one_line(self.message)}"]
        lines += [f"  {line}" for line in self.excerpt.splitlines()]
        for label, text in (("found", self.found), ("expected", self.expected)):
            if text:
                lines.append(f"  {label}: {one_line(text)}")
        if self.hint:
            lines.append(f"  {one_line(self.hint)}")
        return "\n".join(lines)

    def masked(self) -> Problem:
        """The problem without any secret that is known by its value."""
        return Problem(
            self.file,
            self.line,
            self.column,
            *(mask(text) for text in (self.message, self.found, self.expected, self.hint, self.excerpt)),
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping."""
        return asdict(self)


class ConfigurationError(HyggeError):
    """The project's files, or the settings they refer to, are not usable.

    ``problems`` lists everything that is wrong with the files, each with its place; empty where no file is to blame.
    """

    code = "configuration"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retry_after_seconds: float | None = None,
        problems: tuple[Problem, ...] = (),
    ) -> None:
        super().__init__(message, hint=hint, retry_after_seconds=retry_after_seconds)
        self.problems = problems

    @property
    def brief(self) -> str:
        """The message without what the files say, for those who do not write them."""
        if not self.problems:
            return str(self)
        count = "one problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return f"The project's files have {count}; the app's log and `hygge validate` say which."


class HomeError(HyggeError):
    """Rows cannot be read from a source."""

    code = "home"


class HomeUnavailable(HomeError):
    """The source did not respond, dropped the connection, or asked to try again later.

    ``number`` is the source's own of the error, 0 where it has none; ``is_short`` whether it says that it is short of
    resources, ``is_slow`` whether it did not respond to a statement in time.
    """

    code = "home.unavailable"
    transient = True
    number: int = 0
    is_short: bool = False
    is_slow: bool = False


class HomeLoginFailed(HomeError):
    """The source refused the credential."""

    code = "home.login_failed"


class HomePermissionDenied(HomeError):
    """The login works but may not read the object."""

    code = "home.permission_denied"


class HomeNotFound(HomeError):
    """The file, database, table, view or column does not exist."""

    code = "home.not_found"


class KeyUnusable(HomeError):
    """The key does not identify every row: it is NULL, repeats, or loses digits on its way."""

    code = "home.key_unusable"


class CursorUnusable(HomeError):
    """The watermark column cannot serve as a cursor; never replaced by a silent full load.

    ``unkept``: it is the account of changes, which the source keeps none of now, so that those of this time are lost.
    """

    code = "home.cursor_unusable"

    def __init__(self, message: str, *, hint: str = "", unkept: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.unkept = unkept


class BoundUnusable(HomeError):
    """A bound of a window is not a possible value of the watermark column."""

    code = "home.bound_unusable"


class CursorMovedBack(HomeError):
    """The source's newest value is below what was loaded before, so that rows which came since would never be read."""

    code = "home.cursor_moved_back"


class ChangesExpired(HomeError):
    """The source no longer keeps all changes since the last load, so that an increment would miss some."""

    code = "home.changes_expired"


class SourceChanged(HomeError):
    """A file that was read in part has changed, so that its rest cannot be distinguished from what has landed."""

    code = "home.source_changed"


class Unreadable(HomeError):
    """A file is not what its format says, or a value is not of its column's type."""

    code = "home.unreadable"


class UnsupportedType(HomeError):
    """The destination cannot hold a column's type."""

    code = "home.unsupported_type"


class LakeError(HyggeError):
    """A data lake or local directory refused an operation. ``status`` is the HTTP status, 0 where there was none."""

    code = "lake"

    def __init__(
        self, message: str, *, status: int = 0, hint: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, hint=hint, retry_after_seconds=retry_after_seconds)
        self.status = status


class LakeNotFound(LakeError):
    """The lake has no such path, source of a rename, or parent of its destination (404)."""

    code = "lake.not_found"


class LakeConflict(LakeError):
    """The path exists in the lake already, or is in use (409)."""

    code = "lake.conflict"


class LakeConditionNotMet(LakeError):
    """The path is not in the state in which it was read (412)."""

    code = "lake.condition_not_met"


class LakeDenied(LakeError):
    """The lake refuses: the credential is wrong, has expired or lacks a role (401, 403), or a folder is closed."""

    code = "lake.denied"


class LakeUnavailable(LakeError):
    """The lake did not respond, dropped the connection, or asked to try again later (408, 429, 430, 5xx)."""

    code = "lake.unavailable"
    transient = True


class StoreError(HyggeError):
    """Rows cannot be landed in a destination."""

    code = "store"


class LandingFenced(StoreError):
    """Another attempt has taken over this table; this one must stop without touching anything."""

    code = "store.fenced"
    transient = True


class LandingBusy(StoreError):
    """Another load owns this table and its ownership has not expired."""

    code = "store.busy"
    transient = True


class StoreUnavailable(StoreError):
    """The destination did not respond, or another program is writing to it."""

    code = "store.unavailable"
    transient = True


class FabricUnavailable(StoreError):
    """Fabric's REST API did not respond, or asked to try again later."""

    code = "store.fabric_unavailable"
    transient = True


class LandingBroken(StoreError):
    """Landing state and landing zone disagree, or another program writes to the table's folder."""

    code = "store.landing_broken"


class LandingUnreadable(LandingBroken):
    """A table's landing state is damaged, or was written by another version: no load can continue from it."""

    code = "store.landing_unreadable"


class NotOurs(StoreError):
    """The destination holds something that no load of this entity has written, and that is never touched."""

    code = "store.not_ours"


class ColumnRefused(StoreError):
    """The destination cannot hold a column of this name beside the others."""

    code = "store.column_refused"


class SchemaChanged(StoreError):
    """The source's columns no longer fit the table that has been landed."""

    code = "store.schema_changed"


class NotReadable(StoreError):
    """What has been landed in this destination cannot be read back, so that it cannot be compared with its source."""

    code = "store.not_readable"


class ExpectationError(HyggeError):
    """Rows that arrive are not what the settings expect of them."""

    code = "expectations"


class ExpectationFailed(ExpectationError):
    """Rows do not meet what is expected of them, so they did not land.

    ``outcome`` counts what was met and what was not, as JSON.
    """

    code = "expectations.failed"

    def __init__(self, message: str, *, hint: str = "", outcome: str = "") -> None:
        super().__init__(message, hint=hint)
        self.outcome = mask(outcome)


class JournalError(HyggeError):
    """A run cannot be recorded, or the journal cannot be read."""

    code = "journal"


class LoadError(HyggeError):
    """A load cannot start or go on."""

    code = "load"


class InvalidRequest(LoadError):
    """The body of a load request is not usable; ``problems`` lists everything that is wrong with it."""

    code = "load.invalid_request"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The load request is not valid: " + " ".join(problems))
        self.problems = [mask(problem) for problem in problems]


class UnknownSelection(LoadError):
    """The request names flows or entities that the project does not have."""

    code = "load.unknown_selection"


class SettingsChanged(LoadError):
    """The deployment's settings are not those that the load was planned with."""

    code = "load.settings_changed"
