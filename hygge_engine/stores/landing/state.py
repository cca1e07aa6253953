"""The landing state: one small JSON document per table, from which any attempt can continue.

It is read once and replaced in one conditional request. Every write carries a fresh nonce, which distinguishes our own
write after a lost response from a foreign one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from hygge_engine.errors import LandingBroken, LandingUnreadable
from hygge_engine.hosts import identity_of
from hygge_engine.plain_text import document_fault
from hygge_engine.row_counts import UNKNOWN, RowCounts
from hygge_engine.stores.landing.document import DocumentFile
from hygge_engine.watermark import Boundary, Watermark

# Raised when a field changes its meaning; an older document is refused rather than misread.
FORMAT = 1

# What documents call `Finished.of_adopted_load`, and both `OpenLoad.continued` and `LandingState.handed_over_at`, so
# that every version can read every other's.
_OF_ADOPTED_LOAD = "partial"
_ADOPTED = "adopted"

# Where documents keep `RowCounts`: among the examples of expectations, under the name of none, because earlier versions
# read no key that they do not know, and carry those along unseen.
_COUNTS = ""

_DIGEST_BYTES = 8

# Several times what an owner's time lasts: clocks of machines that share a directory may differ by minutes.
CLOCK_SET_BACK = timedelta(minutes=15)

# What can be done with a table whose state is lost; continues a sentence.
_REPLACE = "`hygge adopt {}` says what would be replaced, and makes way for a full_drop."

# initial: the table's first rows, without a row marker. changes: rows merged by key. reload: a new generation of the
# table.
Mode = Literal["initial", "changes", "reload"]

# landing: slices become visible as they are committed. A reload passes through all four, in this order.
Phase = Literal["staging", "dropping", "waiting", "landing"]


@dataclass(frozen=True)
class Owner:
    """Which attempt works on the table.

    ``expires`` (ISO 8601, UTC) and ``process`` (`process.this_process`) decide liveness only; safety is the epoch's
    business.
    """

    load_id: str
    attempt: int
    expires: str
    process: str = ""


@dataclass(frozen=True)
class Author:
    """Whose a table is: the ``project``, by its name. ``source`` says where its rows come from, for people; ``began``
    (ISO 8601, UTC) when its newest load began, ``base`` what the source, a synonym, stood for then."""

    project: str
    source: str = ""
    began: str = ""
    base: str = ""

    def has_source_of(self, other: Author) -> bool:
        """Whether the rows come from the same place, by whichever of its names."""
        return identity_of(self.source) == identity_of(other.source)


@dataclass(frozen=True)
class StagedFile:
    """A flushed file and what its publication means.

    ``final`` is empty until an intent names it; ``rows`` is 0 for metadata.
    """

    staged: str
    length: int
    sha256: str
    rows: int = 0
    final: str = ""

    @property
    def extension(self) -> str:
        """What the name of the staged file ends with."""
        return self.staged.rpartition(".")[2]


@dataclass(frozen=True)
class ExpectationResult:
    """What a load's rows have been found to be, as far as they are committed (staging: staged).

    ``rows`` counts those that arrived, ``found`` for each expectation those that did not meet it, of which ``examples``
    names a few. ``newest`` is the newest value of a column (ISO 8601, UTC).
    """

    rows: int = 0
    found: dict[str, int] = field(default_factory=dict)
    examples: dict[str, tuple[str, ...]] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shape:
    """What has landed is made of: fields of the landing state by the same names."""

    key_columns: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    removed_columns: dict[str, str] = field(default_factory=dict)
    treatments: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """Digests of the rows that have landed, for reloads that compare (docs/reloads.md).

    ``made_of`` identifies columns, key, polish and the way that rows are hashed, ``keyed`` all of that but for columns
    outside of the key (empty where keys alone are never compared). It is true as long as ``generation`` and
    ``sequence`` are the state's: a commit that knows nothing of it makes it stale. ``files`` are in the order of their
    commits: of two entries for a key the later one counts.
    """

    made_of: str
    generation: int
    sequence: int
    files: tuple[StagedFile, ...] = ()
    keyed: str = ""

    @property
    def entries(self) -> int:
        """How many entries there are, those of deleted rows and of earlier versions included."""
        return sum(file.rows for file in self.files)


@dataclass(frozen=True)
class Division:
    """The ranges that an open load is read in (docs/divided.md). ``id`` names their documents and staged files, and
    begins with the epoch that made them. ``files`` is how many staged files all ranges have together, None until all
    are read; ``published`` of them are committed. ``made_for`` identifies by what settings its rows are judged and
    written; empty where another version has made it."""

    id: str
    count: int
    files: int | None = None
    published: int = 0
    made_for: str = ""


@dataclass(frozen=True)
class OpenLoad:
    """A load of the table that has begun and not ended."""

    load_id: str
    mode: Mode
    phase: Phase
    started: str
    lower: str | None = None
    lower_inclusive: bool = False
    upper: Watermark | None = None
    boundary: Boundary | None = None
    # The largest value of the cursor, up to `upper`, among the rows read so far (see `LargestRead`).
    seen: str | None = None
    # The kind of files that its rows are in, as `LandingState.file_format`.
    file_format: str = ""
    # The home's, after the last row that is committed (staging: staged).
    position: list[str] | None = None
    staged: tuple[StagedFile, ...] = ()
    intent: tuple[StagedFile, ...] = ()
    # Once the intent is rolled forward: the position that holds, and whether nothing is left to read.
    after_intent: list[str] | None = None
    last: bool = False
    dropped_at: str = ""
    # Another load's, which this one has adopted.
    continued: bool = False
    # Leaves the table's watermark where it was.
    backfill: bool = False
    # Its rows come from another source than those of the project that has been handed the table since.
    handed_over: bool = False
    # Reads rows beyond `upper` as well.
    unbounded: bool = False
    # A reload that lands what differs from the snapshot, and drops nothing.
    difference: bool = False
    # What the digests of its rows are made of (`Snapshot`), empty where none are kept; those that are staged (of a
    # reload: so far); and how many of the snapshot's last files are contained in them.
    made_of: str = ""
    keyed: str = ""
    digests: tuple[StagedFile, ...] = ()
    folded: int = 0
    # Looks for rows that the source has lost, and lands their deletes alone: `position` and `keys`, files of their
    # hashes, are of the keys that have been read, or found, so far; once `all_keys` are, missing ones are looked up.
    compares: bool = False
    keys: tuple[StagedFile, ...] = ()
    all_keys: bool = False
    # Its load compares next.
    compares_next: bool = False
    # The column that rows are marked in which the source has deleted; empty where they are deleted.
    marks: str = ""
    # A reload that was set aside when its source was found to have lost changes: some may be newer than its rows.
    outlived: bool = False
    # The source's key columns, and a cursor of texts, with their types and orders, in which `position` and the window
    # mean something; empty where they mean something else, or in documents of earlier versions.
    order: tuple[str, ...] = ()
    # The key's columns of text in which the source distinguishes "a" and "A", each with what it still treats as equal
    # (`Folding`).
    told_apart: dict[str, str] = field(default_factory=dict)
    # Identifies the polish that it was begun with.
    polish: str = ""
    # What the state said when the load began; it holds again if the load is discarded before anything of it has landed.
    before: Shape | None = None
    # Each row that it lands is one that the table did not have; else `counting` says what those of the intent are, and
    # of a difference also how many have been left out.
    adds: bool = False
    counting: RowCounts = UNKNOWN
    # Totals over all slices.
    counts: RowCounts = UNKNOWN
    rows: int = 0
    bytes: int = 0
    files: int = 0
    # Rows whose key an earlier row of the same slice has, where a source may hold several versions of a row.
    merged: int = 0
    checked: ExpectationResult = field(default_factory=ExpectationResult)
    # What the journal should say of its beginning.
    message: str = ""
    # The ranges that it is read in; None where it is read as a whole, and in documents of earlier versions.
    divided: Division | None = None

    @property
    def has_landed(self) -> bool:
        """Whether rows of it may be visible already, or rows before it gone."""
        if self.mode == "reload":
            return self.phase != "staging"
        if self.compares:
            return False  # deletes that have landed hold without those that have not
        return self.position is not None or bool(self.intent) or self.is_all_read

    @property
    def is_all_read(self) -> bool:
        """Whether it is read in ranges, of which nothing is left to read."""
        return self.divided is not None and self.divided.files is not None

    @property
    def is_read_in_ranges(self) -> bool:
        """Whether it is read in ranges, of which some may be left."""
        return self.divided is not None and self.divided.files is None


@dataclass(frozen=True)
class Finished:
    """The newest load that ended: a redelivered slice of it returns these totals instead of starting over.

    ``of_adopted_load``: what ended was another load's, which this one had adopted; its own share is still to come.
    ``compares_next``: what ended was its increment; the comparison of keys is still to come.
    """

    load_id: str
    mode: Mode
    rows: int
    bytes: int
    files: int
    of_adopted_load: bool = False
    checked: ExpectationResult = field(default_factory=ExpectationResult)
    message: str = ""
    counts: RowCounts = UNKNOWN
    compares_next: bool = False

    @property
    def is_partial(self) -> bool:
        """Whether its load has not ended by that."""
        return self.of_adopted_load or self.compares_next


@dataclass(frozen=True)
class LandingState:
    """All that is known of one table in its destination.

    ``next_sequence`` numbers the next file, from 1; ``folder_etag`` is set while the table's folder is being dropped.
    ``place`` is where rows land (`TableLease.place`), empty in documents of earlier versions. ``landed_in`` is where
    the rows of this generation are, and ``file_format`` in what kind of files: what lies there and was not written by
    this engine is foreign. None, and the open load's format, where nothing has landed yet; None and empty in documents
    of earlier versions.
    ``table_id`` distinguishes a table of a database from any other of its name; empty elsewhere, and where an earlier
    version made the table. ``handed_over_at`` (ISO 8601, UTC) is when it was confirmed that what lies there may be
    replaced; a reload that has ended takes it back. ``author`` is the project that has loaded the table, None in
    documents of earlier versions. ``left_over`` are final paths of the engine's files that no number of this generation
    covers: of an intent that was abandoned. ``set_aside`` is an open load that has landed rows, or a reload that has
    read all of its rows, and makes way for a reload, which is open meanwhile or about to begin; where that ends before
    it takes the old rows' place, the load set aside is the open one again. ``columns`` maps each landed column to its
    Arrow type, ``removed_columns`` those that the table has and the source no longer; ``treatments`` says what is done
    to the values of columns that do not land as they are, ``newest`` how new those of a column were whose freshness is
    expected. ``went_back`` says how the source was once found to have fallen behind the watermark, or to have lost
    changes after it, so that rows may have come that no increment reads; a reload that has ended takes it back, unless
    it was set aside then (`OpenLoad.outlived`), and nothing else. ``snapshot`` are the digests of what has landed,
    where they are kept; ``compared_at`` (ISO 8601, UTC) is when the newest load began that has compared all of the
    source with them.
    """

    epoch: int = 0
    generation: int = 1
    next_sequence: int = 1
    folder_etag: str = ""
    place: str = ""
    landed_in: str | None = None
    file_format: str = ""
    table_id: str = ""
    handed_over_at: str = ""
    author: Author | None = None
    left_over: tuple[str, ...] = ()
    key_columns: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)
    removed_columns: dict[str, str] = field(default_factory=dict)
    treatments: dict[str, str] = field(default_factory=dict)
    newest: dict[str, str] = field(default_factory=dict)
    watermark: Watermark | None = None
    went_back: str = ""
    snapshot: Snapshot | None = None
    compared_at: str = ""
    # When the newest load began (ISO 8601, UTC) that has taken old versions out of a history.
    pruned_at: str = ""
    owner: Owner | None = None
    open: OpenLoad | None = None
    set_aside: OpenLoad | None = None
    finished: Finished | None = None

    @property
    def shape(self) -> Shape:
        """What has landed is made of, as far as this state knows."""
        return Shape(self.key_columns, self.columns, self.removed_columns, self.treatments)

    @property
    def staged_paths(self) -> set[str]:
        """Staged files that may still become visible, and those of digests, which stay where they were staged."""
        loads = [opened for opened in (self.open, self.set_aside) if opened is not None]
        named = [file for opened in loads for file in (*opened.staged, *opened.intent, *opened.digests, *opened.keys)]
        return {file.staged for file in (*named, *(self.snapshot.files if self.snapshot is not None else ()))}

    @property
    def true_snapshot(self) -> Snapshot | None:
        """The snapshot, where it speaks of the rows that have landed now."""
        found = self.snapshot
        if found is None or (found.generation, found.sequence) != (self.generation, self.next_sequence):
            return None
        return found

    @property
    def divisions(self) -> set[str]:
        """The ids of divisions whose staged files may still become visible."""
        loads = [opened for opened in (self.open, self.set_aside) if opened is not None]
        return {opened.divided.id for opened in loads if opened.divided is not None}

    @property
    def reopened(self) -> LandingState:
        """The state with what was set aside open again where no reload is; it lands where its rows are."""
        if self.open is not None or self.set_aside is None:
            return self
        return replace(self, open=self.set_aside, set_aside=None, place=self.place_of_rows or self.place)

    @property
    def has_history(self) -> bool:
        """Whether files of this generation have become visible."""
        return self.next_sequence > 1

    @property
    def reached(self) -> str:
        """A text that changes whenever a load gets ahead: where it reads, what it has staged, what is visible.

        Owners, epochs, and the phases that a reload waits in move without anything being done.
        """
        opened = self.open
        under_way = opened and [
            opened.load_id,
            opened.position,
            len(opened.staged),
            [file.final for file in opened.intent],
            opened.after_intent,
            *([asdict(opened.divided)] if opened.divided is not None else []),
            *([len(opened.keys), opened.all_keys] if opened.compares else []),
        ]
        return digest_of([self.generation, self.next_sequence, under_way])

    @property
    def place_of_rows(self) -> str | None:
        """Where the engine's rows are, an emptied table included; None where there are none, "" where it is unknown.

        Documents of earlier versions have only ``place`` to say it.
        """
        if self.landed_in is None and (self.has_history or self.generation > 1):
            return self.place
        return self.landed_in

    def owns(self, place: str) -> bool:
        """Whether what is at ``place`` has been written by us, or was handed over to us."""
        return self.place_of_rows in ("", place)

    def to_json(self, nonce: str) -> bytes:
        """The document, readable by people."""
        value = asdict(self)
        value[_ADOPTED] = value.pop("handed_over_at")
        value["watermark"] = _mark(self.watermark)
        for opened, load in ((value["open"], self.open), (value["set_aside"], self.set_aside)):
            if opened is not None and load is not None:
                opened["upper"] = _mark(load.upper)
                opened[_ADOPTED] = opened.pop("continued")
                _hide_counts(opened, int(opened.pop("adds")), *opened.pop("counting").values())
                if opened["divided"] is None:
                    del opened["divided"]  # earlier versions know no divisions
                if opened["file_format"] == value["file_format"]:
                    del opened["file_format"]  # nor another format than that of what has landed
                if not opened["made_of"]:
                    for name in ("made_of", "difference", "digests", "folded"):  # nor digests
                        del opened[name]
                _leave_out(opened, "keyed", "compares", "keys", "all_keys", "compares_next", "marks", "outlived")
        if value["snapshot"] is None:
            del value["snapshot"]
        else:
            _leave_out(value["snapshot"], "keyed")
        _leave_out(value, "compared_at", "pruned_at")
        if value["finished"] is not None:
            value["finished"][_OF_ADOPTED_LOAD] = value["finished"].pop("of_adopted_load")
            _hide_counts(value["finished"])
            _leave_out(value["finished"], "compares_next")
        return json.dumps({"format": FORMAT, "nonce": nonce, **value}, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, path: str) -> tuple[LandingState, str]:
        """State and nonce. Raises LandingUnreadable for a document that this version cannot read.

        ``path`` is where it is kept: ``…/flow/entity.json`` in a lake, ``flow.entity`` in a database.
        """
        entity = ".".join(path.removesuffix(".json").split("/")[-2:])
        replace_it = _REPLACE.format(entity)
        name = f"The landing state of {entity}" + (f" ({path})" if path != entity else "")
        try:
            value = json.loads(data)
            if not isinstance(value, dict):
                raise ValueError("it holds no JSON object")
            if value.pop("format") != FORMAT:
                raise LandingUnreadable(
                    f"{name} was written by another version of hygge-engine",
                    hint=f"Run the version that wrote it, or a newer one. Otherwise {replace_it}",
                )
            nonce = str(value.pop("nonce"))
            state = _decode(value).reopened
            _check_numbers(state)
            _check_kinds(state, LandingState())
            for opened in (state.open, state.set_aside):
                if opened is not None:
                    _check_kinds(opened, OpenLoad("", "initial", "staging", ""))
            return state, nonce
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise LandingUnreadable(
                f"{name} cannot be read: {document_fault(error)}",
                hint=f"Restore it from a copy. Where there is none, {replace_it}",
            ) from error


def _mark(watermark: Watermark | None) -> dict[str, Any] | None:
    return None if watermark is None else watermark.to_json()


def _leave_out(document: dict[str, Any], *names: str) -> None:
    """Remove what says nothing: earlier versions do not know it."""
    for name in names:
        if not document[name]:
            del document[name]


def _check_numbers(state: LandingState) -> None:
    """Raises ValueError where files could not be numbered, or attempts not be distinguished."""
    numbers = {"epoch": state.epoch, "generation": state.generation, "next_sequence": state.next_sequence}
    for name, number in numbers.items():
        if type(number) is not int or number < 0:
            raise ValueError(f"its {name!r} is {json.dumps(number, default=str)}, and not a whole number")


def _check_kinds(found: LandingState | OpenLoad, blank: LandingState | OpenLoad) -> None:
    """Raises ValueError where a field is of another kind than in a blank document."""
    for each in fields(blank):
        value, expected = getattr(found, each.name), getattr(blank, each.name)
        texts = [*value, *value.values()] if isinstance(value, dict) else []
        if (expected is not None and type(value) is not type(expected)) or not all(isinstance(x, str) for x in texts):
            raise ValueError(f"its {each.name!r} is of another kind than it has to be")


def _hide_counts(entry: dict[str, Any], *more: int | None) -> None:
    """Put the counts of a load where every version leaves them alone (`_COUNTS`), with the rows that they were true
    for: an earlier version lands some without counting them."""
    entry["checked"]["examples"][_COUNTS] = [entry["rows"], *entry.pop("counts").values(), *more]


def _found_counts(entry: dict[str, Any]) -> tuple[RowCounts, list[int | None]]:
    """The inverse of `_hide_counts`: counts, unknown where they are not there or not true any more, and what is behind
    them."""
    examples = (entry.get("checked") or {}).get("examples", {})
    rows, *numbers = examples.pop(_COUNTS, [None] * 10)
    if not all(number is None or (type(number) is int and number >= 0) for number in numbers):
        raise ValueError("its counts of rows are of another kind than they have to be")
    counts = RowCounts(*numbers[:4]) if rows == entry["rows"] else UNKNOWN
    return counts, numbers[4:]


def extension_of(file_format: str) -> str:
    """What the names of a kind of files end with."""
    return "parquet" if file_format == "delta" else file_format


def digest_of(values: list[Any]) -> str:
    """A short text that differs where values, which JSON can hold, do."""
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=_DIGEST_BYTES).hexdigest()


def checked_from_json(entry: dict[str, Any] | None) -> ExpectationResult:
    """The inverse of `dataclasses.asdict`; None was written before anything was expected of rows."""
    if entry is None:
        return ExpectationResult()
    return ExpectationResult(**entry | {"examples": {name: tuple(texts) for name, texts in entry["examples"].items()}})


def _decode(value: dict[str, Any]) -> LandingState:
    def files(entries: list[dict[str, Any]]) -> tuple[StagedFile, ...]:
        return tuple(StagedFile(**entry) for entry in entries)

    def watermark(entry: dict[str, Any] | None) -> Watermark | None:
        return None if entry is None else Watermark.from_json(entry)

    def shape(entry: dict[str, Any] | None) -> Shape | None:
        return None if entry is None else Shape(**entry | {"key_columns": tuple(entry["key_columns"])})

    def division(entry: dict[str, Any] | None) -> Division | None:
        if entry is None:
            return None
        found = Division(**entry)
        numbers = (found.count, found.files or 0, found.published)
        if not isinstance(found.id, str) or any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError("its 'divided' is of another kind than it has to be")
        return found

    def load(entry: dict[str, Any] | None) -> OpenLoad | None:
        if entry is None:
            return None
        continued = entry.pop(_ADOPTED, False)
        counts, (adds, *counting) = _found_counts(entry)
        staged = files([*entry["staged"], *entry["intent"]])
        return OpenLoad(
            **entry
            | {
                "file_format": entry.get("file_format", _begun_in(staged, value.get("file_format", ""))),
                "continued": continued,
                "counts": counts,
                "adds": bool(adds),
                "counting": RowCounts(*counting),
                "upper": watermark(entry["upper"]),
                "boundary": Boundary.from_json(entry["boundary"]) if entry.get("boundary") else None,
                "staged": files(entry["staged"]),
                "intent": files(entry["intent"]),
                "digests": files(entry.get("digests", [])),
                "keys": files(entry.get("keys", [])),
                "checked": checked_from_json(entry.get("checked")),
                "order": tuple(entry.get("order", ())),
                "before": shape(entry.get("before")),
                "divided": division(entry.get("divided")),
            }
        )

    def totals(entry: dict[str, Any] | None) -> Finished | None:
        if entry is None:
            return None
        of_adopted_load = entry.pop(_OF_ADOPTED_LOAD, False)
        counts, _ = _found_counts(entry)
        checked = checked_from_json(entry.get("checked"))
        return Finished(**entry | {"checked": checked, "of_adopted_load": of_adopted_load, "counts": counts})

    def snapshot(entry: dict[str, Any] | None) -> Snapshot | None:
        return None if entry is None else Snapshot(**entry | {"files": files(entry["files"])})

    handed_over_at = value.pop(_ADOPTED, "")
    return LandingState(
        **value
        | {
            "handed_over_at": handed_over_at,
            "key_columns": tuple(value["key_columns"]),
            "left_over": tuple(value.get("left_over", ())),
            "watermark": watermark(value["watermark"]),
            "owner": None if value["owner"] is None else Owner(**value["owner"]),
            "author": Author(**value["author"]) if value.get("author") else None,
            "snapshot": snapshot(value.get("snapshot")),
            "open": load(value["open"]),
            "set_aside": load(value.get("set_aside")),
            "finished": totals(value["finished"]),
        }
    )


def _begun_in(files: tuple[StagedFile, ...], landed: str) -> str:
    """The kind of files of an open load whose document does not say: that of what has ``landed``, unless these, which
    it has staged, are of another; then it is unknown."""
    return landed if all(file.extension == extension_of(landed) for file in files) else ""


def fresh_epoch(before: LandingState | None, now: datetime) -> int:
    """The epoch of a state that replaces ``before``, or one that is lost or cannot be read: no attempt has had it,
    since epochs are counted from 1."""
    return before.epoch + 1 if before is not None else int(now.timestamp())


class StateFile(DocumentFile[LandingState]):
    """The landing state of one table in a lake."""

    def _encode(self, document: LandingState, nonce: str) -> bytes:
        return document.to_json(nonce)

    def _decode(self, data: bytes) -> tuple[LandingState, str]:
        return LandingState.from_json(data, self.path)


def expired(owner: Owner, now: datetime) -> bool:
    """Whether an owner's time is over, by the service's clock: also where it ends so late that the clock must have been
    set back since the owner was heard of last. One that is alive says so by the new clock within seconds."""
    left = datetime.fromisoformat(owner.expires) - now
    return not timedelta(0) < left < CLOCK_SET_BACK


def with_open(state: LandingState, **changes: Any) -> LandingState:
    """The state with fields of its open load replaced."""
    if state.open is None:
        raise LandingBroken("there is no open load to change")
    return replace(state, open=replace(state.open, **changes))
