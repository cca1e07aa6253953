"""Text that commands a terminal, forges a line or hides itself, through every door that leads to a reader: a server's
response, a file, a request."""

from __future__ import annotations

import asyncio
import json
import logging
from io import StringIO
from pathlib import Path

import pytest
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from hygge_engine.cli import doctor as cli_doctor
from hygge_engine.cli import plan as cli_plan
from hygge_engine.cli.app import app
from hygge_engine.cli.output import PlainConsole, ask, echo, echo_json
from hygge_engine.errors import HomeNotFound
from hygge_engine.masking import remember_secret
from hygge_engine.plain_text import is_commanding
from hygge_engine.telemetry import add_ids_to_logs
from hygge_engine.web.api import Api
from tests.support.api_contract import promised
from tests.support.durable_client import Client
from tests.unit.load_world import LoadWorld
from tests.unit.project_files import find_problems

# A line erased and another written over it; a line forged; a direction turned; what has no width; half a character.
HOSTILE = "no\x1b[2K\x1b[1A\x9b2J\x07\r\nFORGED 2026-01-01 success\u2028FORGED\x85FORGED\u202e\u200b\ufeff\ud800\x00end"
COMMANDS = "\x1b\x9b\x07\r\x85\u2028\u202e\u200b\ufeff\ud800\x00"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    add_ids_to_logs()
    world = LoadWorld(tmp_path, monkeypatch)
    for module in (cli_plan, cli_doctor):
        monkeypatch.setattr(module, "open_home", world._open_home)
    monkeypatch.setenv("SHOP_PASSWORD", "correct horse")

    def fail(entity: str, batch: int) -> None:
        text = HOSTILE.replace("\ud800", "")  # which no driver gives: it is no Unicode
        raise HomeNotFound(text, hint=text)

    world.fill(orders=5, customers=3, stock=0)
    world.before_read = fail
    return world


def hygge(world: LoadWorld, command: str, *arguments: str) -> str:
    result = CliRunner().invoke(app, [command, "--project", str(world.directory), *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output + result.stderr


def assert_plain(shown: str) -> None:
    assert "no\\u001b[2K" in shown
    assert not [character for character in COMMANDS if character in shown]
    assert not [line for line in shown.split("\n") if line.startswith("FORGED")]
    assert not any(is_commanding(character) for character in shown.replace("\n", ""))


def test_a_servers_message_commands_no_terminal_and_forges_no_line(
    world: LoadWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert_plain(hygge(world, "go"))
    load_id = world.journal()[0]["coordinator_run_id"]
    for arguments in (["runs", "--by", "entity"], ["runs", load_id], ["runs", "--entity", "orders"], ["runs"]):
        shown = hygge(world, *arguments)
        if "no\\u001b[2K" in shown:
            assert_plain(shown)
        assert not [character for character in COMMANDS if character in shown]
    assert_plain(hygge(world, "runs", load_id))
    assert_plain("\n".join(record.getMessage() for record in caplog.records))
    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_what_is_for_machines_stays_json(world: LoadWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for arguments in (["go", "--json"], ["runs", "--json"], ["plan", "--json"]):
        shown = hygge(world, *arguments)
        assert shown.isascii()
        for line in shown.splitlines():
            json.loads(line)
    events = [text for record in caplog.records if (text := record.getMessage()).startswith("hygge.")]
    assert events
    for event in events:
        fields, _ = json.JSONDecoder().raw_decode(event.partition(" ")[2])
        assert "load_id" in fields
    api = promised(Api(lambda: world.project))
    answers = [api.runs(None, None), api.run(world.journal()[0]["coordinator_run_id"])]
    answers.append(asyncio.run(api.start_load(b'{"entities": ["\\u001b[2K"]}', Client(), requested_by="a test")))
    for answer in answers:
        json.loads(answer.body)
        assert not any(character in answer.body for character in "\x1b\r\n\x00")


def test_names_in_files_command_nothing(tmp_path: Path) -> None:
    name = json.dumps(HOSTILE.replace("\ud800", ""))
    flow = f"name: orders_to_fabric\nhome: {{ type: {name} }}\nentities: [{name}]\n"
    for problem in find_problems(tmp_path, flow=flow):
        assert not any(is_commanding(character) for character in problem.render().replace("\n", ""))
        assert not any(is_commanding(character) for character in str(problem))
        assert not [line for line in problem.render().split("\n") if line.startswith("FORGED")]


def test_a_console_shows_characters_and_keeps_its_own_commands(capsys: pytest.CaptureFixture[str]) -> None:
    console = PlainConsole(force_terminal=True, highlight=False, width=200)
    console.print(Text(HOSTILE, style="red"), soft_wrap=True)
    console.print(HOSTILE, markup=False)
    with Progress(console=console, transient=True) as progress:
        progress.add_task(f"[{HOSTILE}", total=None)
    shown = capsys.readouterr().out
    assert "\x1b[31m" in shown
    assert "\x9b" not in shown
    assert "\x1b[2K\x1b[1A\x9b" not in shown
    assert "no\\u001b[2K\\u001b[1A\\u009b2J" in shown


def test_the_other_ways_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    echo(HOSTILE)
    echo(HOSTILE, err=True)
    echo_json({"message": HOSTILE})
    shown = capsys.readouterr()
    assert not any(is_commanding(character) for character in (shown.out + shown.err).replace("\n", ""))


def test_a_question_is_text_whatever_it_names(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    remember_secret("hunter22-of-the-table")
    monkeypatch.setattr("sys.stdin", StringIO("yes\n"))
    assert ask("Type a\x1b[2J\u202eb\nhunter22-of-the-table") == "yes"
    assert capsys.readouterr().out.rstrip() == "Type a\\u001b[2J\\u202eb\\n***:"


@pytest.mark.parametrize("width", [12, 30, 50, 80])
def test_a_secret_is_masked_before_it_is_broken_into_lines(width: int) -> None:
    secret = "hunter22-of-the-long-kind-0123456789"
    remember_secret(secret)
    shown = StringIO()
    table = Table()
    table.add_row("a login failed", f"its password was {secret}, and that is wrong")
    table.add_row(Text(f"x {secret}"), Text.assemble(("red", "red"), secret))
    console = PlainConsole(file=shown, width=width, highlight=False)
    for line in (table, f"The login failed for {secret} here", Text(f"{'y' * 15} {secret}")):
        console.print(line)
    assert not [secret[at : at + 6] for at in range(len(secret) - 6) if secret[at : at + 6] in shown.getvalue()]


def test_there_is_no_other_way_to_a_terminal() -> None:
    """Every command writes through `hygge_engine.cli.output`."""
    directory = Path(cli_plan.__file__).parent
    for path in directory.glob("*.py"):
        text = path.read_text()
        if path.name not in ("output.py", "dev.py"):
            assert "typer.echo(" not in text, path
            assert path.name == "init.py" or "typer.prompt(" not in text, path  # which asks in words of its own
            assert " Console(" not in text, path
            assert "print(" not in text.replace("console.print(", "").replace("._print(", "").replace(
                "def _print", ""
            ).replace("_print_table(", ""), path
