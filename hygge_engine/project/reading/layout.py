"""Which files a project has, and what to say about those that are missing, misnamed or never read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from hygge_engine.errors import Problem
from hygge_engine.project.telling.problems import nearest

PROJECT_FILE = "hygge.yml"
FLOW_FILE = "flow.yml"
FLOWS = "flows"
ENTITIES = "entities"

# What editors and other tools call a YAML file, or leave behind its name.
_OTHER_EXTENSION = re.compile(r"\.(ya?ml(\.\w+)?|json)$", re.IGNORECASE)

_FLOW_PLACE = f"Each flow has a directory of its own: {FLOWS}/<flow>/{FLOW_FILE}."

EMPTY_PROJECT = "It needs at least a `name`, and `connections` for the flows' homes; `hygge init` writes one."
EMPTY_FLOW = "It needs a `home`, a `store` and `entities`; `hygge init` writes one."


def missing_project(directory: Path) -> Problem:
    """Why there is no hygge.yml, as far as that can be seen."""
    if not directory.is_dir():
        return Problem(
            str(directory), 0, 0, "there is no such directory", hint="Name the project's directory with --project."
        )
    if (directory / PROJECT_FILE).is_symlink() or (directory / PROJECT_FILE).exists():
        return not_a_file(directory, directory / PROJECT_FILE)
    hint = _misnamed(directory, PROJECT_FILE)
    above = next((parent for parent in directory.resolve().parents if (parent / PROJECT_FILE).is_file()), None)
    if not hint and above is not None:
        hint = f"There is one in {above}: go there, or name it with --project."
    hint = hint or f"A project's directory holds {PROJECT_FILE} and {FLOWS}/; name it with --project."
    return Problem(PROJECT_FILE, 0, 0, "there is no such file", hint=hint)


def not_a_file(root: Path, path: Path) -> Problem:
    """Why what is there cannot be read as a file: a directory, or a link that leads nowhere."""
    file = path.relative_to(root).as_posix()
    if path.is_dir():
        return Problem(file, 0, 0, "this is a directory", expected="a file")
    if path.is_symlink():
        found = f"`{path.readlink()}`"
        return Problem(file, 0, 0, "the link leads nowhere", found=found, hint="Point it at a file, or delete it.")
    return Problem(file, 0, 0, "this is not an ordinary file", expected="a file")


def unreadable(root: Path, error: OSError) -> Problem:
    """What to say of a file or directory of the project that the operating system does not show."""
    place = error.filename if isinstance(error.filename, str) else ""
    file = Path(os.path.relpath(place, root)).as_posix() if place else PROJECT_FILE
    file = "the project's directory" if file == "." else file
    hint = ""
    if isinstance(error, PermissionError):
        hint = "Check the owner and mode of the file, and of the directories above it."
    return Problem(file, 0, 0, "it cannot be read", found=error.strerror or str(error), hint=hint)


def flow_directories(root: Path) -> tuple[list[Path], list[Problem]]:
    """The directories of the flows, and what is wrong with the names around them."""
    directory = root / FLOWS
    if directory.exists() and not directory.is_dir():
        return [], [Problem(FLOWS, 0, 0, "this is a file", expected="a directory", hint=_FLOW_PLACE)]
    if not directory.is_dir():
        others = [path.name for path in root.iterdir() if path.is_dir()]
        similar = nearest(FLOWS, others)
        hint = f"Rename {similar}/ to {FLOWS}/." if similar else _FLOW_PLACE
        return [], [Problem(FLOWS, 0, 0, "there is no such directory", hint=hint)]
    paths = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
    lost = [path for path in sorted(directory.iterdir()) if _is_lost_link(path)]
    problems = [not_a_file(root, path) for path in lost]
    if not paths and not problems:
        problems.append(Problem(FLOWS, 0, 0, "there are no flows", hint=_FLOW_PLACE))
    problems += strays(root, directory, (), _FLOW_PLACE)
    if (root / FLOW_FILE).is_file():
        problems.append(Problem(FLOW_FILE, 0, 0, "the file is not read", hint=_FLOW_PLACE))
    if any((root / ENTITIES).glob("*.yml")):
        hint = f"Each flow has its own: {FLOWS}/<flow>/{ENTITIES}/."
        problems.append(Problem(ENTITIES, 0, 0, "the directory is not read", hint=hint))
    whole = []
    for path in paths:
        if (path / FLOW_FILE).is_file():
            whole.append(path)
            continue
        if (path / FLOW_FILE).exists() or (path / FLOW_FILE).is_symlink():
            problems.append(not_a_file(root, path / FLOW_FILE))
            continue
        hint = _misnamed(path, FLOW_FILE)
        hint = hint or f"Each directory in {FLOWS}/ is a flow, unless its name begins with an underscore."
        file = (path / FLOW_FILE).relative_to(root).as_posix()
        problems.append(Problem(file, 0, 0, "there is no such file", hint=hint))
    return whole, problems


def flow_strays(root: Path, directory: Path) -> Iterator[Problem]:
    """What lies in a flow's directory and is not read."""
    hint = f"A flow is in {FLOW_FILE}; its entities are listed there, or have files in {ENTITIES}/."
    return strays(root, directory, (FLOW_FILE,), hint)


