"""A small project on disk, whole unless a test replaces a piece of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hygge_engine.errors import ConfigurationError
from hygge_engine.project import Problem, Project, load_project

HYGGE = """\
name: shop
connections:
  shop_db:
    type: mssql
    server: sql.example.com
    database: shop
    auth: sql
    username: reader
    password: "${SHOP_PASSWORD}"
"""

FLOW = """\
name: orders_to_fabric
schedule: "0 */15 * * * *"
run_type: incremental
home:
  type: mssql
  connection: shop_db
  table: dbo.{entity}
store:
  type: open_mirroring
  account_url: https://onelake.dfs.fabric.microsoft.com
  filesystem: 11111111-1111-1111-1111-111111111111
  mirror_name: 22222222-2222-2222-2222-222222222222
  key_columns: [id]
watermark:
  column: modified_at
  primary_key: id
entities: [orders, customers]
"""

ENVIRONMENT = {"SHOP_PASSWORD": "correct horse"}
FLOW_FILE = "flows/orders_to_fabric/flow.yml"


def write_project(directory: Path, **files: str) -> Path:
    """Write the sample with some files replaced or added; keys are paths with ``/`` as ``__`` and no ``.yml``."""
    contents = {"hygge": HYGGE, "flows__orders_to_fabric__flow": FLOW} | files
    for name, text in contents.items():
        path = directory / (name.replace("__", "/") + ".yml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return directory


def load(directory: Path, *, hygge: str = HYGGE, flow: str = FLOW, **files: str) -> Project:
    """Load the sample with some files replaced or added."""
    write_project(directory, hygge=hygge, flows__orders_to_fabric__flow=flow, **files)
    return load_project(directory, ENVIRONMENT)


def find_problems(
    directory: Path, *, environment: Mapping[str, str] = ENVIRONMENT, hygge: str = HYGGE, flow: str = FLOW, **files: str
) -> tuple[Problem, ...]:
    """What is wrong with the sample once some of its files are replaced or added."""
    write_project(directory, hygge=hygge, flows__orders_to_fabric__flow=flow, **files)
    with pytest.raises(ConfigurationError) as caught:
        load_project(directory, environment)
    return caught.value.problems
