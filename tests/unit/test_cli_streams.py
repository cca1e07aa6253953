"""Standard output that is lost: a command does its work all the same and says in one message what happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hygge_engine.cli.app import app

FLOW = """\
home: { type: local, path: "in/{entity}.csv", format: csv }
store: { type: local, path: out }
entities: [orders]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "flows/shop").mkdir(parents=True)
    (tmp_path / "in").mkdir()
    (tmp_path / "hygge.yml").write_text("name: shop\n")
    (tmp_path / "flows/shop/flow.yml").write_text(FLOW)
    (tmp_path / "in/orders.csv").write_text("id\n1\n")
    return tmp_path


def run(project: Path, way: str, *arguments: str) -> tuple[int, str]:
    """The exit code and standard error of ``hygge`` whose standard output is lost in one ``way``."""
    if way == "full":
        output = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, output = os.pipe()
        os.close(reader)
    close = "import os; os.close(1); os.execv(sys.executable, [sys.executable, '-c', main, *sys.argv[1:]])"
    main = "from hygge_engine.cli import main; main()"
    code = f"import sys; main = {main!r}; {close}" if way == "closed" else main
    try:
        found = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=project,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(output)
    return found.returncode, found.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk at hand")
@pytest.mark.parametrize(
    ("way", "arguments"),
    [
        ("full", ["--help"]),
        ("full", ["validate", "--json"]),
        ("full", ["go"]),
        ("closed", ["go", "--json"]),
    ],
)
def test_a_command_whose_output_is_lost_ends_well(project: Path, way: str, arguments: list[str]) -> None:
    code, error = run(project, way, *arguments)
    assert code == 1
    assert error.startswith("error: Standard output was lost\n")
    assert len(error.splitlines()) == 3, error
    if "go" in arguments:
        assert_loaded(project)


@pytest.mark.parametrize("arguments", [["validate", "--json"], ["go"], ["--help"]])
def test_a_reader_that_has_seen_enough_is_told_nothing(project: Path, arguments: list[str]) -> None:
    assert run(project, "a pipe without a reader", *arguments) == (0, "")
    if "go" in arguments:
        assert_loaded(project)


def assert_loaded(project: Path) -> None:
    assert len(list(project.glob("out/orders/*.parquet"))) == 1
    runs = CliRunner().invoke(app, ["runs", "--json", "--project", str(project)])
    assert '"status": "success"' in runs.output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full disk at hand")
def test_a_failure_keeps_its_own_exit_code(project: Path) -> None:
    (project / "hygge.yml").write_text("nam: shop\n")
    code, error = run(project, "full", "validate")
    assert code == 2
    assert "Traceback" not in error


ASCII = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.fixture
def two_files(tmp_path: Path) -> Path:
    project = tmp_path / "shop"
    (project / "exports").mkdir(parents=True)
    for name in ("orders", "größen"):
        (project / "exports" / f"{name}.csv").write_text("id,note\n1,ü\n", encoding="utf-8")
    (project / "hygge.yml").write_text("name: shop\n", encoding="utf-8")
    (project / "flows" / "in").mkdir(parents=True)
    return project


def in_ascii(project: Path, path: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    (project / "flows" / "in" / "flow.yml").write_text(
        f"name: in\nhome: {{type: local, path: 'exports/{path}', format: csv}}\n"
        "store: {type: local, path: warehouse, format: parquet}\nentities: [orders]\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-c", "from hygge_engine.cli import main; main()", *words, "--project", str(project)]
    return subprocess.run(command, env=os.environ | ASCII, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("words", [["plan"], ["go"], ["doctor"]])
def test_output_that_knows_ascii_alone_gets_escapes(two_files: Path, words: list[str]) -> None:
    done = in_ascii(two_files, "*.csv", *words)

    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    assert done.stdout.isascii()
    assert b"orders" in done.stdout


@pytest.mark.parametrize("words", [["validate"], ["plan"], ["go"]])
def test_a_name_that_file_names_cannot_have_is_told(two_files: Path, words: list[str]) -> None:
    done = in_ascii(two_files, "größen.csv", *words)

    said = (done.stdout + done.stderr).decode("ascii")
    assert done.returncode == 2, said
    assert "file names are encoded in" in said
    assert "PYTHONUTF8=1" in said
    assert "Traceback" not in said
