"""``hygge validate``: are the project's files right?"""

from __future__ import annotations

from pathlib import Path

from hygge_engine.cli.output import echo, echo_json
from hygge_engine.plain_text import counted
from hygge_engine.project import load_project


def run(directory: Path, *, overrides: list[str], json_: bool) -> None:
    """Read the project and say what is in it. Raises ConfigurationError."""
    project = load_project(directory, overrides=overrides, follows_links=True)
    if json_:
        flows = {flow.name: list(flow.entities) for flow in project.flows.values()}
        value = {"project": project.name, "settings_hash": project.settings_hash(), "flows": flows}
        echo_json(value)
        return
    for flow in project.flows.values():
        when = flow.schedule or "every tick"
        echo(f"{flow.name}: {counted(len(flow.entities), 'entity', 'entities')}, {flow.run_type}, {when}")
    echo(f"The project {project.name} is valid.")
