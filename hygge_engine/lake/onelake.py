"""Where the engine may write in OneLake: its files lie below ``Files/`` of an item, and nowhere else.

Items and their top-level folders are Fabric's: the API creates, renames and deletes none of them
(learn.microsoft.com/fabric/onelake/onelake-api-parity).
"""

from __future__ import annotations

import re

from hygge_engine.lake.settings import is_fabric

ONELAKE_URL = "https://onelake.dfs.fabric.microsoft.com"

# Everything that is the engine's, wherever it lies.
JOURNAL_FOLDER = ".hygge_journal"

# Folders below Files/ of a mirrored database that Fabric reads or writes.
_FABRICS_OWN = ("landingzone", "monitoring")


def check_below_files(path: str) -> str:
    """Return ``path`` if it names a folder below an item's ``Files/`` for the engine's files; raise ValueError
    otherwise."""
    parts = _parts(path)
    first = parts[0].casefold() if parts else ""
    if first in ("files", "tables"):
        rest = "/".join(parts[1:])
        advice = f": write `{rest}`" if first == "files" and rest else ""
        raise ValueError(f"only folders below Files/ are made in OneLake, and path is taken below it by itself{advice}")
    if first in _FABRICS_OWN:
        raise ValueError(f"{parts[0]}/ belongs to Fabric: expected another folder in path")
    return path


def check_adls_path(account_url: str, path: str) -> None:
    """Raise ValueError where the folder is in OneLake, but not below an item's ``Files/``."""
    parts = _parts(path)
    if is_fabric(account_url) and (len(parts) < 2 or parts[1].casefold() != "files"):
        raise ValueError(
            "only folders below Files/ are made in OneLake: expected path to be <item>/Files/…, or type: onelake"
        )


def journal_folder(*parents: str) -> str:
    """The journal's folder below others, of which the last may name it already."""
    path = "/".join(part for parent in parents for part in _parts(parent))
    return path if path.split("/")[-1] == JOURNAL_FOLDER else f"{path}/{JOURNAL_FOLDER}".lstrip("/")


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part]
    if any(not part.strip(". ") for part in parts) or re.search(r"[\\?#\x00-\x1f\x7f]", path):
        raise ValueError("expected a path of folders: no '.' or '..', no backslash, '?', '#' or control characters")
    return parts
