"""The files of a new project, from answers that have been checked."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from hygge_engine.errors import ConfigurationError
from hygge_engine.homes.files.settings import format_of
from hygge_engine.homes.mssql.identifiers import parse_table_name
from hygge_engine.project.models.project import check_entity_name
from hygge_engine.project.publishing.schema import generate_schemas
from hygge_engine.project.reading.variables import LOCAL_SETTINGS

SCHEMA_DIRECTORY = ".schema"

_GUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)

_HYGGE = """\
# yaml-language-server: $schema=.schema/hygge.json
name: {name}
{connections}
journal:
  location: store                               # .hygge_journal/, beside the data it describes
"""

_CONNECTION = """
connections:
  {connection}:
    type: mssql
    server: {server}
    database: {database}
    auth: "${{SQL_AUTH:-managed_identity}}"        # sql | managed_identity | service_principal | default | access_token
{login}"""

_LOGIN = """\
    username: "${SQL_USERNAME}"
    password: "${SQL_PASSWORD}"
"""

_FLOW = """\
# yaml-language-server: $schema=../../.schema/flow.json
name: {flow}
schedule: "0 */15 * * * *"                      # second minute hour day month weekday, UTC
run_type: {run_type}
{reload}
home:
{home}
store:
{store}{watermark}
entities:
{entities}
"""

_RELOAD = """\
reload: difference                              # a table with a key is never dropped, one without is
"""

_SQL_HOME = """\
  type: mssql
  connection: {connection}
  table: {table}
"""

_FILES_HOME = """\
  type: local                                   # adls and onelake read files from a data lake
  path: {path}
  format: {format}
  # key: [id] names the columns that identify a row
"""

_MIRROR = """\
  type: open_mirroring
  account_url: "${{ONELAKE_URL:-https://onelake.dfs.fabric.microsoft.com}}"
  filesystem: {workspace}   # the workspace
  mirror_name: {mirror}  # the mirrored database
  schema_name: {schema}
  credential: "${{LAKE_CREDENTIAL:-managed_identity}}"  # managed_identity | default | client_secret | account_key | sas
  mirror_journal: true                          # the journal becomes tables of the schema __hygge
"""

_FOLDER = """\
  type: local                                   # a folder for each table; open_mirroring lands in Fabric
  path: warehouse
  format: parquet                               # or csv, ndjson, delta
"""

_WATERMARK = """\

watermark:
  column: {column}
  # lag: 5m would read the last five minutes again at every load, for sources that commit late
"""

_GITIGNORE = f"{LOCAL_SETTINGS}\n"


@dataclass
class Answers:
    """What `hygge init` asks. Rows come from the ``tables`` of a ``database``, separated by commas, or from ``files``,
    a pattern below the project. They land in the mirrored database ``mirror`` of a ``workspace``, whose address
    names both; files without one in a local folder. An empty ``username`` logs in with Entra, an empty ``watermark``
    reloads the tables whole."""

    name: str = ""
    files: str = ""
    server: str = ""
    database: str = ""
    tables: str = ""
    workspace: str = ""
    mirror: str = ""
    watermark: str = ""
    username: str = ""


def find_guids(text: str) -> list[str]:
    """The GUIDs in a text, for example in the address of a mirrored database: the workspace's and its own."""
    return [str(guid) for guid in _GUID.findall(text)]


def split_tables(tables: str) -> list[str]:
    """Names of tables that are separated by commas."""
    return [table.strip() for table in tables.split(",") if table.strip()]


def render(answers: Answers, password: str, directory: Path) -> dict[str, str]:
    """The project's files by path. Raises ConfigurationError where no file matches the pattern."""
    home, entities, schema = _files_home(answers, directory) if answers.files else _sql_home(answers)
    flow = f"{answers.name}_to_{'fabric' if answers.workspace else 'warehouse'}"
    connection = _CONNECTION.format(
        connection=_connection_name(answers),
        server=_scalar(answers.server),
        database=_scalar(answers.database),
        login=_LOGIN if answers.username else "",
    )
    schemas = generate_schemas()
    return {
        "hygge.yml": _HYGGE.format(name=_scalar(answers.name), connections="" if answers.files else connection),
        f"flows/{flow}/flow.yml": _FLOW.format(
            flow=flow,
            run_type="incremental" if answers.watermark else "full_drop",
            reload="" if answers.files else _RELOAD,
            home=home,
            store=_store(answers, schema),
            watermark=_WATERMARK.format(column=_scalar(answers.watermark)) if answers.watermark else "",
            entities="\n".join(entities),
        ),
        LOCAL_SETTINGS: _local_settings(answers, password),
        ".gitignore": _GITIGNORE,
        **{f"{SCHEMA_DIRECTORY}/{name}": json.dumps(schema, indent=2) + "\n" for name, schema in schemas.items()},
    }


