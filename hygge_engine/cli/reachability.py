"""Which places can be reached at all, before a command uses them: each is tried once, all at one time.

Otherwise each entity would find out for itself, with the full retry budget of an unattended load.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from hygge_engine.cli.messages import error_lines
from hygge_engine.cli.output import echo
from hygge_engine.errors import HomeUnavailable, HyggeError, LakeUnavailable
from hygge_engine.homes.mssql.sessions import check_responds as check_server
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.hosts import is_loopback
from hygge_engine.lake.probe import check_responds
from hygge_engine.lake.settings import LakeSettings
from hygge_engine.project import Entity, Project
from hygge_engine.project.models.settings import ConnectionSettings, Settings
from hygge_engine.project.reading.variables import LOCAL_SETTINGS
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

# A user is waiting at a terminal. A server that takes longer for its first packet is found by the attempts of a load.
FIRST_RESPONSE_SECONDS = 5

# Places tried at once: they wait for the network, not for this machine.
_AT_ONCE = 16

# Pause between two checks that a place still responds.
_PULSE_SECONDS = 0.25

# Who writes local.settings.json for a cloud on this machine, and what starts that cloud.
_LAPTOP_CLOUD = "devcloud"
_START_IT = (
    f"The laptop cloud that {LOCAL_SETTINGS} leads to is not running: start it with `hygge dev` in another terminal."
)

# Raises HyggeError where nothing responds.
type _Ask = Callable[[], None]


class Reachability:
    """What is known of the places that entities need. `source`, `destination` and `journal` return the error of a place
    that could not be reached; None where it could, or where that is unknown."""

    def __init__(self, project: Project, entities: Sequence[Entity]) -> None:
        self._project = project
        asks: dict[str, _Ask] = {}
        for entity in entities:
            for settings in (self._home(entity), self._store(entity), self._location(entity)):
                asks |= asks_of(settings)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            errors = dict(zip(asks, pool.map(_error_of, asks.values()), strict=True))
        self._errors = {place: error for place, error in errors.items() if error is not None}
        self._explain_laptop_cloud()

    @property
    def hints(self) -> list[str]:
        """What to do about the places that could not be reached, each advice once."""
        return list(dict.fromkeys(error.hint for error in self._errors.values()))

    def source(self, entity: Entity) -> HyggeError | None:
        """Why the entity's rows cannot be read."""
        return self._error(self._home(entity))

    def missing_laptop_cloud(self, entity: Entity) -> str:
        """What to do where the entity's rows come from a laptop cloud that is not running; else nothing."""
        error = self.source(entity)
        return error.hint if error is not None and error.hint == _START_IT else ""

    def destination(self, entity: Entity) -> HyggeError | None:
        """Why the entity's rows cannot land."""
        return self._error(self._store(entity))

    def journal(self, entity: Entity) -> HyggeError | None:
        """Why the entity's runs cannot be recorded."""
        return self._error(self._location(entity))

    def pulse_of_journals(self, entities: Sequence[Entity]) -> Pulse:
        """Whether the places still respond where a load of these entities is recorded, mirrors among them."""
        journals = {entity.id: asks_of(self._location(entity)) for entity in entities}
        mirrors = {entity.id: asks_of(entity.store) for entity in entities if _shows_journal(entity)}
        return Pulse(journals, mirrors)

    def _error(self, settings: Settings) -> HyggeError | None:
        return next((self._errors[place] for place in asks_of(settings) if place in self._errors), None)

    def _home(self, entity: Entity) -> Settings:
        return self._project.connections.get(entity.connection, entity.home)

    def _store(self, entity: Entity) -> Settings:
        return _connection(self._project.connections, entity.store) or entity.store

    def _location(self, entity: Entity) -> Settings:
        location = self._project.flows[entity.flow].journal.location
        if not isinstance(location, str):
            return location
        return self._home(entity) if location == "home" else self._store(entity)

    def _explain_laptop_cloud(self) -> None:
        ports = _ports_of_laptop_cloud(self._project.directory / LOCAL_SETTINGS)
        for place, error in self._errors.items():
            if _port_here(place) in ports:
                error.hint = _START_IT


def with_journals(project: Project, entities: Sequence[Entity]) -> tuple[list[Entity], dict[str, HyggeError]]:
    """The entities whose journals can be reached, and by id why those of the others cannot. Raises the first of these
    errors where there is no other journal."""
    reachable = Reachability(project, entities)
    errors = {entity.id: error for entity in entities if (error := reachable.journal(entity))}
    if len(errors) == len(entities) and errors:
        raise next(iter(errors.values()))
    return [entity for entity in entities if entity.id not in errors], errors


