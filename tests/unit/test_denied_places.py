"""What the operating system does not show, of a lake or of a project, is reported with its place, and ends nothing
else."""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hygge_engine.cli.app import app
from hygge_engine.errors import ConfigurationError, LakeDenied, LakeError
from hygge_engine.homes.files.listing import list_files
from hygge_engine.lake.local import LocalLake
from hygge_engine.project.loading import load_project
from hygge_engine.project.models.disk import DiskReach
from hygge_engine.stores.sqlite.database import SqliteDatabase

_ASKED = ("stat", "lstat", "listdir", "scandir", "readlink", "mkdir", "unlink", "rename", "replace", "open")


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, int], None]:
    """Lets the operating system refuse what is below a folder (as root no mode would), and its names."""

    def shut(folder: Path, number: int) -> None:
        def refusing(call: Callable[..., Any]) -> Callable[..., Any]:
            def refuse(path: Any = ".", *arguments: Any, **named: Any) -> Any:
                place = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
                beyond = os.path.abspath(place).startswith(f"{folder}{os.sep}")
                if beyond or (os.path.abspath(place) == str(folder) and call.__name__ in ("listdir", "scandir")):
                    raise OSError(number, os.strerror(number), place)
                return call(path, *arguments, **named)

            return refuse

        for name in _ASKED:
            monkeypatch.setattr(os, name, refusing(getattr(os, name)))
        monkeypatch.setattr(io, "open", refusing(io.open))
        monkeypatch.setattr(builtins, "open", io.open)

    return shut


_NUMBERS = [errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG, errno.ESTALE]

_VERBS: dict[str, Callable[[LocalLake], Any]] = {
    "info": lambda lake: lake.info("shut/a.csv"),
    "list": lambda lake: list(lake.list("shut", recursive=True)),
    "list above": lambda lake: list(lake.list("", recursive=True)),
    "read": lambda lake: lake.read("shut/a.csv"),
    "read a range": lambda lake: lake.read_range("shut/a.csv", 0, 1, if_match="any"),
    "put": lambda lake: lake.put("shut/a.csv", b""),
    "stage": lambda lake: lake.stage("shut/b/a.csv"),
    "make a directory": lambda lake: lake.make_directory("shut/b/c"),
    "delete": lambda lake: lake.delete("shut/a.csv"),
    "delete a directory": lambda lake: lake.delete_directory("shut/b"),
    "files of a pattern": lambda lake: list_files(lake, "shut/*.csv", "csv", partitions=False),
    "a file": lambda lake: list_files(lake, "shut/a.csv", "csv", partitions=False),
    "any folder": lambda lake: list_files(lake, "**/*.csv", "csv", partitions=False),
}


@pytest.mark.parametrize("number", _NUMBERS, ids=errno.errorcode.get)
@pytest.mark.parametrize("verb", _VERBS)
def test_a_local_lake_tells_what_it_is_not_shown(
    shut: Callable[[Path, int], None], tmp_path: Path, verb: str, number: int
) -> None:
    (tmp_path / "shut" / "b").mkdir(parents=True)
    for name in ("open.csv", "shut/a.csv"):
        (tmp_path / name).write_text("id\n1\n")
    lake = LocalLake(tmp_path, DiskReach(tmp_path, "project", ours=True))
    shut(tmp_path / "shut", number)
    with pytest.raises(LakeError, match=r"shut.*: ") as raised:
        _VERBS[verb](lake)
    assert isinstance(raised.value, LakeDenied) == (number in (errno.EACCES, errno.EPERM))


@pytest.mark.parametrize("number", _NUMBERS, ids=errno.errorcode.get)
def test_a_database_that_is_not_shown_is_told(shut: Callable[[Path, int], None], tmp_path: Path, number: int) -> None:
    path = tmp_path / "shut" / "out.db"
    path.parent.mkdir()
    shut(path.parent, number)
    for ask in (
        SqliteDatabase(path).columns,
        SqliteDatabase(path).table_id,
        lambda name: SqliteDatabase(path).read_back(name).count(),
    ):
        with pytest.raises(LakeError, match=r"out\.db: "):
            ask("orders")


