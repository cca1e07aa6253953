"""What the prover asks of a worker process, and what the two say to each other meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from hygge_engine.project.models.settings import RunType

# A local directory; the two modes of the emulator; and a service with the DFS API alone, which shares nothing with it.
LakeKind = Literal["local", "adls", "onelake", "dfs"]

# Where a world's table lands: the landing zone of a mirrored database, there with each version of a row, or a folder of
# files of one format.
StoreKind = Literal["open_mirroring", "history", "parquet", "delta"]

# The one entity that every world loads.
FLOW, ENTITY, ITEM = "flow", "things", "mirror"

# What a worker reports: it is about to change storage, or has done so; it has reached something else of interest (a
# batch, the result of a slice, the end of the settling); it has ended; or it was wrong itself.
Phase = Literal["before", "after", "note", "ended", "broke"]

# What a worker is ordered to do: continue; die; treat what has happened as a lost response, or what is about to happen
# for refused; go on without asking again; or end in peace, because the result is no longer waited for.
Verb = Literal["go", "die", "lose", "refuse", "run", "stop"]


@dataclass(frozen=True)
class WorldAddress:
    """Where a world is: a directory, which is a lake's filesystem, and how a worker reaches it. No url: as files."""

    lake: LakeKind
    directory: str
    source: str
    url: str = ""
    filesystem: str = ""
    account_name: str = ""
    account_key: str = ""


@dataclass(frozen=True)
class Job:
    """One delivery to a worker.

    ``load``: the slices of a load, from ``attempt`` on, then its settling; only that where ``answer`` is known.
    ``fold``: bring the canonical journal up to date. ``tracked``: increments follow Change Tracking, or,
    ``captured``, change data capture. ``window``: the
    bounds of the rows that are loaded again; without any it is an ordinary load.
    ``difference``: reloads land what differs. ``compares``: each increment is followed by a comparison of keys. A table
    is divided into ``ranges``.
    With ``closing`` its slices only let go of the table, as those of a cancelled load do. ``clock`` is how far the
    prover has moved the time on, in seconds.
    """

    kind: Literal["load", "fold"]
    place: WorldAddress
    load_id: str
    run_type: RunType = "incremental"
    attempt: int = 1
    answer: dict[str, Any] | None = None
    slice_minutes: float = 4.0
    mirror_journal: bool = False
    store: StoreKind = "open_mirroring"
    tracked: bool = False
    sabotage: str = ""
    window: tuple[str, str] = ("", "")
    closing: bool = False
    difference: bool = False
    ranges: int = 0
    clock: float = 0.0
    compares: bool = False
    captured: bool = False


def is_final(answer: dict[str, Any]) -> bool:
    """Whether an orchestrator would leave the entity alone after this result of a slice."""
    return answer["status"] != "continue" and not (answer["status"] == "failed" and answer.get("transient"))
