"""YAML on disk, validated into frozen models, and the plan of a load."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hygge_engine.errors import Problem
    from hygge_engine.project.loading import load_project
    from hygge_engine.project.models.project import (
        Entity,
        Flow,
        JournalSettings,
        Options,
        Project,
        WatermarkSettings,
        dump_settings,
    )
    from hygge_engine.project.selection import due_flows, select

__all__ = [
    "Entity",
    "Flow",
    "JournalSettings",
    "Options",
    "Problem",
    "Project",
    "WatermarkSettings",
    "due_flows",
    "dump_settings",
    "load_project",
    "select",
]

_MODULES = {
    "Entity": "hygge_engine.project.models.project",
    "Flow": "hygge_engine.project.models.project",
    "JournalSettings": "hygge_engine.project.models.project",
    "Options": "hygge_engine.project.models.project",
    "Problem": "hygge_engine.errors",
    "Project": "hygge_engine.project.models.project",
    "WatermarkSettings": "hygge_engine.project.models.project",
    "due_flows": "hygge_engine.project.selection",
    "dump_settings": "hygge_engine.project.models.project",
    "load_project": "hygge_engine.project.loading",
    "select": "hygge_engine.project.selection",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A name's module is imported when the name is first used: a package that imports its own modules deadlocks
        two threads, of which one begins with the package and the other with a module."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        globals()[name] = getattr(import_module(_MODULES[name]), name)
        return globals()[name]
