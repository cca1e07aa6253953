"""Links of a project lead nowhere that a path of its flows may not lead, be it to read, to write or to delete."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from subprocess import run

import pytest
from typer.testing import CliRunner

from hygge_engine.cli.app import app
from hygge_engine.retry import call_with_retries
from hygge_engine.stores.sqlite.database import SqliteDatabase

CANARY = "c4n4ry-of-somebody-else"
FLOW = """\
run_type: full_drop
home: {{ type: local, path: "{home}", format: csv }}
store: {store}
entities: [orders]
{more}
"""
STORE = "{ type: local, path: wh }"

# A link, where it leads (`out` is a folder beside the project), and a path that finds it.
READS = [
    ("flows/shop/d/l.csv", "local.settings.json", "flows/shop/d/*"),
    ("flows/shop/d/l.csv", "local.settings.json", "flows/shop/d/l.csv"),
    ("flows/shop/d/l.csv", "backup/local.settings.json.bak", "flows/shop/d/*.csv"),
    ("flows/shop/d/l.csv", "flows/shop/flow.yml", "flows/shop/d"),
    ("flows/shop/d/l.csv", "flows/other/flow.yml", "flows/shop/d"),
    ("data/l", "../out", "data/l"),
    ("data/l", "../out", "data/**"),
    ("data/l", "../out", "data/l/*.csv"),
    ("data/l", "../out", "data/*/s.csv"),
    ("data/l", "../out", "data"),
    ("data/l", "..", "data/l/out"),
    ("data/l.csv", "../out/s.csv", "data/l.csv"),
    ("data/l.csv", "../out/s.csv", "data/*.csv"),
    ("data/l", ".git", "data/*/config"),
    ("data/l", ".git", "data/l"),
    ("data/l", "wh/.hygge_journal", "data/l/*"),
    ("data/l", "infra", "data/*/*"),
    ("data", "../out", "data/{entity}.csv"),
    ("data", "../out", "**/s.csv"),
    ("data", ".", "data/hygge.yml"),
]
# What is no link at all, and no data.
NAMED = [
    *("sub/.git/config", "sub/.git/*", "backup/local.settings.json.bak", "backup/l*", "infra/terraform.tfstate"),
    *("infra/*", "wh/.hygge_journal/runs/x", "wh/.hygge_journal/*/x", "keys/id_rsa", "id_rsa", "keys/tls.pem"),
]
WRITES = [
    ("wh", "../out", STORE),
    ("wh/.hygge_journal", "../out", STORE),
    ("wh/.hygge_lake", "../out", STORE),
    ("wh/.hygge_lake/00.lock", "../out/new", STORE),
    ("wh", "flows", STORE),
    ("wh", ".git", STORE),
    ("wh/orders", "../out", STORE),
    ("wh", "../out", "{ type: local, path: wh, format: delta }"),
    ("wh/orders/_delta_log", "../out", "{ type: local, path: wh, format: delta }"),
    ("wh", "../out", "{ type: sqlite, path: wh/w.db }"),
    ("w.db", "../out/w.db", "{ type: sqlite, path: w.db }"),
    ("w.db-wal", "../out/w.db-wal", "{ type: sqlite, path: w.db }"),
    ("w.db", "hygge_engine/w.db", "{ type: sqlite, path: w.db }"),
    (".hygge_journal", "../out", "{ type: sqlite, path: w.db }"),
    ("j", "../out", STORE + "\njournal: { location: ./j }"),
    ("j", "../out", STORE + "\njournal: { location: ./j/k }"),
    ("data/.hygge_journal", "../out", STORE + "\njournal: { location: home }"),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    directory = tmp_path / "project"
    for name, text in {
        "out/s.csv": f"id\n{CANARY}\n",
        "out/orders.csv": f"id\n{CANARY}\n",
        **{
            f"project/{name}": f"id,x\n1,{CANARY}\n"
            for name in (
                *("local.settings.json", "backup/local.settings.json.bak", ".git/config", "sub/.git/config"),
                *("infra/terraform.tfstate", "wh/.hygge_journal/runs/x", "keys/id_rsa", "keys/tls.pem", "id_rsa"),
            )
        },
        "project/local.settings.json": f'{{"Values": {{"MY_PASSWORD": "{CANARY}"}}}}',
        "project/hygge.yml": "name: shop\n",
        "project/in/orders.csv": "id\n1\n",
        "project/flows/other/flow.yml": FLOW.format(home="in/*", store="{ type: local, path: wh2 }", more=""),
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / "flows/shop").mkdir()
    return directory


def link(directory: Path, name: str, to: str) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(os.path.relpath(directory / to, path.parent))


def go(directory: Path, home: str, store: str = STORE, more: str = "") -> tuple[int, str]:
    text = FLOW.format(home=home, store=store, more=more)
    (directory / "flows/shop/flow.yml").write_text(text)
    result = CliRunner().invoke(app, ["go", "--entity", "shop.orders", "--project", str(directory)])
    return result.exit_code, " ".join(result.output.split())


def tree(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): b"" if path.is_dir() else path.read_bytes()
        for path in directory.rglob("*")
        if not path.is_symlink()
    }


@pytest.mark.parametrize(("name", "to", "path"), [*READS, *(("", "", path) for path in NAMED)])
def test_nothing_is_read_beyond_the_project_and_of_its_own_files(project: Path, name: str, to: str, path: str) -> None:
    before = {file for file, content in tree(project).items() if CANARY.encode() in content}
    if name:
        link(project, name, to)
    status, said = go(project, path, store="{ type: local, path: landed, format: csv }")
    assert status != 0, said
    assert "leads out of" in said or "own files" in said
    assert CANARY not in said
    assert {file for file, content in tree(project).items() if CANARY.encode() in content} <= before


@pytest.mark.parametrize(("name", "to", "store"), WRITES)
def test_nothing_is_written_beyond_the_project_and_in_its_own_files(
    project: Path, name: str, to: str, store: str
) -> None:
    out = project.parent / "out"
    kept = [out, project / ".git", project / "flows/other"]
    if name == "wh":
        os.rename(project / "wh", project / "wh-before")
    elif name.startswith("wh/.hygge_journal"):
        os.rename(project / "wh/.hygge_journal", project / "wh-before")
    link(project, name, to)
    before = [tree(each) for each in kept]
    path = "data/orders.csv" if name.startswith("data") else "in/orders.csv"
    if name.startswith("data"):
        (project / "data/orders.csv").write_text("id\n1\n")
    status, said = go(project, path, store)
    assert status != 0, said
    assert "leads out of" in said or "own files" in said or "is a link" in said
    assert [tree(each) for each in kept] == before


def test_links_that_stay_inside_are_followed(project: Path) -> None:
    link(project, "data/l", "in")
    link(project, "wh3", "elsewhere")
    (project / "elsewhere").mkdir()
    status, said = go(project, "data/*/*.csv", "{ type: local, path: wh3, format: csv }")
    assert (status, said.count("links followed: ")) == (0, 1), said
    again = go(project, "data/*/*.csv", "{ type: local, path: wh3, format: csv }")
    assert (again[0], again[1].count("links followed: ")) == (0, 0), again
    assert list((project / "elsewhere/orders").glob("*.csv"))


def test_links_lead_anywhere_where_paths_do(project: Path) -> None:
    (project / "hygge.yml").write_text("name: shop\noptions: { local_paths: anywhere }\n")
    link(project, "data", "../out")
    link(project, "w.db", "../out/w.db")
    assert go(project, "data/s.csv", "{ type: sqlite, path: w.db }")[0] == 0
    assert (project.parent / "out/w.db").is_file()


def test_a_flow_is_no_way_to_look_at_other_files(project: Path) -> None:
    link(project, "flows/shop/entities/l.yml", "local.settings.json")
    link(project, "flows/shop/entities/m.yml", "../out/s.csv")
    status, said = go(project, "in/*")
    assert status == 2, said
    assert said.count("the link leads out of flows/") == 2
    assert CANARY not in said


@pytest.mark.parametrize("content", ["x", "xyz", "id,v\n1,2\n", "\0" * 20])
def test_a_file_of_somebody_else_becomes_no_database(project: Path, content: str) -> None:
    (project / "out.db").write_text(content)
    status, said = go(project, "in/*", "{ type: sqlite, path: out.db }")
    assert status != 0
    assert "not a SQLite database" in said
    assert (project / "out.db").read_text() == content


@pytest.fixture(scope="module")
def other_wal(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], bytes]:
    """The write-ahead log of another database, with pages of so many bytes."""

    def made(page_bytes: int) -> bytes:
        path = tmp_path_factory.mktemp("other") / "other.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {page_bytes}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE others (a)")
            return path.with_name("other.db-wal").read_bytes()

    return made


FOREIGN = {
    "text": b"id,v\n1,2\n",
    "as SQLite's": b"\x37\x7f\x06\x82" + bytes(40),
    "zeros, then more": bytes(32) + b"not SQLite's",
    "all its zeros": bytes(5_000),
    "a header without its sum": ((3_007_000).to_bytes(4, "little") + bytes(44)) * 2 + bytes(4_000),
    "a log of other pages": b"other pages",
}


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("database", [None, "", "a database"])
@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_what_is_beside_a_database_and_not_its_own_stays(
    project: Path, database: str | None, end: str, content: bytes, other_wal: Callable[[int], bytes]
) -> None:
    if database:
        assert go(project, "in/*", "{ type: sqlite, path: out.db }")[0] == 0
    elif database is not None:
        (project / "out.db").touch()
    content = other_wal(1_024) if content == FOREIGN["a log of other pages"] else content
    (project / f"out.db{end}").write_bytes(content)
    status, said = go(project, "in/*", "{ type: sqlite, path: out.db }")
    assert status != 0
    assert f"out.db{end} is not of this database" in said
    planned = CliRunner().invoke(app, ["plan", "--project", str(project)])
    assert f"out.db{end} is not of this database" in planned.output
    assert (project / f"out.db{end}").read_bytes() == content


def test_a_look_at_a_database_takes_no_lock_from_a_load(tmp_path: Path) -> None:
    """A process that closes a file loses its locks on it, those of SQLite included."""
    database = SqliteDatabase(tmp_path / "out.db")
    write = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    with database.transaction():
        for looking in (database.state_names, lambda: list(database.read_back("t").read(["a"]))):
            looking()
            found = run([sys.executable, "-c", write, str(tmp_path / "out.db")], capture_output=True, text=True)
            assert "database is locked" in found.stderr


@pytest.mark.parametrize("longer", [3, 32_768])
def test_whoever_opens_a_database_after_a_kill_may_be_killed_as_well(tmp_path: Path, longer: int) -> None:
    """SQLite cuts the index of the log that a killed process has left to three bytes, and makes it longer again."""
    database = SqliteDatabase(tmp_path / "out.db")
    with database.transaction():
        pass
    die = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('CREATE TABLE t (a)'); os.kill(os.getpid(), 9)"
    )
    run([sys.executable, "-c", die, str(tmp_path / "out.db")], check=False)
    index = tmp_path / "out.db-shm"
    assert any(index.read_bytes()[:3])
    for size in (3, longer):
        os.truncate(index, size)
    with database.transaction():
        pass
    assert database.has_table("t")


def test_databases_that_others_open_and_close_are_not_taken_for_foreign(tmp_path: Path) -> None:
    """SQLite makes, fills and deletes what lies beside a database at any moment, and the log before its index."""
    barrier = threading.Barrier(3, timeout=30)  # where one thread fails, the others do not wait

    def write(database: SqliteDatabase) -> None:
        with database.transaction():
            pass

    def load(_: int) -> None:
        for number in range(100):
            database = SqliteDatabase(tmp_path / f"{number}.db")
            barrier.wait()
            for _ in range(3):
                call_with_retries(lambda: write(database))  # noqa: B023 - called at once
                database.has_table("t")

    with ThreadPoolExecutor(3) as threads:
        for _ in threads.map(load, range(3)):
            pass


@pytest.mark.parametrize("end", ["-wal", "-shm", "-journal"])
def test_what_is_beside_a_database_has_one_name(project: Path, end: str, other_wal: Callable[[int], bytes]) -> None:
    assert go(project, "in/*", "{ type: sqlite, path: out.db }")[0] == 0
    content = other_wal(4_096) if end == "-wal" else b""
    (project.parent / "theirs").write_bytes(content)
    (project / f"out.db{end}").unlink(missing_ok=True)
    (project / f"out.db{end}").hardlink_to(project.parent / "theirs")
    status, said = go(project, "in/*", "{ type: sqlite, path: out.db }")
    assert status != 0
    assert f"out.db{end} has another name" in said
    assert (project.parent / "theirs").read_bytes() == content


def test_a_log_beside_a_database_that_keeps_none_is_not_its_own(
    project: Path, other_wal: Callable[[int], bytes]
) -> None:
    with closing(sqlite3.connect(project / "out.db")) as connection:
        connection.execute("CREATE TABLE mine (a)")
    (project / "out.db-wal").write_bytes(other_wal(4_096))
    status, said = go(project, "in/*", "{ type: sqlite, path: out.db }")
    assert status != 0
    assert "out.db-wal is not of this database" in said


def test_files_lie_beside_the_database_that_a_link_leads_to(project: Path) -> None:
    (project / "sub").mkdir(exist_ok=True)
    assert go(project, "in/*", "{ type: sqlite, path: sub/real.db }")[0] == 0
    (project / "out.db").symlink_to(project / "sub/real.db")
    (project / "sub/real.db-wal").write_bytes(b"id,v\n1,2\n")
    status, said = go(project, "in/*", "{ type: sqlite, path: out.db }")
    assert status != 0
    assert "real.db-wal is not of this database" in said


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("out.db", os.mkdir, "is a directory"),
        ("out.db", getattr(os, "mkfifo", None), "not a SQLite database"),
        ("out.db-wal", os.mkdir, "not of this database"),
        ("out.db-wal", getattr(os, "mkfifo", None), "not of this database"),
        ("out.db-journal", os.mkdir, "not of this database"),
        ("out.db-journal", getattr(os, "mkfifo", None), "not of this database"),
    ],
)
def test_what_is_no_file_is_neither_opened_nor_waited_for(
    project: Path, name: str, make: Callable[[Path], None], words: str
) -> None:
    make(project / name)
    status, said = go(project, "in/*", "{ type: sqlite, path: out.db }")
    assert status != 0
    assert words in said
    assert (project / name).exists()


def test_what_a_killed_load_has_left_beside_an_empty_database_keeps_nobody(project: Path) -> None:
    (project / "out.db").touch()
    sizes = b"".join(size.to_bytes(4) for size in (0, 7, 0, 512, 4_096))
    (project / "out.db-journal").write_bytes((bytes.fromhex("d9d505f920a163d7") + sizes).ljust(512, b"\0"))
    assert go(project, "in/*", "{ type: sqlite, path: out.db }")[0] == 0


def test_what_a_killed_process_had_begun_to_write_is_rolled_back_by_a_load(project: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db", isolation_level=None)) as connection:
        connection.executescript("PRAGMA cache_size = 1; CREATE TABLE mine (v)")
        connection.executescript("INSERT INTO mine VALUES ('kept'); BEGIN")
        connection.executemany("INSERT INTO mine VALUES (?)", [("half" * 500,)] * 200)
        for end in ("", "-journal"):  # as they are on the disk in the middle of the transaction
            (project / f"out.db{end}").write_bytes((tmp_path / f"other.db{end}").read_bytes())
        connection.execute("ROLLBACK")
    assert (project / "out.db-journal").stat().st_size > 0
    status, said = go(project, "in/*", "{ type: sqlite, path: out.db }")
    assert status == 0, said
    with closing(sqlite3.connect(project / "out.db")) as connection:
        assert connection.execute("SELECT v FROM mine").fetchall() == [("kept",)]


@pytest.mark.parametrize("store", [STORE, "{ type: local, path: wh, format: delta }"])
def test_no_file_is_written_through_a_hard_link(project: Path, store: str) -> None:
    assert go(project, "in/*", store.replace("wh", "landed"))[0] == 0
    out = project.parent / "out"
    for number, path in enumerate(sorted(path for path in (project / "landed").rglob("*") if path.is_file())):
        (out / str(number)).hardlink_to(path)
    before = tree(out)
    (project / "in/more.csv").write_text((project / "in/orders.csv").read_text().replace("1", "2"))
    status, said = go(project, "in/*", store.replace("wh", "landed"))
    assert status == 0, said
    assert tree(out) == before


def test_a_database_with_another_name_is_not_written(project: Path) -> None:
    assert go(project, "in/*", "{ type: sqlite, path: out.db }")[0] == 0
    (project.parent / "out/other.db").hardlink_to(project / "out.db")
    before = (project / "out.db").read_bytes()
    status, said = go(project, "in/*", "{ type: sqlite, path: out.db }")
    assert status != 0
    assert "hard link" in said
    assert (project / "out.db").read_bytes() == before


@pytest.mark.parametrize("path", ["sitecustomize.py", "Makefile", "out.csv", "data/x.so", "w.db.py"])
def test_a_database_is_called_like_one(project: Path, path: str) -> None:
    status, said = go(project, "in/*", f"{{ type: sqlite, path: {path} }}")
    assert status == 2
    assert ".sqlite3" in said
    assert not (project / path).exists()
