"""A row that cannot be read is reported by its place: no error, and so no journal and no response, shows what is in
it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hygge_engine.cli.app import app

CANARY = "c4n4ry of a row"
FLOW = """\
home: {{ type: local, path: "in/*", format: {format}, columns: {{ id: int64, v: "{type}" }} }}
store: {{ type: local, path: wh }}
entities: [orders]
"""


@pytest.mark.parametrize(
    ("format_", "type_", "rows", "place"),
    [
        *(("csv", type_, f"id,v\n1,{CANARY}\n", "line 2, column 'v'")
          for type_ in ("int64", "float64", "bool", "date", "timestamp", "decimal(9,2)", "binary")),
        ("csv", "string", f'id,v\n1,"{CANARY}', "line 2"),
        ("csv", "string", f"id,v\n1,2,{CANARY}\n", "line 2"),
        ("ndjson", "int64", f'{{"id": 1, "v": "{CANARY}"}}\n', "line 1, column 'v'"),
        ("ndjson", "string", f'{{"id": 1, "v": "{CANARY}"\n', "line 1"),
        ("ndjson", "string", f'"{CANARY}"\n', "line 1"),
        ("ndjson", "string", f'{{"id": 1, "v": "{CANARY}\\ud800"}}\n', "line 1"),
    ],
)  # fmt: skip
def test_a_row_that_cannot_be_read_is_not_shown(
    tmp_path: Path, format_: str, type_: str, rows: str, place: str
) -> None:
    for name, text in {
        "hygge.yml": "name: shop\n",
        "flows/shop/flow.yml": FLOW.format(format=format_, type=type_),
        "in/a": rows,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = CliRunner().invoke(app, ["go", "--run-type", "full_drop", "--project", str(tmp_path)])
    said = " ".join(done.output.split())
    assert done.exit_code == 1, said
    assert place in said
    assert "c4n4ry" not in said
    kept = [path for path in (tmp_path / "wh").rglob("*") if path.is_file()]
    assert kept
    assert not [path for path in kept if b"c4n4ry" in path.read_bytes()]
