"""Projects that are wrong, each in its way."""

from __future__ import annotations

from collections.abc import Mapping

from tests.unit.project_files import FLOW, FLOW_FILE, HYGGE

ENTITY_FILE = "flows/orders_to_fabric/entities/items.yml"

STORE = FLOW[FLOW.index("store:") : FLOW.index("watermark:")]
ONELAKE = """\
store:
  type: onelake
  filesystem: 11111111-1111-1111-1111-111111111111
  lakehouse: {lakehouse}
"""

ENTITIES = "entities: [orders, customers]"

CANARY = "cAnArY-1f9e"

FILES_FLOW = """\
run_type: full_drop
home:
  type: local
  path: 'in/{entity}.csv'
  format: csv
  infer: true
store: {type: local}
entities: [orders]
"""

type Files = Mapping[str, bytes | None]


def flow(before: str, after: str) -> dict[str, bytes]:
    assert before in FLOW
    return {FLOW_FILE: FLOW.replace(before, after, 1).encode()}


def hygge(before: str, after: str) -> dict[str, bytes]:
    assert before in HYGGE
    return {"hygge.yml": HYGGE.replace(before, after, 1).encode()}


def entity(text: str) -> dict[str, bytes]:
    return {ENTITY_FILE: text.encode()}


# Name: (files to write, or to remove where None; file and line of the problem; words that its report must hold).
PROJECTS: dict[str, tuple[Files, tuple[str, int], list[str]]] = {
    # Where the files are, and what they are.
    "a format as the type": (
        flow("type: mssql\n  connection: shop_db\n  table", "type: csv\n  path"),
        (FLOW_FILE, 5),
        ["write `type: local`", "`format: csv`"],
    ),
    "another tool's format as the type": (
        flow("type: mssql\n  connection: shop_db\n  table", "type: jsonl\n  path"),
        (FLOW_FILE, 5),
        ["`format: ndjson`"],
    ),
    "a type as the format": (
        flow("type: mssql\n  connection: shop_db\n  table", "type: local\n  format: local\n  path"),
        (FLOW_FILE, 6),
        ["`type: local`"],
    ),
    "a path that ends like another format": (
        flow('type: mssql\n  connection: shop_db\n  table: dbo.{entity}', 'type: local\n  path: "in/{entity}.CSV.gz"'),
        (FLOW_FILE, 6),
        ["`path` ends like csv", "add `format: csv`"],
    ),
    # What YAML makes of it.
    "a quote that is not closed": (
        flow("dbo.{entity}", '"dbo.{entity}'),
        (FLOW_FILE, 7),
        ["a quote that nothing closes"],
    ),
    "a backslash in double quotes": (
        flow("dbo.{entity}", '"dbo\\{entity}"'),
        (FLOW_FILE, 7),
        ["backslash", "single quotes"],
    ),
    "a second colon": (
        flow("dbo.{entity}", "dbo: a: b/{entity}"),
        (FLOW_FILE, 7),
        ["a second `: `", "Quote the value"],
    ),
    "a variable in a mapping, unquoted": (
        flow("[orders, customers]", "[{name: orders, store: {table_name: ${A}}}]"),
        (FLOW_FILE, 17),
        ["braces that YAML takes for a mapping", "needs quotes"],
    ),
    # Values that cannot mean what they say.
    **{
        f"a schedule of {schedule}": (flow('"0 */15 * * * *"', f'"{schedule}"'), (FLOW_FILE, 2), words)
        for schedule, words in {
            "0 99 * * * *": ["minute field is not valid: `99`", "minutes are 0 to 59"],
            "0 1,2,60 * * * *": ["minute field is not valid: `1,2,60`"],
            "0 0 24 * * *": ["hour field", "hours are 0 to 23"],
            "0 0 0 * 13 *": ["month field", "JAN to DEC"],
            "0 0 0 * * MON-SUN": ["day-of-week field", "SUN to SAT"],
            "0 0 0 32 2 *": ["day-of-month field is not valid: `32`"],
            "0 0 0 31 2 *": ["never comes due: no month 2 has a day 31"],
            "0 0 0 31 2,4,6 *": ["never comes due: no month 2,4,6 has a day 31"],
        }.items()
    },
    "a watermark of files and of a column": (
        {FLOW_FILE: f"{FILES_FLOW}watermark: {{column: at, file_modified: true}}\n".encode()},
        (FLOW_FILE, 9),
        ["one of `file_modified` and `column`", "`column: null` takes an inherited one away"],
    ),
    "two accounts of changes": (
        {FLOW_FILE: f"{FILES_FLOW}watermark: {{cdc: true, change_tracking: true}}\n".encode()},
        (FLOW_FILE, 9),
        ["one of `cdc` and `change_tracking`"],
    ),
    "captured changes of files": (
        {FLOW_FILE: f"{FILES_FLOW}watermark: {{cdc: dbo_orders}}\n".encode()},
        (FLOW_FILE, 9),
        ["this home does not list its changes"],
    ),
    **{
        f"{name} of {value}": (files, (file, line), words)
        for value, word in (("true", "a whole number"), (".inf", "number"), ("1.5", "a whole number"))
        for name, files, file, line, words in (
            (
                "concurrency",
                {"hygge.yml": f"{HYGGE}options: {{concurrency: {value}}}\n".encode()},
                "hygge.yml",
                1 + HYGGE.count("\n"),
                ["concurrency`", word],
            ),
            (
                "batch_rows",
                {FLOW_FILE: FILES_FLOW.replace("infer: true", f"batch_rows: {value}").encode()},
                FLOW_FILE,
                6,
                ["`batch_rows`", word],
            ),
        )
    },
    "a lag of true": (flow("column: modified_at", "column: m\n  lag: true"), (FLOW_FILE, 16), ["`lag`", "a number"]),
    "a pattern that is none": (
        flow(ENTITIES, f"{ENTITIES}\nexpectations: {{matches: {{columns: {{v: '(a'}}}}}}"),
        (FLOW_FILE, 18),
        ["`(a`", "is not a regular expression", "a `(` is not closed"],
    ),
    **{
        f"a path with a shell's {word}": (
            {FLOW_FILE: FILES_FLOW.replace("'in/{entity}.csv'", f'"{path}/{{entity}}.csv"').encode()},
            (FLOW_FILE, 4),
            [f"`{word}`", "`${NAME}`"],
        )
        for word, path in {"$HOME": "$HOME/in", "%TEMP%": "%TEMP%", "~": "~", "$DATA_DIR": "in/$DATA_DIR"}.items()
    },
    "a pattern with an open range": (
        flow(ENTITIES, f"{ENTITIES}\nexpectations: {{matches: {{columns: {{v: '[a-'}}}}}}"),
        (FLOW_FILE, 18),
        ["`[a-`", "is not a regular expression", "a `[` is not closed"],
    ),
    "a pattern that is whole only within brackets": (
        flow(ENTITIES, f"{ENTITIES}\nexpectations: {{matches: {{columns: {{v: 'a)(b'}}}}}}"),
        (FLOW_FILE, 18),
        ["`a)(b`", "is not a regular expression", "closes nothing"],
    ),
    "a salt that is short": (
        flow(ENTITIES, f"{ENTITIES}\npolish: {{mask: {{v: hash}}, hash_salt: short}}"),
        (FLOW_FILE, 18),
        ["`hash_salt`", "at least 8 characters"],
    ),
    "a name that begins with a mark": (
        flow("name: orders", "name: @orders"),
        (FLOW_FILE, 1),
        ["begins with `@`", "Quote the value"],
    ),
    "local settings that are nested too deeply": (
        {"local.settings.json": b"[" * 100_000},
        ("local.settings.json", 0),
        ["nested too deeply"],
    ),
    "a pattern of another tool": (
        flow(ENTITIES, f"{ENTITIES}\nexpectations: {{matches: {{columns: {{v: '(?=a)b'}}}}}}"),
        (FLOW_FILE, 18),
        ["is not a regular expression", "no look-around"],
    ),
    "two columns renamed to one": (
        flow(ENTITIES, f"{ENTITIES}\npolish: {{rename: {{a: x, b: X}}}}"),
        (FLOW_FILE, 18),
        ["`X` is the new name of two columns"],
    ),
    "a column renamed to one that is added": (
        flow(ENTITIES, f"{ENTITIES}\npolish: {{rename: {{a: x}}, constants: {{x: 1}}}}"),
        (FLOW_FILE, 18),
        ["`rename` and `constants` give the name `x` twice"],
    ),
    "a column masked that is dropped": (
        flow(ENTITIES, f"{ENTITIES}\npolish: {{drop: [a], mask: {{a: full}}}}"),
        (FLOW_FILE, 18),
        ["`mask` names `a`, which `drop` leaves out"],
    ),
    **{
        f"a Windows path as the {what}": (
            {FLOW_FILE: FILES_FLOW.replace("store: {type: local}", store).encode()},
            (FLOW_FILE, 7),
            ["is a path of Windows", "`/` between folders"],
        )
        for what, store in {
            "store": "store: {type: local, path: 'C:\\w'}",
            "store, with slashes": "store: {type: local, path: 'C:/w'}",
            "store, relative": "store: {type: local, path: 'data\\w'}",
            "database": "store: {type: sqlite, path: 'd:\\w.db'}",
        }.items()
    },
    **{
        f"an address as the path of {what}": (
            {FLOW_FILE: FILES_FLOW.replace("store: {type: local}", store).encode()},
            (FLOW_FILE, 7),
            ["is an address", "a path of folders"],
        )
        for what, store in {
            "a database": "store: {type: sqlite, path: 'file:/tmp/w.db'}",
            "a database, beyond the project": "store: {type: sqlite, path: 'file:%2e%2e/w.db?x=.db'}",
            "a Delta table": "store: {type: local, format: delta, path: 'file:///tmp/w'}",
            "a Delta table in memory": "store: {type: local, format: delta, path: 'memory://w'}",
            "a Delta table in a lake": "store: {type: local, format: delta, path: 's3://bucket/w'}",
        }.items()
    },
    "bounds with nothing between": (
        flow(ENTITIES, f"{ENTITIES}\nexpectations: {{range: {{columns: {{v: {{min: 5, max: 1}}}}}}}}"),
        (FLOW_FILE, 18),
        ["`min` is above `max`", "between 5 and 1"],
    ),
    "times with nothing between": (
        flow(ENTITIES, ENTITIES + "\nexpectations: {range: {columns: {v: {min: 2024-02-01, max: 2024-01-31}}}}"),
        (FLOW_FILE, 18),
        ["`min` is above `max`"],
    ),
    "row counts with nothing between": (
        flow(ENTITIES, f"{ENTITIES}\nexpectations: {{row_count: {{min: 5, max: 1}}}}"),
        (FLOW_FILE, 18),
        ["`min` is above `max`"],
    ),
    "no accepted value": (
        flow(ENTITIES, f"{ENTITIES}\nexpectations: {{accepted_values: {{columns: {{v: []}}}}}}"),
        (FLOW_FILE, 18),
        ["`v` accepts no value"],
    ),
    "a misspelt severity": (
        flow(ENTITIES, f"{ENTITIES}\nexpectations: {{not_null: {{columns: [v], severity: wran}}}}"),
        (FLOW_FILE, 18),
        ["`not_null.severity`", "`warn` or `fail`", "Did you mean `warn`?"],
    ),
    "constants as a list": (
        flow(ENTITIES, f"{ENTITIES}\npolish: {{constants: [a, b]}}"),
        (FLOW_FILE, 18),
        ["`constants` of polish", "found: a list", "a mapping of keys"],
    ),
    "another tool's date format": (
        {FLOW_FILE: FILES_FLOW.replace("infer: true", "columns: {d: {type: date, format: dd.mm.yyyy}}").encode()},
        (FLOW_FILE, 6),
        ["directives", "`%d.%m.%Y`"],
    ),
    "a key of another format": (
        {FLOW_FILE: FILES_FLOW.replace("csv\n", "parquet\n").replace("infer: true", "delimiter: ;").encode()},
        (FLOW_FILE, 6),
        ["`delimiter` does not apply to files of parquet"],
    ),
    "a bracket that is not closed": (
        {FLOW_FILE: FILES_FLOW.replace("in/{entity}", "in/[{entity}").encode()},
        (FLOW_FILE, 4),
        ["opens a bracket that nothing closes"],
    ),
    "a Windows path": (
        {FLOW_FILE: FILES_FLOW.replace("in/{entity}.csv", "C:\\in\\{entity}.csv").encode()},
        (FLOW_FILE, 4),
        ["separated by `/`"],
    ),
    "a store below a file": (
        {FLOW_FILE: FILES_FLOW.replace("{type: local}", "{type: local, path: hygge.d/x}").encode(), "hygge.d": b""},
        (FLOW_FILE, 7),
        ["leads through a file", "hygge.d is not a folder"],
    ),
    "a store that is a file": (
        {FLOW_FILE: FILES_FLOW.replace("{type: local}", "{type: local, path: hygge.d}").encode(), "hygge.d": b""},
        (FLOW_FILE, 7),
        ["leads through a file", "hygge.d is not a folder"],
    ),
    "an address of a file": (
        {FLOW_FILE: FILES_FLOW.replace("in/{entity}.csv", "file:///in/{entity}.csv").encode()},
        (FLOW_FILE, 4),
        ["is an address", "without `file:`, as /in/"],
    ),
    "a journal in a file": (
        {
            FLOW_FILE: FILES_FLOW.encode() + b"journal: {location: {type: local, path: in.csv}}\n",
            "in.csv": b"id\n1\n",
        },
        (FLOW_FILE, 9),
        ["leads through a file", "in.csv is not a folder"],
    ),
    # Files that are none.
    "settings in UTF-16": (
        {"local.settings.json": '{"Values": {}}'.encode("utf-16")},
        ("local.settings.json", 1),
        ["not UTF-8", "Save it as UTF-8"],
    ),
    **{
        f"local settings that hold {what}": (
            {"local.settings.json": b'{"Values": {\n"A": "b",\n"B": %s}}' % value},
            ("local.settings.json", 3),
            ["`B` of `Values` is not text", "in quotes"],
        )
        for what, value in {"a list": b"[1]", "an object": b'{"a": 1}', "null": b"null"}.items()
    },
    "a setting given twice": (
        {"local.settings.json": b'{"Values": {\n"A": "b",\n"A": "c"}}'},
        ("local.settings.json", 3),
        ["`A` is given twice"],
    ),
    "entities as a file": (
        {"flows/orders_to_fabric/entities": b""},
        ("flows/orders_to_fabric/entities", 0),
        ["a directory"],
    ),
    # How the bytes are written.
    "Windows line ends": (
        {FLOW_FILE: FLOW.replace("mirror_name", "mirrorname").replace("\n", "\r\n").encode()},
        (FLOW_FILE, 12),
        ["`mirrorname`", "Did you mean `mirror_name`?"],
    ),
    "a byte order mark": (
        {FLOW_FILE: b"\xef\xbb\xbf" + FLOW.replace("run_type", "runtype").encode()},
        (FLOW_FILE, 3),
        ["Did you mean `run_type`?"],
    ),
    "UTF-16": ({FLOW_FILE: FLOW.encode("utf-16")}, (FLOW_FILE, 1), ["not UTF-8", "Save it as UTF-8"]),
    "Latin-1": ({"hygge.yml": HYGGE.replace("reader", "ren\xe9e").encode("latin-1")}, ("hygge.yml", 8), ["UTF-8"]),
    "a NUL character": (flow("schedule", "sche\0dule"), (FLOW_FILE, 2), ["U+0000", "Delete it"]),
    "UTF-16 without a mark": ({"hygge.yml": HYGGE.encode("utf-16-le")}, ("hygge.yml", 1), ["UTF-16", "as UTF-8"]),
    "old line ends": (
        {FLOW_FILE: FLOW.replace("mirror_name", "mirrorname").replace("\n", "\r").encode()},
        (FLOW_FILE, 12),
        ["Did you mean `mirror_name`?"],
    ),
    "a hard blank": (flow("  connection", "\u00a0 connection"), (FLOW_FILE, 6), ["U+00A0", "only looks like a blank"]),
    "typographic quotes": (flow('"0 */15 * * * *"', "\u201c0 */15 * * * *\u201d"), (FLOW_FILE, 2), ['use `"`']),
    # YAML.
    "a tab after a colon": (flow("  type: mssql", "  type:\tmssql"), (FLOW_FILE, 5), ["a tab"]),
    "a tab in the middle": (flow("  connection", "\tconnection"), (FLOW_FILE, 6), ["a tab", "spaces"]),
    "a tab in an entity": (entity("home:\n\ttable: dbo.i\n"), (ENTITY_FILE, 2), ["a tab"]),
    "no blank after a colon": (flow("column: mod", "column:mod"), (FLOW_FILE, 15), ["no blank after the colon"]),
    "no blank, no neighbour": (flow("run_type: inc", "run_type:inc"), (FLOW_FILE, 3), ["`run_type: `"]),
    "no blank before a secret": (
        hygge('password: "${SHOP_PASSWORD}"', f'password:"{CANARY}"'),
        ("hygge.yml", 9),
        ["no blank after the colon", "`password: `"],
    ),
    "a colon too many": (flow("primary_key: id", "primary_key: id:"), (FLOW_FILE, 16), ["primary_key: id:"]),
    "an anchor that is not there": (flow("[id]", "*keys"), (FLOW_FILE, 13), ["reference", "`&name`"]),
    "a merge of an unknown anchor": (flow("  key_", "  <<: *base\n  key_"), (FLOW_FILE, 13), ["reference"]),
    "a merge of a text": (flow("  key_", "  <<: base\n  key_"), (FLOW_FILE, 13), ["`<<`", "`<<: *name`"]),
    "two documents": ({FLOW_FILE: FLOW.encode() + b"---\nname: b\n"}, (FLOW_FILE, 18), ["one document per file"]),
    "a key twice, far apart": ({"hygge.yml": HYGGE.encode() + b"name: b\n"}, ("hygge.yml", 10), ["twice", "line 1"]),
    "a connection twice": (
        {"hygge.yml": HYGGE.encode() + b"  shop_db: {type: mssql, server: h, database: d, auth: default}\n"},
        ("hygge.yml", 10),
        ["`shop_db` is given twice", "line 3"],
    ),
    "braces in braces": (
        flow("home:\n  type: mssql\n  connection: shop_db\n  table: dbo.{entity}\n",
             "home: { type: mssql, connection: shop_db, table: dbo.{entity} }\n"),
        (FLOW_FILE, 4),
        ["needs quotes", '"dbo.{entity}"'],
    ),
    **{
        f"a brace that nothing closes {where}": (flow(old, new), (FLOW_FILE, line), ["`{` opens here", "expected: `}`"])
        for where, (line, old, new) in {
            "at the end": (4, "home:\n", 'store_: {path: "{entity}", b: c\nhome:\n'),
            "after a comma": (4, "home:\n", 'store_: {path: "{entity}", b: c,\nhome:\n'),
            "in an entity": (17, "[orders, customers]", '[{name: orders, home: {table: "a.{entity}", }, b]'),
        }.items()
    },
    **{
        f"one mistake in {text}": (flow("watermark:", f"{text}\nwatermark:"), (FLOW_FILE, 14), words)
        for text, words in {
            "expectations: {accepted_values: {v: [a]}}": ["no key `v`", "`columns` is missing here"],
            "expectations: {not_null: {colums: [a]}}": ["`not_null` of expectations", "`columns`"],
            "polish: {hash_ids: {h: []}}": ["`hash_ids.h` of polish", "at least one"],
        }.items()
    },
    **{
        f"one mistake in a column that is {text}": (
            flow("home:\n  type: mssql\n  connection: shop_db\n  table: dbo.{entity}\n",
                 f'home: {{ type: local, path: "in", columns: {{ v: {text} }} }}\n'),
            (FLOW_FILE, 4),
            words,
        )
        for text, words in {
            "{typ: string}": ["`columns.v` of home has no key `typ`", "`type`"],
            "{}": ["`columns.v` of home has no `type`"],
        }.items()
    },
    "a list within a list item": (
        flow("[orders, customers]", "\n- orders\n  - customers"), (FLOW_FILE, 18), ["`- customers`", "exactly below"]
    ),
    "a placeholder first": (flow("dbo.{entity}", "{entity}.x"), (FLOW_FILE, 7), ["needs quotes"]),
    "a key at the edge": (flow("  key_columns", "key_columns"), (FLOW_FILE, 13), ["`key_columns` is a key of `store`"]),
    "a key too far left": (flow("  key_columns", " key_columns"), (FLOW_FILE, 13), ["as many blanks"]),
    "a key of an item too far left": (
        flow(ENTITIES, "entities:\n  - name: orders\n   run_type: full_drop"), (FLOW_FILE, 19), ["as many blanks"]
    ),
    "a connection that is not indented": (
        hygge("    type", "  type"), ("hygge.yml", 5), ["indented further than the line above"]
    ),
    "connections without names": (
        {"hygge.yml": b"name: shop\nconnections:\n  type: mssql\n  server: h\n  database: d\n  auth: default\n"},
        ("hygge.yml", 2),
        ["a connection has no name"],
    ),
    "an equals sign": (flow("run_type: ", "run_type = "), (FLOW_FILE, 3), ["a key without a colon"]),
    "another comment": ({FLOW_FILE: FLOW.encode() + b"// done\n"}, (FLOW_FILE, 18), ["A comment begins with `#`."]),
    "two commas": (flow("orders,", "orders,,"), (FLOW_FILE, 17), ["too many"]),
    "a bracketed table": (flow("dbo.{entity}", "[dbo].[{entity}]"), (FLOW_FILE, 7), ["needs quotes"]),
    "a merge of itself": (flow("home:\n", "home: &home\n  <<: *home\n"), (FLOW_FILE, 4), ["refers to itself"]),
    "nothing as a name": (flow("[orders", "[null"), (FLOW_FILE, 17), ['"null", in quotes']),
    # Which files there are.
    "an empty hygge.yml": ({"hygge.yml": b""}, ("hygge.yml", 1), ["the file is empty", "`connections`"]),
    "an empty flow.yml": ({FLOW_FILE: b"# to do\n"}, (FLOW_FILE, 1), ["the file is empty", "`entities`"]),
    "a directory without a flow": ({"flows/b/readme.txt": b""}, ("flows/b/flow.yml", 0), ["underscore"]),
    "flow.yaml": ({"flows/b/flow.yaml": FLOW.encode()}, ("flows/b/flow.yml", 0), ["Rename flow.yaml to flow.yml"]),
    "Flow.yml": ({"flows/b/Flow.yml": FLOW.encode()}, ("flows/b/flow.yml", 0), ["Rename Flow.yml to flow.yml"]),
    "hygge.yml.txt": (
        {"hygge.yml": None, "hygge.yml.txt": HYGGE.encode()},
        ("hygge.yml", 0),
        ["Rename hygge.yml.txt to hygge.yml"],
    ),
    "a file for another flow's entity": (
        {"flows/orders_to_fabric/entitys/items.yml": b""},
        ("flows/orders_to_fabric/entitys", 0),
        ["Did you mean `entities`?"],
    ),
    "an entity's file in capitals": (
        {"flows/orders_to_fabric/entities/items.YML": b"name: items\n"},
        ("flows/orders_to_fabric/entities/items.YML", 0),
        ["Rename it to items.yml."],
    ),
    "an entity's file that an editor renamed": (
        {"flows/orders_to_fabric/entities/items.yml.txt": b"name: items\n"},
        ("flows/orders_to_fabric/entities/items.yml.txt", 0),
        ["Rename it to items.yml."],
    ),
    "an entity's file too deep": (
        {"flows/orders_to_fabric/entities/sales/items.yml": b"name: items\n"},
        ("flows/orders_to_fabric/entities/sales", 0),
        ["not read", "not in directories below it"],
    ),
    "entities beside the flows": ({"entities/items.yml": b""}, ("entities", 0), ["flows/<flow>/entities/"]),
    "a flow beside the flows": ({"flow.yml": FLOW.encode()}, ("flow.yml", 0), ["flows/<flow>/flow.yml"]),
    "a flow with entities only": ({"flows/b/entities/items.yml": b""}, ("flows/b/flow.yml", 0), ["underscore"]),
    "an entity's file with a list": (entity("- name: items\n"), (ENTITY_FILE, 1), ["not a mapping"]),
    "a flow copied": ({"flows/a/flow.yml": FLOW.encode()}, (FLOW_FILE, 1), ["`orders_to_fabric`", "flows/a/flow.yml"]),
    "an entity copied": (entity("name: orders\n"), (ENTITY_FILE, 1), ["`orders` is given twice", "line 17"]),
    # Keys in the wrong place.
    "an unknown key of an entity": (entity("home: {tabel: a.b}\n"), (ENTITY_FILE, 1), ["Did you mean `table`?"]),
    "a key of a section in an entity": (entity("table: a.b\n"), (ENTITY_FILE, 1), ["`table` is a key of `home`"]),
    "a schedule in an entity": (entity('schedule: "0 0 * * * *"\n'), (ENTITY_FILE, 1), ["a flow of its own"]),
    "flows in hygge.yml": ({"hygge.yml": HYGGE.encode() + b"flows: [a]\n"}, ("hygge.yml", 10), ["flow.yml"]),
    "a store in hygge.yml": (
        {"hygge.yml": HYGGE.encode() + b"store: {type: local}\n"},
        ("hygge.yml", 10),
        ["`defaults`"],
    ),
    "a password in a store": (
        flow("  key_", f"  password: {CANARY}\n  key_"),
        (FLOW_FILE, 13),
        ["`password` is a key of `connections.<name>`"],
    ),
    "a watermark within the store": (
        flow("watermark:\n  column: modified_at\n  primary_key: id\n", "  watermark:\n    column: modified_at\n"),
        (FLOW_FILE, 14),
        ["check its indentation"],
    ),
    "full_drop of a store": (flow("  key_", "  full_drop: true\n  key_"), (FLOW_FILE, 13), ["`run_type: full_drop`"]),
    "full_drop of a flow": (
        flow("run_type: incremental", "full_drop: true"), (FLOW_FILE, 3), ["Write `run_type: full_drop`"]
    ),
    "another tool's word for a key": (hygge("database:", "db:"), ("hygge.yml", 6), ["Did you mean `database`?"]),
    "another tool's word for a section": (flow("home:", "source:"), (FLOW_FILE, 4), ["Did you mean `home`?"]),
    "a misspelt store": (flow("store:", "stores:"), (FLOW_FILE, 8), ["Did you mean `store`?"]),
    "a misspelt watermark": (flow("watermark:", "watermarks:"), (FLOW_FILE, 14), ["Did you mean `watermark`?"]),
    "misspelt entities": (flow("entities:", "entitys:"), (FLOW_FILE, 17), ["Did you mean `entities`?"]),
    "misspelt connections": (hygge("connections:", "connection:"), ("hygge.yml", 2), ["Did you mean `connections`?"]),
    "a misspelt section of an entity": (entity("wattermark: null\n"), (ENTITY_FILE, 1), ["Did you mean `watermark`?"]),
    "another tool's word for a type": (hygge("mssql", "sqlserver"), ("hygge.yml", 4), ["Did you mean `mssql`?"]),
    "another tool's word for a credential": (
        flow("  key_", "  credential: service_principal\n  key_"), (FLOW_FILE, 13), ["Did you mean `client_secret`?"]
    ),
    "a key of another type": (
        flow(STORE, "store:\n  type: local\n  mirror_name: 22222222-2222-2222-2222-222222222222\n"),
        (FLOW_FILE, 10),
        ["key of another type: open_mirroring"],
    ),
    "a type of store as home": (flow("type: mssql", "type: sqlite"), (FLOW_FILE, 5), ["`sqlite` is a type of store"]),
    "a misspelt type": (flow("  type: mssql", "  typ: mssql"), (FLOW_FILE, 4), ["Is `typ` meant to be `type`?"]),
    "a misspelt name": (
        flow(ENTITIES, "entities:\n  - nam: orders"), (FLOW_FILE, 18), ["Is `nam` meant to be `name`?"]
    ),
    "a misspelt key of defaults": (
        {"hygge.yml": HYGGE.encode() + b"defaults:\n  store: {keycolumns: [id]}\n"},
        ("hygge.yml", 11),
        ["Did you mean `key_columns`?"],
    ),
    "a misspelt policy": (
        {FLOW_FILE: FLOW.encode() + b"schema_changes: {added: evolv}\n"}, (FLOW_FILE, 18), ["Did you mean `evolve`?"]
    ),
    "upper case": (hygge("database:", "Database:"), ("hygge.yml", 6), ["Did you mean `database`?"]),
    "a hyphen": (flow("run_type", "run-type"), (FLOW_FILE, 3), ["Did you mean `run_type`?"]),
    "camel case": (flow("key_columns", "keyColumns"), (FLOW_FILE, 13), ["Did you mean `key_columns`?"]),
    "a key of another store": (
        flow(STORE, "store:\n  type: local\n  path: out\n  row_marker: 0\n"), (FLOW_FILE, 11), ["`row_marker`"]
    ),
    # Shapes.
    "entities as keys": (flow(ENTITIES, "entities:\n  orders: {}\n"), (FLOW_FILE, 17), ["`- name: …`"]),
    "an entity as a key": (
        flow(ENTITIES, "entities:\n  - orders:\n      run_type: full_drop\n"), (FLOW_FILE, 18), ["`- name: orders`"]
    ),
    "entities in a row": (flow(ENTITIES, "entities: orders, customers"), (FLOW_FILE, 17), ["brackets"]),
    "hyphens without blanks": (flow(ENTITIES, "entities:\n  -orders\n  -items"), (FLOW_FILE, 18), ["a blank"]),
    "connections as a list": (
        {"hygge.yml": b"name: shop\nconnections:\n  - type: mssql\n"}, ("hygge.yml", 2), ["a name with keys below it"]
    ),
    "a connection as an address": (
        {"hygge.yml": f"name: shop\nconnections:\n  shop_db: mssql://u:{CANARY}@h/d\n".encode()},
        ("hygge.yml", 3),
        ["a name with keys below it"],
    ),
    "key columns as a mapping": (flow("[id]", "{id: asc}"), (FLOW_FILE, 13), ["a mapping", "brackets"]),
    "key columns in one text": (flow("[id]", "id, line"), (FLOW_FILE, 13), ["brackets, separated by commas"]),
    "a list within a list": (flow("[id]", "[[id]]"), (FLOW_FILE, 13), ["item 1 of `key_columns`"]),
    "two columns as watermark": (
        flow("column: modified_at", "column: [modified_at, id]"), (FLOW_FILE, 15), ["a list", "Only one is possible"]
    ),
    "a home as a list": (
        flow("  type: mssql\n  connection: shop_db\n  table: dbo.{entity}\n", "  - type: mssql\n"),
        (FLOW_FILE, 4),
        ["a list", "no hyphens"],
    ),
    "a home as a text": (
        flow("home:\n  type: mssql\n  connection: shop_db\n  table: dbo.{entity}\n", "home: dbo.orders\n"),
        (FLOW_FILE, 4),
        ["a mapping of keys", "`home: {type: mssql"],
    ),
    "a misspelt word in place of a section": (
        flow(ENTITIES, f"{ENTITIES}\ndeletes: compair"),
        (FLOW_FILE, 18),
        ["`compare`, `mark`, or a mapping of the keys compare, every, mark, column", "Did you mean `compare`?"],
    ),
    "two words in place of a section": (
        flow(ENTITIES, f"{ENTITIES}\ndeletes: compare, mark"),
        (FLOW_FILE, 18),
        ["`deletes: {compare: true, mark: true}`"],
    ),
    "none in place of a section": (
        flow(ENTITIES, f"{ENTITIES}\ndeletes: none"), (FLOW_FILE, 18), ["`deletes: null` takes"]
    ),
    "a key in place of its section": (
        flow("watermark:\n  column: modified_at\n  primary_key: id\n", "watermark: change_tracking\n"),
        (FLOW_FILE, 14),
        ["a mapping of the keys column, primary_key, lag", "`watermark: {change_tracking: true}`"],
    ),
    "a value in place of its section": (
        flow("watermark:\n  column: modified_at\n  primary_key: id\n", "watermark: modified_at\n"),
        (FLOW_FILE, 14),
        ["a mapping of the keys column, primary_key, lag", "`watermark: {column: …}`"],
    ),
    "a section of a section in one text": (
        flow(ENTITIES, f"{ENTITIES}\nexpectations: {{unique: id}}"),
        (FLOW_FILE, 18),
        ["`unique` of expectations", "a mapping of the keys severity, columns"],
    ),
    "entities with nothing in them": (flow(ENTITIES, "entities:"), (FLOW_FILE, 17), ["`entities: [a, b]`"]),
    "a journal as a text": (
        {"hygge.yml": HYGGE.encode() + b"journal: store\n"}, ("hygge.yml", 10), ["`journal: {location: store}`"]
    ),
    # Values.
    "a schema in an entity's name": (
        flow("orders, customers", "orders, dbo.items"),
        (FLOW_FILE, 17),
        ["does not fit into `home`", "'dbo.dbo.items' has 3 parts", "`dbo.items`"],
    ),
    "a GUID that lost a digit": (flow("22222222-", "2222222-"), (FLOW_FILE, 12), ["8, 4, 4, 4 and 12"]),
    "a GUID with letters beyond f": (
        flow("22222222-2222", "2222222g-O222"),
        (FLOW_FILE, 12),
        ["8, 4, 4, 4 and 12"],
    ),
    "a GUID with a digit too many": (flow("22222222-", "222222222-"), (FLOW_FILE, 12), ["8, 4, 4, 4 and 12"]),
    "a GUID in braces": (
        flow("22222222-2222-2222-2222-222222222222", '"{22222222-2222-2222-2222-222222222222}"'),
        (FLOW_FILE, 12),
        ["8, 4, 4, 4 and 12"],
    ),
    "a lakehouse's name beside a GUID": (
        flow(STORE, ONELAKE.format(lakehouse="sales")),
        (FLOW_FILE, 11),
        ["lakehouse is a name", "GUIDs"],
    ),
    "a lakehouse's GUID that is none": (
        flow(STORE, ONELAKE.format(lakehouse="3333333-3333-3333-3333-33333333333z")),
        (FLOW_FILE, 11),
        ["8, 4, 4, 4 and 12"],
    ),
    "a name beside a GUID": (
        flow("22222222-2222-2222-2222-222222222222", "shop.MountedRelationalDatabase"),
        (FLOW_FILE, 12),
        ["mirror_name is a name", "GUIDs"],
    ),
    "an address with a path": (
        flow(".microsoft.com", ".microsoft.com/11111111-1111-1111-1111-111111111111"), (FLOW_FILE, 10), ["filesystem"]
    ),
    "an unused key": (
        flow("  key_", "  account_key: aGFsbG8=\n  key_"), (FLOW_FILE, 13), ["write credential: account_key"]
    ),
    "a credential without its secret": (
        flow("  key_", "  credential: account_key\n  key_"), (FLOW_FILE, 13), ["needs account_key"]
    ),
    "a login without its secret": (
        hygge("auth: sql", "auth: service_principal"), ("hygge.yml", 7), ["client_id", "client_secret", "tenant_id"]
    ),
    "the journal among the tables": (
        flow("  key_", "  mirror_journal: true\n  mirror_schema: DBO\n  key_"), (FLOW_FILE, 14), ["of their own"]
    ),
    "readers of a snapshot": (
        flow("  table", "  consistency: snapshot\n  readers: 2\n  table"), (FLOW_FILE, 7), ["readers: 1"]
    ),
    "ranges of a snapshot": (
        flow("  table", "  consistency: snapshot\n  range_rows: 2\n  table"), (FLOW_FILE, 7), ["range_rows: 0"]
    ),
    "ranges at a pace": (
        flow("  table", "  max_rows_per_second: 9\n  range_rows: 2\n  table"), (FLOW_FILE, 7), ["range_rows: 0"]
    ),
    "several readers of a range": (
        flow("  table", "  range_rows: 9\n  readers: 2\n  table"), (FLOW_FILE, 7), ["readers: 1"]
    ),
    "a snapshot that slows down": (
        flow("  table", "  consistency: snapshot\n  throttle: auto\n  table"), (FLOW_FILE, 7), ["throttle: never"]
    ),
    "a step beyond the hour": (flow("*/15", "*/90"), (FLOW_FILE, 2), ["minute field", "90", "59"]),
    "a port out of range": (
        hygge("    database", "    port: 70000\n    database"), ("hygge.yml", 6), ["at most 65535", "`70000`"]
    ),
    "fewer than none": (hygge("    database", "    pool_size: -1\n    database"), ("hygge.yml", 6), ["at least 1"]),
    "two entities in one table": (
        flow("  key_", "  table_name: everything\n  key_"), (FLOW_FILE, 18), ["same place", "`table_name`"]
    ),
    "a connection string as server": (
        hygge("sql.example.com", f'"Server=h;Database=d;Password={CANARY}"'),
        ("hygge.yml", 5),
        ["connection string", "keys of their own"],
    ),
    "an address as server": (hygge("sql.", "https://sql."), ("hygge.yml", 5), ["not a URL", "sql.example.com,1433"]),
    "a port that is none": (hygge("sql.example.com", "sql.example.com,0"), ("hygge.yml", 5), ["1 and 65535"]),
    "a port twice": (
        hygge("    server: sql.example.com", "    server: sql.example.com,1433\n    port: 1433"),
        ("hygge.yml", 6),
        ["keep one"],
    ),
    "a fraction": ({"hygge.yml": HYGGE.encode() + b"options: {concurrency: 8.5}\n"}, ("hygge.yml", 10), ["whole"]),
    "no scheme": (flow("https://", ""), (FLOW_FILE, 10), ["https://", "`onelake.dfs.fabric.microsoft.com`"]),
    "a host with a blank": (flow("https://", "https:// "), (FLOW_FILE, 10), ["no host"]),
    "the Blob endpoint": (flow(".dfs.", ".blob."), (FLOW_FILE, 10), ["onelake.dfs.fabric.microsoft.com"]),
    "the portal's address": (
        flow("onelake.dfs.fabric.microsoft.com", "app.fabric.microsoft.com/groups/1"), (FLOW_FILE, 10), ["onelake.dfs"]
    ),
    "a table of another database": (flow("dbo.{", "shop.dbo.{"), (FLOW_FILE, 7), ["3 parts", "schema.table"]),
    "table and query": (flow("  table", "  query: SELECT 1 AS a\n  table"), (FLOW_FILE, 8), ["exactly one"]),
    "a word as schedule": (flow('"0 */15 * * * *"', "'@daily'"), (FLOW_FILE, 2), ["six fields", "`@daily`"]),
    "an hour that is none": (flow("0 */15 *", "0 0 25"), (FLOW_FILE, 2), ["hour field"]),
    "a reload that is none": (
        flow("run_type: incremental", "run_type: incremental\nreload: merge"),
        (FLOW_FILE, 4),
        ["`merge`", "difference"],
    ),
    "a difference for a store that appends": (
        flow("  key_columns: [id]", "  row_marker: 0\nreload: difference"),
        (FLOW_FILE, 14),
        ["`reload: difference`", "`reload: drop`"],
    ),
    "a history that is none": (
        flow("run_type: incremental", "run_type: incremental\nhistory: all"),
        (FLOW_FILE, 4),
        ["`all`", "versions"],
    ),
    "a history in a store that appends": (
        flow("  key_columns: [id]", "  row_marker: 0\nhistory: versions"),
        (FLOW_FILE, 14),
        ["`history: versions`", "`row_marker: 4`, SQLite, SQL Server"],
    ),
    "a history of files": (
        {FLOW_FILE: FILES_FLOW.replace("{type: local}", "{type: sqlite}\nhistory: versions").encode()},
        (FLOW_FILE, 8),
        ["files may hold several versions", "a home of tables"],
    ),
    "a column called like one of a history": (
        flow("run_type: incremental", "run_type: incremental\nhistory: versions\npolish: {rename: {a: __Operation}}"),
        (FLOW_FILE, 5),
        ["`__Operation`", "lands columns __version"],
    ),
    "a history that is kept for minutes": (
        flow("run_type: incremental", "run_type: incremental\nhistory: versions\nhistory_retention: 5m"),
        (FLOW_FILE, 5),
        ["`5m`", "at least 1d"],
    ),
    "a history in another entity's table": (
        flow("[orders, customers]", "[orders, {name: old, store: {table_name: Orders_History}}]\nhistory: versions"),
        (FLOW_FILE, 17),
        ["lands in the same place as `orders_to_fabric.old`"],
    ),
    "a history called like an entity": (
        flow("[orders, customers]", "[{name: orders, history: versions}, orders_HISTORY]"),
        (FLOW_FILE, 17),
        ["makes an entity `orders_history`"],
    ),
    "a history whose name is too long": (
        flow("[orders, customers]", f"[{{name: {'o' * 125}, history: versions}}]"),
        (FLOW_FILE, 17),
        ["end in `_history`", "128 at most"],
    ),
    "a duration in words": (flow("primary_key: id", "lag: 5min"), (FLOW_FILE, 16), ["`5min`", "5m"]),
    "a duration below zero": (flow("primary_key: id", "lag: -5"), (FLOW_FILE, 16), ["at least 0"]),
    # Variables.
    "a shell's variable": (flow("shop_db", "$DB_NAME"), (FLOW_FILE, 6), ["`${DB_NAME}`"]),
    "a shell's variable as password": (hygge('"${SHOP_PASSWORD}"', "$PASS"), ("hygge.yml", 9), ["not a variable"]),
    "a batch file's variable": (hygge('"${SHOP_PASSWORD}"', '"%PASS%"'), ("hygge.yml", 9), ["`${PASS}`"]),
    "a template's variable": (flow("shop_db", "{{DB}}"), (FLOW_FILE, 6), ["`${NAME}`"]),
    "half a default": (flow("shop_db", "${DB:shop_db}"), (FLOW_FILE, 6), ["`${NAME:-default}`"]),
    "an unset variable": (flow("shop_db", "${DB}"), (FLOW_FILE, 6), ["`DB`", "local.settings.json"]),
    "local settings without Values": (
        {"local.settings.json": b'{"values": {"SHOP_DB": "x"}}', **flow("shop_db", "${SHOP_DB}")},
        (FLOW_FILE, 6),
        ["it has no `Values`"],
    ),
    "a Key Vault reference in a file": (
        hygge("${SHOP_PASSWORD}", "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/p)"),
        ("hygge.yml", 9),
        ["Key Vault reference", "app setting", "`${NAME}`"],
    ),
    "a Key Vault reference on a laptop": (
        {
            "local.settings.json": b'{"Values": {"P": "@Microsoft.KeyVault(VaultName=v;SecretName=p)"}}',
            **hygge("SHOP_PASSWORD", "P"),
        },
        ("hygge.yml", 9),
        ["was not resolved", "put the secret itself into local.settings.json"],
    ),
    "a misspelt variable in a default": (
        flow("shop_db", "${SHOP_DB:-${SHOP_PASWORD}}"),
        (FLOW_FILE, 6),
        ["`SHOP_PASWORD`", "There is a variable `SHOP_PASSWORD`"],
    ),
    "a default that nothing closes": (flow("shop_db", '"${SHOP_DB:-${B}"'), (FLOW_FILE, 6), ["not closed"]),
    "a placeholder as a variable": (
        flow("dbo.{entity}", '"dbo.${entity}"'), (FLOW_FILE, 7), ["a placeholder", "`{entity}`, without the dollar"]
    ),
    "a Key Vault secret's address": (
        hygge("${SHOP_PASSWORD}", "https://shop.vault.azure.net/secrets/password"),
        ("hygge.yml", 9),
        ["Key Vault reference", "app setting"],
    ),
    "a Key Vault secret as a variable": (
        hygge("${SHOP_PASSWORD}", "${kv:shop-password}"), ("hygge.yml", 9), ["app setting that refers to it"]
    ),
    "local settings with a comment": (
        {"local.settings.json": b'{\n  // secrets\n  "Values": {}\n}'}, ("local.settings.json", 2), ["not valid JSON"]
    ),
}  # fmt: skip