def _connection_name(answers: Answers) -> str:
    return f"{answers.name}_db"


def _store(answers: Answers, schema: str) -> str:
    if not answers.workspace:
        return _FOLDER
    workspace = json.dumps(find_guids(answers.workspace)[0])
    return _MIRROR.format(workspace=workspace, mirror=json.dumps(answers.mirror), schema=_scalar(schema))


def _local_settings(answers: Answers, password: str) -> str:
    settings = {"FUNCTIONS_WORKER_RUNTIME": "python"}
    if not answers.files:
        settings["SQL_AUTH"] = "default"
    if answers.workspace:
        settings["LAKE_CREDENTIAL"] = "default"
    if answers.username:
        settings |= {"SQL_AUTH": "sql", "SQL_USERNAME": answers.username}
        settings |= {"SQL_PASSWORD": password} if password else {}
    return json.dumps({"IsEncrypted": False, "Values": settings}, indent=2, ensure_ascii=False) + "\n"


def _sql_home(answers: Answers) -> tuple[str, list[str], str]:
    """The section, the items of ``entities``, and the schema that most of them have."""
    tables = list(dict.fromkeys(parse_table_name(table) for table in split_tables(answers.tables)))
    schema = tables[0][0]
    table = json.dumps(f"{_quoted(schema)}.[{{entity}}]" if _needs_quotes(tables) else f"{schema}.{{entity}}")
    home = _SQL_HOME.format(connection=_connection_name(answers), table=table)
    return home, [_entity(table, schema, tables) for table in tables], schema


def _files_home(answers: Answers, directory: Path) -> tuple[str, list[str], str]:
    """As `_sql_home`: an entity for each file that is there."""
    folder, _, pattern = answers.files.rpartition("/")
    ending = pattern[pattern.index(".") :]
    found = sorted((directory / folder).glob(pattern)) if (directory / folder).is_dir() else []
    names = [path.name[: -len(ending)] for path in found if path.is_file() and not path.name.startswith((".", "_"))]
    if not names:
        raise ConfigurationError(
            f"There are no files {answers.files} in {directory}.",
            hint="`--files` is a pattern below the project's directory, as `exports/*.csv`.",
        )
    for name in names:
        try:
            check_entity_name(name)
        except ValueError as error:
            raise ConfigurationError(
                f"The file {name}{ending} cannot give a table its name: {error}.",
                hint="Rename the file, or choose others with `--files`.",
            ) from error
    path = f"{folder}/{{entity}}{ending}".lstrip("/")
    home = _FILES_HOME.format(path=json.dumps(path, ensure_ascii=False), format=format_of(pattern))
    return home, [f"  - {_scalar(name)}" for name in names], "dbo"


def _entity(table: tuple[str, str], common: str, tables: list[tuple[str, str]]) -> str:
    """One item of ``entities``: just a name where table and schema are the flow's."""
    schema, name = table
    if schema == common:
        return f"  - {_scalar(name)}"
    taken = sum(other == name for _, other in tables) > 1
    own = _scalar(f"{schema}_{name}" if taken else name)
    source = _scalar(f"{_quoted(schema)}.{_quoted(name)}")
    store = f"schema_name: {_scalar(schema)}, table_name: {_scalar(name)}"
    return f"  - name: {own}\n    home: {{ table: {source} }}\n    store: {{ {store} }}"


def _scalar(text: str) -> str:
    """A text in YAML: plain where it cannot be read as anything else, otherwise as JSON, which YAML contains."""
    plain = re.fullmatch(r"[A-Za-z_][\w.-]*", text) and text.lower() not in ("true", "false", "null")
    return text if plain else json.dumps(text, ensure_ascii=False)


def _needs_quotes(tables: list[tuple[str, str]]) -> bool:
    return any(_quoted(part) != part for table in tables for part in table)


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"\w+", name) else "[" + name.replace("]", "]]") + "]"
