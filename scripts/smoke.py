"""Install a built wheel into an empty environment and use it as a stranger would: `python scripts/smoke.py DIST`.

Needs a package index. Runs on Linux, macOS and Windows, with nothing but Python 3.13 or later.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path


def main(dist: str) -> int:
    """0 where every command ended as it should; raises SystemExit with what did not."""
    (wheel,) = sorted(Path(dist).resolve().glob("hygge_engine-*.whl"))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        environment, project = Path(folder, "environment"), Path(folder, "a project")
        venv.create(environment, with_pip=True)
        programs = environment / ("Scripts" if os.name == "nt" else "bin")
        _run([str(programs / "python"), "-m", "pip", "install", "--quiet", str(wheel)], Path(folder))
        project.mkdir()
        (project / "orders.csv").write_bytes(b"id,name\r\n1,a\r\n2,\xc3\xb6\r\n")
        hygge = str(programs / "hygge")
        _run([hygge, "--version"], project)
        _run([hygge, "init", "--files", "*.csv", "--yes"], project)
        for command in ("validate", "plan", "go", "reconcile", "runs"):
            _run([hygge, command], project)
        said = _run([hygge, "dev"], project, expected=2)
        if "not part of the installed package" not in said:
            raise SystemExit(f"hygge dev does not say what is missing: {said}")
    return 0


def _run(command: list[str], folder: Path, *, expected: int = 0) -> str:
    # Only what a new shell has: nothing of this checkout, and no variable of another project.
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HYGGE_"))}
    ended = subprocess.run(  # noqa: S603 - our own commands
        command, cwd=folder, env=clean | {"PYTHONUTF8": "1"}, capture_output=True, encoding="utf-8", check=False
    )
    said = ended.stdout + ended.stderr
    if ended.returncode != expected:
        raise SystemExit(f"{' '.join(command)}: {ended.returncode} instead of {expected}\n{said}")
    print(f"{Path(command[0]).name} {' '.join(command[1:3])}: {ended.returncode}")
    return said


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
