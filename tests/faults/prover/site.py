"""Where worlds are: a directory for local lakes, an emulator of a storage account, or a foreign service."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from devcloud.onelake import OneLake
from tests.dfs_server import DfsServer
from tests.faults.prover.jobs import ITEM, LakeKind, WorldAddress


class Site:
    """A directory with a filesystem for each world; ``service`` serves them where the lake is not local."""

    def __init__(self, kind: LakeKind, root: Path, service: OneLake | DfsServer | None = None) -> None:
        self.kind = kind
        self.root = root
        self._service = service
        self._worlds = 0

    def open_place(self) -> WorldAddress:
        """An empty filesystem with one item in it."""
        self._worlds += 1
        name = f"world{self._worlds}"
        source = self.root / f"{name}.source.json"
        if self._service is None:
            directory = self.root / name
            (directory / ITEM / "Files").mkdir(parents=True)
            return WorldAddress(self.kind, str(directory), str(source))
        service = self._service
        if isinstance(service, DfsServer):
            directory, account = service.root / name, ("account", "a2V5")
        else:
            if self.kind == "onelake":
                service.create_workspace(name)
                service.create_item(name, ITEM)
            else:
                service.create_filesystem(name)
            directory, account = service.path(name), (service.account_name, service.account_key)
        (directory / ITEM / "Files").mkdir(parents=True, exist_ok=True)
        return WorldAddress(self.kind, str(directory), str(source), service.url, name, *account)

    def close_place(self, place: WorldAddress) -> None:
        """Remove a world's files."""
        if self._service is not None:
            self._service.faults.clear()
        if isinstance(self._service, OneLake):
            self._service.operations.clear()
        shutil.rmtree(place.directory)
        Path(place.source).unlink(missing_ok=True)

    def plan_fault(self, **rule: Any) -> None:
        """Let the next mutating request meet a fault."""
        if self._service is None:
            raise ValueError("a local lake has no service that could fail")
        if isinstance(self._service, DfsServer):
            self._service.plan(**rule)
        else:
            self._service.faults.add(mutating=True, **rule)


@contextmanager
def open_site(kind: LakeKind, root: Path) -> Iterator[Site]:
    """A site below a directory."""
    root.mkdir(parents=True)
    if kind == "local":
        yield Site(kind, root)
        return
    if kind == "dfs":
        with DfsServer(root) as plain:
            yield Site(kind, root, plain)
        return
    with OneLake(root, mode=kind) as service:
        yield Site(kind, root, service)
