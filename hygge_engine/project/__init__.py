"""YAML on disk, validated into frozen models, and the plan of a load."""

from typing import TYPE_CHECKING

from hygge_engine.first_use import names_on_first_use

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

if not TYPE_CHECKING:
    __getattr__ = names_on_first_use(
        __name__,
        {
            "hygge_engine.errors": ("Problem",),
            "hygge_engine.project.loading": ("load_project",),
            "hygge_engine.project.models.project": (
                "Entity",
                "Flow",
                "JournalSettings",
                "Options",
                "Project",
                "WatermarkSettings",
                "dump_settings",
            ),
            "hygge_engine.project.selection": ("due_flows", "select"),
        },
    )
