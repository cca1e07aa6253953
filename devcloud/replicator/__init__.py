"""Fabric's mirroring replicator for a laptop: landing zones in, Delta tables out, by the open mirroring specification.

Usable on its own, in process (`Replicator`) or as a command (`python -m devcloud.replicator`), against any server that
speaks the Data Lake Storage REST API or a directory. See `docs/devcloud/replicator.md`.
"""

from devcloud.replicator.checker import LandingZoneChecker, check_landing_zone
from devcloud.replicator.landing_zone import DirectoryLandingZone, LandingZone
from devcloud.replicator.monitoring import MirroringStatus
from devcloud.replicator.options import ReplicatorOptions
from devcloud.replicator.replicator import Replicator
from devcloud.replicator.rest import DataLakeLandingZone
from devcloud.replicator.rules import Code, Finding, Severity, TableName
from devcloud.replicator.state import AppliedFile, TableState, TickReport
from devcloud.replicator.status_api import StatusServer

__all__ = [
    "AppliedFile",
    "Code",
    "DataLakeLandingZone",
    "DirectoryLandingZone",
    "Finding",
    "LandingZone",
    "LandingZoneChecker",
    "MirroringStatus",
    "Replicator",
    "ReplicatorOptions",
    "Severity",
    "StatusServer",
    "TableName",
    "TableState",
    "TickReport",
    "check_landing_zone",
]
