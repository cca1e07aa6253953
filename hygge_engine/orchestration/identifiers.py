"""The journal's names for the parts of a load: derived, so that every call returns the same ones."""

from __future__ import annotations

from uuid import UUID, uuid5

_NAMESPACE = UUID("6b0c7a52-6a1f-4f0e-9d7b-5b1c2f6f9a10")


def entity_run_id(load_id: str, flow: str, entity: str) -> str:
    """The journal's name for one entity's part in a load."""
    return str(uuid5(_NAMESPACE, f"{load_id}/{flow}/{entity}"))


def flow_run_id(load_id: str, flow: str) -> str:
    """The journal's name for one flow's part in a load."""
    return str(uuid5(_NAMESPACE, f"{load_id}/{flow}"))