def strays(root: Path, directory: Path, expected: tuple[str, ...], hint: str) -> Iterator[Problem]:
    """YAML that is never read is a mistake that shows only when something is missing."""
    for path in sorted(directory.iterdir()):
        file = path.relative_to(root).as_posix()
        if path.suffix in (".yml", ".yaml") and path.name not in expected:
            yield Problem(file, 0, 0, "the file is not read", hint=hint)
        elif path.is_dir() and expected and path.name != ENTITIES and nearest(path.name, [ENTITIES]):
            yield Problem(file, 0, 0, "the directory is not read", hint=f"Did you mean `{ENTITIES}`?")


def entity_files(root: Path, flow: Path) -> tuple[list[Path], list[Problem]]:
    """The files of a flow's entities, and those of the wrong extension."""
    directory = flow / ENTITIES
    paths = sorted(directory.iterdir()) if directory.is_dir() else []
    problems = []
    if directory.is_file():
        hint = f"Give each entity a file in {ENTITIES}/, or list them in {FLOW_FILE}."
        file = directory.relative_to(root).as_posix()
        problems.append(Problem(file, 0, 0, "this is a file", expected="a directory", hint=hint))
    for path in [directory, *paths]:
        if _is_lost_link(path):
            problems.append(not_a_file(root, path))
    for path in paths:
        file = path.relative_to(root).as_posix()
        if path.is_dir():
            hint = f"Files of entities lie in {ENTITIES}/ itself, not in directories below it."
            if any(path.glob("**/*.yml")):
                problems.append(Problem(file, 0, 0, "the directory is not read", hint=hint))
        elif path.suffix != ".yml" and _OTHER_EXTENSION.search(path.name):
            hint = f"Rename it to {_OTHER_EXTENSION.sub('', path.name)}.yml."
            problems.append(Problem(file, 0, 0, "the file is not read", hint=hint))
    return [path for path in paths if path.suffix == ".yml" and path.is_file()], problems


def leads_to_flows(root: Path, path: Path) -> bool:
    """Whether a file is one below flows/, wherever links lead to: no other file is shown to an author of flows."""
    return path.resolve().is_relative_to((root / FLOWS).resolve())


def _is_lost_link(path: Path) -> bool:
    """Whether a link leads nowhere, or in a circle."""
    return path.is_symlink() and not path.exists()


def _misnamed(directory: Path, name: str) -> str:
    """A hint where a file is there under almost its name: another extension, another case, one that an editor added."""
    stem = name.removesuffix(".yml")
    almost = {name, f"{stem}.yaml", f"{name}.txt", f"{stem}.json", f"{stem}.txt", stem}
    found = sorted(path.name for path in directory.iterdir() if path.is_file() and path.name.lower() in almost)
    return f"Rename {found[0]} to {name}." if found else ""
