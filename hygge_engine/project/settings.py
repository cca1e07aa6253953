"""What homes and stores of others build their settings on: these names stay here (docs/extending.md)."""

from hygge_engine.project.models.settings import (
    ConnectionSettings,
    HomeSettings,
    JournalPlaceSettings,
    Settings,
    StoreSettings,
    Surroundings,
    register_connection,
    register_home,
    register_journal_place,
    register_store,
)

__all__ = [
    "ConnectionSettings",
    "HomeSettings",
    "JournalPlaceSettings",
    "Settings",
    "StoreSettings",
    "Surroundings",
    "register_connection",
    "register_home",
    "register_journal_place",
    "register_store",
]
