"""YAML on disk, validated into frozen models, and the plan of a load."""

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