def show_left_out(what: str, errors: Mapping[str, HyggeError]) -> None:
    """Say which entities are left out because of which place, each place once. ``what`` says of what."""
    for error in dict.fromkeys(errors.values()):
        names = ", ".join(name for name, other in errors.items() if other is error)
        lines = error_lines(error.code, error.message, error.hint)
        echo("\n".join([f"{what}: {names}: {lines[0]}", *lines[1:]]), err=True)


class Pulse:
    """How long the journals of entities, by id, have not responded, and the mirrors of these journals. Each place is
    polled for any response from `begin` on. One that needs no network counts as responding."""

    def __init__(
        self, journals: Mapping[str, Mapping[str, _Ask]], mirrors: Mapping[str, Mapping[str, _Ask]] | None = None
    ) -> None:
        self._journals = journals
        self._mirrors = mirrors or {}
        self._responded: dict[str, float] = {}

    @property
    def count(self) -> int:
        """How many entities there are."""
        return len(self._journals)

    def begin(self) -> None:
        """Start polling."""
        asks: dict[str, _Ask] = {}
        for places in (*self._journals.values(), *self._mirrors.values()):
            asks |= places
        self._responded = dict.fromkeys(asks, time.monotonic())
        for place, ask in asks.items():
            threading.Thread(target=self._listen, args=(place, ask), name="hygge-pulse", daemon=True).start()

    def silent(self, seconds: float) -> list[str]:
        """The entities whose journals have said nothing for as long."""
        return [entity for entity, journal in self._journals.items() if self._silence_seconds(journal) >= seconds]

    def silence_seconds(self, without: Collection[str] = ()) -> float:
        """Seconds since the last response of the journal or mirror that has been silent longest, leaving out those of
        some entities."""
        entities = [entity for entity in self._journals if entity not in without]
        places = [place for entity in entities for place in (*self._journals[entity], *self._mirrors.get(entity, ()))]
        return self._silence_seconds(places)

    def _silence_seconds(self, places: Iterable[str]) -> float:
        now = time.monotonic()
        return max((now - self._responded[place] for place in places), default=0.0)

    def _listen(self, place: str, ask: _Ask) -> None:
        while _error_of(ask) is None:
            self._responded[place] = time.monotonic()
            time.sleep(_PULSE_SECONDS)


def _shows_journal(entity: Entity) -> bool:
    """Whether an entity's store shows the journal as well."""
    return isinstance(entity.store, OpenMirroringSettings) and entity.store.mirror_journal


def _connection(connections: Mapping[str, ConnectionSettings], settings: Settings) -> ConnectionSettings | None:
    name = settings.model_dump(include={"connection"}).get("connection")
    return connections.get(str(name))


def asks_of(settings: Settings) -> dict[str, _Ask]:
    """The place that settings name, as ``host:port``, with what tries it; empty for one that needs no network."""
    if isinstance(settings, LakeSettings):
        return {settings.account_url: partial(check_responds, settings.account_url, FIRST_RESPONSE_SECONDS)}
    if isinstance(settings, MssqlConnection):
        quick = min(settings.login_timeout_seconds, FIRST_RESPONSE_SECONDS)
        hurried = settings.model_copy(update={"login_timeout_seconds": quick})
        return {f"//{settings.address.replace(',', ':')}": partial(check_server, hurried)}
    return {}


def _error_of(ask: _Ask) -> HyggeError | None:
    try:
        ask()
    except (HomeUnavailable, LakeUnavailable) as error:
        return error
    return None


def _port_here(place: str) -> int | None:
    """The port of an address, of ``//host:port`` or ``host,port``, that is one of this machine."""
    try:
        parts = urlsplit(place if "//" in place else f"//{place.replace(',', ':')}")
        return parts.port if is_loopback(parts.hostname or "") else None
    except ValueError:
        return None


def _ports_of_laptop_cloud(file: Path) -> set[int]:
    """Where the laptop cloud that a file of settings leads to listens; nothing where the laptop cloud did not write the
    file."""
    try:
        written = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    if not isinstance(written, dict) or written.get("MadeBy") != _LAPTOP_CLOUD:
        return set()
    values = written.get("Values")
    named = values.values() if isinstance(values, dict) else ()
    return {port for value in named if isinstance(value, str) and (port := _port_here(value)) is not None}
