"""How far a flow reaches: the hosts that a lake's credential is sent to, and the directories of this machine.

An author of a flow is trusted with what moves where, not with the machine and the identity that move it. So the bounds
are ``options`` of hygge.yml, which has another author, and what lies beyond them is a problem of the flow.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from itertools import takewhile
from pathlib import Path, PurePath
from urllib.parse import urlsplit

from hygge_engine.hosts import is_loopback
from hygge_engine.letter_case import confusable
from hygge_engine.project.models.disk import DiskReach, LocalPaths, is_own
from hygge_engine.project.models.settings import Settings
from hygge_engine.project.reading.layout import FLOWS
from hygge_engine.project.telling.nodes import MappingNode as Tree
from hygge_engine.project.telling.nodes import Node
from hygge_engine.project.telling.problems import Problems

# Set by the platform in Azure, and never on a laptop.
AZURE_INSTANCE = "WEBSITE_INSTANCE_ID"


# What a shell would replace, and nothing replaces here.
_OF_A_SHELL = re.compile(r"^~(?=/|$)|\$[A-Z_][A-Z0-9_]*\b|%[A-Z_][A-Z0-9_]*%")
# SQLite and the Delta package take such a path for an address, and go where it leads.
_ADDRESS = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+:")
_FILE_ADDRESS = re.compile(r"file:(//(?=/))?", re.IGNORECASE)
# A drive, or a backslash.
_OF_WINDOWS = re.compile(r"^[A-Za-z]:(?:[\\/]|$)|\\")

_WILDCARD = re.compile(r"[*?\[]")


class ReadLimits:
    """The bounds of a project, as its ``options`` have them. ``environment`` shows whether this is Azure.

    Where links lead is checked again when a path is opened (`DiskReach`); here only with ``follows_links``.
    """

    def __init__(
        self,
        directory: Path,
        hosts: tuple[str, ...],
        local_paths: LocalPaths | None,
        environment: Mapping[str, str],
        problems: Problems,
        *,
        follows_links: bool,
    ) -> None:
        self._follows_links = follows_links
        self._directory = directory.absolute()
        self._hosts = hosts
        self._in_azure = bool(environment.get(AZURE_INSTANCE))
        self._local_paths: LocalPaths = local_paths or ("none" if self._in_azure else "project")
        self._problems = problems

    def check(self, settings: Settings, tree: Node, flow: str = "") -> None:
        """Put among the problems what of ``settings``, which ``tree`` says, lies beyond the bounds of ``flow``."""
        for part, node in _parts(settings, tree):
            for key, address in part.addresses().items():
                self._check_host(key, address, _place(node, key))
            ours = part.own_folders()
            for key, path in part.directories().items():
                message, hint = self._objection(key, path, flow, ours=ours.get(key) == path)
                if not message:
                    message, hint = self._obstacle(key, ours.get(key, path))
                if message:
                    self._report_path(path, _place(node, key), message, hint)
                elif key in ours:
                    self._check_own(ours[key], _place(node, key))

    def _check_host(self, key: str, address: str, place: Node) -> None:
        host = urlsplit(address).hostname or ""
        if is_loopback(host) or any(fnmatchcase(host, pattern.lower()) for pattern in self._hosts):
            return
        self._problems.add(
            place.problem(
                f"`{key}` sends a credential to a host that `options.lake_hosts` does not name",
                found=f"`{host}`",
                expected=f"one of {', '.join(self._hosts)}, or this machine",
                hint="A host of your own is added to `options.lake_hosts` of hygge.yml.",
            )
        )

    def _report_path(self, path: str, place: Node, message: str, hint: str) -> None:
        expected = "a path below the project's directory" if self._local_paths != "anywhere" else "a path of folders"
        self._problems.add(place.problem(message, found=f"`{path}`", expected=expected, hint=hint))

    def _check_own(self, path: str, place: Node) -> None:
        """A file in the place of one of the engine's folders."""
        folder = self._directory / path
        if os.path.lexists(folder) and not os.path.isdir(folder):
            name = os.path.relpath(folder, self._directory)
            self._problems.add(
                place.problem(
                    f"{name} is a file, and what is kept beside the rows needs a folder of this name",
                    hint="Move the file away, or let the path lead elsewhere.",
                ),
                topic=f"{name} is a file",
            )

    def _objection(self, key: str, path: str, flow: str, *, ours: bool) -> tuple[str, str]:
        """Why a path may not be used, and what to do; empty where it may. ``ours``: the engine alone uses it."""
        if os.sep == "/" and _OF_WINDOWS.search(path):
            hint = "Here a backslash is a part of a name; write a path of this machine, with `/` between folders."
            return f"`{key}` is a path of Windows", hint
        if found := _OF_A_SHELL.search(path):
            hint = "Variables are written `${NAME}`; a home directory is `${HOME}`."
            return f"`{key}` holds `{found[0]}`, which only a shell replaces", hint
        if _ADDRESS.match(path):
            hint = "Write a path of folders; a data lake has a `type` of its own, `adls` or `onelake`."
            if found := _FILE_ADDRESS.match(path):
                hint = f"Write a path of folders, without `file:`, as {path[found.end() :]}"
            return f"`{key}` is an address, and has to be a path of this machine", hint
        if self._local_paths == "none":
            where = "in Azure, where disks do not last" if self._in_azure else "here"
            message = f"`{key}` is a path of this machine, and `options.local_paths` allows none {where}"
            return message, "To read or write there even so, say `options: {local_paths: project}` in hygge.yml."
        within = os.path.relpath(os.path.normpath(self._directory / path), self._directory)
        parts = PurePath(within).parts
        if ".." in parts[:1] or PurePath(within).is_absolute():
            if self._local_paths == "anywhere":
                return "", ""
            message = f"`{key}` leads out of the project's directory"
            return message, "If that is meant, say `options: {local_paths: anywhere}` in hygge.yml."
        # The project's directory itself, and a flow's, are not for rows.
        if not parts or (confusable(parts[0]) == FLOWS and len(parts) < 3) or is_own(parts, flow, ours=ours):
            hint = "Give the rows a folder of their own below the project's directory, as `data` or `warehouse`."
            return f"`{key}` leads to the project's own files", hint
        if self._follows_links:
            reach = DiskReach(self._directory, self._local_paths, flow, ours)
            message, hint = reach.objection(self._directory / _fixed(within))
            if message:
                return f"`{key}` {message}", hint
        return "", ""

    def _obstacle(self, key: str, path: str) -> tuple[str, str]:
        """A file where a path needs a folder."""
        above = (self._directory / path).parents
        file = next((parent for parent in above if os.path.isfile(parent)), None)
        if file is None:
            return "", ""
        return f"`{key}` leads through a file", f"{os.path.relpath(file, self._directory)} is not a folder."


def _parts(settings: Settings, tree: Node) -> Iterator[tuple[Settings, Node]]:
    """A section, and the sections within it."""
    yield settings, tree
    for key in type(settings).model_fields:
        inner = getattr(settings, key)
        if isinstance(inner, Settings):
            yield from _parts(inner, _place(tree, key))


def _place(tree: Node, key: str) -> Node:
    return (tree.get(key) or tree) if isinstance(tree, Tree) else tree


def _fixed(path: str) -> PurePath:
    """What of a path comes before the first pattern."""
    return PurePath(*takewhile(lambda part: not _WILDCARD.search(part), PurePath(path).parts))
