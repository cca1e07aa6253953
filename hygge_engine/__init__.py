"""hygge-engine: SQL Server tables into Microsoft Fabric, every row exactly once.

What programs may count on is in ``__all__``: reading a project and its errors, and what homes and stores of others are
built on (docs/extending.md). A name is imported when it is first used, because every command imports this package:
nothing is imported here, so that Ctrl-C is minded from the first milliseconds on.
"""

# What `typing` calls so, and type checkers take for it.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from hygge_engine.errors import ConfigurationError, HyggeError, Problem
    from hygge_engine.project import Entity, Flow, Project, load_project
    from hygge_engine.project.settings import (
        ConnectionSettings,
        HomeSettings,
        JournalPlaceSettings,
        StoreSettings,
        register_connection,
        register_home,
        register_journal_place,
        register_store,
    )

__all__ = [
    "ConfigurationError",
    "ConnectionSettings",
    "Entity",
    "Flow",
    "HomeSettings",
    "HyggeError",
    "JournalPlaceSettings",
    "Problem",
    "Project",
    "StoreSettings",
    "__version__",
    "load_project",
    "register_connection",
    "register_home",
    "register_journal_place",
    "register_store",
]

# Stated here as well as in pyproject.toml, because the deployed app is a folder and not an installed package.
__version__ = "0.1.0"

_MODULES = ("hygge_engine.errors", "hygge_engine.project", "hygge_engine.project.settings")


def __getattr__(name: str) -> "Any":
    if name in __all__:
        from importlib import import_module

        for module in map(import_module, _MODULES):
            if hasattr(module, name):
                globals()[name] = getattr(module, name)
                return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
