"""The codes of all errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import hygge_engine
from hygge_engine.errors import HyggeError

REPOSITORY = Path(__file__).parents[2]

# Codes in responses and journals without a class: as they are written in the engine's source.
_CODE_IN_SOURCE = re.compile(r"""(?:"error": |code=|^UNEXPECTED = )"(?P<code>[a-z]+\.[a-z_]+)\"""", re.MULTILINE)


def classes(base: type[HyggeError] = HyggeError) -> Iterator[type[HyggeError]]:
    yield base
    for child in base.__subclasses__():
        if child.__module__.startswith("hygge_engine."):
            yield from classes(child)


def codes() -> set[str]:
    for module in walk_packages(hygge_engine.__path__, "hygge_engine."):
        if module.name != "hygge_engine.__main__":
            import_module(module.name)
    sources = (path.read_text(encoding="utf-8") for path in (REPOSITORY / "hygge_engine").rglob("*.py"))
    found = {match["code"] for source in sources for match in _CODE_IN_SOURCE.finditer(source)}
    return found | {error.code for error in classes()}
