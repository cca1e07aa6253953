"""One probe from its claim to its last request."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime

from hygge_engine.errors import HyggeError
from hygge_engine.probe.assumptions import CLEAN, MIRRORING, STORAGE, Finding
from hygge_engine.probe.ground import SCHEMA, Ground
from hygge_engine.probe.mirroring import Mirroring
from hygge_engine.probe.report import Report
from hygge_engine.probe.storage import try_storage
from hygge_engine.probe.wire import Allowance, Spent, Wire
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

# Polls at five seconds for three quarters of an hour, and what the cases themselves need, twice over.
REQUESTS_LIMIT = 2_500
# What is kept for removing everything, whatever else is used up.
CLEANING_SECONDS = 120.0
CLEANING_REQUESTS = 300


class Probe:
    """All assumptions on one mirrored database. ``say`` receives what is being waited for."""

    def __init__(
        self,
        settings: OpenMirroringSettings,
        *,
        minutes: float,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.settings = settings.model_copy(update={"schema_name": SCHEMA, "mirror_journal": False})
        self.removed_leftovers = False
        self.findings: list[Finding] = []
        self._say = say
        self._began = datetime.now(UTC)
        self._started = time.monotonic()
        self._wire = Wire(self.settings, Allowance(minutes * 60, REQUESTS_LIMIT))
        self._ground = Ground(self._wire, self.settings, uuid.uuid4().hex[:8])
        self._mirroring = Mirroring(self._wire, self._ground, self.settings, say=say)
        self._requests = 0

    @property
    def silence_seconds(self) -> float:
        """Seconds since the last response of the lake."""
        return self._wire.silence_seconds()

    def run(self) -> Generator[Finding]:
        """The findings as they come. Whatever ends this, what was made is removed.

        Raises LakeNotFound, NotOurs, LandingBusy, LakeDenied and LakeUnavailable before anything is made, Spent.
        """
        try:
            self._say("looking whether the mirrored database is empty")
            self.removed_leftovers = self._ground.take(self._mirroring.statuses())
            for finding in self._try():
                self.findings.append(finding)
                yield finding
        finally:
            cleaned = self._clean()
        if cleaned is not None:
            yield cleaned

    def report(self, ended: str = "") -> Report:
        """What has been found so far; what has not been tried is unknown."""
        tried = {finding.id for finding in self.findings}
        expected = [assumption.id for assumption in (*STORAGE, *MIRRORING, CLEAN)]
        missing = [Finding(id_, "unknown", ended or "not tried") for id_ in expected if id_ not in tried]
        findings = sorted([*self.findings, *missing], key=lambda finding: expected.index(finding.id))
        requests = self._requests + self._wire.allowance.used
        seconds = time.monotonic() - self._started
        return Report(f"{self._wire.url}/{self._ground.item}", self._began, seconds, requests, findings, ended)

    def _try(self) -> Iterator[Finding]:
        self._say("trying storage")
        yield from try_storage(self._wire, f"{self._ground.folder}/storage")
        yield from self._mirroring.run()

    def _clean(self) -> Finding | None:
        if not self._ground.claimed:
            return None
        self._say("removing what was made")
        self._requests += self._wire.allowance.used
        self._wire.allowance = Allowance(CLEANING_SECONDS, CLEANING_REQUESTS)
        try:
            left = self._ground.release()
        except (HyggeError, Spent) as error:
            finding = Finding(CLEAN.id, "no", str(error))
        else:
            finding = Finding(CLEAN.id, "no" if left else "yes", ", ".join(left) or "nothing is left")
        self.findings.append(finding)
        return finding
