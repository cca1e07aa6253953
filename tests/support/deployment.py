"""What a deployment takes with it."""

from __future__ import annotations

from pathlib import Path

from pathspec import GitIgnoreSpec

ROOT = Path(__file__).parents[2]


def files_to_deploy() -> list[str]:
    """What azd, `func` and `az` put into the package: .funcignore has the syntax of .gitignore."""
    spec = GitIgnoreSpec.from_lines((ROOT / ".funcignore").read_text().splitlines())
    found: list[str] = []
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            name = path.relative_to(ROOT).as_posix()
            if spec.match_file(f"{name}/" if path.is_dir() else name):
                continue
            if path.is_dir():
                folders.append(path)
            else:
                found.append(name)
    return sorted(found)
