"""Broken projects: each mistake is named once, on its line, with the way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hygge_engine.errors import ConfigurationError
from hygge_engine.project import load_project
from tests.unit.project_files import ENVIRONMENT, FLOW, FLOW_FILE, HYGGE, find_problems, write_project

STORE = FLOW[FLOW.index("store:") : FLOW.index("watermark:")]
WATERMARK = FLOW[FLOW.index("watermark:") : FLOW.index("entities:")]

# Name: (file, text to replace, replacement, line and column of the problem, words that the report must hold).
MISTAKES = {
    "tab": ("hygge", "    server", "\tserver", (5, 1), ["a tab", "spaces"]),
    "open bracket": ("flow", "[id]", "[id", (13, 16), ["nothing closes"]),
    "open quote": ("flow", '* * * *"', "* * * *", (2, 11), ["a quote that nothing closes"]),
    "too deep": ("flow", "  connection:", "   connection:", (6, 4), ["further than the line above"]),
    "too shallow": ("flow", "  connection:", " connection:", (6, 2), ["indented"]),
    "two colons": ("flow", "dbo.{entity}", "dbo: x", (7, 13), ["Quote the value"]),
    "no colon": ("flow", "primary_key: id", "primary_key id", (16, 3), ["a key without a colon"]),
    "star": ("flow", '"0 */15 * * * *"', "*/5 * * * * *", (2, 12), ["begins with `*`", "Quote"]),
    "brace": ("flow", "dbo.{entity}", "{entity}", (7, 3), ["a mapping", "text", "needs quotes"]),
    "unknown key": ("flow", "mirror_name", "miror_name", (12, 3), ["`miror_name`", "Did you mean `mirror_name`?"]),
    "unknown key of home": ("flow", "table:", "tabel:", (7, 3), ["`tabel`", "Did you mean `table`?"]),
    "key elsewhere": ("flow", "entities:", "schema_name: dbo\nentities:", (17, 1), ["is a key of `store`"]),
    "full_drop": ("flow", "  key_columns", "  full_drop: true\n  key_columns", (13, 3), ["`run_type: full_drop`"]),
    "key twice": ("flow", "entities:", "run_type: full_drop\nentities:", (17, 1), ["twice", "line 3"]),
    "number": ("hygge", "    auth", "    pool_size: many\n    auth", (7, 16), ["`many`", "a whole number"]),
    "boolean": ("hygge", "    auth", "    encrypt: maybe\n    auth", (7, 14), ["`maybe`", "true or false"]),
    "choice": ("hygge", "auth: sql", "auth: sqll", (7, 11), ["`sqll`", "Did you mean `sql`?"]),
    "number choice": ("flow", "  key_columns", "  row_marker: 2\n  key_columns", (13, 15), ["0, 1 or 4"]),
    "no list": ("flow", "[id]", "id", (13, 16), ["`id`", "a list"]),
    "no mapping": ("flow", STORE, "store: open_mirroring\n", (8, 8), ["`store: {type: open_mirroring, …}`"]),
    "no store": ("flow", STORE, "", (1, 1), ["the flow has no `store`"]),
    "no type": ("flow", "  type: open_mirroring\n", "", (8, 1), ["store has no `type`", "open_mirroring"]),
    "unknown home": ("flow", "type: mssql", "type: mysql", (5, 9), ["`mysql`", "Did you mean `mssql`?"]),
    "unknown store": ("flow", "open_mirroring", "openmirror", (9, 9), ["`openmirror`", "`open_mirroring`"]),
    "unknown connection type": ("hygge", "type: mssql", "type: postgres", (4, 11), ["`postgres`", "mssql"]),
    "unknown connection": ("flow", "shop_db", "shopdb", (6, 15), ["`shopdb`", "Did you mean `shop_db`?"]),
    "missing key": ("hygge", "    database: shop\n", "", (3, 3), ["has no `database`"]),
    "missing credential": ("hygge", "    username: reader\n", "", (7, 11), ["needs username"]),
    "no watermark": ("flow", WATERMARK, "", (3, 11), ["needs a `watermark`", "run_type: full_drop"]),
    "misspelt key of a required one": ("flow", "column:", "colum:", (15, 3), ["Did you mean `column`?"]),
    "duration": ("flow", "primary_key: id", "lag: 5 minutes", (16, 8), ["`5 minutes`", "5m"]),
    "five fields": ("flow", "0 */15 * * * *", "*/15 * * * *", (2, 11), ["six fields", "'0 */15 * * * *'"]),
    "schedule": ("flow", "0 */15 * * * *", "0 75 * * * *", (2, 11), ["minute"]),
    "never due": ("flow", "0 */15 * * * *", "0 0 0 30 2 *", (2, 11), ["no month 2 has a day 30"]),
    "run type": ("flow", "run_type: incremental", "run_type: increment", (3, 11), ["Did you mean `incremental`?"]),
    "entity twice": ("flow", "customers]", "orders]", (17, 20), ["`orders` is given twice"]),
    "entity name": ("flow", "customers]", "a/b]", (17, 20), ["`a/b`", "letters"]),
    "entities": ("flow", "[orders, customers]", "orders", (17, 11), ["a list"]),
    "no entities": ("flow", "entities: [orders, customers]\n", "", (1, 1), ["no entities"]),
    "placeholder": ("flow", "{entity}", "{entitiy}", (7, 10), ["Did you mean `{entity}`?"]),
    "foreign placeholder": ("flow", "{entity}", "{table}", (7, 10), ["`{table}` is not a placeholder"]),
    "name with braces": ("flow", "dbo.{entity}", "dbo.[a{b}]", (7, 10), ["read by a `query`, with its `key`"]),
    "doubled braces": ("flow", "{entity}", "{{entity}}", (7, 10), ["`{{entity}}`", "`{entity}`"]),
    "doubled braces with blanks": ("flow", "{entity}", "{{ entity }}", (7, 10), ["in single braces"]),
    **{
        f"placeholder as {written}": ("flow", "{entity}", written, (7, 10), [f"`{written}`", "`{entity}`"])
        for written in (
            *("{ entity }", "{Entity}", "{entity", "entity}", "{entity.name}", "{entity!r}", "{entity:>5}"),
            *("{% entity %}", "{{{entity}}}", "<entity>", "%entity%", "%%entity%%", "%(entity)s", "$entity"),
        )
    },
    "empty section": ("flow", STORE, "store:\n", (8, 1), ["the flow has no `store`"]),
    "watermark as text": ("flow", WATERMARK, "watermark: modified_at\n", (14, 12), ["a mapping of the keys column, "]),
    "empty list": ("flow", "[orders, customers]", "[]", (17, 1), ["no entities"]),
    "variable name": ("hygge", "sql.example.com", "${SQL-SERVER}", (5, 13), ["not well formed"]),
    "open variable": ("hygge", "sql.example.com", '"${SQL_SERVER"', (5, 14), ["not closed"]),
    "option": ("hygge", "name: shop", "name: shop\noptions: {concurrency: 0}", (2, 24), ["at least 1"]),
    "unknown option": ("hygge", "name: shop", "name: shop\noptions: {concurency: 4}", (2, 11), ["`concurrency`"]),
    "plain http": ("flow", "https://", "http://", (10, 16), ["https://"]),
    "journal": ("hygge", "name: shop", "name: shop\njournal: {location: lake}", (2, 21), ["`lake`", "`store`"]),
    "a list as file": ("hygge", HYGGE, "- shop\n", (1, 1), ["not a mapping"]),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_problem_on_its_line(
    tmp_path: Path, mistake: tuple[str, str, str, tuple[int, int], list[str]]
) -> None:
    file, before, after, place, words = mistake
    original = HYGGE if file == "hygge" else FLOW
    assert before in original
    broken = original.replace(before, after, 1)
    problems = find_problems(tmp_path, hygge=broken) if file == "hygge" else find_problems(tmp_path, flow=broken)
    assert len(problems) == 1, [str(problem) for problem in problems]
    (problem,) = problems
    assert problem.file == ("hygge.yml" if file == "hygge" else FLOW_FILE)
    assert (problem.line, problem.column) == place
    for word in words:
        assert word in problem.render()
        assert word in str(problem)


def test_the_caret_stands_below_the_place(tmp_path: Path) -> None:
    (problem,) = find_problems(tmp_path, flow=FLOW.replace("mirror_name", "miror_name"))
    line, caret = problem.excerpt.splitlines()
    assert line[caret.index("^") :].startswith("miror_name")


def test_all_problems_of_all_files_come_at_once(tmp_path: Path) -> None:
    problems = find_problems(
        tmp_path,
        hygge=HYGGE.replace("server:", "sever:"),
        flow=FLOW.replace("run_type: incremental", "run_type: sometimes").replace("[id]", "id"),
        flows__orders_to_fabric__entities__items="run_typ: full_drop\n",
        flows__broken__flow="name: [",
    )
    assert [(problem.file, problem.line) for problem in problems] == [
        ("flows/broken/flow.yml", 1),
        ("flows/orders_to_fabric/entities/items.yml", 1),
        (FLOW_FILE, 3),
        (FLOW_FILE, 13),
        ("hygge.yml", 5),
    ]


def test_a_key_is_missing_where_its_section_stands_and_not_where_another_begins(tmp_path: Path) -> None:
    defaults = "defaults:\n  expectations:\n    not_null: {columns: [id]}\n"
    flow = f"{FLOW}expectations:\n  freshness: {{max_age: 2d}}\n"
    (problem,) = find_problems(tmp_path, hygge=HYGGE + defaults, flow=flow)
    assert (problem.file, problem.line, problem.column) == (FLOW_FILE, 19, 3)
    assert "freshness" in problem.excerpt


def test_the_error_lists_every_problem_for_logs(tmp_path: Path) -> None:
    write_project(tmp_path, flows__orders_to_fabric__flow=FLOW.replace("[id]", "id").replace("table:", "tabel:"))
    with pytest.raises(ConfigurationError, match="2 problems") as caught:
        load_project(tmp_path, ENVIRONMENT)
    assert all(str(problem) in str(caught.value) for problem in caught.value.problems)
    assert json.dumps([problem.to_json() for problem in caught.value.problems])


def test_an_entity_in_flow_and_file_is_refused(tmp_path: Path) -> None:
    (problem,) = find_problems(tmp_path, flows__orders_to_fabric__entities__orders="run_type: full_drop\n")
    assert problem.file == "flows/orders_to_fabric/entities/orders.yml"
    assert f"{FLOW_FILE}, line 17" in str(problem)


def test_two_entities_in_one_destination_are_refused(tmp_path: Path) -> None:
    other = FLOW.replace("name: orders_to_fabric", "name: other").replace("[orders, customers]", "[Orders]")
    (problem,) = find_problems(tmp_path, flows__other__flow=other)
    assert (problem.file, problem.line) == ("flows/other/flow.yml", 17)
    assert "`orders_to_fabric.orders`" in problem.message


def test_flows_that_share_a_mirror_agree_about_its_journal(tmp_path: Path) -> None:
    flow = FLOW.replace("  key_columns", "  mirror_journal: true\n  key_columns")
    other = flow.replace("[orders, customers]", "[items]").replace("  key_columns", "  mirror_schema: x\n  key_columns")
    (problem,) = find_problems(tmp_path, flow=flow, flows__zoo__flow=other.replace("orders_to_fabric", "zoo"))
    assert (problem.file, problem.line) == ("flows/zoo/flow.yml", 14)
    assert "`x`" in problem.found
    assert "`__hygge`" in problem.expected


def test_a_lag_needs_a_store_that_replaces_rows(tmp_path: Path) -> None:
    flow = FLOW.replace("  key_columns", "  row_marker: 0\n  key_columns").replace("primary_key: id", "lag: 5m")
    (problem,) = find_problems(tmp_path, flow=flow)
    assert (problem.line, problem.column) == (17, 8)
    assert "twice" in problem.message


FILES = "store: { type: local, path: out }\njournal: { location: ./journal }\nwatermark:"
STORE = FLOW[FLOW.index("store:") : FLOW.index("watermark:") + len("watermark:")]


@pytest.mark.parametrize(
    ("deletes", "hygge", "before", "after", "why"),
    [
        ("compare", HYGGE, "primary_key: id", "change_tracking: true", "Change Tracking lists deleted rows by itself"),
        ("compare", HYGGE, "primary_key: id", "cdc: true", "Change data capture lists deleted rows by itself"),
        ("compare", HYGGE, STORE, FILES, "this store does not replace and delete rows by key"),
        ("compare", HYGGE + "    application_intent: read_only\n", "", "", "a readable secondary may lack rows"),
        ("mark", HYGGE, "", "", "of a deleted row only the key is known"),
        ("mark", HYGGE, STORE, FILES, "files replace rows as a whole"),
    ],
)
def test_deletes_are_compared_and_marked_where_that_can_be(
    tmp_path: Path, deletes: str, hygge: str, before: str, after: str, why: str
) -> None:
    flow = FLOW.replace(before, after) if before else FLOW
    flow = flow.replace("[orders, customers]", "[orders]") + f"deletes: {{ {deletes}: true }}\n"
    (problem,) = find_problems(tmp_path, hygge=hygge, flow=flow)
    assert why in problem.message
    assert flow.splitlines()[problem.line - 1].startswith("deletes:")


def test_a_missing_variable_lists_the_places_looked_in(tmp_path: Path) -> None:
    (problem,) = find_problems(tmp_path, environment={"SHOP_PASSWRD": "x"})
    assert (problem.file, problem.line, problem.column) == ("hygge.yml", 9, 16)
    assert "the environment, local.settings.json" in problem.expected
    assert "`SHOP_PASSWRD`" in problem.hint


def test_an_empty_variable_explains_the_missing_value(tmp_path: Path) -> None:
    (problem,) = find_problems(tmp_path, environment={"SHOP_PASSWORD": ""})
    assert "needs password" in problem.message
    assert "`SHOP_PASSWORD`, which is empty" in problem.hint


def test_an_unresolved_key_vault_reference_is_no_password(tmp_path: Path) -> None:
    reference = "@Microsoft.KeyVault(SecretUri=https://vault.example.com/secrets/shop)"
    (problem,) = find_problems(tmp_path, environment={"SHOP_PASSWORD": reference})
    assert "Key Vault" in problem.message
    assert "vault.example.com" not in problem.render()


def test_one_broken_section_does_not_accuse_the_others(tmp_path: Path) -> None:
    # Without connections it is unknown whether the flow's connection exists.
    (problem,) = find_problems(tmp_path, hygge="name: shop\nconnections: [\n")
    assert problem.file == "hygge.yml"


@pytest.mark.parametrize(("extra", "hint"), [("hygge.yaml", "Rename hygge.yaml"), ("readme.txt", "--project")])
def test_a_directory_without_a_project(tmp_path: Path, extra: str, hint: str) -> None:
    (tmp_path / extra).write_text("name: shop\n")
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, {})
    assert hint in caught.value.problems[0].hint


def test_files_with_the_other_extension_are_not_ignored(tmp_path: Path) -> None:
    write_project(tmp_path)
    entities = tmp_path / "flows/orders_to_fabric/entities"
    entities.mkdir()
    (entities / "items.yaml").write_text("run_type: full_drop\n")
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, ENVIRONMENT)
    assert "items.yml" in caught.value.problems[0].hint


@pytest.mark.parametrize(
    ("stray", "hint"),
    [
        ("flows/orders_to_fabric.yml", "flows/<flow>/flow.yml"),
        ("flows/orders_to_fabric/items.yml", "entities/"),
        ("flows/orders_to_fabric/entites/items.yml", "`entities`"),
    ],
)
def test_files_in_the_wrong_place_are_not_ignored(tmp_path: Path, stray: str, hint: str) -> None:
    (tmp_path / stray).parent.mkdir(parents=True)
    (tmp_path / stray).write_text("name: items\n")
    (problem,) = find_problems(tmp_path)
    assert stray.startswith(problem.file)
    assert hint in problem.hint


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON"),
        ('{"IsEncrypted": true, "Values": {}}', "encrypted"),
        ('{"Values": []}', "not a mapping"),
    ],
)
def test_local_settings_that_cannot_be_read(tmp_path: Path, content: str, words: str) -> None:
    write_project(tmp_path)
    (tmp_path / "local.settings.json").write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, ENVIRONMENT)
    (problem,) = caught.value.problems
    assert problem.file == "local.settings.json"
    assert words in problem.message


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / FLOW_FILE).write_bytes(FLOW.encode() + b"# caf\xe9\n")
    with pytest.raises(ConfigurationError) as caught:
        load_project(tmp_path, ENVIRONMENT)
    assert (caught.value.problems[0].file, caught.value.problems[0].line) == (FLOW_FILE, 18)


def test_a_value_that_refers_to_itself(tmp_path: Path) -> None:
    (problem,) = find_problems(tmp_path, flow=FLOW.replace("[orders, customers]", "&all [orders, *all]"))
    assert "refers to itself" in problem.message
