"""Ways to break the landing protocol on purpose, to see that the prover notices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from unittest.mock import patch

from hygge_engine.stores.landing.state import StateFile


@dataclass(frozen=True)
class Sabotage:
    """What is broken, in words, and the function that breaks it in this process."""

    what: str
    apply: Callable[[], object]


def _trust_any_nonce() -> None:
    def trust(self: StateFile, nonce: str, error: Exception) -> str:
        return self._lake.read(self.path).etag

    patch.object(StateFile, "_etag_of_own_write", trust).start()


SABOTAGES: dict[str, Sabotage] = {
    "no-nonce": Sabotage("a refused state write is taken for one's own, whatever its nonce", _trust_any_nonce),
}
