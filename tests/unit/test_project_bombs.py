"""Files that are small to write and endless to read: each is a problem at once, and no stack trace."""

from __future__ import annotations

from pathlib import Path

import pytest

from hygge_engine.errors import ConfigurationError
from hygge_engine.project import load_project
from tests.unit.project_files import ENVIRONMENT, FLOW, HYGGE, write_project

ALIASES = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
CHAIN = "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 1_500))
MERGES = "".join(f"a{n}: &a{n}\n  <<: [{', '.join([f'*a{n - 1}'] * 9)}]\n  b{n}: 1\n" for n in range(1, 30))

BOMBS = {
    "aliases of aliases": f"a0: &a0 [x]\n{ALIASES}",
    "a chain of aliases": f"a0: &a0 [x]\n{CHAIN}",
    "merges of merges": f"a0: &a0 {{x: 1}}\n{MERGES}",
    "lists within lists": "a: " + "[" * 20_000,
    "closed lists within lists": "a: " + "[" * 20_000 + "]" * 20_000,
    "mappings within mappings": "a: " + "{a: " * 20_000,
    "indented mappings": "".join(f"{' ' * n}a:\n" for n in range(1_300)),
    "items of items": "a:\n  " + "- " * 20_000,
    "keys of keys": "? " * 20_000,
    "a long file": "#" * 1_000_001,
    "many lines above a mistake": "a: 1\n" + "#\n" * 200_000 + "b: c: d\n",
    "many values": "a: [" + "1," * 60_000 + "]",
    "defaults within defaults": 'name: "' + "${A:-" * 5_000 + "x" + "}" * 5_000 + '"\n',
    "defaults that nothing closes": 'name: "' + "${A:-" * 20_000 + '"\n',
    "a long variable again and again": 'name: "' + "${LONG}" * 10_000 + '"\n',
    "a number with many digits": f"options: {{ concurrency: {'9' * 5_000} }}\n",
    "a fraction with many digits": f"options: {{ slice_minutes: {'9' * 5_000}.0 }}\n",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_a_problem_at_once(tmp_path: Path, text: str) -> None:
    files = {"hygge": text} if "options" in text else {"flows__orders_to_fabric__entities__items": text}
    write_project(tmp_path, **files)
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, {**ENVIRONMENT, "LONG": "x" * 100_000})
    assert len(str(caught.value)) < 20_000
    assert all(len(problem.render()) < 5_000 for problem in caught.value.problems)


def test_aliases_that_make_too_much_are_told_by_the_key_at_which_they_do(tmp_path: Path) -> None:
    write_project(tmp_path, flows__orders_to_fabric__entities__items=BOMBS["aliases of aliases"])
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, ENVIRONMENT)
    (problem,) = caught.value.problems
    assert (problem.line > 3, problem.column) == (True, 1)
    assert "&a" in problem.excerpt


@pytest.mark.parametrize("text", ["[" * 100_000, '{"Values": {"A": ' + "9" * 5_000 + "}}"])
def test_local_settings_are_no_bomb_either(tmp_path: Path, text: str) -> None:
    write_project(tmp_path)
    (tmp_path / "local.settings.json").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, ENVIRONMENT)
    assert [problem.file for problem in caught.value.problems] == ["local.settings.json"]


@pytest.mark.parametrize(
    "override",
    [
        "flow.run_type=" + "[" * 50_000,
        "flow.run_type=" + "[" * 50_000 + "]" * 50_000,
        "options.concurrency=" + "9" * 5_000,
    ],
)
def test_the_command_line_is_no_bomb_either(tmp_path: Path, override: str) -> None:
    write_project(tmp_path)
    with pytest.raises(ConfigurationError):
        load_project(tmp_path, ENVIRONMENT, [override])


def test_what_people_write_is_within_the_bounds(tmp_path: Path) -> None:
    entities = "\n".join(f"  - name: table_{n}\n    home: {{ table: dbo.table_{n} }}" for n in range(300))
    flow = FLOW.replace("entities: [orders, customers]", f"entities:\n{entities}")
    hygge = HYGGE.replace("name: shop", 'name: "${A:-${B:-${C:-shop}}}"')
    write_project(tmp_path, hygge=hygge, flows__orders_to_fabric__flow=flow)
    assert len(load_project(tmp_path, ENVIRONMENT).entities) == 300


UNUSABLE = ["\\0", "\\ud800", "\\uDFFF"]
PLACES = {
    "a path": FLOW.replace("type: mssql\n  connection: shop_db\n  table: dbo.{entity}", 'type: local\n  path: "a?b"'),
    "a table": FLOW.replace("table: dbo.{entity}", 'table: "dbo.a?b"'),
    "a name of a table": FLOW.replace("key_columns", 'table_name: "t?"\n  key_columns'),
    "a key of its own": FLOW + 'polish: { constants: { "a?b": 1 } }\n',
    "a value that lands": FLOW + 'polish: { constants: { a: "b?" } }\n',
    "a default": FLOW + 'polish: { constants: { a: "${NO_SUCH:-b?}" } }\n',
    "a column": FLOW.replace("modified_at", '"m?"'),
    "an unknown key": FLOW + '"x?": 1\n',
}


@pytest.mark.parametrize("character", UNUSABLE)
def test_text_that_can_be_written_nowhere_is_a_problem_of_its_place(tmp_path: Path, character: str) -> None:
    for name, text in PLACES.items():
        flow = text.replace("?", character)
        with pytest.raises(ConfigurationError) as caught:
            load_project(write_project(tmp_path / name, flows__orders_to_fabric__flow=flow), ENVIRONMENT)
        [problem] = caught.value.problems
        assert "can be written nowhere" in problem.message, name
        problem.render().encode()


@pytest.mark.parametrize("held", ["a\0b", "caf\udce9"])
def test_so_is_what_a_variable_holds(tmp_path: Path, held: str) -> None:
    flow = FLOW + 'polish: { constants: { a: "${REGION}" } }\n'
    with pytest.raises(ConfigurationError) as caught:
        load_project(write_project(tmp_path, flows__orders_to_fabric__flow=flow), {**ENVIRONMENT, "REGION": held})
    [problem] = caught.value.problems
    assert "can be written nowhere" in problem.message
