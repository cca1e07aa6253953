"""``hygge adopt``: hand a table over that was there before its first load."""

from __future__ import annotations

import sys
from pathlib import Path

from hygge_engine.cli.messages import EXIT_NOTHING_STARTED, EXIT_SETTLED, is_terminal
from hygge_engine.cli.output import ask, echo, echo_json
from hygge_engine.cli.reachability import Reachability
from hygge_engine.errors import UnknownSelection
from hygge_engine.flow.factory import open_table
from hygge_engine.flow.ownership import adoption_of
from hygge_engine.project import load_project, select


def run(directory: Path, *, entity: str, confirm: str, overrides: list[str], json_: bool) -> int:
    """Say what would become of a table, and hand it over where its name is given; else nothing is changed.

    Raises ConfigurationError, UnknownSelection, and StoreError or LakeError where there is nothing to hand over.
    """
    project = load_project(directory, overrides=overrides)
    selected = select(project, [], [entity], None)
    if len(selected) != 1:
        names = ", ".join(each.id for each in selected)
        raise UnknownSelection(f"{entity} is in several flows: {names}.", hint="Name one of them, as flow.entity.")
    (found,) = selected
    if error := Reachability(project, [found]).destination(found):
        raise error
    adoption = adoption_of(project, found, open_table(project, found))
    if not json_:
        echo(f"{found.store.destination(found.name)}")
        echo(f"  there now:  {adoption.found}")
        echo(f"  replaced by the next full_drop of {found.id}:  {adoption.replaced}")
        echo(f"  left as it is:  {adoption.kept}")
        echo(f"  afterwards:  {adoption.then}")
        if not confirm and is_terminal(sys.stdin):
            confirm = ask(f"Type {adoption.name} to hand it over; anything else changes nothing")
    adopted = confirm == adoption.name
    if adopted:
        adoption.confirm()
    if json_:
        parts = {"found": adoption.found, "replaced": adoption.replaced, "kept": adoption.kept, "then": adoption.then}
        echo_json({"entity": found.id, "adopted": adopted, **parts})
    elif adopted:
        echo(f"Handed over to {found.id}. {adoption.then}")
    else:
        echo("Nothing was changed: the name of the table was not given (--confirm).")
    return EXIT_SETTLED if adopted else EXIT_NOTHING_STARTED
