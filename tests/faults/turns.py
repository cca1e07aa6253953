"""Several loads of one table at once: each waits before every operation for its turn, and a seed decides the order."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

# Longest wait for a turn, before the test is in a deadlock of its own making.
PATIENCE_SECONDS = 60.0


class Turns:
    """Lets one of the parties continue, from one operation to its next, whenever all of them wait."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._changed = threading.Condition()
        self._working: set[str] = set()
        self._waiting: Counter[str] = Counter()
        self._next = ""
        self._names = threading.local()

    def take(self, name: str) -> None:
        """Wait until it is this party's turn."""
        with self._changed:
            self._waiting[name] += 1
            self._choose()
            assert self._changed.wait_for(lambda: self._next == name, PATIENCE_SECONDS), "no worker continued"
            self._next = ""
            self._waiting[name] -= 1

    def run[T](self, parties: Mapping[str, Callable[[], T]]) -> dict[str, T]:
        """Let all parties run to their ends, and return their results. Raises what one of them has raised."""
        answers: dict[str, T] = {}
        failures: list[BaseException] = []
        self._working = set(parties)

        def play(name: str, party: Callable[[], T]) -> None:
            self._names.name = name
            try:
                answers[name] = party()
            except BaseException as error:  # noqa: BLE001 - raised again below
                failures.append(error)
            with self._changed:
                self._working.discard(name)
                self._choose()

        threads = [threading.Thread(target=play, args=item, name=item[0]) for item in parties.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return answers

    @property
    def name(self) -> str | None:
        """The party whose thread this is, if it is one."""
        return getattr(self._names, "name", None)

    def _choose(self) -> None:
        waiting = sorted(name for name in self._working if self._waiting[name])
        if not self._next and waiting and len(waiting) == len(self._working):
            self._next = self._random.choice(waiting)
            self._changed.notify_all()


class InTurns:
    """A lake or database whose named methods wait for their party's turn."""

    def __init__(self, inner: Any, turns: Turns, name: str, methods: frozenset[str]) -> None:
        self._inner = inner
        self._turns = turns
        self._name = name
        self._methods = methods

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._inner, attribute)
        if attribute not in self._methods:
            return found

        def in_turn(*args: Any, **options: Any) -> Any:
            self._turns.take(self._name)
            return found(*args, **options)

        return in_turn
