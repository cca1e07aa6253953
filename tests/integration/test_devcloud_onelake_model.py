"""Random sequences of requests to the OneLake emulator against a model that fits on a page."""

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from devcloud.onelake import OneLake

NAMES = st.sampled_from(["a", "b", "a/a", "b/a", "a-", "a/a/a"])
IF_MISSING = {"If-None-Match": "*"}
DATA = st.binary(min_size=1, max_size=5)


@pytest.fixture(scope="module")
def lake() -> Iterator[OneLake]:
    with tempfile.TemporaryDirectory() as root, OneLake(Path(root), mode="adls") as server:
        yield server


class LakeMachine(RuleBasedStateMachine):
    """The model: files and their contents, folders, appended parts, and the ETag that each path has."""

    lake: ClassVar[OneLake]
    http: ClassVar[httpx.Client]
    numbers: ClassVar[Iterator[int]] = count()

    def __init__(self) -> None:
        super().__init__()
        self.filesystem = f"fs{next(self.numbers)}"
        self.lake.create_filesystem(self.filesystem)
        self.files: dict[str, bytes] = {}
        self.folders: set[str] = set()
        self.parts: dict[str, dict[int, bytes]] = {}
        self.etags: dict[str, str] = {}
        self.folder_etags: dict[str, str] = {}
        self.seen_folder_etags: set[str] = set()

    def send(
        self, method: str, target: str, content: bytes = b"", headers: dict[str, str] | None = None
    ) -> httpx.Response:
        return self.http.request(method, f"/{self.filesystem}/{target}", content=content, headers=headers)

    def parents(self, path: str) -> list[str]:
        parts = path.split("/")
        return ["/".join(parts[:depth]) for depth in range(1, len(parts))]

    def blocked(self, path: str) -> bool:
        return any(parent in self.files for parent in self.parents(path))

    def below(self, path: str) -> list[str]:
        return [each for each in (*self.files, *self.folders) if each.startswith(path + "/")]

    def wrote(self, path: str, data: bytes, answer: httpx.Response) -> None:
        assert answer.headers["ETag"] not in self.etags.values()
        self.folders.update(self.parents(path))
        self.files[path] = data
        self.etags[path] = answer.headers["ETag"]

    @rule(path=NAMES, only_missing=st.booleans())
    def create(self, path: str, only_missing: bool) -> None:
        answer = self.send("PUT", f"{path}?resource=file", headers=IF_MISSING if only_missing else None)
        if self.blocked(path) or path in self.folders or (only_missing and path in self.files):
            assert answer.status_code == 409
        else:
            assert answer.status_code == 201
            self.wrote(path, b"", answer)
            self.parts.pop(path, None)

    @rule(path=NAMES)
    def create_directory(self, path: str) -> None:
        answer = self.send("PUT", f"{path}?resource=directory")
        if self.blocked(path) or path in self.files:
            assert answer.status_code == 409
        else:
            assert answer.status_code == 201
            self.folders.update([*self.parents(path), path])

    @rule(path=NAMES)
    def append_to_nothing(self, path: str) -> None:
        if path not in self.files:
            answer = self.send("PATCH", f"{path}?action=append&position=0", b"x")
            assert answer.status_code == (409 if path in self.folders else 404)

    @precondition(lambda self: self.files)
    @rule(choice=st.data(), data=DATA, gap=st.sampled_from([0, 0, 0, 1]))
    def append(self, choice: st.DataObject, data: bytes, gap: int) -> None:
        path = choice.draw(st.sampled_from(sorted(self.files)))
        parts = self.parts.get(path, {})
        end = max([len(self.files.get(path, b"")), *(start + len(part) for start, part in parts.items())]) + gap
        assert self.send("PATCH", f"{path}?action=append&position={end}", data).status_code == 202
        self.parts.setdefault(path, {})[end] = data

    @precondition(lambda self: self.parts)
    @rule(choice=st.data(), short=st.booleans(), retain=st.booleans())
    def flush(self, choice: st.DataObject, short: bool, retain: bool) -> None:
        path = choice.draw(st.sampled_from(sorted(self.parts)))
        parts = sorted(self.parts.get(path, {}).items())
        kept = dict([parts.pop()] if short and len(parts) > 1 else [])
        data = self.files[path]
        contiguous = True
        for start, part in parts:
            contiguous = contiguous and start == len(data)
            data += part
        answer = self.send("PATCH", f"{path}?action=flush&position={len(data)}&retainUncommittedData={retain}")
        if contiguous:
            assert answer.status_code == 200
            self.wrote(path, data, answer)
            self.parts.pop(path)
            if retain and kept:
                self.parts[path] = kept
        else:
            assert answer.headers["x-ms-error-code"] == "InvalidFlushPosition"

    @rule(path=NAMES, data=DATA, condition=st.sampled_from(["none", "missing", "current", "stale"]))
    def put(self, path: str, data: bytes, condition: str) -> None:
        headers: dict[str, str] = {
            "none": {},
            "missing": IF_MISSING,
            "current": {"If-Match": self.etags.get(path, "none")},
            "stale": {"If-Match": '"stale"'},
        }[condition]
        answer = self.send("PUT", path, data, {"x-ms-blob-type": "BlockBlob", **headers})
        if self.blocked(path) or path in self.folders:
            assert answer.status_code == 409
        elif path in self.files and condition == "missing":
            assert answer.headers["x-ms-error-code"] == "BlobAlreadyExists"
        elif condition == "stale" or (condition == "current" and path not in self.files):
            assert answer.headers["x-ms-error-code"] == "ConditionNotMet"
        else:
            assert answer.status_code == 201
            self.wrote(path, data, answer)
            self.parts.pop(path, None)

    @rule(source=NAMES, destination=NAMES, only_missing=st.booleans())
    def rename(self, source: str, destination: str, only_missing: bool) -> None:
        headers = {"x-ms-rename-source": f"/{self.filesystem}/{source}"} | (IF_MISSING if only_missing else {})
        answer = self.send("PUT", destination, headers=headers)
        exists = destination in self.files or destination in self.folders
        parents = self.parents(destination)
        if source not in self.files and source not in self.folders:
            assert answer.headers["x-ms-error-code"] == "SourcePathNotFound"
        elif self.blocked(destination):
            assert answer.status_code in (404, 409)
        elif parents and parents[-1] not in self.folders:
            assert answer.headers["x-ms-error-code"] == "RenameDestinationParentPathNotFound"
        elif exists and only_missing:
            assert answer.headers["x-ms-error-code"] == "PathAlreadyExists"
        elif source in self.folders and f"{destination}/".startswith(f"{source}/"):
            assert answer.headers["x-ms-error-code"] == "InvalidRenameSourcePath"
        elif exists and (source in self.files) != (destination in self.files):
            assert answer.headers["x-ms-error-code"] == "InvalidSourceOrDestinationResourceType"
        elif destination in self.folders and self.below(destination):
            assert answer.headers["x-ms-error-code"] == "DirectoryNotEmpty"
        else:
            assert answer.status_code == 201
            self.move(source, destination)

    def move(self, source: str, target: str) -> None:
        if source == target:
            return
        for table in (self.files, self.parts, self.etags, self.folder_etags):
            self.move_entries(table, source, target)
        moved = {path for path in self.folders if path == source or path.startswith(source + "/")}
        self.folders -= moved
        self.folders |= {target + path[len(source) :] for path in moved}

    def move_entries(self, table: dict[str, Any], source: str, target: str) -> None:
        table.pop(target, None)
        for path in [path for path in table if path == source or path.startswith(source + "/")]:
            table[target + path[len(source) :]] = table.pop(path)

    @rule(path=NAMES, recursive=st.booleans())
    def delete(self, path: str, recursive: bool) -> None:
        answer = self.send("DELETE", f"{path}?recursive={str(recursive).lower()}")
        if path in self.files or (path in self.folders and (recursive or not self.below(path))):
            assert answer.status_code == 200
            for gone in [path, *self.below(path)]:
                self.folders.discard(gone)
                for table in (self.files, self.parts, self.etags, self.folder_etags):
                    table.pop(gone, None)
        else:
            assert answer.status_code == (409 if path in self.folders else 404)

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.files)))
        answer = self.send("GET", path)
        assert (answer.content, answer.headers["ETag"]) == (self.files[path], self.etags[path])

    @invariant()
    def the_listing_and_the_disk_agree_with_the_model(self) -> None:
        paths, continuation = [], ""
        while True:
            query = f"?resource=filesystem&recursive=true&maxResults=4&continuation={continuation}"
            answer = self.send("GET", query)
            paths += answer.json()["paths"]
            continuation = answer.headers.get("x-ms-continuation", "")
            if not continuation:
                break
        folders = {path["name"]: path["etag"] for path in paths if "isDirectory" in path}
        assert folders.keys() == self.folders
        for name, etag in folders.items():
            if name in self.folder_etags:
                assert etag == self.folder_etags[name]
            else:
                assert etag not in self.seen_folder_etags
        self.folder_etags = folders
        self.seen_folder_etags.update(folders.values())
        files = {path["name"]: (path["contentLength"], path["etag"]) for path in paths if "isDirectory" not in path}
        assert len(paths) == len(files) + len(self.folders)
        assert files == {path: (str(len(data)), self.etags[path].strip('"')) for path, data in self.files.items()}
        root = self.lake.path(self.filesystem)
        assert {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()} == self.files


def test_random_requests_agree_with_the_model(lake: OneLake) -> None:
    LakeMachine.lake = lake
    with httpx.Client(base_url=lake.url, headers={"Authorization": "Bearer x", "Accept": "application/json"}) as http:
        LakeMachine.http = http
        run_state_machine_as_test(
            LakeMachine,
            settings=settings(
                max_examples=25,
                stateful_step_count=20,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
