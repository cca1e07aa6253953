"""A task hub in SQLite: instances, histories, inboxes, open activities and timers.

Every method is one transaction, so a host that is killed between two of them resumes where it was. Work that a dead
host had handed out is still listed as open and is handed out again: activities run at least once.
"""

import json
import sqlite3
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from devcloud.functions.durable_history import Event, EventType, format_time, make_event
from devcloud.functions.durable_model import (
    FINAL_STATES,
    Activity,
    Episode,
    Instance,
    InstanceExistsError,
    Parent,
    Timer,
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
    instance_id TEXT PRIMARY KEY, execution_id TEXT NOT NULL, name TEXT NOT NULL, input TEXT, status TEXT NOT NULL,
    output TEXT, custom_status TEXT, created TEXT NOT NULL, updated TEXT NOT NULL, suspended INTEGER NOT NULL DEFAULT 0,
    parent_id TEXT, parent_execution_id TEXT, parent_task_id INTEGER);
CREATE INDEX IF NOT EXISTS instances_by_status ON instances (status);
CREATE TABLE IF NOT EXISTS history (
    instance_id TEXT NOT NULL, position INTEGER NOT NULL, event TEXT NOT NULL, PRIMARY KEY (instance_id, position))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox (
    position INTEGER PRIMARY KEY AUTOINCREMENT, instance_id TEXT NOT NULL, execution_id TEXT, event TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS inbox_of_instance ON inbox (instance_id);
CREATE TABLE IF NOT EXISTS activities (
    activity_id INTEGER PRIMARY KEY AUTOINCREMENT, instance_id TEXT NOT NULL, execution_id TEXT NOT NULL,
    task_id INTEGER NOT NULL, name TEXT NOT NULL, input TEXT NOT NULL, deliveries INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS timers (
    instance_id TEXT NOT NULL, execution_id TEXT NOT NULL, task_id INTEGER NOT NULL, due TEXT NOT NULL,
    PRIMARY KEY (instance_id, execution_id, task_id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS timers_by_due ON timers (due, task_id);
CREATE TABLE IF NOT EXISTS ticks (name TEXT PRIMARY KEY, moment TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO counters VALUES ('history_events', 0);
"""


class TaskHub:
    """The state of one task hub, in one file. Belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # A killed process loses nothing with WAL; only a power cut could, and this is a laptop's cloud.
        self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        cursor = self._connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield cursor
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        cursor.execute("COMMIT")

    def create_instance(self, name: str, instance_id: str, input_text: str | None) -> None:
        """Start an orchestration; raises InstanceExistsError while one with this id is not over."""
        with self._transaction() as cursor:
            self._create(cursor, name, instance_id, input_text, None)

    def _create(
        self, cursor: sqlite3.Cursor, name: str, instance_id: str, input_text: str | None, parent: Parent | None
    ) -> None:
        existing = cursor.execute("SELECT status FROM instances WHERE instance_id = ?", (instance_id,)).fetchone()
        if existing is not None:
            if existing[0] not in FINAL_STATES:
                raise InstanceExistsError(f"An Orchestration instance with the status {existing[0]} already exists.")
            self._delete(cursor, instance_id)
        now = format_time(datetime.now(UTC))
        cursor.execute(
            "INSERT INTO instances (instance_id, execution_id, name, input, status, created, updated, parent_id,"
            " parent_execution_id, parent_task_id) VALUES (?, ?, ?, ?, 'Pending', ?, ?, ?, ?, ?)",
            (
                instance_id,
                uuid.uuid4().hex,
                name,
                input_text,
                now,
                now,
                parent.instance_id if parent else None,
                parent.execution_id if parent else None,
                parent.task_id if parent else None,
            ),
        )

    def _delete(self, cursor: sqlite3.Cursor, instance_id: str) -> None:
        for table in ("instances", "history", "inbox", "activities", "timers"):
            cursor.execute(f"DELETE FROM {table} WHERE instance_id = ?", (instance_id,))

    @staticmethod
    def _post(cursor: sqlite3.Cursor, instance_id: str, execution_id: str | None, event: Event) -> None:
        cursor.execute(
            "INSERT INTO inbox (instance_id, execution_id, event) VALUES (?, ?, ?)",
            (instance_id, execution_id, json.dumps(event)),
        )

    def post(self, instance_id: str, event: Event) -> None:
        """Put an event that comes from outside into an instance's inbox."""
        with self._transaction() as cursor:
            self._post(cursor, instance_id, None, event)

    def find(self, instance_id: str) -> Instance | None:
        """Return an instance, or None."""
        found = list(self._select("WHERE instance_id = ?", (instance_id,)))
        return found[0] if found else None

    def query(
        self, statuses: Iterable[str] = (), prefix: str = "", created_from: str = "", created_to: str = "9999"
    ) -> list[Instance]:
        """Return instances by status, id prefix and time of creation (ISO timestamps in UTC), in order of creation."""
        wanted = sorted(set(statuses))
        # By the index: a hub keeps the instances of weeks, and those that have not ended are few.
        of_status = f"status IN ({', '.join('?' * len(wanted))}) AND " if wanted else ""
        found = self._select(
            f"WHERE {of_status}substr(instance_id, 1, ?) = ? AND created >= ? AND created <= ?"
            " ORDER BY created, instance_id",
            (*wanted, len(prefix), prefix, created_from, created_to),
        )
        return list(found)

    def _select(self, condition: str, parameters: tuple[Any, ...]) -> Iterator[Instance]:
        rows = self._connection.execute(
            "SELECT instance_id, execution_id, name, input, status, output, custom_status, created, updated, suspended,"
            f" parent_id, parent_execution_id, parent_task_id FROM instances {condition}",
            parameters,
        )
        for row in rows:
            parent = Parent(*row[10:]) if row[10] is not None else None
            yield Instance(*(*row[:9], bool(row[9]), parent))

    def read_history(self, instance_id: str) -> list[Event]:
        """Return the history of an instance's current execution."""
        rows = self._connection.execute(
            "SELECT event FROM history WHERE instance_id = ? ORDER BY position", (instance_id,)
        )
        return [json.loads(event) for (event,) in rows]

    def read_inbox(self, instance: Instance) -> list[tuple[int, Event | None]]:
        """Return the events that wait for an instance; None for one that an earlier execution asked for."""
        rows = self._connection.execute(
            "SELECT position, execution_id, event FROM inbox WHERE instance_id = ? ORDER BY position",
            (instance.instance_id,),
        )
        return [
            (position, json.loads(event) if execution_id in (None, instance.execution_id) else None)
            for position, execution_id, event in rows
        ]

    def list_waiting_instances(self) -> list[str]:
        """Return the ids of instances that have not begun (their history is empty) or have something in their inbox."""
        rows = self._connection.execute(
            "SELECT instance_id FROM instances AS i WHERE status IN ('Pending', 'Running') AND NOT EXISTS"
            " (SELECT * FROM history AS h WHERE h.instance_id = i.instance_id) UNION SELECT instance_id FROM inbox"
        )
        return [instance_id for (instance_id,) in rows]

    def list_activities(self, after: int = 0) -> list[Activity]:
        """Return the open activities with an id beyond ``after``, oldest first."""
        rows = self._connection.execute(
            "SELECT activity_id, instance_id, execution_id, task_id, name, input, deliveries FROM activities"
            " WHERE activity_id > ? ORDER BY activity_id",
            (after,),
        )
        return [Activity(*row) for row in rows]

    def next_timer(self) -> Timer | None:
        """Return the timer that fires next."""
        row = self._connection.execute(
            "SELECT instance_id, execution_id, task_id, due FROM timers ORDER BY due, task_id LIMIT 1"
        ).fetchone()
        return Timer(*row) if row else None

    def find_tick(self, name: str) -> datetime | None:
        """Return when a timer function last fired by its schedule."""
        row = self._connection.execute("SELECT moment FROM ticks WHERE name = ?", (name,)).fetchone()
        return datetime.fromisoformat(row[0]) if row else None

    def record_tick(self, name: str, moment: datetime) -> None:
        """Note that a timer function has fired by its schedule."""
        self._connection.execute("INSERT OR REPLACE INTO ticks VALUES (?, ?)", (name, moment.isoformat()))

    def count_history_events(self) -> int:
        """Return how many history events were ever written to this hub."""
        row = self._connection.execute("SELECT value FROM counters WHERE name = 'history_events'").fetchone()
        return int(row[0])

    def fire(self, timer: Timer) -> None:
        """Turn a timer into an event for its instance."""
        with self._transaction() as cursor:
            deleted = cursor.execute(
                "DELETE FROM timers WHERE instance_id = ? AND execution_id = ? AND task_id = ?",
                (timer.instance_id, timer.execution_id, timer.task_id),
            )
            if deleted.rowcount:
                event = make_event(EventType.TIMER_FIRED, TimerId=timer.task_id, FireAt=timer.due)
                self._post(cursor, timer.instance_id, timer.execution_id, event)

    def count_delivery(self, activity: Activity) -> None:
        """Note that an activity goes to a worker."""
        self._connection.execute(
            "UPDATE activities SET deliveries = deliveries + 1 WHERE activity_id = ?", (activity.activity_id,)
        )

    def complete_activity(self, activity: Activity, event: Event) -> bool:
        """Record an activity's result; returns False, and records nothing, if another delivery was faster."""
        with self._transaction() as cursor:
            deleted = cursor.execute("DELETE FROM activities WHERE activity_id = ?", (activity.activity_id,))
            if not deleted.rowcount:
                return False
            self._post(cursor, activity.instance_id, activity.execution_id, event)
            return True

    def drop_inbox(self, positions: list[int]) -> None:
        """Delete events that are no longer waited for."""
        with self._transaction() as cursor:
            self._take(cursor, positions)

    def set_suspended(self, instance: Instance, suspended: bool) -> None:
        """Hold an instance back, or let it continue."""
        with self._transaction() as cursor:
            cursor.execute(
                "UPDATE instances SET suspended = ?, status = ? WHERE instance_id = ?",
                (suspended, "Suspended" if suspended else "Running", instance.instance_id),
            )

    @staticmethod
    def _take(cursor: sqlite3.Cursor, positions: list[int]) -> None:
        cursor.executemany("DELETE FROM inbox WHERE position = ?", [(position,) for position in positions])

    def purge(self, instance_ids: list[str]) -> None:
        """Delete instances with everything that belongs to them."""
        with self._transaction() as cursor:
            for instance_id in instance_ids:
                self._delete(cursor, instance_id)

    def commit(self, episode: Episode) -> None:
        """Record an episode: history and all new work at once."""
        instance = episode.instance
        now = format_time(datetime.now(UTC))
        with self._transaction() as cursor:
            self._take(cursor, episode.taken)
            self._append_history(cursor, instance.instance_id, episode.events)
            if episode.continue_as_new:
                self._continue_as_new(cursor, episode, now)
                return
            cursor.execute(
                "UPDATE instances SET status = ?, output = ?, custom_status = ?, updated = ? WHERE instance_id = ?",
                (episode.status, episode.output, episode.custom_status, now, instance.instance_id),
            )
            key = (instance.instance_id, instance.execution_id)
            cursor.executemany(
                "INSERT INTO activities (instance_id, execution_id, task_id, name, input) VALUES (?, ?, ?, ?, ?)",
                [(*key, task_id, name, text) for task_id, name, text in episode.activities],
            )
            cursor.executemany("INSERT INTO timers VALUES (?, ?, ?, ?)", [(*key, *timer) for timer in episode.timers])
            for child in episode.sub_orchestrations:
                parent = Parent(instance.instance_id, instance.execution_id, child.task_id)
                try:
                    self._create(cursor, child.name, child.instance_id, child.input, parent)
                except InstanceExistsError as error:
                    failed = make_event(
                        EventType.SUB_ORCHESTRATION_INSTANCE_FAILED,
                        TaskScheduledId=child.task_id,
                        Reason=str(error),
                        Details="",
                    )
                    self._post(cursor, instance.instance_id, instance.execution_id, failed)
            if episode.status in FINAL_STATES:
                self._end(cursor, episode)

    def _append_history(self, cursor: sqlite3.Cursor, instance_id: str, events: list[Event]) -> None:
        (position,) = cursor.execute(
            "SELECT coalesce(max(position), 0) FROM history WHERE instance_id = ?", (instance_id,)
        ).fetchone()
        cursor.executemany(
            "INSERT INTO history VALUES (?, ?, ?)",
            [
                (instance_id, position + offset, json.dumps({**event, "IsPlayed": True}))
                for offset, event in enumerate(events, 1)
            ],
        )
        cursor.execute("UPDATE counters SET value = value + ? WHERE name = 'history_events'", (len(events),))

    def _continue_as_new(self, cursor: sqlite3.Cursor, episode: Episode, now: str) -> None:
        instance = episode.instance
        # External events that have arrived meanwhile stay; results that the old execution waited for do not.
        for table in ("history", "activities", "timers"):
            cursor.execute(f"DELETE FROM {table} WHERE instance_id = ?", (instance.instance_id,))
        cursor.execute("DELETE FROM inbox WHERE instance_id = ? AND execution_id IS NOT NULL", (instance.instance_id,))
        cursor.execute(
            "UPDATE instances SET execution_id = ?, input = ?, custom_status = ?, created = ?, updated = ?"
            " WHERE instance_id = ?",
            (uuid.uuid4().hex, episode.next_input, episode.custom_status, now, now, instance.instance_id),
        )

    def _end(self, cursor: sqlite3.Cursor, episode: Episode) -> None:
        instance = episode.instance
        for table in ("activities", "timers"):
            cursor.execute(f"DELETE FROM {table} WHERE instance_id = ?", (instance.instance_id,))
        parent = instance.parent
        if parent is None:
            return
        if episode.status == "Completed":
            event = make_event(
                EventType.SUB_ORCHESTRATION_INSTANCE_COMPLETED, TaskScheduledId=parent.task_id, Result=episode.output
            )
        else:
            reason = json.loads(episode.output) if episode.output else episode.status
            event = make_event(
                EventType.SUB_ORCHESTRATION_INSTANCE_FAILED, TaskScheduledId=parent.task_id, Reason=reason, Details=""
            )
        self._post(cursor, parent.instance_id, parent.execution_id, event)
