"""A secret appears in no error, whatever else is wrong around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hygge_engine.errors import ConfigurationError
from hygge_engine.project import load_project
from hygge_engine.project.telling.problems import SourceText
from tests.unit.project_files import ENVIRONMENT, FLOW, HYGGE, load, write_project

CANARY = "cAnArY-1f9e"

PASSWORD = 'password: "${SHOP_PASSWORD}"'
ONE_LINE = "name: shop\nconnections:\n  shop_db: { type: mssql, server: h, database: d, auth: sql, username: u, "

BROKEN = {
    "beside an unknown key": ONE_LINE + f"password: {CANARY}, sever: x }}\n",
    "before an unknown key": ONE_LINE + f"sever: x, password: '{CANARY}' }}\n",
    "under a misspelt key": HYGGE.replace(PASSWORD, f"pasword: {CANARY}"),
    "under a foreign key": HYGGE.replace(PASSWORD, f"api_token: {CANARY}"),
    "as a list": HYGGE.replace(PASSWORD, f"password: [{CANARY}]"),
    "as a mapping": HYGGE.replace(PASSWORD, f"password: {{value: {CANARY}}}"),
    "over several lines": HYGGE.replace(PASSWORD, f'passwort: "a\n      {CANARY}\n      b"'),
    "as a tag": HYGGE.replace(PASSWORD, f"password: !{CANARY} x"),
    "as an alias": HYGGE.replace(PASSWORD, f"password: *{CANARY}"),
    "in a key twice": HYGGE.replace(PASSWORD, f"password: a\n    password: {CANARY}"),
    "in a file that is no YAML": ONE_LINE + f"password: {CANARY}, server: [ }}\n",
    "after an odd character": HYGGE.replace(PASSWORD, f"password: @{CANARY}"),
    "after a percent sign": HYGGE.replace(PASSWORD, f"password: %{CANARY}: x"),
    "in the default of a variable": HYGGE.replace(PASSWORD, f'pasword: "${{NONE:-{CANARY}}}"'),
    "in a connection string": HYGGE.replace("sql.example.com", f'"Server=h;Pwd={CANARY};Uid=u"'),
    "in a URL": HYGGE.replace("port:", "").replace("sql.example.com", f"[ 'sql://u:{CANARY}@h' ]"),
    **{
        f"in a comment behind {mistake}": HYGGE.replace("    server:", f"    {mistake}  # was {CANARY}\n    database:")
        for mistake in ("sever: x", "server: [x", "server x", "server: 'x", "port: y", "server: x: y", "server:x", "'")
    },
    "where a number belongs": HYGGE.replace("    auth", '    pool_size: "${SHOP_PASSWORD}"\n    auth'),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_no_error_shows_a_secret(tmp_path: Path, text: str) -> None:
    write_project(tmp_path, hygge=text)
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, {"SHOP_PASSWORD": CANARY})
    shown = [str(caught.value), repr(caught.value)]
    for problem in caught.value.problems:
        shown += [str(problem), problem.render(), repr(problem), str(problem.to_json())]
    assert not [text for text in shown if CANARY in text]


def test_a_signed_url_is_shown_without_its_signature(tmp_path: Path) -> None:
    flow = FLOW.replace("https://onelake.dfs.fabric.microsoft.com", f"http://lake.example.com?sv=1&sig={CANARY}")
    write_project(tmp_path, flows__orders_to_fabric__flow=flow)
    with pytest.raises(ConfigurationError, match="https://") as caught:
        load_project(tmp_path, ENVIRONMENT)
    assert CANARY not in caught.value.problems[0].render()


def test_local_settings_are_never_quoted(tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "local.settings.json").write_text(f'{{"Values": {{"SHOP_PASSWORD": "{CANARY}" "X": 1}}}}')
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, {})
    assert CANARY not in "".join(problem.render() for problem in caught.value.problems)


def test_a_project_in_a_log_shows_no_secret(tmp_path: Path) -> None:
    project = load(tmp_path, hygge=HYGGE.replace("${SHOP_PASSWORD}", CANARY))
    assert CANARY not in repr(project)


def test_the_settings_hash_depends_on_settings_and_not_on_secrets(tmp_path: Path) -> None:
    write_project(tmp_path)
    first = load_project(tmp_path, {"SHOP_PASSWORD": "one"}).settings_hash()
    assert load_project(tmp_path, {"SHOP_PASSWORD": "two"}).settings_hash() == first
    write_project(tmp_path, hygge=HYGGE.replace("database: shop", "database: shop2"))
    assert load_project(tmp_path, {"SHOP_PASSWORD": "one"}).settings_hash() != first


def test_the_excerpt_keeps_what_is_no_secret(tmp_path: Path) -> None:
    write_project(tmp_path, hygge=ONE_LINE + f"password: {CANARY}, sever: x }}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, {})
    line, caret = caught.value.problems[0].excerpt.splitlines()
    assert "username: u, password: ***, sever: x }" in line
    assert line[caret.index("^") :].startswith("sever")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (f"    sever: x   # was {CANARY}", "    sever: x   #***"),
        (f"    sever: it's # '{CANARY} it's", "    sever: it's #***"),
        (f"    sever: 'x # y  # {CANARY}", "    sever: 'x #***"),
        (f"    sever: 'x' y: 'z # {CANARY}' # {CANARY}", "    sever: 'x' y: 'z #***"),
        (f"    sever: x\t// {CANARY}", "    sever: x //***"),
        (f"    'a # b': \"c # d\", sever: x # {CANARY}", "    'a # b': \"c # d\", sever: x #***"),
        (f"    # {CANARY} sever: x", "    #***"),
        (f"    #{CANARY}", "    #***"),
        ("    sever: a#b #", "    sever: a#b #"),
    ],
)
def test_an_excerpt_shows_no_comment(line: str, shown: str) -> None:
    column = max(line.find("sever"), 0) + 1
    excerpt, caret = SourceText("hygge.yml", line, parsed=True).excerpt(1, column).splitlines()
    assert excerpt == f"   1 | {shown}"
    assert caret.index("^") <= len(excerpt)


def test_the_name_of_a_variable_is_no_secret(tmp_path: Path) -> None:
    write_project(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, {})
    assert "${SHOP_PASSWORD}" in caught.value.problems[0].excerpt
