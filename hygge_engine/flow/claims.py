"""The owner of a table that is not this entity's, as far as other landing states in the same store show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hygge_engine.errors import HyggeError, NotOurs
from hygge_engine.flow.versions import holds_versions
from hygge_engine.polish.versions import VERSION
from hygge_engine.project.models.settings import Surroundings
from hygge_engine.stores.base import Claim, Destination
from hygge_engine.stores.landing.state import Author, LandingState

if TYPE_CHECKING:
    from hygge_engine.polish.polish import Polish
    from hygge_engine.project import Entity, Project


def author_of(project: Project, entity: Entity) -> Author:
    """Whom a load that begins now writes into the landing state."""
    began = datetime.now(UTC).isoformat("T", "seconds")
    return Author(project.name, entity.home.origin(Surroundings(project.directory, project.connections)), began)


def naming_owner(error: NotOurs, destination: Destination[Any]) -> NotOurs:
    """The error, with whose table it is where another entity's landing state in the same store says so."""
    try:
        claim = destination.claim()
    except HyggeError:
        return error
    return error if claim is None else NotOurs(f"{error.message}; it is {claimed(claim)}", hint=error.hint)


def check_base(state: LandingState, base: str) -> str:
    """The message where a synonym leads elsewhere than when the table was loaded last; else empty."""
    before = state.author.base if state.author is not None else ""
    if not (before and base) or before == base:
        return ""
    return f"its rows came from {before} so far, for which the synonym stood, and come from {base} now"


def check_versions_stay(state: LandingState, place: str, author: Author, entity: Entity, polish: Polish) -> None:
    """Raise NotOurs where an entity that is no history has come to the landing state of one, whose versions are nowhere
    else; ``place`` is where its rows would land. The copy of a history reads versions from its own source, as ever."""
    if entity.history_of or not is_history_in(state, place):
        return
    before = state.author
    reads_versions = any(column.name == VERSION for column in polish.table.columns)
    if reads_versions and (before is None or before.has_source_of(author)):
        return
    raise NotOurs(
        f"{entity.store.destination(entity.name)} is a history ({landed(state)}): no load replaces its versions of "
        f"rows, and {entity.id} is an entity without versions now",
        hint="Name another table_name for this entity, and load it with run_type full_drop: the history stays as it "
        f"is. Or give the history up: `hygge adopt {entity.id}` asks, and the next full_drop replaces it.",
    )


def is_history_in(state: LandingState, place: str) -> bool:
    """Whether versions of rows have landed at ``place`` that nobody has given up."""
    return holds_versions(state) and not state.handed_over_at and state.place_of_rows in (place, "")


def claimed(claim: Claim) -> str:
    """Whose a table is, for messages."""
    author = claim.state.author
    project = f" of the project '{author.project}'" if author else ""
    return f"the table of {claim.entity}{project} ({landed(claim.state)})"


def landed(state: LandingState) -> str:
    """What has landed, where, from where and when, as far as the state shows."""
    author, where = state.author, state.place_of_rows or state.place
    parts = [
        f"landed in {where}" if state.place_of_rows is not None else "nothing has landed yet",
        f"from {author.source}" if author and author.source else "",
        f"last on {author.began}" if author and author.began else "",
        f"with a load that began on {state.open.started} and has not ended" if state.open else "",
    ]
    return ", ".join(part for part in parts if part)
