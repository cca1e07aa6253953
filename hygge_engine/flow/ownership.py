"""Whose a table is: landing states are found by flow and entity, which projects that land in one place may share."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hygge_engine.errors import LandingBusy, LandingFenced, NotOurs
from hygge_engine.flow.blocked import is_at_work, settled_in
from hygge_engine.flow.claims import author_of, claimed, is_history_in, landed
from hygge_engine.flow.versions import holds_versions
from hygge_engine.stores.base import Adoption, Claim, Destination
from hygge_engine.stores.landing.lease import StateStore
from hygge_engine.stores.landing.state import Author, LandingState

if TYPE_CHECKING:
    from hygge_engine.project import Entity, Project

_ANOTHERS_HINT = (
    "Let the store land elsewhere: another path, database or mirrored database. Or, if this project was renamed, or is "
    "to have the table from now on: `hygge adopt {}` says what that would mean, and asks."
)


def check_author(state: LandingState, author: Author, entity: Entity) -> str:
    """Raise NotOurs where another project has loaded the table. Returns what to say where its rows came from elsewhere
    so far; empty where there is nothing to say."""
    before = state.author
    if before is None:
        return ""
    if before.project != author.project:
        raise NotOurs(
            f"the landing state of {entity.id} in {entity.store.destination(entity.name)} is that of the project "
            f"'{before.project}': {landed(state)}; this is the project '{author.project}'",
            hint=_ANOTHERS_HINT.format(entity.id),
        )
    if not before.source or before.has_source_of(author):
        return ""
    return f"its rows came from {before.source} so far, and come from {author.source} now"


def adoption_of(project: Project, entity: Entity, destination: Destination[Any]) -> Adoption:
    """What handing a table over to an entity would mean. Raises StoreError or LakeError where there is nothing to hand
    over."""
    (state, _), author = destination.state_to_replace(), author_of(project, entity)
    if state is not None and _keeps_others_out(state, settled_in(destination)[0], author, entity):
        return Adoption(
            destination.table_name,
            f"{landed(state)}{', as a history' if holds_versions(state) else ''}",
            "all of it",
            "all of it, until then",
            lambda: _hand_over(destination, state, author, same=False),
            "Its first load has to be a full_drop.",
        )
    if state is None or state.author is None or state.author.project == author.project:
        return _with_claim(destination.adopt(), destination.claim(), entity)
    same = state.author.has_source_of(author)
    goes_on = "Its loads continue where those of that project have stopped."
    return Adoption(
        destination.table_name,
        f"{landed(state)}, by the project '{state.author.project}', which could not load it any more",
        "what every full_drop replaces" if same else f"all of it, by what is in {author.source}",
        "all of it, until then",
        lambda: _hand_over(destination, state, author, same=same),
        goes_on if same else f"It came from {state.author.source}: its first load has to be a full_drop.",
    )


def _keeps_others_out(state: LandingState, place: str, author: Author, entity: Entity) -> bool:
    """Whether the entity's own table at ``place`` is a history, or is to become one: a full_drop alone replaces
    neither."""
    if state.author is None or state.author.project != author.project:
        return False
    is_to_become_one = bool(entity.history_of) and state.has_history and state.owns(place)
    return is_history_in(state, place) or (is_to_become_one and not state.handed_over_at)


def _with_claim(adoption: Adoption, claim: Claim | None, entity: Entity) -> Adoption:
    """An adoption after which the table's former owner no longer lands in it."""
    if claim is None:
        return adoption

    def confirm() -> None:
        _give_up(claim, entity)
        adoption.confirm()

    then = f"{adoption.then} Loads of {claim.entity} are refused from then on."
    if claim.state.open is not None:
        then += " What the one that has not ended has staged is not published any more."
    return replace(adoption, found=f"{adoption.found}; {claimed(claim)}", then=then, confirm=confirm)


def _give_up(claim: Claim, entity: Entity) -> None:
    """Write into a landing state that its table has another owner now, and drop its open loads, which would still
    publish there. Raises LandingBusy where a load is running."""
    state = claim.states.read()
    if state is None:
        return
    handed = f"what was handed over to {entity.id}"
    _write_over(claim.states, state, f" of {claim.entity}", open=None, set_aside=None, landed_in=handed)


def _hand_over(destination: Destination[Any], found: LandingState, author: Author, *, same: bool) -> None:
    """Raises LandingBusy where the other project is loading the table, LandingFenced where its state has changed."""
    states = destination.states()
    state = states.read()
    if state is None or state.author != found.author:
        raise LandingFenced(
            f"the landing state of {destination.table_name} has changed meanwhile: run the command again"
        )
    changes: dict[str, Any] = {"author": author}
    if not same:
        changes["handed_over_at"] = datetime.now(UTC).isoformat("T", "seconds")
        if state.open is not None:  # the old rows may be gone: it is finished, and is not a full_drop of the new source
            changes["open"] = replace(state.open, handed_over=True)
    _write_over(states, state, **changes)


def _write_over(states: StateStore, state: LandingState, whose: str = "", **changes: Any) -> None:
    """Write a landing state with some fields changed, under an epoch that no attempt has had. Raises LandingBusy where
    a load, ``whose`` it is, is at work."""
    if state.owner is not None and is_at_work(state):
        raise LandingBusy(f"load {state.owner.load_id}{whose} owns this table until {state.owner.expires}")
    states.write(replace(state, epoch=state.epoch + 1, owner=None, **changes))
