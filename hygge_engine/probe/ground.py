"""Where a probe may act: its own folder and its own two schemas in an empty mirrored database, claimed by a document.

A second probe, after one that died, finds the claim, removes what the first one left and continues. Without a claim
everything there is foreign.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hygge_engine.errors import LakeConflict, LakeError, LakeNotFound, LandingBusy, NotOurs
from hygge_engine.lake.responses import moment_of
from hygge_engine.probe.wire import Listed, ServiceResponse, Wire
from hygge_engine.stores.landing.process import has_ended, this_process
from hygge_engine.stores.open_mirroring.fabric import TableStatus
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

OWN_FOLDER = ".hygge_probe"
SCHEMA = "hygge_probe"
UNDERSCORE_SCHEMA = "__hygge_probe"
SCHEMAS = (SCHEMA, UNDERSCORE_SCHEMA)

# How long a claim that is not renewed stays valid. A probe renews it every half minute.
CLAIM_SECONDS = 120.0
RENEWAL_SECONDS = 30.0

# How often a folder is deleted that Fabric is reading just now.
DELETE_ATTEMPTS = 6
DELETE_PAUSE_SECONDS = 1.0

# A table of the probe: a word and the run that made it.
_TABLE = re.compile(r"[A-Z][A-Za-z]*_[0-9a-f]{8}")

# What Fabric itself makes in a new mirrored database.
_FABRICS_FOLDERS = ("LandingZone", "Monitoring")


class Ground:
    """The probe's places in one mirrored database, and its claim to them."""

    def __init__(self, wire: Wire, settings: OpenMirroringSettings, run: str) -> None:
        prefix = settings.path.strip("/")
        self.item = f"{prefix}/{settings.mirror_name}" if prefix else settings.mirror_name
        self.folder = f"{self.item}/Files/{OWN_FOLDER}"
        self.landing_zone = f"{self.item}/Files/LandingZone"
        self.run = run
        self._wire = wire
        self._claim = f"{self.folder}/claim.json"
        self._renewed = 0.0
        self.claimed = False

    def schema_folder(self, schema: str) -> str:
        """Where a schema's tables land."""
        return f"{self.landing_zone}/{schema}.schema"

    def take(self, tables: Sequence[TableStatus] | None) -> bool:
        """Claim the database, and remove what a probe has left that died; whether there was one.

        ``tables`` is what Fabric lists. Raises LakeNotFound, NotOurs where the database holds anything, LandingBusy
        where another probe is at work, and what `Wire` raises.
        """
        files = self._wire.list(f"{self.item}/Files")
        if files is None:
            raise LakeNotFound(
                f"there is no mirrored database at {self._wire.url}/{self.item}",
                hint="Make one for the purpose in Fabric, and give the GUIDs of its workspace and of itself.",
            )
        claim = self._wire.read(self._claim)
        if claim.done:
            self._check_is_forsaken(claim)
        strangers = [*self._strangers(files, claimed=claim.done), *_strange_tables(tables or ())]
        if strangers:
            more = f" and {len(strangers) - 5} more" if len(strangers) > 5 else ""
            raise NotOurs(
                f"the mirrored database is not empty: {', '.join(strangers[:5])}{more}",
                hint="The probe makes, breaks and drops tables: make a mirrored database for the purpose.",
            )
        self._wire.make_directory(self.folder)
        self.claimed = True
        self._write_claim(if_match=claim.etag if claim.done else "")
        if claim.done:
            self._clear_schemas()
            self._clear_own_folder()
        return claim.done

    def renew(self) -> None:
        """Say that the probe is still at work, now and then. Raises LandingBusy where another one has taken over."""
        if time.monotonic() - self._renewed > RENEWAL_SECONDS:
            claim = self._wire.read(self._claim)
            self._check_is_own(claim)
            self._write_claim(if_match=claim.etag)

    def release(self) -> list[str]:
        """Remove everything, the claim last; what is left, where something is. What another probe has claimed meanwhile
        is left alone."""
        self.claimed = False
        claim = self._wire.read(self._claim)
        if claim.done and _document(claim).get("run") != self.run:
            return []
        left = self._clear_schemas()
        if not left:
            self._delete_folder(self.folder)
            left = [self.folder] if self._wire.list(self.folder) is not None else []
        return left

    def _write_claim(self, *, if_match: str) -> None:
        document = {"run": self.run, "process": this_process(), "seen": datetime.now(UTC).isoformat()}
        staged = f"{self.folder}/claim.{self.run}"
        self._wire.stage(staged, json.dumps(document).encode())
        response = self._wire.rename(staged, self._claim, if_absent=not if_match, if_match=if_match)
        # Whatever the lake makes of the conditions: whose claim is there is read from it.
        claim = self._wire.read(self._claim)
        if not claim.done:
            raise LakeError(f"cannot rename {staged} to {self._claim}: {response}", status=response.status)
        if _document(claim).get("run") != self.run:
            self._wire.delete(staged)
        self._check_is_own(claim)
        self._renewed = time.monotonic()

    def _check_is_own(self, claim: ServiceResponse) -> None:
        if _document(claim).get("run") != self.run:
            raise LandingBusy("another probe has started in this mirrored database", hint="Wait until it has ended.")

    def _check_is_forsaken(self, claim: ServiceResponse) -> None:
        holder = _document(claim)
        if holder.get("run") == self.run or has_ended(str(holder.get("process", ""))):
            return
        seen, now = moment_of(claim.header("Last-Modified")), moment_of(claim.header("Date"))
        if seen is not None and now is not None and now - seen < timedelta(seconds=CLAIM_SECONDS):
            free = seen + timedelta(seconds=CLAIM_SECONDS)
            raise LandingBusy(
                f"another probe ran in this mirrored database at {seen:%H:%M:%S} UTC",
                hint=f"Wait until it has ended. If it has died, begin again after {free:%H:%M:%S} UTC.",
            )

    def _strangers(self, files: Iterable[Listed], *, claimed: bool) -> list[str]:
        own = {f"{schema}.schema" for schema in SCHEMAS} if claimed else set()
        found = [f"Files/{entry.name}" for entry in files if entry.name not in (*_FABRICS_FOLDERS, OWN_FOLDER)]
        for entry in self._wire.list(self.landing_zone) or []:
            # A folder that Fabric keeps for itself has a name with an underscore, but so have schemas of other people.
            fabrics = entry.is_directory and entry.name.startswith("_") and not entry.name.endswith(".schema")
            if entry.name not in own and not fabrics:
                found.append(f"Files/LandingZone/{entry.name}")
        for schema in self._wire.list(f"{self.item}/Tables") or []:
            if schema.is_directory and schema.name not in SCHEMAS and (inside := self._wire.list(schema.path)):
                found.append(f"Tables/{schema.name}/{inside[0].name}")
        return found

    def _clear_schemas(self) -> list[str]:
        """Delete the probe's tables, and its schemas where nothing else is in them; what could not be deleted."""
        left = []
        for schema in map(self.schema_folder, SCHEMAS):
            entries = self._wire.list(schema)
            if entries is None:
                continue
            for entry in entries:
                if _TABLE.fullmatch(entry.name):
                    self._delete_folder(entry.path)
            still = self._wire.list(schema)
            if still:
                left += [entry.path for entry in still]
            elif still is not None:
                self._delete_folder(schema)
        return left

    def _clear_own_folder(self) -> None:
        for entry in self._wire.list(self.folder) or []:
            if entry.path == self._claim:
                continue
            if entry.is_directory:
                self._delete_folder(entry.path)
            else:
                self._wire.delete(entry.path)

    def _delete_folder(self, path: str) -> None:
        """Delete a folder, with retries while Fabric reads it. Raises LakeConflict."""
        for attempt in range(DELETE_ATTEMPTS):
            response = self._wire.delete_directory(path)
            if response.done or response.status == 404:
                return
            if attempt + 1 < DELETE_ATTEMPTS:
                time.sleep(DELETE_PAUSE_SECONDS)
        raise LakeConflict(f"cannot delete {path}: {response}", status=response.status)


def _document(response: ServiceResponse) -> dict[str, Any]:
    """A claim, empty where it cannot be read."""
    try:
        found = json.loads(response.data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _strange_tables(tables: Iterable[TableStatus]) -> list[str]:
    """Tables that Fabric lists and no probe has made. One that was dropped stays in the list for a while."""
    names = [f"{table.schema_name}.{table.table_name}" for table in tables if not _is_own(table)]
    return [f"the mirrored table {name}" for name in names]


def _is_own(table: TableStatus) -> bool:
    own = table.schema_name.casefold() in SCHEMAS
    return own and _TABLE.fullmatch(table.table_name[:1].upper() + table.table_name[1:]) is not None
