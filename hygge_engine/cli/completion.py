"""What the shell completes: the names of a project's flows, entities and settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from hygge_engine.project import Project


def complete_flow(context: typer.Context, incomplete: str) -> list[str]:
    """Flows that begin like this."""
    project = _project(context)
    return [name for name in project.flows if name.startswith(incomplete)] if project else []


def complete_entity(context: typer.Context, incomplete: str) -> list[str]:
    """Entities that begin like this, by name or, once the flow has been typed, as ``flow.entity``."""
    project = _project(context)
    if project is None:
        return []
    names = [entity.id if "." in incomplete else entity.name for entity in project.entities]
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def _project(context: typer.Context) -> Project | None:
    """The project that the command line names so far; None where it cannot be read; completion shows no errors."""
    # Imported only now: `--help` is quick, and a key press should be.
    from hygge_engine.errors import ConfigurationError
    from hygge_engine.project import load_project

    try:
        return load_project(Path(context.params.get("project") or ""))
    except ConfigurationError:
        return None
