"""The first load of the documentation, typed as it stands there into a shell that knows nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/first-load.md"


def test_a_newcomer_loads_a_csv_file_by_copying_the_page(tmp_path: Path) -> None:
    section = PAGE.read_text(encoding="utf-8").split("## A CSV file, without any server", 1)[1]
    found = re.search(r"```sh\n(.+?)```", section, re.DOTALL)
    assert found is not None
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # A pasted block is standard input of every command in it, too: what one of them reads, the shell misses.
    shown = subprocess.run(
        ["sh", "-eu"],
        input=found[1] + "\necho the end",
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.endswith("the end\n")
    assert "equal" in shown.stdout
    assert [path.suffix for path in (tmp_path / "shop/warehouse/products").iterdir()] == [".parquet"]
