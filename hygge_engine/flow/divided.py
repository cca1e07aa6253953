"""A load that is read in ranges: how it is divided, read, and put together again (docs/divided.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hygge_engine.errors import LandingBroken
from hygge_engine.expectations.checks import EXAMPLES
from hygge_engine.expectations.rules import rules_of
from hygge_engine.flow.continuing import made_for
from hygge_engine.flow.gate import ExpectationGate
from hygge_engine.flow.identity import may_repeat
from hygge_engine.flow.planner import LoadPlanner, window_of
from hygge_engine.flow.reading import Cut, WindowReader, earned
from hygge_engine.homes.base import Divides, Home
from hygge_engine.plain_text import counted
from hygge_engine.project.models.settings import FILE_MODIFIED
from hygge_engine.stores.base import Destination
from hygge_engine.stores.landing.lake_lease import LakeTableLease
from hygge_engine.stores.landing.lease import TableLease
from hygge_engine.stores.landing.ranges import RangeLease, RangeState
from hygge_engine.stores.landing.settled import RELOAD
from hygge_engine.stores.landing.state import Division, ExpectationResult, OpenLoad, StagedFile, digest_of
from hygge_engine.watermark.rows import newest_boundary
from hygge_engine.watermark.values import order_of

if TYPE_CHECKING:
    from hygge_engine.project import Entity

# Files of one intent: the landing state stays a small document, however many there are.
FILES_PER_INTENT = 100


def divide(home: Home, destination: Destination[Any], lease: TableLease, planner: LoadPlanner, entity: Entity) -> None:
    """Divide an open load of which nothing is read yet into ranges, where it can be and the home's settings want it.

    The documents come first; one conditional write then says that the load consists of them. Raises what `Divides`
    raises.
    """
    opened = lease.open
    if not isinstance(lease, LakeTableLease) or not isinstance(home, Divides) or opened is None:
        return
    if not destination.divides or opened.has_landed or opened.staged or opened.position is not None:
        return
    if opened.mode == "changes" and not opened.backfill:
        return
    positions = home.divide(window_of(opened, lease.state, planner.polish()))
    if len(positions) < 2:
        return
    if reason := _needs_one_reader(destination, lease, planner, entity, opened):
        message = f"not divided into ranges: {reason}"
        if message not in opened.message:
            lease.stage_changes(message="; ".join(filter(None, (opened.message, message))))
        return
    division = lease.new_division()
    destination.ranges(division).create(positions)
    lease.write_changes(divided=Division(division, len(positions), made_for=made_for(entity, lease.file_format)))


def _needs_one_reader(
    destination: Destination[Any], lease: TableLease, planner: LoadPlanner, entity: Entity, opened: OpenLoad
) -> str:
    """What would only be found by rows of one range together with those of another, as a clause; empty where nothing
    would."""
    if opened.made_of:
        return "digests of its rows are kept, for reloads by difference"
    polish, keys = planner.polish(), lease.state.key_columns
    rules = rules_of(entity.expectations, polish, keys)
    if rules is not None and rules.unique is not None and not rules.unique.in_order:
        return f"{rules.unique.name} is checked by all rows together"
    if opened.upper is not None and (opened.upper.type == "string" or opened.upper.column == FILE_MODIFIED):
        return "only the source can order the values of its watermark"
    if destination.merges and keys and may_repeat(polish, keys):
        return f"whether ({', '.join(keys)}) repeats is checked by all rows together"
    return ""


def read_range(lease: RangeLease, reader: WindowReader) -> Cut | None:
    """Read on in one range, as long as a slice may take, and commit what was staged. Why reading stopped before the end
    of the range; None where it did not."""
    lease.take_over()
    opened = lease.open
    if opened is None:
        raise LandingBroken("there is no open load")
    files, position, cut, _ = reader.read(opened)
    lease.commit(files, position, reader.notes, done=cut is None)
    return cut


class Gathering:
    """What the ranges of an open load have come to."""

    def __init__(self, destination: Destination[Any], division: Division) -> None:
        self._ranges = destination.ranges(division.id)
        self.states: Sequence[RangeState] | None = self._ranges.read(division.count)

    @property
    def left(self) -> list[int]:
        """The numbers of the ranges that are not read to their end."""
        return [number for number, state in enumerate(self.states or ()) if not state.done]

    @property
    def is_whole(self) -> bool:
        """Whether all documents are there, and all staged files with their lengths."""
        return self.states is not None and self.has(self.files)

    @property
    def message(self) -> str:
        """What is to be read before the next slice, for people: it is shown as long as that takes."""
        return f"{len(self.left):,} of {counted(len(self.states or ()), 'range')} to be read"

    @property
    def files(self) -> list[StagedFile]:
        """All staged files, in the order of the ranges."""
        return [file for state in self.states or () for file in state.staged]

    def has(self, files: Sequence[StagedFile]) -> bool:
        """Whether these staged files are there, with their lengths."""
        return self._ranges.has(files)

    @property
    def reached(self) -> str:
        """A text that changes whenever one of the ranges gets ahead, or they are others."""
        return digest_of([self._ranges.folder, *(state.reached for state in self.states or ())])

    def findings(self, home: Home, lease: TableLease, gate: ExpectationGate, opened: OpenLoad) -> dict[str, Any]:
        """What the open load keeps of all ranges together, by its fields, as after the last row of one that was read as
        a whole. Raises ExpectationFailed where the rows may not land."""
        states = list(self.states or ())
        found: dict[str, Any] = {}
        checked = replace(
            _checked([state.checked for state in states]), newest=_newest([state.checked for state in states])
        )
        monitor = gate.begin(replace(opened, checked=checked))
        if monitor is not None:
            found["checked"] = gate.judge(monitor, opened, last=True)
        if opened.upper is not None:
            boundaries = [state.boundary for state in states if state.boundary is not None]
            found["boundary"] = newest_boundary(boundaries, opened.upper.type)
            found["seen"] = _largest_seen(states, opened)
        before = None if opened.mode == "reload" else lease.state.watermark
        found |= earned(home, replace(opened, **found), before)
        notes = dict.fromkeys(note for state in states for note in state.notes)
        read = f"read in {counted(len(states), 'range')}"
        found["message"] = "; ".join(filter(None, (opened.message, read, *notes)))
        return found


def _checked(results: Sequence[ExpectationResult]) -> ExpectationResult:
    """What the rows of all ranges have been found to be; examples are the first ones, in the order of the ranges."""
    found: dict[str, int] = {}
    examples: dict[str, tuple[str, ...]] = {}
    for result in results:
        for name, count in result.found.items():
            found[name] = found.get(name, 0) + count
        for name, texts in result.examples.items():
            examples[name] = (*examples.get(name, ()), *texts)[:EXAMPLES]
    return ExpectationResult(sum(result.rows for result in results), found, examples)


def _newest(results: Iterable[ExpectationResult]) -> dict[str, str]:
    newest: dict[str, str] = {}
    for result in results:
        for name, text in result.newest.items():
            if name not in newest or order_of(text, "datetime") > order_of(newest[name], "datetime"):
                newest[name] = text
    return newest


def _largest_seen(states: Iterable[RangeState], opened: OpenLoad) -> str | None:
    """The largest value of the cursor among the rows of all ranges, see `LargestRead`."""
    seen = [state.seen for state in states if state.seen is not None]
    if opened.upper is None or opened.upper.value in seen:
        return opened.upper.value if opened.upper is not None else None
    kind = opened.upper.type
    return max(seen, key=lambda text: order_of(text, kind), default=None)


def publish_ranges(destination: Destination[Any], lease: TableLease) -> None:
    """Make visible what the ranges of an open load have staged, as far as it is not yet, and end the load.

    Asks nothing of the source. Raises LandingBroken where documents or staged files are missing.
    """
    opened = lease.open
    if opened is None or opened.divided is None:
        return
    gathering = Gathering(destination, opened.divided)
    files = gathering.files
    if len(files) != opened.divided.files:
        raise _broken(destination, f"{len(files):,} of {counted(opened.divided.files or 0, 'file')} are named")
    if not files:
        if opened.mode == "reload":
            destination.clear(lease)
        else:
            lease.finish()
    most = len(files) if destination.replaces_at_once and opened.mode == "reload" else FILES_PER_INTENT
    while (opened := lease.open) is not None and lease.owns_open and (division := opened.divided) is not None:
        few = files[division.published : division.published + most]
        if not gathering.has(few):  # once an intent names them, one that is not there counts as published
            raise _broken(destination, "some are not there")
        last = division.published + len(few) == len(files)
        begins = opened.mode == "reload" and not division.published
        destination.publish(lease, few, position=None, last=last, new_generation=begins)


def _broken(destination: Destination[Any], found: str) -> LandingBroken:
    return LandingBroken(
        f"of the files that were staged in ranges for {destination.table_name} {found}",
        hint=f"Find out who deletes what is in .hygge_journal/staging. Then {RELOAD}",
    )
