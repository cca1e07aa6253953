"""A storage account: its tree, leases and switches, and which of its filesystems are OneLake workspaces."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from devcloud.onelake.behaviour import Behaviour, Mode
from devcloud.onelake.conditions import Conditions
from devcloud.onelake.errors import ServiceError
from devcloud.onelake.exchange import Request, clean_path
from devcloud.onelake.leases import Leases
from devcloud.onelake.tree import Clock, Node, Tree

# Names that the server keeps for itself: its own endpoints.
RESERVED_FILESYSTEM = "devcloud"


class Account:
    """Everything that requests act upon. Take `tree.lock` around each operation."""

    def __init__(self, root: Path, mode: Mode, behaviour: Behaviour) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.mode = mode
        self.behaviour = behaviour
        self.clock = Clock()
        self.tree = Tree(root, self.clock, behaviour)
        self.leases = Leases(self.tree)

    def mode_of(self, filesystem: str) -> Mode:
        """How a filesystem behaves: as recorded when it was made, else as the server does."""
        recorded = self.tree.records.get(filesystem, "filesystem")
        if recorded is None:
            return self.mode
        return "onelake" if recorded["mode"] == "onelake" else "adls"

    def create_filesystem(self, name: str, mode: Mode) -> None:
        """Make a filesystem, as Fabric or the portal would; one that exists changes its mode."""
        if not name or "/" in name or name.startswith(".") or name == RESERVED_FILESYSTEM:
            raise ValueError(f"{name!r} cannot be the name of a filesystem")
        with self.tree.lock:
            self.tree.make_directory(name)
            self.tree.records.put(name, "filesystem", {"mode": mode})

    def create_item(self, workspace: str, item: str, folders: Iterable[str]) -> None:
        """Make an item with its first-level folders, as Fabric would."""
        with self.tree.lock:
            for folder in folders:
                self.tree.make_directory("/".join((workspace, clean_path(item), clean_path(folder))))

    def existing(self, request: Request) -> Node:
        """What the request is about; `PathNotFound` when there is nothing."""
        node = self.tree.find(request.key)
        if node is None:
            raise ServiceError("PathNotFound")
        return node

    def writable(self, request: Request) -> Node:
        """The existing file that the request is about to change: its lease and conditions are met."""
        node = self.existing(request)
        if node.is_directory:
            raise ServiceError("PathConflict")
        self.leases.check(request.key, request.headers.get("x-ms-lease-id"))
        return node

    def check_replacement(self, request: Request, node: Node | None, *, exists_code: str = "PathAlreadyExists") -> None:
        """May the request put something new where `node` is (or nothing)? Lease, then conditions.

        `If-None-Match: *` on something that exists is a conflict; every other unmet condition is `ConditionNotMet`.
        """
        conditions = Conditions.of(request.headers)
        if node is None:
            self.tree.check_parents(request.key)
        else:
            self.leases.check(request.key, request.headers.get("x-ms-lease-id"))
            if conditions.only_if_missing:
                raise ServiceError(exists_code)
        conditions.check_write(node.etag if node else None, node.modified_ns if node else 0)
