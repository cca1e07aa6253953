"""What each file of a project may say, before anything is inherited."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from hygge_engine.project.models.project import EntityName, FlowName, Options, Retention, Schedule
from hygge_engine.project.models.settings import History, Reload, RunType, Settings


class ProjectDocument(Settings):
    """``hygge.yml``. ``defaults`` are inherited by every flow."""

    name: str
    connections: dict[str, dict[str, Any]] = Field(default_factory=dict)
    options: Options = Options()
    journal: dict[str, Any] = Field(default_factory=dict)
    defaults: dict[str, Any] = Field(default_factory=dict)


class DefaultsDocument(Settings):
    """``defaults`` of hygge.yml."""

    run_type: RunType = "full_drop"
    reload: Reload = "drop"
    history: History = "none"
    history_retention: Retention | None = None
    home: dict[str, Any] | None = None
    store: dict[str, Any] | None = None
    watermark: dict[str, Any] | None = None
    deletes: dict[str, Any] | None = None
    schema_changes: dict[str, Any] | None = None
    polish: dict[str, Any] | None = None
    expectations: dict[str, Any] | None = None


class FlowDocument(Settings):
    """``flows/<flow>/flow.yml``. ``name`` defaults to the directory's."""

    name: FlowName
    schedule: Schedule | None = None
    run_type: RunType = "full_drop"
    reload: Reload = "drop"
    history: History = "none"
    history_retention: Retention | None = None
    home: dict[str, Any] | None = None
    store: dict[str, Any] | None = None
    watermark: dict[str, Any] | None = None
    deletes: dict[str, Any] | None = None
    schema_changes: dict[str, Any] | None = None
    journal: dict[str, Any] | None = None
    polish: dict[str, Any] | None = None
    expectations: dict[str, Any] | None = None
    entities: list[Any] = Field(default_factory=list)


class EntityDocument(Settings):
    """``flows/<flow>/entities/<entity>.yml``, or an item of a flow's ``entities``. Every key overrides the flow's."""

    name: EntityName
    run_type: RunType | None = None
    reload: Reload | None = None
    history: History | None = None
    history_retention: Retention | None = None
    home: dict[str, Any] | None = None
    store: dict[str, Any] | None = None
    watermark: dict[str, Any] | None = None
    deletes: dict[str, Any] | None = None
    schema_changes: dict[str, Any] | None = None
    polish: dict[str, Any] | None = None
    expectations: dict[str, Any] | None = None