@pytest.mark.parametrize("number", [*_NUMBERS, errno.ELOOP], ids=errno.errorcode.get)
@pytest.mark.parametrize("place", ["", "flows", "flows/sales", "flows/sales/entities"])
def test_a_project_that_is_not_shown_has_a_problem(
    shut: Callable[[Path, int], None], tmp_path: Path, place: str, number: int
) -> None:
    (tmp_path / "flows" / "sales" / "entities").mkdir(parents=True)
    (tmp_path / "hygge.yml").write_text("name: shop\n")
    (tmp_path / "flows" / "sales" / "flow.yml").write_text(
        "home: { type: local, path: in, format: csv }\nstore: { type: sqlite, path: out/out.db }\nentities: [orders]\n"
    )
    (tmp_path / "flows" / "sales" / "entities" / "customers.yml").write_text("{}\n")
    shut(tmp_path / place if place else tmp_path, number)
    with pytest.raises(ConfigurationError) as raised:
        load_project(tmp_path, {})
    assert raised.value.problems[-1].file.startswith(place)


def test_a_place_of_rows_that_is_not_shown_spoils_no_project(shut: Callable[[Path, int], None], tmp_path: Path) -> None:
    (tmp_path / "flows" / "sales").mkdir(parents=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "hygge.yml").write_text("name: shop\n")
    (tmp_path / "flows" / "sales" / "flow.yml").write_text(
        "home: { type: local, path: 'in/deep/{entity}/*.csv', format: csv }\n"
        "store: { type: local, path: in/out }\nentities: [orders]\n"
    )
    shut(tmp_path / "in", errno.EACCES)
    assert list(load_project(tmp_path, {}).flows) == ["sales"]


def test_links_in_a_circle_are_named_by_whatever_comes_upon_them(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    lake = LocalLake(tmp_path, DiskReach(tmp_path, "project", ours=True))
    assert lake.info("loop") is None
    assert [(entry.path, entry.etag) for entry in lake.list("", recursive=True)] == [("loop", "")]
    inside = LocalLake(tmp_path / "loop")
    tries: list[Callable[[], object]] = [
        lambda: lake.info("loop/a.csv"),
        lambda: list(inside.list("", recursive=True)),
        lambda: inside.info("a"),
        lambda: inside.put("a", b""),
    ]
    for attempt in tries:
        with pytest.raises(LakeError, match="/loop is a link to loop, and leads nowhere"):
            attempt()


# Links in the flow `bad`, where they lead, and the entities that they concern.
LINKS = [
    ("in/b.csv", "../../out/s.csv", "in/b.csv leads out", ["b"]),
    ("in/b.csv", "b.csv", "in/b.csv is a link to b.csv, and leads nowhere", ["b"]),
    ("in", "../out", "in leads out", ["a", "b"]),
    ("in", "in", "in is a link to in, and leads nowhere", ["a", "b"]),
    ("wh", "../out", "wh leads out", ["a", "b"]),
    ("wh", "wh", "wh is a link to wh, and leads nowhere", ["a", "b"]),
    ("wh/.hygge_journal", "../../out", "wh/.hygge_journal leads out", ["a", "b"]),
    ("wh/a", "a", "wh/a is a link to a, and leads nowhere", ["a"]),
]


@pytest.mark.parametrize(("name", "to", "said", "concerned"), LINKS)
def test_a_link_that_leads_astray_costs_the_entities_that_it_concerns(
    tmp_path: Path, name: str, to: str, said: str, concerned: list[str]
) -> None:
    directory = tmp_path / "project"
    for file in ("out/s.csv", "project/in/a.csv", "project/in/b.csv", "project/well/a.csv", "project/wh/keep"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("id\n1\n")
    (directory / "hygge.yml").write_text("name: shop\n")
    for flow, home, store, entities in (("bad", "in", "wh", "a, b"), ("good", "well", "wh_good", "a")):
        (directory / "flows" / flow).mkdir(parents=True)
        (directory / "flows" / flow / "flow.yml").write_text(
            f"home: {{ type: local, path: '{home}/{{entity}}.csv', format: csv }}\n"
            f"store: {{ type: local, path: {store} }}\nentities: [{entities}]\n"
        )
    link = directory / name
    if link.is_dir():
        link.rename(directory / "before")
    link.unlink(missing_ok=True)
    link.symlink_to(to)
    for command, failure in (("plan", r"(\S+)  \S.*\n.*\n    error: "), ("go", r"✗ (\S+)")):
        result = CliRunner().invoke(app, [command, "--project", str(directory)])
        assert (result.exit_code, said in result.output) == (1, True), result.output
        failed = sorted(set(re.findall(failure, result.output)))
        assert failed == [f"bad.{entity}" for entity in concerned], result.output
    if "leads out" in said and name in ("in", "in/b.csv", "wh"):
        result = CliRunner().invoke(app, ["validate", "--project", str(directory)])
        assert (result.exit_code, "leads out of the project" in result.output) == (2, True)
