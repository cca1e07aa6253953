"""Where things are in a mirrored database's item, and the small documents Fabric reads there.

Sources: the landing zone requirements (learn.microsoft.com/fabric/mirroring/open-mirroring-landing-zone-format) and
the best practices for open mirroring (…/open-mirroring-best-practices).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from hygge_engine.lake.onelake import JOURNAL_FOLDER
from hygge_engine.stores.folder_table import Places, places_of
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

# Digits of a sequential file name; the first file is number 1.
SEQUENCE_DIGITS = 20

METADATA_FILE = "_metadata.json"

# How the name of a schema's folder ends. A table's folder without one belongs to the default schema.
SCHEMA_SUFFIX = ".schema"
DEFAULT_SCHEMA = "dbo"


@dataclass(frozen=True)
class Layout:
    """Paths below the lake's filesystem, for one table."""

    item: str
    schema_name: str
    table_name: str
    flow: str
    entity: str

    @property
    def files(self) -> str:
        """The only folder of an item below which anything may be created."""
        return f"{self.item}/Files"

    @property
    def journal(self) -> str:
        """Everything that is the engine's: outside the landing zone, in the same item."""
        return f"{self.files}/{JOURNAL_FOLDER}"

    @property
    def landing_zone(self) -> str:
        """The folder that Fabric watches."""
        return f"{self.files}/LandingZone"

    @property
    def folder(self) -> str:
        """The table's folder: exactly one schema level, with the literal suffix ``.schema``."""
        return f"{self.landing_zone}/{self.schema_name}{SCHEMA_SUFFIX}/{self.table_name}"

    @property
    def metadata(self) -> str:
        """The table's ``_metadata.json``."""
        return f"{self.folder}/{METADATA_FILE}"

    @property
    def partner_events(self) -> str:
        """One per mirrored database, never per table."""
        return f"{self.landing_zone}/_partnerEvents.json"

    @property
    def status(self) -> str:
        """Fabric's own status of every table; absent until mirroring has started."""
        return f"{self.files}/Monitoring/tables.json"

    @property
    def mirrored(self) -> str:
        """The Delta table that Fabric makes of the table's files."""
        return f"{self.item}/Tables/{self.schema_name}/{self.table_name}"

    @property
    def state(self) -> str:
        """The landing state."""
        return self.places.state

    @property
    def staging(self) -> str:
        """Where files are completed before they are renamed into the table's folder."""
        return self.places.staging

    @property
    def places(self) -> Places:
        """What the landing protocol has to know of it."""
        return places_of(self.folder, self.journal, self.flow, self.entity)

    def data_file(self, sequence: int) -> str:
        """The final path of the table's ``sequence``-th file."""
        return f"{self.folder}/{sequence:0{SEQUENCE_DIGITS}d}.parquet"


def layout_of(settings: OpenMirroringSettings, flow: str, entity: str) -> Layout:
    """The layout of one entity's table."""
    prefix = settings.path.strip("/")
    item = f"{prefix}/{settings.mirror_name}" if prefix else settings.mirror_name
    return Layout(item, settings.schema_name, settings.table_name.replace("{entity}", entity), flow, entity)


def metadata_document(settings: OpenMirroringSettings, key_columns: tuple[str, ...]) -> bytes:
    """``_metadata.json``. A table without keys is insert-only, which an empty list says."""
    document = {"keyColumns": list(key_columns), "fileDetectionStrategy": settings.file_detection}
    return json.dumps(document, indent=1).encode()


def partner_events_document(settings: OpenMirroringSettings) -> bytes:
    """``_partnerEvents.json``; the partner's name stays the same across all mirrored databases."""
    source = {"sourceType": settings.source_type, "sourceVersion": settings.source_version}
    document = {"partnerName": settings.partner_name, "sourceInfo": source | {"additionalInformation": {}}}
    return json.dumps(document, indent=1).encode()
